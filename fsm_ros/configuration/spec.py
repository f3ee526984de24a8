"""What is said of one parameter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

Value = bool | int | float | str | list[str]
"""What a parameter may be."""


@dataclass(frozen=True)
class Spec:
    """One parameter.

    Attributes:
        name: dotted, as in YAML.
        default: also says the type.
        description: what it does, and what special values mean.
        unit: of the number; empty where it has none.
        low: smallest allowed number.
        high: largest allowed number.
        choices: allowed words.
        at_run_time: whether it may change while the node is configured.
    """

    name: str
    default: Value
    description: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    at_run_time: bool = False

    def checked(self, value: object) -> Value:
        """The value as its type; a whole number is taken for a float, as ROS's command line does.

        Raises:
            ValueError: of another type, out of range or none of the choices.
        """
        wanted = type(self.default)
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if type(value) is not wanted or (wanted is list and not is_list):
            kind = "list of str" if wanted is list else wanted.__name__
            raise ValueError(f"{self.name} must be of type {kind}, got {value!r}")
        if isinstance(value, float | int) and self.low is not None and self.high is not None:
            if not self.low <= value <= self.high or math.isnan(value):
                raise ValueError(f"{self.name} must be from {self.low:g} to {self.high:g} {self.unit}, got {value!r}")
        self.check_choice(value)
        return value

    def check_choice(self, value: object) -> None:
        """Check a word.

        Raises:
            ValueError: there are choices, and it is none of them.
        """
        if self.choices and value not in self.choices:
            raise ValueError(f"{self.name} must be one of {', '.join(self.choices)}, got {value!r}")


def words(enum: type[Enum]) -> tuple[str, ...]:
    """The values of an enumeration of strings."""
    return tuple(member.value for member in enum)
