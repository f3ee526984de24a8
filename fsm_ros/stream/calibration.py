"""Calibration to camera: what sensor_msgs/CameraInfo says about the image that was delivered (REP-104)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fsm_ros.stream.frame import Camera, Distortion
from fsm_ros.stream.lens import check_coefficients


class SizeMismatchError(ValueError):
    """The image does not have the size that its calibration, binning and region of interest promise."""


def distortion_from_name(name: str) -> Distortion:
    """The lens model that a ``distortion_model`` names.

    Args:
        name: as in sensor_msgs/CameraInfo; empty for an image without distortion.

    Returns:
        The model.

    Raises:
        ValueError: any other name.
    """
    try:
        return Distortion(name)
    except ValueError:
        supported = ", ".join(f"'{model.value}'" for model in Distortion)
        raise ValueError(
            f"unknown distortion model '{name}', supported are {supported} (REP-104; '' is an undistorted "
            "image): calibrate with one of these, or rectify the images before they come here"
        ) from None


def delivered_camera(
    *,
    width: int,
    height: int,
    k: Sequence[float],
    distortion: Distortion,
    coefficients: Sequence[float],
    binning: tuple[int, int],
    roi: tuple[int, int, int, int],
    image_width: int,
    image_height: int,
) -> Camera:
    """Camera of the delivered image, from the calibration of the full sensor.

    ``K`` belongs to the full-resolution image. The region of interest is a window of it, and binning then
    joins blocks of pixels of that window. A pixel's area, not its centre, is what binning scales, so the
    principal point is first brought to half-integer pixel centres. Distortion acts on normalised coordinates
    and stays as it is.

    Args:
        width: columns of the calibrated image (``CameraInfo.width``).
        height: rows of the calibrated image.
        k: 9 numbers, the row-major camera matrix ``K``, pixel centres at integers as ROS and OpenCV have
            them.
        distortion: lens model.
        coefficients: its coefficients, ``CameraInfo.d``.
        binning: pixels joined along x and y; 0 means 1.
        roi: x_offset, y_offset, width, height in pixels of the calibrated image; all zero means all of it.
        image_width: columns of the image that came.
        image_height: rows of the image that came.

    Returns:
        Camera of the delivered image, pixel centres at half-integers, lens included.

    Raises:
        SizeMismatchError: the image's size is not that of the binned region of interest, rounded down or up.
        ValueError: no calibration (zero or non-finite focal length), a skewed ``K``, a region outside the
            sensor, negative binning, or coefficients that do not fit the model.
    """
    fx, fy, cx, cy = _intrinsics(k)
    if width <= 0 or height <= 0:
        raise ValueError(
            f"camera_info says the calibrated image has {width}x{height} pixels: fill in its width and height"
        )
    if min(binning) < 0:
        raise ValueError(f"binning must not be negative, got {binning[0]}x{binning[1]}")
    bin_x, bin_y = max(binning[0], 1), max(binning[1], 1)
    x_offset, y_offset, roi_width, roi_height = roi if any(roi) else (0, 0, width, height)
    inside = x_offset >= 0 and y_offset >= 0 and x_offset + roi_width <= width and y_offset + roi_height <= height
    if roi_width <= 0 or roi_height <= 0 or not inside:
        raise ValueError(
            f"region of interest {roi_width}x{roi_height} at ({x_offset}, {y_offset}) does not lie inside "
            f"the {width}x{height} image: give it in pixels of the calibrated image, or set all of it to "
            "zero for the whole"
        )
    if not (_fits(image_width, roi_width, bin_x) and _fits(image_height, roi_height, bin_y)):
        raise SizeMismatchError(
            f"the image has {image_width}x{image_height} pixels, but its camera_info promises "
            f"{roi_width // bin_x}x{roi_height // bin_y} (region {roi_width}x{roi_height}, binning "
            f"{bin_x}x{bin_y}): publish the camera_info that belongs to this image, or resize it with "
            "image_proc, which adapts both"
        )
    lens = tuple(float(value) for value in coefficients)
    if distortion is Distortion.NONE and any(lens):
        raise ValueError(
            f"camera_info has distortion coefficients {lens} but an empty distortion_model: name the model, "
            "or empty the coefficients if the image is rectified"
        )
    check_coefficients(distortion, lens)
    return Camera(
        width=image_width,
        height=image_height,
        fx=fx / bin_x,
        fy=fy / bin_y,
        cx=(cx + 0.5 - x_offset) / bin_x,
        cy=(cy + 0.5 - y_offset) / bin_y,
        distortion=distortion,
        coefficients=lens,
    )


def _intrinsics(k: Sequence[float]) -> tuple[float, float, float, float]:
    """Focal lengths and principal point of a camera matrix."""
    if len(k) != 9:
        raise ValueError(f"K must have 9 numbers (3x3, row-major), got {len(k)}")
    numbers = [float(value) for value in k]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"K must be finite, got {numbers}: calibrate the camera")
    fx, skew, cx, _, fy, cy = numbers[:6]
    if fx <= 0 or fy <= 0:
        raise ValueError(f"K has focal lengths fx={fx}, fy={fy}; REP-104: zero is an uncalibrated camera; calibrate it")
    if abs(skew) > 1e-6 * fx:
        raise ValueError(f"K has a skew of {skew}, which the pinhole model does not know: calibrate without skew")
    return fx, fy, cx, cy


def _fits(delivered: int, region: int, binning: int) -> bool:
    """Whether a side of the image is that of the binned region; drivers disagree on which way to round."""
    return delivered in (region // binning, -(-region // binning))
