"""How ROS is told of a parameter."""

from __future__ import annotations

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from fsm_ros.configuration.spec import Spec


def descriptor(spec: Spec) -> ParameterDescriptor:
    """The descriptor that ``ros2 param describe`` shows, with the range that rcl enforces."""
    unit = f" [{spec.unit}]" if spec.unit else ""
    told = ParameterDescriptor(name=spec.name, description=f"{spec.description}{unit}")
    if spec.choices:
        told.additional_constraints = f"one of: {', '.join(spec.choices)}"
    if spec.low is not None and spec.high is not None:
        if isinstance(spec.default, int):
            told.integer_range = [IntegerRange(from_value=int(spec.low), to_value=int(spec.high))]
        else:
            told.floating_point_range = [FloatingPointRange(from_value=float(spec.low), to_value=float(spec.high))]
    return told
