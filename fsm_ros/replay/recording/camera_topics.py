# SPDX-License-Identifier: Apache-2.0
"""Topics of one camera in a recording: its images, raw or compressed, and the calibration beside each of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsm_ros.replay.recording.bag_writer import (
    COMPRESSED_TYPE,
    IMAGE_TYPE,
    INFO_TYPE,
    BagWriter,
    camera_info,
    compressed_image,
    depth_image,
    image,
)
from fsm_ros.replay.recording.settings import DEFAULT_JPEG_QUALITY, Codec
from fsm_ros.stream.frame import Camera

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")


@dataclass(frozen=True)
class CameraTopics:
    """What a camera is called, and how its images are stored.

    Attributes:
        name: letters, digits and single underscores, like ``camera``.
        codec: how images are compressed; None stores them raw.
        quality: of JPEG, 1 to 100.
        with_depth: whether a depth camera is beside it, as 16UC1.
    """

    name: str
    codec: Codec | None = None
    quality: int = DEFAULT_JPEG_QUALITY
    with_depth: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be a topic, or a quality that is none.

        Raises:
            ValueError: name or quality.
        """
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} cannot be a camera's name, which becomes a topic: take a letter, then letters, digits "
                "and single underscores"
            )
        if not 1 <= self.quality <= 100:
            raise ValueError(f"the quality of a JPEG lies between 1 and 100, got {self.quality}")

    @property
    def image_topic(self) -> str:
        """Name of the images' topic, as image_transport has it."""
        return f"/{self.name}/image_raw" + ("" if self.codec is None else "/compressed")

    @property
    def info_topic(self) -> str:
        """Name of the calibration's topic."""
        return f"/{self.name}/camera_info"

    @property
    def frame_id(self) -> str:
        """The optical frame (REP-103)."""
        return f"{self.name}_optical_frame"

    @property
    def depth_topic(self) -> str:
        """Name of the depth images' topic."""
        return f"/{self.name}/depth/image_rect_raw"

    @property
    def depth_info_topic(self) -> str:
        """Name of the depth camera's calibration's topic."""
        return f"/{self.name}/depth/camera_info"

    @property
    def depth_frame_id(self) -> str:
        """The optical frame of the depth camera."""
        return f"{self.name}_depth_optical_frame"

    def declare(self, bag: BagWriter) -> None:
        """Declare the topics."""
        if self.with_depth:
            bag.declare(self.depth_info_topic, INFO_TYPE)
            bag.declare(self.depth_topic, IMAGE_TYPE)
        bag.declare(self.info_topic, INFO_TYPE)
        bag.declare(self.image_topic, IMAGE_TYPE if self.codec is None else COMPRESSED_TYPE)

    def write_depth(
        self, bag: BagWriter, arrival_ns: int, depth_m: NDArray[np.float32], camera: Camera, stamp_ns: int
    ) -> None:
        """Write a depth image and its calibration.

        Args:
            bag: that the topics were declared in.
            arrival_ns: of both, nanoseconds.
            depth_m: ``[height, width]`` float32, NaN where nothing was measured.
            camera: intrinsics of the depth camera.
            stamp_ns: when it was taken.
        """
        bag.write(self.depth_info_topic, arrival_ns, camera_info(camera, stamp_ns, self.depth_frame_id))
        bag.write(self.depth_topic, arrival_ns, depth_image(depth_m, stamp_ns, self.depth_frame_id))

    def write(self, bag: BagWriter, arrival_ns: int, pixels: NDArray[np.uint8], camera: Camera, stamp_ns: int) -> None:
        """Write an image and its calibration.

        Args:
            bag: that the topics were declared in.
            arrival_ns: of both, nanoseconds.
            pixels: ``[height, width, 3]`` uint8 RGB.
            camera: intrinsics and lens.
            stamp_ns: when the image was taken.
        """
        bag.write(self.info_topic, arrival_ns, camera_info(camera, stamp_ns, self.frame_id))
        if self.codec is None:
            message: object = image(pixels, stamp_ns, self.frame_id)
        else:
            message = compressed_image(pixels, stamp_ns, self.frame_id, codec=self.codec, quality=self.quality)
        bag.write(self.image_topic, arrival_ns, message)
