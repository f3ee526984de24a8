# SPDX-License-Identifier: Apache-2.0
"""Calibration to camera: what sensor_msgs/CameraInfo says about the image that was delivered (REP-104)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fsm_ros.errors import FsmError
from fsm_ros.stream.frame import Camera, Distortion
from fsm_ros.stream.lens import COEFFICIENT_COUNTS, CORRECT_COEFFICIENTS, check_coefficients

_POLYNOMIALS = ("plumb_bob", "rational_polynomial", "radtan")
_FISHEYES = ("equidistant", "fisheye", "kannala_brandt4", "kannala_brandt")
_WIDEST_PINHOLE_RAD = math.radians(170.0)


class SizeMismatchError(FsmError, ValueError):
    """The image does not have the size that its calibration, binning and region of interest promise."""


def lens_of(name: str, coefficients: Sequence[float]) -> tuple[Distortion, tuple[float, ...]]:
    """The lens that a ``distortion_model`` and its coefficients describe, by what it is.

    A lens whose coefficients are all zero, or that has none, does not distort, whatever it is called. Zeros at the end
    of ``D`` say nothing: drivers fill it up to a length of their own. OpenCV's polynomials are one model of 4, 5, 8, 12
    or 14 numbers, of which ``plumb_bob`` and ``rational_polynomial`` are the shorter and the longer ones.

    >>> lens_of("Plumb_Bob", [-0.1, 0.02, 0, 0, 0, 0])
    (<Distortion.PLUMB_BOB: 'plumb_bob'>, (-0.1, 0.02, 0.0, 0.0))

    Args:
        name: as in sensor_msgs/CameraInfo, in any case.
        coefficients: ``CameraInfo.d``.

    Returns:
        The model and its coefficients.

    Raises:
        ValueError: a model that is not known, or another number of coefficients than it has.
    """
    lens = tuple(float(value) for value in coefficients)
    if not any(lens):
        return Distortion.NONE, ()
    used = max(i for i, value in enumerate(lens) if value) + 1
    called = name.strip().lower()
    if not called:
        raise ValueError(
            f"camera_info has distortion coefficients D = {_listed(lens)} but an empty distortion_model: name the "
            "model, or empty the coefficients if the image is rectified"
        )
    if called in _FISHEYES:
        kinds = [Distortion.EQUIDISTANT]
    elif called in _POLYNOMIALS:
        kinds = [Distortion.PLUMB_BOB, Distortion.RATIONAL_POLYNOMIAL]
    else:
        supported = ", ".join(f"'{known}'" for known in ("", *_POLYNOMIALS, *_FISHEYES))
        raise ValueError(
            f"unknown distortion model '{name}' with D = {_listed(lens)}, supported are {supported} (REP-104; '' is an "
            "undistorted image): calibrate with one of these, or rectify the images before they come here"
        )
    counts = {count: kind for kind in kinds for count in COEFFICIENT_COUNTS[kind]}
    fitting = [len(lens)] if len(lens) in counts else [count for count in counts if used <= count <= len(lens)]
    if not fitting:
        raise ValueError(
            f"distortion model '{name}' takes {' or '.join(map(str, counts))} coefficients, got D = {_listed(lens)}: "
            f"{CORRECT_COEFFICIENTS}"
        )
    return counts[fitting[0]], lens[: fitting[0]]


def _listed(numbers: Sequence[float]) -> str:
    return "[" + ", ".join(f"{number:g}" for number in numbers) + "]"


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
    matrix: str = "K",
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
        matrix: what `k` is called where it was found, for messages.

    Returns:
        Camera of the delivered image, pixel centres at half-integers, lens included.

    Raises:
        SizeMismatchError: the image's size is not that of the binned region of interest, rounded down or up.
        ValueError: no calibration (zero or non-finite focal length), a skewed ``K``, a region outside the
            sensor, negative binning, or coefficients that do not fit the model.
    """
    fx, fy, cx, cy = _intrinsics(k, matrix)
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
    if distortion is not Distortion.EQUIDISTANT:
        _check_opening(fx, width, "wide", matrix)
        _check_opening(fy, height, "high", matrix)
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


def _intrinsics(k: Sequence[float], name: str) -> tuple[float, float, float, float]:
    """Focal lengths and principal point of a camera matrix."""
    if len(k) != 9:
        raise ValueError(f"{name} must have 9 numbers (3x3, row-major), got {len(k)}")
    numbers = [float(value) for value in k]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{name} must be finite, got {numbers}: calibrate the camera")
    fx, skew, cx, _, fy, cy = numbers[:6]
    if fx <= 0 or fy <= 0:
        raise ValueError(
            f"{name} has focal lengths fx={fx}, fy={fy}; zero is an uncalibrated camera (REP-104): calibrate it"
        )
    if abs(skew) > 1e-6 * fx:
        raise ValueError(f"{name} has a skew of {skew}, which the pinhole model does not know: calibrate without skew")
    return fx, fy, cx, cy


def _check_opening(focal: float, side: int, how: str, matrix: str) -> None:
    opening = 2.0 * math.atan(side / (2.0 * focal))
    if opening > _WIDEST_PINHOLE_RAD:
        raise ValueError(
            f"{matrix} has a focal length of {focal:g} pixels for an image of {side}, a pinhole that sees "
            f"{math.degrees(opening):.1f} degrees {how}: is it in pixels of this image? A real fisheye is 'equidistant'"
        )


def _fits(delivered: int, region: int, binning: int) -> bool:
    """Whether a side of the image is that of the binned region; drivers disagree on which way to round."""
    return delivered in (region // binning, -(-region // binning))
