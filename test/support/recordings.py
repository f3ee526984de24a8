# SPDX-License-Identifier: Apache-2.0
"""Recordings made by hand, message by message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.stores import ros2_jazzy as ros

if TYPE_CHECKING:
    from fsm_ros.sources.recorded import RecordedCamera

STORE = get_typestore(Stores.ROS2_JAZZY)

Message = tuple[str, str, int, object]


def write_bag(path: Path, messages: Iterable[Message], storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    """A recording of (topic, type, time in ns, message)."""
    with Writer(path, version=Writer.VERSION_LATEST, storage_plugin=storage) as writer:
        connections = {}
        for topic, msgtype, stamp_ns, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=STORE)
            writer.write(connections[topic], stamp_ns, STORE.serialize_cdr(message, msgtype))
    return path


def open_camera(path: Path, image_topic: str | None = None, **options: Any) -> RecordedCamera:  # noqa: ANN401
    """The one camera of a recording, or the one on a topic."""
    from fsm_ros.sources.opening import open_rig  # here, as tests load it anew

    cameras = () if image_topic is None else (image_topic,)
    (camera,) = open_rig(path, cameras=cameras, **options).recorded.values()
    return camera


def header(stamp_ns: int, frame_id: str = "camera") -> ros.std_msgs__msg__Header:
    return ros.std_msgs__msg__Header(ros.builtin_interfaces__msg__Time(*divmod(stamp_ns, 10**9)), frame_id)


def raw_image(
    pixels: NDArray[np.uint8], encoding: str = "rgb8", stamp_ns: int = 10**9, topic: str = "/camera/image_raw"
) -> Message:
    rows = np.ascontiguousarray(pixels).reshape(pixels.shape[0], -1)
    width = pixels.shape[1]
    message = ros.sensor_msgs__msg__Image(
        header(stamp_ns), len(rows), width, encoding, 0, rows.shape[1], rows.reshape(-1)
    )
    return topic, "sensor_msgs/msg/Image", stamp_ns, message


def compressed_image(data: bytes, stamp_ns: int = 10**9) -> Message:
    message = ros.sensor_msgs__msg__CompressedImage(header(stamp_ns), "jpeg", np.frombuffer(data, dtype=np.uint8))
    return "/camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage", stamp_ns, message


def camera_info(
    width: int,
    height: int,
    stamp_ns: int = 10**9,
    model: str = "plumb_bob",
    fx: float = 50.0,
    d: Sequence[float] = (0.0,) * 5,
) -> Message:
    k = np.array([fx, 0.0, width / 2 - 0.5, 0.0, fx, height / 2 - 0.5, 0.0, 0.0, 1.0])
    message = ros.sensor_msgs__msg__CameraInfo(
        header=header(stamp_ns),
        height=height,
        width=width,
        distortion_model=model,
        d=np.array(d, dtype=np.float64),
        k=k,
        r=np.eye(3).reshape(-1),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=ros.sensor_msgs__msg__RegionOfInterest(0, 0, 0, 0, False),
    )
    return "/camera/camera_info", "sensor_msgs/msg/CameraInfo", stamp_ns, message


def colours(height: int = 12, width: int = 16) -> NDArray[np.uint8]:
    """A smooth image whose three channels differ."""
    v, u = np.mgrid[0:height, 0:width]
    return np.stack([10 * u, 255 - 8 * v, 5 * (u + v)], axis=-1).astype(np.uint8)


def transform(parent: str, child: str, stamp_ns: int, x: float = 0.0) -> Message:
    """Where a child frame is in its parent: `x` metres along x, not turned."""
    pose = ros.geometry_msgs__msg__Transform(
        ros.geometry_msgs__msg__Vector3(x, 0.0, 0.0), ros.geometry_msgs__msg__Quaternion(0.0, 0.0, 0.0, 1.0)
    )
    stamped = ros.geometry_msgs__msg__TransformStamped(header(stamp_ns, parent), child, pose)
    return "/tf", "tf2_msgs/msg/TFMessage", stamp_ns, ros.tf2_msgs__msg__TFMessage([stamped])
