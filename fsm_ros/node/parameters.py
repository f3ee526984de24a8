# SPDX-License-Identifier: Apache-2.0
"""The parameters of a node: declared, read, and checked when they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterNotDeclaredException
from rclpy.node import Node
from rclpy.parameter import Parameter

from fsm_ros.configuration.settings import Settings
from fsm_ros.configuration.table import (
    BY_NAME,
    PARAMETERS,
    RENAMED,
    S,
    changed,
    nearest,
    settings_from,
    unknown,
)
from fsm_ros.errors import FsmError
from fsm_ros.memory.checkpoint import stated_config
from fsm_ros.node.parameter_descriptors import descriptor
from fsm_ros.parameter import is_of_every_node

_SIZES = {"memory.width", "memory.height"}


class ParameterError(FsmError, ValueError):
    """Values that the parameters of a node may not have; the message names each, in one line."""


class UnknownParameterError(FsmError, ParameterNotDeclaredException):
    """There is no parameter of this name; the message names the one that may be meant. rclpy answers with it."""

    def __init__(self, why: str) -> None:
        """With its message."""
        Exception.__init__(self, why)


def declare(node: Node) -> None:
    """Declare all parameters on a node, with the values that files and the command line give them.

    A number may be written as an integer or as a float, here and when it is set later. Names that are those of no
    parameter are warned of: ROS passes over them.

    Raises:
        ParameterError: a value is of another type, out of range, or none of the choices.
    """
    given: dict[str, object] = {name: override.value for name, override in node._parameter_overrides.items()}
    _tell_unknown(node, given)
    values, wrong = {}, []
    for said in PARAMETERS:
        try:
            values[said.name] = said.taken(given.get(said.name, said.value))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ParameterError("; ".join(wrong))
    for said in PARAMETERS:
        node.declare_parameter(said.name, values[said.name], descriptor(said), ignore_override=True)
    node.add_pre_set_parameters_callback(lambda changes: [_as_declared(node, change) for change in changes])


def _tell_unknown(node: Node, names: Mapping[str, object]) -> None:
    """Warn of names that nobody declares: a line each where one is meant, and one for the rest, maybe of others."""
    log, of_others = node.get_logger(), []
    for name in sorted(names):
        if name in BY_NAME or is_of_every_node(name):
            continue
        near = nearest(name)
        if name in RENAMED:
            log.warning(f"there is no parameter {name} any more, it does nothing: it is {near} now")
        elif near is not None:
            log.warning(f"there is no parameter {name}, it does nothing: did you mean {near}?")
        else:
            of_others.append(name)
    if of_others:
        log.warning(f"not parameters of this node, they do nothing here: {', '.join(of_others)}")


def _as_declared(node: Node, change: Parameter) -> Parameter:
    """A number of its parameter's own type, anything else as it is; all is checked afterwards.

    Raises:
        UnknownParameterError: there is no such parameter.
    """
    if not node.has_parameter(change.name):
        raise UnknownParameterError(unknown(change.name))
    said = BY_NAME.get(change.name)
    if said is None or said.choices or not isinstance(change.value, int | float):
        return change
    return Parameter(change.name, value=said.read(change.value))


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
            settings = settings_from({**current(), **wanted})
            if wanted.keys() & _SIZES:
                _check_patch(settings)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    return check


def _check_patch(settings: Settings) -> None:
    """Check the size of observed views against the patch that the weights state, where they do.

    Raises:
        ValueError: views of this size cannot be cut into patches.
    """
    config = stated_config(settings.model.checkpoint)
    if config is not None:
        settings.memory.check_patch(config.patch_size)
