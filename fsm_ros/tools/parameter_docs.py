# SPDX-License-Identifier: Apache-2.0
"""The parameter table in words: `config/fsm.yaml`, and the reference in the README.

python -m fsm_ros.tools.parameter_docs yaml > config/fsm.yaml
python -m fsm_ros.tools.parameter_docs markdown
"""

from __future__ import annotations

import sys

from fsm_ros.configuration.table import PARAMETERS
from fsm_ros.parameter import Value


def as_yaml() -> str:
    """The contents of ``config/fsm.yaml``: every parameter with its default, description, unit and range."""
    lines = [
        "# Every parameter of the fsm node with its default. Written by: python -m fsm_ros.tools.parameter_docs yaml",
        "/**:",
        "  ros__parameters:",
    ]
    for parameter in PARAMETERS:
        unit = f" [{parameter.unit}]" if parameter.unit else ""
        change = "; at run time too" if parameter.at_run_time else ""
        lines.append(f"    # {parameter.description}{unit}")
        if parameter.choices:
            lines.append(f"    # One of: {', '.join(parameter.choices)}{change}.")
        elif parameter.low is not None and parameter.high is not None:
            lines.append(f"    # From {parameter.low:g} to {parameter.high:g}{change}.")
        lines.append(f"    {parameter.name}: {_yaml(parameter.value)}")
    return "\n".join(lines) + "\n"


def _yaml(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    # Quoted, as YAML 1.1 reads a bare off as false.
    return f'"{value}"' if isinstance(value, str) else repr(value)


def as_markdown() -> str:
    """A table of every parameter: default, range and unit, description."""
    lines = ["| parameter | default | range | |", "|---|---|---|---|"]
    for parameter in PARAMETERS:
        allowed = ", ".join(parameter.choices) or parameter.range
        mark = " *" if parameter.at_run_time else ""
        lines.append(f"| `{parameter.name}`{mark} | `{_yaml(parameter.value)}` | {allowed} | {parameter.description} |")
    return "\n".join(lines) + "\n"


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
