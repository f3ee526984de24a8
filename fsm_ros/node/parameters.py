"""The parameters of a node: declared, read, and checked when they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from fsm_ros.configuration.table import BY_NAME, PARAMETERS, RENAMED, S, changed, settings_from
from fsm_ros.node.parameter_descriptors import descriptor


def declare(node: Node) -> None:
    """Declare all parameters on a node, and warn of those that were called otherwise before: ROS passes over them."""
    for name in sorted(RENAMED.keys() & node._parameter_overrides.keys()):
        node.get_logger().warning(f"there is no parameter {name} any more, it does nothing: it is {RENAMED[name]} now")
    for said in PARAMETERS:
        node.declare_parameter(said.name, said.value, descriptor(said))


def values(node: Node) -> dict[str, object]:
    """The current values of all parameters of a node, by name."""
    return {name: node.get_parameter(name).value for name in BY_NAME}


def read(node: Node, default: S) -> S:
    """Settings with the current values of a node's parameters; raises as :func:`changed`."""
    return changed(default, values(node))


def on_change(
    current: Callable[[], Mapping[str, object]], is_configured: Callable[[], bool]
) -> Callable[[Sequence[Parameter]], SetParametersResult]:
    """A callback for ``add_on_set_parameters_callback``: all changes of a request are allowed, or none.

    Args:
        current: the values in force, by name.
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
            settings_from({**current(), **wanted})
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    return check
