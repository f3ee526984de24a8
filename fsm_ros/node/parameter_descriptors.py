# SPDX-License-Identifier: Apache-2.0
"""How ROS is told of a parameter."""

from __future__ import annotations

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from fsm_ros.parameter import Parameter


def descriptor(said: Parameter) -> ParameterDescriptor:
    """The descriptor that ``ros2 param describe`` shows, with the range that rcl enforces."""
    unit = f" [{said.unit}]" if said.unit else ""
    told = ParameterDescriptor(name=said.name, description=f"{said.description}{unit}")
    constraints = [f"one of: {', '.join(said.choices)}"] if said.choices else []
    if not said.at_run_time:
        constraints.append("fixed while the node is configured")
    told.additional_constraints = "; ".join(constraints)
    if said.low is not None and said.high is not None:
        if isinstance(said.value, int):
            told.integer_range = [IntegerRange(from_value=int(said.low), to_value=int(said.high))]
        else:
            told.floating_point_range = [FloatingPointRange(from_value=float(said.low), to_value=float(said.high))]
    return told
