# SPDX-License-Identifier: Apache-2.0
"""Keyframes as frustums, for RViz and Foxglove."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from fsm_ros.stream.frame import PosedImage

_REMEMBERED = ColorRGBA(r=0.20, g=0.60, b=1.00, a=0.8)
_JUST_SEEN = ColorRGBA(r=1.00, g=0.60, b=0.10, a=1.0)
_EDGES = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1))


def keyframe_markers(
    remembered: Sequence[PosedImage],
    just_seen: Sequence[PosedImage],
    depth_m: float,
    frame_id: str,
    stamp: Time,
) -> MarkerArray:
    """Two line lists: the frustums of the remembered keyframes, and of the newest chunk.

    Args:
        remembered: keyframes of the reservoir.
        just_seen: views of the newest chunk.
        depth_m: how far the frustums reach.
        frame_id: the frame that the poses are in.
        stamp: of the markers.
    """
    return MarkerArray(
        markers=[
            _frustums("remembered", remembered, depth_m, _REMEMBERED, frame_id, stamp),
            _frustums("just_seen", just_seen, depth_m, _JUST_SEEN, frame_id, stamp),
        ]
    )


def no_markers() -> MarkerArray:
    """Takes away whatever was shown before."""
    return MarkerArray(markers=[Marker(action=Marker.DELETEALL)])


def _frustums(
    namespace: str, frames: Sequence[PosedImage], depth_m: float, color: ColorRGBA, frame_id: str, stamp: Time
) -> Marker:
    marker = Marker(ns=namespace, id=0, type=Marker.LINE_LIST, action=Marker.ADD, color=color)
    marker.header.frame_id = frame_id
    marker.header.stamp = stamp
    marker.pose.orientation.w = 1.0
    marker.scale.x = 0.02 * depth_m
    for frame in frames:
        corners = [Point(x=x, y=y, z=z) for x, y, z in _corners(frame, depth_m)]
        marker.points.extend(corners[i] for edge in _EDGES for i in edge)
    return marker


def _corners(frame: PosedImage, depth_m: float) -> list[list[float]]:
    """The camera centre and the four corners of its image at a depth, in the world."""
    camera = frame.camera
    pixels = [(0, 0), (camera.width, 0), (camera.width, camera.height), (0, camera.height)]
    rays = [(0.0, 0.0, 0.0)] + [((u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1.0) for u, v in pixels]
    points = np.array(rays) * depth_m @ frame.world_from_camera[:3, :3].T + frame.position
    return points.tolist()  # type: ignore[no-any-return]
