# SPDX-License-Identifier: Apache-2.0
"""Services that answer whatever happens: in a burst, and where a fault of this node is met."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Protocol, TypeVar

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.service import Service


class Answer(Protocol):
    """What all responses have."""

    success: bool
    message: str


Q = TypeVar("Q")
A = TypeVar("A", bound=Answer)

EVERY_REQUEST = QoSProfile(
    history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE
)
"""Of services: a burst waits to be answered. By ROS's default all but the last ten of it would be lost in silence."""


def serve_always(
    node: Node, kind: type, name: str, serve: Callable[[Q, A], A | Awaitable[A]], group: CallbackGroup
) -> Service:
    """A service that answers whatever happens: a request must neither end the process nor wait for ever.

    Args:
        node: where it lives, and whose log tells a fault with its traceback.
        kind: of service.
        name: of it.
        serve: fills in a response with ``success`` and ``message``; may be a coroutine.
        group: of its callback.
    """

    async def answer(request: Q, response: A) -> A:
        try:
            answered = serve(request, response)
            return await answered if isawaitable(answered) else answered
        except Exception as error:
            response.success, response.message = False, fault(node, error)
            return response

    return node.create_service(kind, name, answer, qos_profile=EVERY_REQUEST, callback_group=group)


def fault(node: Node, error: Exception) -> str:
    """What to answer a request that met a fault of this node, which is told in the log with its traceback."""
    node.get_logger().error(f"a request met a fault of this node:\n{''.join(traceback.format_exception(error))}")
    return f"{type(error).__name__}: {error} (a fault of this node, see its log)"
