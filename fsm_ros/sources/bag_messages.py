"""What one recorded message says: the image in it, and the camera that a calibration makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from rosbags.image import message_to_cvimage
from rosbags.image.image import convert_color, is_compressed, to_cvtype
from rosbags.typesys.stores.ros2_jazzy import (
    builtin_interfaces__msg__Time as Time,
)
from rosbags.typesys.stores.ros2_jazzy import (
    sensor_msgs__msg__CameraInfo as CameraInfo,
)
from rosbags.typesys.stores.ros2_jazzy import (
    sensor_msgs__msg__CompressedImage as CompressedImage,
)
from rosbags.typesys.stores.ros2_jazzy import (
    sensor_msgs__msg__Image as Image,
)

from fsm_ros.sources.source import SourceError
from fsm_ros.stream.calibration import delivered_camera, distortion_from_name
from fsm_ros.stream.frame import Camera

_PROJECTION_SIZE = 12


class BagError(SourceError):
    """A rosbag that cannot give what was asked of it; the message names the cause and the remedy."""


@dataclass(frozen=True)
class Calibration:
    """What a CameraInfo says (REP-104), as a value: the classes of messages are made anew for every recording.

    Attributes:
        stamp_ns: of its header, nanoseconds.
        width: columns of the calibrated image.
        height: rows of it.
        k: 9 numbers, row-major, pixel centres at integers.
        distortion_model: name of the lens model.
        d: its coefficients.
        binning: pixels joined along x and y; 0 means 1.
        roi: x_offset, y_offset, width, height of the window that is delivered; all zero means everything.
        p: 12 numbers, row-major: the projection of the rectified image, pixel centres at integers.
    """

    stamp_ns: int
    width: int
    height: int
    k: tuple[float, ...]
    distortion_model: str
    d: tuple[float, ...]
    binning: tuple[int, int]
    roi: tuple[int, int, int, int]
    p: tuple[float, ...] = ()

    @classmethod
    def of(cls, info: CameraInfo) -> Calibration:
        """What a message says; nothing is checked."""
        return cls(
            stamp_ns=stamp_of(info.header.stamp),
            width=info.width,
            height=info.height,
            k=_numbers(info, "k"),
            distortion_model=info.distortion_model,
            d=_numbers(info, "d"),
            binning=(info.binning_x, info.binning_y),
            roi=(info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height),
            p=_numbers(info, "p"),
        )

    def rectified(self) -> Calibration:
        """That of the rectified image: the pinhole in ``p``, without a lens.

        Raises:
            BagError: there is no such matrix.
        """
        if len(self.p) != _PROJECTION_SIZE:
            raise BagError(
                f"the camera info at {self.stamp_ns} ns has no projection matrix P, which rectified images need: "
                "record the camera_info that image_proc rectifies by, or set input.rectified to false"
            )
        return replace(self, k=tuple(self.p[i] for i in (0, 1, 2, 4, 5, 6, 8, 9, 10)), distortion_model="", d=())

    @property
    def delivered_size(self) -> tuple[int, int]:
        """Width and height in pixels of the images that it promises: its window, binned, rounded down."""
        _, _, width, height = self.roi if any(self.roi) else (0, 0, self.width, self.height)
        return width // max(self.binning[0], 1), height // max(self.binning[1], 1)

    def camera(self, image_width: int, image_height: int) -> Camera:
        """Intrinsics of an image of the given size in pixels that comes with it.

        Raises:
            BagError: not calibrated, a distortion model that is not known, or of an image of another size.
        """
        try:
            return delivered_camera(
                width=self.width,
                height=self.height,
                k=self.k,
                distortion=distortion_from_name(self.distortion_model),
                coefficients=self.d,
                binning=self.binning,
                roi=self.roi,
                image_width=image_width,
                image_height=image_height,
            )
        except ValueError as error:
            raise BagError(f"the camera info at {self.stamp_ns} ns cannot be used: {error}") from error


def decode_image(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """``[height, width, 3]`` uint8 RGB of an image in any encoding that rosbags-image converts.

    Raises:
        BagError: the image is damaged or its encoding unknown.
    """
    try:
        if is_compressed(message):
            pixels = message_to_cvimage(message)
            pixels = convert_color(pixels, "mono8" if pixels.ndim == 2 else "bgr8", "rgb8")
        else:
            pixels = message_to_cvimage(_without_padding(cast("Image", message)), "rgb8")
    except Exception as error:  # whatever the decoders make of damaged bytes
        stamp_ns = stamp_of(message.header.stamp)
        raise BagError(
            f"the image at {stamp_ns} ns cannot be decoded ({type(error).__name__}: {error}): record rgb8, "
            "bgr8, mono8, a Bayer or YUV encoding, JPEG or PNG"
        ) from error
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def image_size(message: Image | CompressedImage) -> tuple[int, int] | None:
    """Width and height in pixels; None for a compressed image, which does not tell before it is decoded."""
    if is_compressed(message):
        return None
    raw = cast("Image", message)
    return raw.width, raw.height


def stamp_of(stamp: Time) -> int:
    """Nanoseconds of a time stamp."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def _numbers(info: CameraInfo, name: str) -> tuple[float, ...]:
    """A field of numbers; in ROS 1 its name is a capital."""
    values = getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())
    return tuple(float(value) for value in values)


def _without_padding(message: Image) -> Image:
    """The same image with no gaps between its rows, which is all that rosbags-image reads."""
    bits, _, _, channels = to_cvtype(message.encoding)
    row_bytes = message.width * channels * bits // 8
    if message.step <= row_bytes:
        return message
    data = np.asarray(message.data).reshape(message.height, message.step)[:, :row_bytes]
    return replace(message, data=np.ascontiguousarray(data).reshape(-1), step=row_bytes)
