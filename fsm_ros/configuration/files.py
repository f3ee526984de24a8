# SPDX-License-Identifier: Apache-2.0
"""Parameter sets as people write them: ROS 2 parameter files, and NAME=VALUE on a command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from fsm_ros.parameter import is_of_every_node

_PARAMETERS_KEY = "ros__parameters"
_NODES = ("/**", "fsm", "/fsm", "/**/fsm")
"""The names that a parameter file may give this node."""


def read_parameter_file(path: Path) -> dict[str, object]:
    """The changes that a ROS 2 parameter file makes to this node's parameters, by dotted name.

    Plain YAML without ``ros__parameters`` is taken too: names and values. What ROS itself gives every node, the clock
    say, is left out. Nothing is checked but the form; see `fsm_ros.configuration.table.settings_from`.

    Raises:
        ValueError: it cannot be read, is no YAML, or has nothing for this node.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the parameter file {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"the parameter file {path} is no YAML: {error}") from error
    if not isinstance(values, Mapping) or not values:
        raise ValueError(f"the parameter file {path} must hold parameters by name, like config/fsm.yaml")
    if not any(isinstance(entry, Mapping) and _PARAMETERS_KEY in entry for entry in values.values()):
        return _own(_flat(values, path))
    changes: dict[str, object] = {}
    for node, entry in values.items():
        if node in _NODES and isinstance(entry, Mapping):
            changes |= _flat(entry.get(_PARAMETERS_KEY) or {}, path)
    if not changes:
        raise ValueError(
            f"the parameter file {path} has nothing for this node (it has {', '.join(map(str, values))}): put the "
            f"parameters below /**: {_PARAMETERS_KEY}:"
        )
    return _own(changes)


def read_changes(files: Iterable[Path], assignments: Iterable[str]) -> dict[str, object]:
    """What parameter files and ``NAME=VALUE`` change, by dotted name; the later goes before, and words before files.

    Raises:
        ValueError: as of `read_parameter_file` and `parse_assignment`.
    """
    changes: dict[str, object] = {}
    for file in files:
        changes |= read_parameter_file(file)
    return changes | dict(map(parse_assignment, assignments))


def parse_assignment(text: str) -> tuple[str, object]:
    """A parameter's name and value from ``NAME=VALUE``, the value in YAML.

    >>> parse_assignment("cameras=[left, right]")
    ('cameras', ['left', 'right'])

    Raises:
        ValueError: another form.
    """
    name, found, value = text.partition("=")
    if not (found and name.strip()):
        raise ValueError(f"a parameter is set by NAME=VALUE, got {text!r}")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"the value of {name.strip()}, {value!r}, is no YAML") from error


def _own(changes: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in changes.items() if not is_of_every_node(name)}


def _flat(values: object, path: Path, prefix: str = "") -> dict[str, object]:
    """Dotted names of nested mappings."""
    if not isinstance(values, Mapping):
        raise ValueError(f"the parameter file {path} must hold parameters by name, got {values!r}")
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, path, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
