# SPDX-License-Identifier: Apache-2.0
"""A camera for tests: it publishes images, their calibration and TF to a running node, and can spoil all of them."""

from __future__ import annotations

import array
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TransformStamped
from node_harness import CHUNK_VIEWS, Robot
from numpy.typing import NDArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from fsm_ros_msgs.msg import MemoryDiagnostics

NANOSECONDS = 1_000_000_000
CAMERA_FRAME = "camera_optical_frame"
WIDTH, HEIGHT, FOCAL = 80, 60, 70.0
ALONG_X = (-0.5, 0.5, -0.5, 0.5)
"""Orientation of an optical frame that looks along the x axis (REP-103)."""
CIRCLE_M = 0.4
MIN_PERIOD_NS = 1_000_000


@dataclass(frozen=True)
class Frame:
    """One picture with all that belongs to it; what is ``None`` is not published."""

    stamp_ns: int
    image: Image | CompressedImage | None
    info: CameraInfo | None
    transform: TransformStamped | None


class Camera:
    """A camera that goes round in a circle and takes pictures of noise."""

    def __init__(
        self,
        robot: Robot,
        *,
        topics: tuple[str, str] = ("image_raw", "camera_info"),
        frame_id: str = CAMERA_FRAME,
        compressed: bool = False,
        reliable: bool = True,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Publish to a node that listens already.

        Args:
            robot: the node.
            topics: of the images and of their calibration.
            frame_id: the optical frame.
            compressed: as JPEG.
            reliable: the QoS of images and calibration.
            now_ns: where stamps come from.
        """
        qos = QoSProfile(
            depth=100, reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        )
        self._robot = robot
        self._frame_id = frame_id
        self._encode = compressed_image if compressed else raw_image
        self._now_ns = now_ns
        self._images = robot.publisher(CompressedImage if compressed else Image, topics[0], qos)
        self._infos = robot.publisher(CameraInfo, topics[1], qos)
        self._transforms = robot.publisher(TFMessage, "/tf")
        self._steps = 0
        self.newest_ns = 0
        self.size = (WIDTH, HEIGHT)

    @property
    def position(self) -> tuple[float, float, float]:
        """Where the newest picture was taken, metres in map."""
        angle = 0.5 * self._steps
        return float(CIRCLE_M * np.cos(angle)), float(CIRCLE_M * np.sin(angle)), 1.0

    def frame(self, stamp_ns: int | None = None) -> Frame:
        """The next picture, from a place of its own; not published yet."""
        self._steps += 1
        if stamp_ns is None:
            # However fast they are taken: nothing moves at more than the speed that is a jump of the pose.
            stamp_ns = self.newest_ns = max(self._now_ns(), self.newest_ns + MIN_PERIOD_NS)
        width, height = self.size
        pixels = np.random.default_rng(self._steps).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Frame(
            stamp_ns,
            self._encode(pixels, self._frame_id, stamp_ns),
            camera_info(width, height, stamp_ns, self._frame_id),
            transform("map", self._frame_id, stamp_ns, self.position),
        )

    def publish(self, frame: Frame) -> Frame:
        """Publish what a frame has, TF first."""
        if frame.transform is not None:
            self._transforms.publish(TFMessage(transforms=[frame.transform]))
        if frame.info is not None:
            self._infos.publish(frame.info)
        if frame.image is not None:
            self._images.publish(frame.image)
        return frame

    def shoot(self, frames: int = 1) -> Frame:
        """Take and publish pictures; returns the last."""
        for _ in range(frames):
            last = self.publish(self.frame())
        return last

    def stream(self, chunks: int) -> list[MemoryDiagnostics]:
        """Take pictures for whole chunks, and wait until they are observed; returns what ~/memory says of each."""
        heard = self._robot.heard.memory
        before = len(heard)
        self.shoot(CHUNK_VIEWS * chunks)
        self._robot.wait_until(lambda: len(heard) >= before + chunks, f"{chunks} chunks observed")
        return heard[before:]


def raw_image(pixels: NDArray[np.uint8], frame_id: str, stamp_ns: int) -> Image:
    """An rgb8 message."""
    height, width = pixels.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.frame_id, message.header.stamp = frame_id, stamp(stamp_ns)
    message.data = array.array("B", pixels.tobytes())
    return message


def compressed_image(pixels: NDArray[np.uint8], frame_id: str, stamp_ns: int) -> CompressedImage:
    """A JPEG message."""
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise RuntimeError("OpenCV cannot write JPEG")
    message = CompressedImage(format="jpeg", data=array.array("B", data.tobytes()))
    message.header.frame_id, message.header.stamp = frame_id, stamp(stamp_ns)
    return message


def camera_info(width: int, height: int, stamp_ns: int = 0, frame_id: str = CAMERA_FRAME) -> CameraInfo:
    """The calibration of a camera without distortion that looks straight ahead."""
    info = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    info.header.frame_id, info.header.stamp = frame_id, stamp(stamp_ns)
    cx, cy = (width - 1) / 2, (height - 1) / 2
    info.k = [FOCAL, 0.0, cx, 0.0, FOCAL, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [FOCAL, 0.0, cx, 0.0, 0.0, FOCAL, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def transform(
    parent: str, child: str, stamp_ns: int, position: Sequence[float], quaternion: Sequence[float] = ALONG_X
) -> TransformStamped:
    """A transform; by default of an optical frame that looks along x."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id, message.header.stamp = parent, stamp(stamp_ns)
    place, turn = message.transform.translation, message.transform.rotation
    place.x, place.y, place.z = position
    turn.x, turn.y, turn.z, turn.w = quaternion
    return message


def pose_in(
    frame_id: str,
    position: Sequence[float] = (0.0, 0.0, 1.0),
    quaternion: Sequence[float] = ALONG_X,
    stamp_ns: int = 0,
) -> PoseStamped:
    """A wanted pose; by default of a camera that looks along the x axis of the frame."""
    pose = PoseStamped()
    pose.header.frame_id, pose.header.stamp = frame_id, stamp(stamp_ns)
    place, turn = pose.pose.position, pose.pose.orientation
    place.x, place.y, place.z = position
    turn.x, turn.y, turn.z, turn.w = quaternion
    return pose


def pixels_of(image: Image) -> NDArray[np.uint8]:
    """``[height, width, 3]`` of an rgb8 message."""
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)


def stamp(stamp_ns: int) -> Time:
    """The message of a time."""
    seconds, rest = divmod(stamp_ns, NANOSECONDS)
    return Time(sec=seconds, nanosec=rest)


def nanoseconds(time_message: Time) -> int:
    """The time of a message."""
    return int(time_message.sec) * NANOSECONDS + int(time_message.nanosec)
