# SPDX-License-Identifier: Apache-2.0
"""The settings that an evaluation compares, each with the name of its column."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fsm_ros.configuration.files import read_parameter_file
from fsm_ros.configuration.settings import Settings
from fsm_ros.configuration.table import settings_from
from fsm_ros.memory.rules.kinds import RuleKind
from fsm_ros.spatial.settings import MemoryMode

CONFIGURED = "configured"
"""The parameters as they are given, and nothing else."""

_ONE_PLACE = {"memory.mode": MemoryMode.STREAMING.value, "memory.submaps": 1}

NAMED: Mapping[str, Mapping[str, object]] = {
    CONFIGURED: {},
    "consolidation": {**_ONE_PLACE, "memory.rule": RuleKind.CONSOLIDATION.value},
    "elastic": {**_ONE_PLACE, "memory.rule": RuleKind.ELASTIC.value},
    "plastic": {**_ONE_PLACE, "memory.rule": RuleKind.PLASTIC.value},
    "windowed": {"memory.mode": MemoryMode.WINDOWED.value},
}
"""What a name changes about the parameters: the rules alone, in one submap each, so that they differ in nothing else;
`windowed` encodes the last chunks again, in batch order."""


@dataclass(frozen=True)
class Setting:
    """One column of an evaluation.

    Attributes:
        name: of the column; letters, digits, ``_``, ``.`` and ``-``.
        changes: to the default parameters, by name.
    """

    name: str
    changes: Mapping[str, object] = field(default_factory=dict)

    @property
    def parameters(self) -> Settings:
        """The settings of the node whose parameters these are.

        Raises:
            ValueError: an unknown parameter, or a value it may not have.
        """
        try:
            return settings_from(self.changes)
        except ValueError as error:
            raise ValueError(f"setting {self.name}: {error}") from error


def check_values(settings: Settings) -> None:
    """Check that settings, sound as they are, leave something to measure.

    Raises:
        ValueError: they do not.
    """
    width, height, most = settings.memory.width, settings.memory.height, settings.memory.max_pixels
    if width * height > most:
        raise ValueError(
            f"views of {width}x{height} pixels (memory.width, memory.height) could be observed, and none of them "
            f"rendered: set render.max_pixels, which is {most}, to {width * height} at least"
        )


def settings_of(compare: Sequence[str], base: Mapping[str, object]) -> tuple[Setting, ...]:
    """The settings that a comparison names, all checked.

    Args:
        compare: each a name of `NAMED`, a parameter file, or NAME=FILE.
        base: changes to the defaults that all of them share; a setting's own go before.

    Raises:
        ValueError: an unknown name, a file that cannot be used, or a name twice.
    """
    settings = []
    for text in compare:
        name, changes = _named(text.strip())
        setting = Setting(name, {**base, **changes})
        check_values(setting.parameters)  # whatever is wrong with it is said before anything runs
        settings.append(setting)
    names = [setting.name for setting in settings]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is compared with itself: give each setting a name of its own, NAME=FILE")
    return tuple(settings)


def _named(text: str) -> tuple[str, Mapping[str, object]]:
    if text in NAMED:
        return text, NAMED[text]
    name, found, file = text.partition("=")
    path = Path(file if found else text).expanduser()
    if not found and path.suffix not in (".yaml", ".yml"):
        raise ValueError(
            f"there is no setting {text!r}: take one of {', '.join(NAMED)}, or a parameter file, FILE.yaml or "
            "NAME=FILE.yaml"
        )
    name = name if found else path.stem
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"a setting's name is letters, digits, _, . and -, got {name!r}: use NAME=FILE.yaml")
    return name, read_parameter_file(path)
