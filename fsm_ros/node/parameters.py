"""The parameters of a node: declared, read, and checked when they change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from fsm_ros.configuration.table import BY_NAME, PARAMETERS
from fsm_ros.configuration.values import Values
from fsm_ros.node.parameter_descriptors import descriptor


def declare(node: Node) -> None:
    """Declare all parameters on a node."""
    for spec in PARAMETERS:
        node.declare_parameter(spec.name, spec.default, descriptor(spec))


def read(node: Node) -> Values:
    """The current values of all parameters of a node."""
    return Values({spec.name: node.get_parameter(spec.name).value for spec in PARAMETERS})


def on_change(
    read_values: Callable[[], Values], is_configured: Callable[[], bool]
) -> Callable[[Sequence[Parameter]], SetParametersResult]:
    """A callback for ``add_on_set_parameters_callback``: all changes of a request are allowed, or none.

    Args:
        read_values: the values in force.
        is_configured: whether the node has built its parts from them.
    """

    def check(changes: Sequence[Parameter]) -> SetParametersResult:
        wanted = {change.name: change.value for change in changes if change.name in BY_NAME}
        frozen = [name for name in wanted if not BY_NAME[name].at_run_time]
        if frozen and is_configured():
            return SetParametersResult(
                successful=False,
                reason=f"{', '.join(frozen)} is read when the node is configured: deactivate and clean it up first",
            )
        try:
            for name, value in wanted.items():
                BY_NAME[name].check_choice(value)
            values = read_values().with_changes(wanted)
            values.memory()
            values.keyframes()
        except (TypeError, ValueError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    return check
