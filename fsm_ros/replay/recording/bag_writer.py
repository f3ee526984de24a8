# SPDX-License-Identifier: Apache-2.0
"""Writes a rosbag2 folder that is there when it is complete, and not before; and makes the messages that go in.

Messages are those of ROS 2, made by rosbags, so that no ROS is needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.stores import ros2_jazzy as ros
from scipy.spatial.transform import Rotation

from fsm_ros.replay.recording.settings import DEFAULT_JPEG_QUALITY, Codec
from fsm_ros.sources.bags.reading import ROS_1_SUFFIX
from fsm_ros.stream.frame import Camera

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
TF_TYPE = "tf2_msgs/msg/TFMessage"
NUMBER_TYPE = "std_msgs/msg/Float64"

TF_TOPIC, STATIC_TF_TOPIC = "/tf", "/tf_static"
"""Names that every program listens to (REP-105)."""

EPOCH_NS = 1_748_779_200_000_000_000
"""2025-06-01 12:00 UTC: where stamps begin that nothing dates."""

LAST_STAMP_NS = (2**31 - 1) * 1_000_000_000
"""The seconds of a stamp are an int32 (builtin_interfaces/Time)."""

_FARTHEST_M = 65.535
_FOREVER = QosTime(9223372036, 854775807)  # as rmw says it
_TYPESTORE = get_typestore(Stores.ROS2_JAZZY)


class BagWriter:
    """A rosbag2 recording (mcap) that appears under its name only when it is complete.

    ::

        with BagWriter(path) as bag:
            bag.declare("/camera/image_raw", IMAGE_TYPE)
            bag.write("/camera/image_raw", stamp_ns, image(pixels, stamp_ns, "camera_optical_frame"))

    It is written in a hidden folder beside its place and renamed at the end. Where the context ends with an error or
    an interrupt, nothing stays.

    Attributes:
        path: folder to create.
        counts: messages written so far, by topic.
    """

    def __init__(self, path: Path) -> None:
        """Says where; nothing is touched yet.

        Args:
            path: folder to create, with the folders above it.

        Raises:
            ValueError: its name is that of a ROS 1 file, which readers would take it for.
        """
        if path.suffix == ROS_1_SUFFIX:
            raise ValueError(f"{path} would be taken for a ROS 1 file, by its name: leave {ROS_1_SUFFIX} away")
        self.path = path
        self._counts: dict[str, int] = {}
        self._connections: dict[str, Connection] = {}
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._writer: Writer | None = None

    @property
    def counts(self) -> Mapping[str, int]:
        """Messages written so far, by topic, in the order of declaration."""
        return dict(self._counts)

    def __enter__(self) -> BagWriter:
        """Begin.

        Raises:
            FileExistsError: there is something at the path.
            OSError: nothing can be written there.
        """
        if self.path.exists():
            raise FileExistsError(f"{self.path} exists already: remove it or choose another folder for the recording")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".writing-")
        writer = Writer(
            Path(scratch.name) / self.path.name, version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP
        )
        try:
            writer.open()
        except BaseException:
            scratch.cleanup()
            raise
        self._scratch, self._writer = scratch, writer
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the recording its name, or after an error remove it.

        Raises:
            ValueError: nothing was written.
            OSError: it cannot be completed.
        """
        writer, scratch = self._open(), self._scratch
        if scratch is None:
            raise RuntimeError("the recording is not open: use the writer in a with statement")
        self._writer = self._scratch = None
        with scratch:  # removed last, whatever happens
            if kind is None and not any(self._counts.values()):
                writer.abort()
                raise ValueError(f"nothing was written to {self.path}: a recording needs at least one message")
            writer.__exit__(kind, error, trace)
            if kind is None:
                writer.path.rename(self.path)

    def declare(self, topic: str, msgtype: str, *, depth: int = 10, latched: bool = False) -> None:
        """Say what a topic holds, before the first message on it; delivery is reliable.

        Args:
            topic: its name.
            msgtype: of its messages, like ``sensor_msgs/msg/Image``.
            depth: of the queue that its publisher offers.
            latched: whether whoever comes later still gets the last messages (``/tf_static``).

        Raises:
            ValueError: it is declared already.
        """
        if topic in self._connections:
            raise ValueError(f"{topic} is declared already, as {self._connections[topic].msgtype}")
        durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
        self._connections[topic] = self._open().add_connection(
            topic, msgtype, typestore=_TYPESTORE, offered_qos_profiles=[_qos(durability, depth)]
        )
        self._counts[topic] = 0

    def write(self, topic: str, arrival_ns: int, message: object) -> None:
        """Write a message; messages are best written in the order of their arrival.

        Args:
            topic: a declared one.
            arrival_ns: when it was received, nanoseconds, not negative.
            message: of the topic's type.

        Raises:
            ValueError: an unknown topic, a message of another type, or a negative time.
        """
        connection = self._connections.get(topic)
        if connection is None:
            raise ValueError(f"{topic} is not declared: declared are {', '.join(self._connections) or 'none'}")
        found = getattr(message, "__msgtype__", type(message).__name__)
        if found != connection.msgtype:
            raise ValueError(f"{topic} holds {connection.msgtype}, got {found}")
        if arrival_ns < 0:
            raise ValueError(f"a recording has no times before 1970, got {arrival_ns} ns on {topic}")
        self._open().write(connection, arrival_ns, _TYPESTORE.serialize_cdr(message, connection.msgtype))
        self._counts[topic] += 1

    def _open(self) -> Writer:
        if self._writer is None:
            raise RuntimeError("the recording is not open: use the writer in a with statement")
        return self._writer


def header(frame_id: str, stamp_ns: int) -> ros.std_msgs__msg__Header:
    """Where and when.

    Raises:
        ValueError: the stamp is negative, or later than a message can say (2038).
    """
    if not 0 <= stamp_ns <= LAST_STAMP_NS:
        raise ValueError(f"a stamp lies between 0 and {LAST_STAMP_NS} ns, got {stamp_ns} ns")
    sec, nanosec = divmod(int(stamp_ns), 1_000_000_000)
    return ros.std_msgs__msg__Header(ros.builtin_interfaces__msg__Time(sec, nanosec), frame_id)


def image(pixels: NDArray[np.uint8], stamp_ns: int, frame_id: str) -> ros.sensor_msgs__msg__Image:
    """A raw image, rgb8.

    Args:
        pixels: ``[height, width, 3]`` uint8 RGB.
        stamp_ns: when it was taken.
        frame_id: optical frame of the camera.

    Raises:
        ValueError: pixels of another kind.
    """
    height, width = _checked(pixels)
    return ros.sensor_msgs__msg__Image(
        header=header(frame_id, stamp_ns),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=pixels.reshape(-1),
    )


def depth_image(depth_m: NDArray[np.float32], stamp_ns: int, frame_id: str) -> ros.sensor_msgs__msg__Image:
    """A depth image, 16UC1 in millimetres (REP-118).

    Args:
        depth_m: ``[height, width]`` float32; not finite where nothing was measured, which becomes 0, as does what is
            further away than 16 bits hold.
        stamp_ns: when it was taken.
        frame_id: optical frame of the depth camera.
    """
    height, width = depth_m.shape
    known = np.isfinite(depth_m) & (depth_m > 0) & (depth_m < _FARTHEST_M)
    millimetres = np.rint(np.where(known, depth_m, 0.0) * 1e3).astype("<u2")
    return ros.sensor_msgs__msg__Image(
        header=header(frame_id, stamp_ns),
        height=height,
        width=width,
        encoding="16UC1",
        is_bigendian=0,
        step=2 * width,
        data=millimetres.reshape(-1).view(np.uint8),
    )


def compressed_image(
    pixels: NDArray[np.uint8],
    stamp_ns: int,
    frame_id: str,
    *,
    codec: Codec = Codec.JPEG,
    quality: int = DEFAULT_JPEG_QUALITY,
) -> ros.sensor_msgs__msg__CompressedImage:
    """The same compressed, as image_transport's "compressed" does.

    Args:
        pixels: ``[height, width, 3]`` uint8 RGB.
        stamp_ns: when it was taken.
        frame_id: optical frame of the camera.
        codec: JPEG or PNG.
        quality: of a JPEG, 1 to 100.

    Raises:
        ValueError: pixels of another kind, or another quality.
    """
    _checked(pixels)
    if not 1 <= quality <= 100:
        raise ValueError(f"the quality of a JPEG lies between 1 and 100, got {quality}")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if codec is Codec.JPEG else []
    encoded, data = cv2.imencode(f".{codec.value}", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    if not encoded:
        raise ValueError(f"an image of {pixels.shape[1]}x{pixels.shape[0]} pixels cannot be stored as {codec.value}")
    return ros.sensor_msgs__msg__CompressedImage(
        header=header(frame_id, stamp_ns),
        format=f"rgb8; {codec.value} compressed bgr8",
        data=np.asarray(data, dtype=np.uint8).reshape(-1),
    )


def camera_info(camera: Camera, stamp_ns: int, frame_id: str) -> ros.sensor_msgs__msg__CameraInfo:
    """Intrinsics and lens (REP-104).

    Args:
        camera: its pixel centres lie at half-integers; the message, where they lie at integers, gets 0.5 less.
        stamp_ns: of the image that it goes with.
        frame_id: optical frame of the camera.
    """
    matrix = np.array([[camera.fx, 0.0, camera.cx - 0.5], [0.0, camera.fy, camera.cy - 0.5], [0.0, 0.0, 1.0]])
    return ros.sensor_msgs__msg__CameraInfo(
        header=header(frame_id, stamp_ns),
        height=camera.height,
        width=camera.width,
        distortion_model=camera.distortion.value,
        d=np.array(camera.coefficients, dtype=np.float64),
        k=matrix.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=np.concatenate([matrix, np.zeros((3, 1))], axis=1).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=ros.sensor_msgs__msg__RegionOfInterest(0, 0, 0, 0, False),
    )


def transform(
    parent: str, child: str, pose: NDArray[np.float64], stamp_ns: int
) -> ros.geometry_msgs__msg__TransformStamped:
    """Where a frame is in its parent.

    Args:
        parent: frame that the pose is expressed in.
        child: the frame.
        pose: ``[4, 4]`` rigid: child to parent, metres.
        stamp_ns: when.
    """
    x, y, z, w = (float(number) for number in Rotation.from_matrix(pose[:3, :3]).as_quat())
    translation = ros.geometry_msgs__msg__Vector3(*(float(number) for number in pose[:3, 3]))
    rotation = ros.geometry_msgs__msg__Quaternion(x, y, z, w)
    moved = ros.geometry_msgs__msg__Transform(translation, rotation)
    return ros.geometry_msgs__msg__TransformStamped(header(parent, stamp_ns), child, moved)


def transforms(*stamped: ros.geometry_msgs__msg__TransformStamped) -> ros.tf2_msgs__msg__TFMessage:
    """Message of `TF_TOPIC` and `STATIC_TF_TOPIC`."""
    return ros.tf2_msgs__msg__TFMessage(list(stamped))


def number(value: float) -> ros.std_msgs__msg__Float64:
    """A number, as std_msgs/Float64: it has no stamp, only its arrival."""
    return ros.std_msgs__msg__Float64(float(value))


def _checked(pixels: NDArray[Any]) -> Sequence[int]:
    """Height and width of an RGB image."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ValueError(f"an image must be uint8 [height, width, 3] RGB, got {pixels.dtype} {list(pixels.shape)}")
    return pixels.shape[0], pixels.shape[1]


def _qos(durability: QosDurability, depth: int) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability.RELIABLE,
        durability=durability,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )
