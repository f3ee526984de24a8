# SPDX-License-Identifier: Apache-2.0
"""A node in a process of its own that listens to /camera, in a ROS domain that nobody else is in; for benchmarks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fsm_ros.replay.demo.ros_domain import LAST, free_domain


@contextmanager
def node_beside_camera(parameters: Sequence[str]) -> Iterator[None]:
    """Run it; this process moves into its domain. Args: parameters, ``NAME:=VALUE`` each."""
    domain = free_domain(range(os.getpid() % LAST, os.getpid() % LAST + LAST))
    os.environ |= {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    command = [sys.executable, "-m", "fsm_ros.node.fsm_node", "--ros-args"]
    for remap in ("image_raw:=/camera/image_raw", "camera_info:=/camera/camera_info"):
        command += ["-r", remap]
    for parameter in parameters:
        command += ["-p", parameter]
    with subprocess.Popen(command) as node:
        try:
            yield
        finally:
            node.send_signal(signal.SIGINT)


def player_of(bag: Path) -> list[str]:
    """The command that plays a bag once the node listens."""
    return [sys.executable, "-m", "fsm_ros.tools.play_bag", str(bag), "--no-progress", "--wait-for-subscribers", "30"]
