# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/CameraInfo to cameras (REP-104), and which calibration an image has."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fsm_ros.messages.fields import CameraInfo
from fsm_ros.messages.stamps import stamp_to_ns
from fsm_ros.stream.calibration import delivered_camera, lens_of
from fsm_ros.stream.frame import Camera

_PROJECTION_SIZE = 12


@dataclass(frozen=True)
class Calibration:
    """What a CameraInfo says, as a value.

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
        is_rectified: whether the images are rectified: `p` holds their intrinsics, and no distortion is left.
    """

    stamp_ns: int
    width: int
    height: int
    k: tuple[float, ...]
    distortion_model: str
    d: tuple[float, ...]
    binning: tuple[int, int] = (0, 0)
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)
    p: tuple[float, ...] = ()
    is_rectified: bool = False

    @classmethod
    def of(cls, info: CameraInfo) -> Calibration:
        """What a message of rclpy or rosbags says, of ROS 2 or ROS 1; nothing is checked."""
        return cls(
            stamp_ns=stamp_to_ns(info.header.stamp),
            width=int(info.width),
            height=int(info.height),
            k=_numbers(info, "k"),
            distortion_model=str(info.distortion_model),
            d=_numbers(info, "d"),
            binning=(int(info.binning_x), int(info.binning_y)),
            roi=(int(info.roi.x_offset), int(info.roi.y_offset), int(info.roi.width), int(info.roi.height)),
            p=_numbers(info, "p"),
        )

    def rectified(self) -> Calibration:
        """That of the rectified image: the pinhole in ``p``, without a lens."""
        return replace(self, is_rectified=True)

    @property
    def delivered_size(self) -> tuple[int, int]:
        """Width and height in pixels of the images that it promises: its window, binned, rounded down."""
        _, _, width, height = self.roi if any(self.roi) else (0, 0, self.width, self.height)
        return width // max(self.binning[0], 1), height // max(self.binning[1], 1)

    def camera(self, image_width: int, image_height: int) -> Camera:
        """The camera of a delivered image of a size in pixels.

        Raises:
            fsm_ros.stream.calibration.SizeMismatchError: the image has another size than the calibration says.
            ValueError: not calibrated, not finite, or a lens that is not known.
        """
        matrix, name = self.k, "K"
        model, coefficients = self.distortion_model, self.d
        if self.is_rectified:
            if len(self.p) != _PROJECTION_SIZE or not any(self.p):
                raise ValueError(
                    "camera_info has no projection matrix P, which rectified images need: publish the camera_info that "
                    "image_proc rectifies by, or set rectified to false"
                )
            matrix, name = tuple(self.p[i] for i in (0, 1, 2, 4, 5, 6, 8, 9, 10)), "P"
            model, coefficients = "", ()
        distortion, coefficients = lens_of(model, coefficients)
        return delivered_camera(
            width=self.width,
            height=self.height,
            k=matrix,
            distortion=distortion,
            coefficients=coefficients,
            binning=self.binning,
            roi=self.roi,
            image_width=image_width,
            image_height=image_height,
            matrix=name,
        )

    @property
    def is_usable(self) -> bool:
        """Whether it makes a camera of the images that it promises."""
        try:
            self.camera(*self.delivered_size)
        except ValueError:
            return False
        return True


def kept_with(kept: Sequence[Calibration], said: Calibration, most: int) -> list[Calibration]:
    """Calibrations of a camera in the order of their stamps, with one more in the place of any of its stamp.

    Args:
        kept: in the order of their stamps.
        said: that has just come.
        most: so many are kept.
    """
    newer = [other for other in kept if other.stamp_ns != said.stamp_ns]
    insort(newer, said, key=lambda other: other.stamp_ns)
    if len(newer) > most:
        # The oldest goes, but never the one that has just come: without a stamp it is the oldest for ever.
        del newer[0 if newer[0] is not said else 1]
    return newer


def holding_on(kept: Sequence[Calibration]) -> list[Calibration]:
    """After the clock was set back: the newest one holds on, as of before all that comes."""
    return [replace(newest, stamp_ns=0) for newest in kept[-1:]]


def calibration_at(calibrations: Sequence[Calibration], stamp_ns: int) -> Calibration | None:
    """The calibration of an image: that of its stamp, else the newest before it, else the first after it.

    A camera's calibration holds until another one comes, whenever and how often it is said: with every image, once a
    second, latched, half a second late, or without a stamp. One that cannot be used spoils the image of its own stamp
    and no other.

    Args:
        calibrations: in the order of their stamps.
        stamp_ns: of the image.

    Returns:
        The calibration; ``None`` where there is none at all.
    """
    if not calibrations:
        return None
    after = bisect_right(calibrations, stamp_ns, key=lambda calibration: calibration.stamp_ns)
    if after and calibrations[after - 1].stamp_ns == stamp_ns:
        return calibrations[after - 1]
    nearest_first = (*reversed(calibrations[:after]), *calibrations[after:])
    return next((one for one in nearest_first if one.is_usable), nearest_first[0])


def _numbers(info: CameraInfo, name: str) -> tuple[float, ...]:
    """A field of numbers; in ROS 1 its name is a capital."""
    values = getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())
    return tuple(float(value) for value in values)
