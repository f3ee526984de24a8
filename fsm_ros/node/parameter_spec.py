"""What is said of one parameter, and how ROS is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor


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
    default: bool | int | float | str | list[str]
    description: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    at_run_time: bool = False

    def descriptor(self) -> ParameterDescriptor:
        """The descriptor that ``ros2 param describe`` shows, with the range that rcl enforces."""
        unit = f" [{self.unit}]" if self.unit else ""
        descriptor = ParameterDescriptor(name=self.name, description=f"{self.description}{unit}")
        if self.choices:
            descriptor.additional_constraints = f"one of: {', '.join(self.choices)}"
        if self.low is not None and self.high is not None:
            if isinstance(self.default, int):
                descriptor.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high))]
            else:
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=float(self.low), to_value=float(self.high))
                ]
        return descriptor


def words(enum: type[Enum]) -> tuple[str, ...]:
    """The values of an enumeration of strings."""
    return tuple(member.value for member in enum)
