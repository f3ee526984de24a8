# SPDX-License-Identifier: Apache-2.0
"""A parameter, said once: at the field of the settings that holds it, with its name, default, range, unit and text.

Settings are frozen dataclasses that inherit `Checked`. What a node declares, a file may say and the documents list is
read off their fields (:mod:`fsm_ros.configuration.table`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from enum import Enum
from typing import TypeVar, cast

Value = bool | int | float | str | list[str]
"""What a parameter may be in files, messages and documents."""
Held = bool | int | float | str | tuple[str, ...] | Enum
"""What it may be in settings."""

DAY_S = 86_400.0
"""Nothing that is waited for lasts longer."""

H = TypeVar("H", bound=Held)
T = TypeVar("T")
_KEY = "parameter"


@dataclass(frozen=True)
class Parameter:
    """What is said of one parameter.

    Attributes:
        name: dotted, as in YAML.
        held: what the settings hold, by default their default; also says the type.
        description: what it does, and what special values mean.
        unit: of the number; empty where it has none.
        low: smallest allowed number.
        high: largest allowed number.
        at_run_time: whether it may change while the node is configured.
        alternatives: what it chooses from, by word, where that are settings with parameters of their own.
    """

    name: str
    held: Held
    description: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    at_run_time: bool = False
    alternatives: Mapping[str, object] = field(default_factory=dict)

    @property
    def value(self) -> Value:
        """What is held, as files and messages say it."""
        if isinstance(self.held, Enum):
            return str(self.held.value)
        return list(self.held) if isinstance(self.held, tuple) else self.held

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words; none where it is no choice."""
        if isinstance(self.held, Enum):
            return tuple(member.value for member in type(self.held))
        return tuple(self.alternatives)

    @property
    def range(self) -> str:
        """The allowed numbers with their unit; empty where it is no number."""
        return "" if self.low is None else f"{self.low:g} to {self.high:g} {self.unit}".rstrip()

    def word_of(self, chosen: object) -> str:
        """Which of the alternatives settings are."""
        return {type(each): word for word, each in self.alternatives.items()}[type(chosen)]

    def read(self, value: object) -> object:
        """What the settings hold for a value from a file, a message or a command line; unchecked but for words.

        Of numbers it is the value that counts, not how it is written: 5 is taken for a float, 5.0 for an integer.

        Raises:
            ValueError: there are choices, and it is none of them.
        """
        if self.choices and value not in self.choices:
            raise ValueError(f"{self.name} must be one of {', '.join(self.choices)}, got {value!r}")
        if isinstance(self.held, Enum):
            return type(self.held)(value)
        if isinstance(self.held, float) and type(value) is int:
            return float(value)
        if type(self.held) is int and isinstance(value, float) and value.is_integer():
            return int(value)
        return tuple(value) if isinstance(value, list) else value

    def taken(self, value: object) -> Value:
        """A value from outside as messages say it, checked: numbers are of the parameter's own type.

        Raises:
            ValueError: it is of another type, out of range, or none of the choices; the parameter is named.
        """
        held = self.read(value)
        self.check(held)
        return replace(self, held=cast(Held, held)).value

    def check(self, held: object, field_name: str = "") -> None:
        """Check what settings hold.

        Args:
            held: it.
            field_name: what the settings call it, where that is told too.

        Raises:
            ValueError: it is of another type, or out of range.
        """
        told = field_name and field_name != self.name.split(".")[-1]
        called = f"{self.name} ({field_name})" if told else self.name
        kind = type(self.held)
        fits = isinstance(held, (int, float) if kind is float else kind) and isinstance(held, bool) == (kind is bool)
        if not fits or (isinstance(held, tuple) and not all(isinstance(item, str) for item in held)):
            named = "list of str" if kind is tuple else kind.__name__
            hint = f": it may be from {self.range}" if self.range else ""
            raise ValueError(f"{called} must be of type {named}, got {held!r}{hint}")
        if isinstance(held, int | float) and self.low is not None and self.high is not None:
            if not self.low <= held <= self.high:
                raise ValueError(f"{called} must be from {self.range}, got {held!r}")


def parameter(
    default: H,
    name: str,
    description: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    *,
    at_run_time: bool = False,
) -> H:
    """A field that holds a parameter; arguments as of `Parameter`."""
    said = Parameter(name, default, description, unit, low, high, at_run_time)
    return field(default=default, metadata={_KEY: said})


def one_of(name: str, alternatives: Mapping[str, T], description: str, *, at_run_time: bool = False) -> T:
    """A field that holds one of several settings, chosen by the word of a parameter; by default the first."""
    word, default = next(iter(alternatives.items()))
    said = Parameter(name, word, description, at_run_time=at_run_time, alternatives=alternatives)
    return field(default=default, metadata={_KEY: said})


def parameter_at(of: Field[object]) -> Parameter | None:
    """What a field says of its parameter; ``None`` where it holds none."""
    said: Parameter | None = of.metadata.get(_KEY)
    return said


def is_of_every_node(name: str) -> bool:
    """Whether ROS itself gives nodes a parameter of this name."""
    return name in ("use_sim_time", "start_type_description_service") or name.startswith("qos_overrides.")


@dataclass(frozen=True)
class Checked:
    """Settings whose parameters are of their type and in their range, or they are not made."""

    def __post_init__(self) -> None:
        """Check all parameters; settings that have more to check call this first.

        Raises:
            ValueError: one is of another type, or out of range; it is named.
        """
        for of in fields(self):
            said = parameter_at(of)
            if said is not None and not said.alternatives:
                said.check(getattr(self, of.name), of.name)
