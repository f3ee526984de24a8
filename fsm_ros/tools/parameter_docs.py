"""The parameter table in words: `config/fsm.yaml`, and the reference in the README.

python -m fsm_ros.tools.parameter_docs yaml > config/fsm.yaml
python -m fsm_ros.tools.parameter_docs markdown
"""

from __future__ import annotations

import sys

from fsm_ros.configuration.spec import Spec
from fsm_ros.configuration.table import PARAMETERS


def as_yaml() -> str:
    """The contents of ``config/fsm.yaml``: every parameter with its default, description, unit and range."""
    lines = [
        "# Every parameter of the fsm node with its default. Written by: python -m fsm_ros.tools.parameter_docs yaml",
        "/**:",
        "  ros__parameters:",
    ]
    for spec in PARAMETERS:
        unit = f" [{spec.unit}]" if spec.unit else ""
        change = "; at run time too" if spec.at_run_time else ""
        lines.append(f"    # {spec.description}{unit}")
        if spec.choices:
            lines.append(f"    # One of: {', '.join(spec.choices)}{change}.")
        elif spec.low is not None and spec.high is not None:
            lines.append(f"    # From {spec.low:g} to {spec.high:g}{change}.")
        lines.append(f"    {spec.name}: {_yaml(spec.default)}")
    return "\n".join(lines) + "\n"


def _yaml(value: bool | int | float | str | list[str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    # Quoted, as YAML 1.1 reads a bare off as false.
    return f'"{value}"' if isinstance(value, str) else repr(value)


def as_markdown() -> str:
    """A table of every parameter: default, range and unit, description."""
    lines = ["| parameter | default | range | |", "|---|---|---|---|"]
    for spec in PARAMETERS:
        mark = " *" if spec.at_run_time else ""
        lines.append(f"| `{spec.name}`{mark} | `{_yaml(spec.default)}` | {_range(spec)} | {spec.description} |")
    return "\n".join(lines) + "\n"


def _range(spec: Spec) -> str:
    if spec.choices:
        return ", ".join(spec.choices)
    if spec.low is None or spec.high is None:
        return ""
    return f"{spec.low:g} to {spec.high:g} {spec.unit}".rstrip()


def main() -> int:
    """Print the form that the argument names."""
    forms = {"yaml": as_yaml, "markdown": as_markdown}
    if len(sys.argv) != 2 or sys.argv[1] not in forms:
        print(f"usage: python -m fsm_ros.tools.parameter_docs {'|'.join(forms)}", file=sys.stderr)
        return 2
    print(forms[sys.argv[1]](), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
