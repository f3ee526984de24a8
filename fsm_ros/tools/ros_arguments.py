# SPDX-License-Identifier: Apache-2.0
"""Which words of a command line are for ROS. Standard library only."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def split_ros_arguments(arguments: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Our own arguments, and those between ``--ros-args`` and ``--``. Args: ``None``: those of the process.

    Unlike rclpy's own filter this leaves FROM:=TO outside of ``--ros-args`` alone, which is ours.
    """
    own: list[str] = []
    ros: list[str] = []
    is_ros = False
    for word in sys.argv[1:] if arguments is None else arguments:
        is_ros = is_ros or word == "--ros-args"
        (ros if is_ros else own).append(word)
        is_ros = is_ros and word != "--"
    return own, ros
