# SPDX-License-Identifier: Apache-2.0
"""What the examples are shown on where they are given nothing: a robot that turns in a procedural room."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsm_ros import Camera
from fsm_ros.replay.demo.bag import DemoRobot, find_demo_world, write_demo_bag

CAMERA = Camera(64, 64, fx=50.0, fy=50.0, cx=32.0, cy=32.0)
DURATION_S, RATE_HZ = 5.0, 5.0


def arrays() -> tuple[NDArray[np.uint8], NDArray[np.float64], Camera, NDArray[np.int64]]:
    """Images ``[N, 64, 64, 3]``, poses ``[N, 4, 4]``, their camera, and stamps ``[N]`` in nanoseconds."""
    robot = DemoRobot(DURATION_S)
    times_s = np.arange(0.0, DURATION_S, 1.0 / RATE_HZ)
    world_from_camera = np.stack([robot.map_from_camera(time_s) for time_s in times_s])
    images = find_demo_world(0, robot, DURATION_S).render(CAMERA, world_from_camera, times_s)
    return images, world_from_camera, CAMERA, np.round(times_s * 1e9).astype(np.int64)


def bag() -> Path:
    """The same as a rosbag2 in ``out/``, written where there is none yet."""
    path = Path("out/a_room")
    return path if path.exists() else write_demo_bag(path, duration_s=DURATION_S, rate_hz=RATE_HZ, camera=CAMERA)
