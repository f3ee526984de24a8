# SPDX-License-Identifier: Apache-2.0
"""The parameter table in words: `config/fsm.yaml` and `docs/parameters.md`.

python -m fsm_ros.tools.parameter_docs yaml > config/fsm.yaml
python -m fsm_ros.tools.parameter_docs markdown > docs/parameters.md
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


_PREFACE = """\
# Parameters

<!-- Written by: python -m fsm_ros.tools.parameter_docs markdown > docs/parameters.md -->

All of them with their defaults are in [config/fsm.yaml](../config/fsm.yaml). Those marked * may change at run time, the
others while the node is unconfigured. A number may be written as `5` or as `5.0`; the node warns of a name that it does
not know, and ends with exit code 1 and one line where a value is of another type or out of range.

| parameter | default | range | |
|---|---|---|---|
"""


def as_markdown() -> str:
    """The contents of ``docs/parameters.md``: a table of every parameter, with default, range, unit and description."""
    lines = []
    for parameter in PARAMETERS:
        allowed = ", ".join(parameter.choices) or parameter.range
        mark = " *" if parameter.at_run_time else ""
        lines.append(f"| `{parameter.name}`{mark} | `{_yaml(parameter.value)}` | {allowed} | {parameter.description} |")
    return _PREFACE + "\n".join(lines) + "\n"


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
