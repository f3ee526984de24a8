# SPDX-License-Identifier: Apache-2.0
"""What rclpy's lifecycle leaves out: why a transition failed, and a refusal of one that is not possible."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

N = TypeVar("N", bound=LifecycleNode)


def telling(
    transition: Callable[[N, LifecycleState], TransitionCallbackReturn],
) -> Callable[[N, LifecycleState], TransitionCallbackReturn]:
    """Logs what a transition callback raises: rclpy makes an error state of it and tells nobody why."""

    @wraps(transition)
    def told(node: N, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            node.get_logger().error(f"{transition.__name__} failed: {type(error).__name__}: {error}")
            raise

    return told


def refuse_impossible(node: LifecycleNode) -> None:
    """Answer a request for a transition that is not possible now; rclpy lets it end the whole process."""
    service = node._service_change_state
    change_state = service.callback

    def changed(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        try:
            return change_state(request, response)
        except rclpy_implementation.RCLError:
            asked = request.transition.label or f"number {request.transition.id}"
            state, possible = node._state_machine.current_state[1], node._state_machine.available_transitions
            names = ", ".join(sorted({name for _, name, *_ in possible})) or "none until it has ended"
            node.get_logger().warning(f"transition {asked} was refused: from {state} there is {names}")
            response.success = False
            return response

    service.callback = changed
