# SPDX-License-Identifier: Apache-2.0
"""One question to a service, from a process that is there for nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy.client import Client
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from fsm_ros.errors import FsmError


class NoAnswer(FsmError, RuntimeError):
    """What was asked was not answered, or refused; the message says why."""


@contextmanager
def a_node(name: str, ros_arguments: Sequence[str]) -> Iterator[Node]:
    """A node that is gone afterwards, and ROS with it.

    Raises:
        NoAnswer: ROS was shut down meanwhile.
    """
    rclpy.init(args=list(ros_arguments))
    node = rclpy.create_node(name, start_parameter_services=False)
    try:
        yield node
    except ExternalShutdownException as error:
        raise NoAnswer("interrupted") from error
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def find(client: Client, timeout_s: float) -> None:
    """Wait for a service.

    Raises:
        NoAnswer: it does not come.
    """
    if not client.wait_for_service(timeout_sec=timeout_s):
        raise NoAnswer(f"no service {client.srv_name}: is the node running and active?")


def ask(node: Node, client: Client, request: object, timeout_s: float) -> Any:  # noqa: ANN401  # the service's
    """The response of a service that answers with ``success`` and ``message``.

    Raises:
        NoAnswer: none in time, or no success.
    """
    future = client.call_async(request)
    rclpy.spin_until_future_complete(node, future, timeout_sec=timeout_s)
    response = future.result() if future.done() else None
    if response is None:
        raise NoAnswer(f"no answer within {timeout_s:g} s")
    if not response.success:
        raise NoAnswer(response.message)
    return response
