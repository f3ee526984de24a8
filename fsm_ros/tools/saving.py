# SPDX-License-Identifier: Apache-2.0
"""What `save_memory` does: it waits until the node has nothing left to observe, and asks it to save."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import rclpy

from fsm_ros.tools.ask_views import SETTLED_REPORTS, Notebook
from fsm_ros.tools.services import a_node, ask, find
from fsm_ros_msgs.srv import SaveMemory

if TYPE_CHECKING:
    from fsm_ros.tools.save_memory import Options


@dataclass(frozen=True)
class Saved:
    """What was saved.

    Attributes:
        path: the file, where the node is.
        size: bytes.
        is_busy: whether the node still had something to observe.
    """

    path: str
    size: int
    is_busy: bool


def save(options: Options, ros_arguments: Sequence[str]) -> Saved:
    """Wait and ask.

    Raises:
        fsm_ros.tools.services.NoAnswer: nothing was saved; it says why.
    """
    with a_node("save_memory", ros_arguments) as node:
        client = node.create_client(SaveMemory, f"{options.node}/save_memory")
        find(client, options.timeout_s)
        notebook, deadline_s = Notebook(node, options.node), time.monotonic() + options.settle_s
        while notebook.settled < SETTLED_REPORTS and time.monotonic() < deadline_s:
            rclpy.spin_once(node, timeout_sec=0.1)
        is_busy = notebook.settled < SETTLED_REPORTS and options.settle_s > 0
        response = ask(node, client, SaveMemory.Request(path=options.name), options.timeout_s)
    return Saved(response.path, response.size, is_busy)
