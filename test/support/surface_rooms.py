# SPDX-License-Identifier: Apache-2.0
"""Views of a room as a camera's messages."""

from __future__ import annotations

from node_camera import CAMERA_FRAME, Frame, camera_info, raw_image, transform
from scipy.spatial.transform import Rotation

from fsm_ros.stream.frame import PosedImage


def as_frame(view: PosedImage) -> Frame:
    """A view with its calibration and its pose in map."""
    camera, pose, stamp_ns = view.camera, view.world_from_camera, view.stamp_ns
    info = camera_info(camera.width, camera.height, stamp_ns)
    fx, fy, cx, cy = camera.fx, camera.fy, camera.cx - 0.5, camera.cy - 0.5
    info.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    info.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat().tolist()
    placed = transform("map", CAMERA_FRAME, stamp_ns, pose[:3, 3].tolist(), quaternion)
    return Frame(stamp_ns, raw_image(view.image, CAMERA_FRAME, stamp_ns), info, placed)
