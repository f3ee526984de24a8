# SPDX-License-Identifier: Apache-2.0
"""Training settings to and from YAML; an unknown name or a value of the wrong kind is an error that names the entry."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from fsm_ros.memory.configuration import ModelConfig
from fsm_ros.memory.rules.naming import NamedRule, rule_as_plain, rule_from
from fsm_ros.recall.net import RecallConfig
from fsm_ros.training.scenes import Family, SceneSettings
from fsm_ros.training.settings import (
    Arithmetic,
    DataSettings,
    EpisodeSettings,
    LearnSettings,
    OptimizerKind,
    OptimizerSettings,
    Parallelism,
    RecallTraining,
    Recording,
    ReportSettings,
    SettingsError,
    TrainSettings,
)


def load_settings(path: Path, changes: Mapping[str, object] | None = None) -> TrainSettings:
    """Read a training configuration.

    Args:
        path: a YAML file.
        changes: entries to replace, by their dotted names.

    Raises:
        SettingsError: unreadable, an unknown entry, or a value that cannot be.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read as YAML: {error}") from error
    try:
        for name, value in (changes or {}).items():
            _replace(content, name, value)
        return settings_from(content)
    except (SettingsError, TypeError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error


def _replace(content: object, name: str, value: object) -> None:
    *parents, last = name.split(".")
    for parent in parents:
        content = content.setdefault(parent, {}) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        raise SettingsError(f"there is no entry {name} to replace")
    content[last] = value


def settings_from(content: object) -> TrainSettings:
    """From nested names and values, as YAML gives them.

    Raises:
        SettingsError: an unknown entry, or a value that cannot be.
    """
    if not isinstance(content, Mapping) or "model" not in content:
        raise SettingsError("a training configuration is a mapping with at least an entry 'model'")
    return _read(TrainSettings, content, "")


def as_plain(value: object) -> Any:  # noqa: ANN401  # whatever YAML and JSON can hold
    """Settings as plain names and values, the inverse of :func:`settings_from`."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, NamedRule):
        return rule_as_plain(value)
    if is_dataclass(value) and not isinstance(value, type):
        plain = {f.name: as_plain(getattr(value, f.name)) for f in fields(value)}
        if isinstance(value, SceneSettings):
            plain["families"] = {family.value: weight for family, weight in value.families}
        return plain
    if isinstance(value, Mapping):
        return {key: as_plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(entry) for entry in value]
    return value


_Settings = TypeVar("_Settings")
_ENUMS: dict[str, type[Enum]] = {enum.__name__: enum for enum in (Arithmetic, Parallelism, OptimizerKind)}
_NESTED: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        EpisodeSettings,
        DataSettings,
        OptimizerSettings,
        ReportSettings,
        SceneSettings,
        ModelConfig,
        LearnSettings,
        RecallTraining,
        RecallConfig,
    )
}


def _read(kind: type[_Settings], content: object, where: str) -> _Settings:
    if not isinstance(content, Mapping):
        raise SettingsError(f"{where or 'the configuration'} must be a mapping, got {content!r}")
    known = {f.name: str(f.type) for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in content.keys() - known.keys())
    if unknown:
        raise SettingsError(f"unknown {', '.join(where + name for name in unknown)}: known are {', '.join(known)}")
    return kind(**{name: _value(known[name], entry, f"{where}{name}") for name, entry in content.items()})


def _value(kind: str, entry: object, where: str) -> object:
    """An entry as its annotation wants it."""
    kind, optional, _ = kind.partition(" | None")
    if entry is None and optional:
        return None
    if kind == "NamedRule" and (entry is None or isinstance(entry, Mapping)):
        try:
            return rule_from(entry)
        except ValueError as error:
            raise SettingsError(f"{where}: {error}") from error
    if kind in _NESTED:
        return _read(_NESTED[kind], entry, f"{where}.")
    if kind in _ENUMS:
        try:
            return _ENUMS[kind](entry)
        except ValueError:
            known = [member.value for member in _ENUMS[kind]]
            raise SettingsError(f"{where} must be one of {known}, got {entry!r}") from None
    if kind in _PLAIN:
        return _PLAIN[kind](entry, where)
    if kind == "Mapping[int, float]" and isinstance(entry, Mapping):
        return {_whole(key, where): _number(weight, where) for key, weight in entry.items()}
    if kind == "tuple[tuple[Family, float], ...]" and isinstance(entry, Mapping):
        return tuple((_family(name, where), _number(weight, where)) for name, weight in entry.items())
    if kind == "tuple[Recording, ...]" and isinstance(entry, (list, tuple)):
        return tuple(_recording(each, where) for each in entry)
    if kind == "tuple[float, float]" and isinstance(entry, (list, tuple)) and len(entry) == 2:
        return tuple(_number(each, where) for each in entry)
    if kind == "tuple[int, ...]" and isinstance(entry, (list, tuple)):
        return tuple(_whole(each, where) for each in entry)
    raise SettingsError(f"{where} must be {_WANTED.get(kind, kind)}, got {entry!r}")


_WANTED = {
    "NamedRule": "a mapping with the rule's kind and its entries",
    "Mapping[int, float]": "a mapping from whole numbers to weights",
    "tuple[tuple[Family, float], ...]": "a mapping from families to weights",
    "tuple[Recording, ...]": "a list of paths or of mappings with a path",
    "tuple[float, float]": "a list of two numbers",
    "tuple[int, ...]": "a list of whole numbers",
}


def _whole(entry: object, where: str) -> int:
    if isinstance(entry, bool) or not isinstance(entry, int):
        raise SettingsError(f"{where} must be a whole number, got {entry!r}")
    return entry


def _number(entry: object, where: str) -> float:
    # YAML 1.1 takes 6e-4, which has no point, for text.
    try:
        number = float(entry) if isinstance(entry, (int, float, str)) and not isinstance(entry, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SettingsError(f"{where} must be a finite number, got {entry!r}")
    return number


def _flag(entry: object, where: str) -> bool:
    if not isinstance(entry, bool):
        raise SettingsError(f"{where} must be true or false, got {entry!r}")
    return entry


def _text(entry: object, where: str) -> str:
    if not isinstance(entry, str):
        raise SettingsError(f"{where} must be text, got {entry!r}")
    return entry


_PLAIN: dict[str, Callable[[object, str], object]] = {"int": _whole, "float": _number, "bool": _flag, "str": _text}


def _family(name: object, where: str) -> Family:
    try:
        return Family(name)
    except ValueError:
        known = ", ".join(family.value for family in Family)
        raise SettingsError(f"{where} must map families ({known}) to weights, got {name!r}") from None


def _recording(entry: object, where: str) -> Recording:
    return Recording(entry) if isinstance(entry, str) else _read(Recording, entry, f"{where}.")
