# SPDX-License-Identifier: Apache-2.0
"""Our Camera to sensor_msgs/CameraInfo; what cameras send is read in ``fsm_ros.messages``."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo

from fsm_ros.stream.frame import Camera, Distortion


def info_from_camera(camera: Camera, frame_id: str, stamp: Time) -> CameraInfo:
    """The calibration of an image without distortion; ROS puts pixel centres at integers, we at half-integers."""
    cx, cy = camera.cx - 0.5, camera.cy - 0.5
    info = CameraInfo(width=camera.width, height=camera.height, distortion_model=Distortion.PLUMB_BOB.value)
    info.header.frame_id = frame_id
    info.header.stamp = stamp
    info.d = [0.0] * 5
    info.k = [camera.fx, 0.0, cx, 0.0, camera.fy, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [camera.fx, 0.0, cx, 0.0, 0.0, camera.fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info
