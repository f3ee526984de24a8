# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the node, read off the fields of its settings; and settings from parameters by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import TypeVar

from fsm_ros.configuration.settings import Settings
from fsm_ros.parameter import Checked, Parameter, Value, parameter_at

S = TypeVar("S", bound=Checked)

RENAMED: Mapping[str, str] = {
    "memory.places": "memory.submaps",
    "memory.place_distance": "memory.submap_distance",
    "memory.measure_surprise": "memory.measure_prediction",
}
"""What parameters were called before."""

_ORDER = (
    *("autostart", "storage_dir", "model", "memory", "consolidation", "elastic", "memory.anchor_sharing", "recall"),
    *("cameras", "input", "tf", "keyframes", "chunk", "render.max_pixels", "render.timeout", "render"),
    *("points", "preview", "viewer", "diagnostics"),
)
"""Groups of parameters, and some that stand alone, in the order of the documents."""


def settings_from(values: Mapping[str, object]) -> Settings:
    """The settings of a node whose parameters have these values, and their defaults where there is none.

    >>> settings_from({"memory.rule": "elastic", "elastic.strength": 2}).memory.rule.strength
    2.0

    Args:
        values: by name, as a file, a message or a command line gives them.

    Raises:
        ValueError: an unknown name; a value that the parameter may not have, also of a rule that is not asked for; or
            settings that do not go together.
    """
    for name in values:
        if name not in BY_NAME:
            raise ValueError(unknown(name))
    return changed(Settings(), values)


def nearest(name: str) -> str | None:
    """The parameter that is meant by the name of none: what it is called now, or the one that is written most alike."""
    return RENAMED.get(name) or next(iter(difflib.get_close_matches(name, BY_NAME, n=1)), None)


def unknown(name: str) -> str:
    """What is said of a name that is no parameter's.

    >>> unknown("memory.places")
    'there is no parameter memory.places: did you mean memory.submaps?'
    """
    near = nearest(name)
    return f"there is no parameter {name}: " + (
        f"did you mean {near}?" if near else "config/fsm.yaml lists all there are"
    )


def changed(settings: S, values: Mapping[str, object]) -> S:
    """Settings with the values of some parameters; names that are none of theirs are passed over.

    Raises:
        ValueError: as `settings_from`, but for unknown names.
    """
    held: dict[str, object] = {}
    for field in fields(settings):
        now, said = getattr(settings, field.name), parameter_at(field)
        if said is None:
            held[field.name] = _changed(now, values)
        elif said.alternatives:
            word = said.word_of(now)
            # All are made: what is wrong with one is said, whichever is asked for.
            made = {each: _changed(one, values) for each, one in {**said.alternatives, word: now}.items()}
            held[field.name] = made[str(said.read(values.get(said.name, word)))]
        else:
            held[field.name] = said.read(values[said.name]) if said.name in values else now
    return replace(settings, **held)


def _changed(held: object, values: Mapping[str, object]) -> object:
    return changed(held, values) if isinstance(held, Checked) else held


def values_of(settings: Settings) -> dict[str, Value]:
    """What settings hold, by name, as files and messages say it: the inverse of `settings_from`.

    Of a rule that is not asked for, these are the defaults.
    """
    return {parameter.name: parameter.value for parameter in _parameters(settings)}


def _parameters(holder: object) -> Iterator[Parameter]:
    """The parameters of settings, each with what is held, in the order of the fields."""
    if not isinstance(holder, Checked):
        return
    for field in fields(holder):
        now, said = getattr(holder, field.name), parameter_at(field)
        if said is None:
            yield from _parameters(now)
        elif said.alternatives:
            word = said.word_of(now)
            yield replace(said, held=word)
            for one in {**said.alternatives, word: now}.values():
                yield from _parameters(one)
        else:
            yield replace(said, held=now)


def _place(parameter: Parameter) -> int:
    group = parameter.name.split(".")[0]
    return _ORDER.index(parameter.name if parameter.name in _ORDER else group)


PARAMETERS: tuple[Parameter, ...] = tuple(sorted(_parameters(Settings()), key=_place))
"""All there are, with their defaults, in the order of the documents."""
BY_NAME: Mapping[str, Parameter] = {parameter.name: parameter for parameter in PARAMETERS}
