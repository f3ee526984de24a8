# SPDX-License-Identifier: Apache-2.0
"""Points of surfaces to sensor_msgs/PointCloud2."""

from __future__ import annotations

import array

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import PointCloud2, PointField

from fsm_ros.surface.cloud import Cloud

_LAYOUT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("confidence", "<f4")])


def cloud_message(cloud: Cloud, frame_id: str, stamp: Time) -> PointCloud2:
    """The message of a cloud: x, y, z in metres, rgb as PCL packs it (0x00RRGGBB, called a float), confidence."""
    packed = np.zeros(len(cloud), dtype=_LAYOUT)
    packed["x"], packed["y"], packed["z"] = cloud.points.T
    red, green, blue = cloud.colours.T.astype(np.uint32)
    packed["rgb"] = red << 16 | green << 8 | blue
    packed["confidence"] = cloud.confidence
    message = PointCloud2(
        height=1,
        width=len(cloud),
        fields=[
            PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1)
            for name, (_, offset) in _offsets().items()
        ],
        is_bigendian=False,
        point_step=_LAYOUT.itemsize,
        row_step=_LAYOUT.itemsize * len(cloud),
        is_dense=True,
    )
    message.header.frame_id = frame_id
    message.header.stamp = stamp
    message.data = array.array("B", packed.tobytes())
    return message


def _offsets() -> dict[str, tuple[np.dtype[np.generic], int]]:
    return {name: (kind[0], int(kind[1])) for name, kind in (_LAYOUT.fields or {}).items()}
