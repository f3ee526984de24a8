# SPDX-License-Identifier: Apache-2.0
"""Intrinsics of a frame of ``transforms.json``, as nerfstudio and instant-ngp write them.

Each value is looked up in the frame first, then at the top of the file. Names and meanings:

- ``fl_x``, ``fl_y``: focal lengths in pixels; where one is absent, the other (instant-ngp ``nerf_loader.cu``).
  Without either, ``camera_angle_x``, ``camera_angle_y``: full opening angles in radians (the original NeRF).
- ``cx``, ``cy``: principal point in pixels, the image's middle where absent. nerfstudio and instant-ngp shoot the ray
  of a pixel through its index plus one half, and COLMAP, from which most of these files come, gives the upper left
  pixel the centre (0.5, 0.5): that is `Camera`'s own convention, and nothing is shifted.
- ``K`` (or `_MATRICES`): the camera's matrix, 3x3, where there are no focal lengths of their own.
- ``w``, ``h``: size in pixels; that of the image file where absent.
- ``camera_model``: COLMAP's names, see `LENS_MODELS`; without one, OPENCV (or, with instant-ngp's ``is_fisheye``,
  OPENCV_FISHEYE).
- ``k1`` to ``k6``, ``p1``, ``p2``: coefficients, absent ones are zero. They act on normalised coordinates, so that
  pixel centres play no part. OPENCV_FISHEYE has k1 to k4 only; nerfstudio's files carry a p1 and p2 with it that
  nobody applies, and neither does this.

Sources: nerfstudio ``docs/quickstart/data_conventions.md`` and ``nerfstudio_dataparser.py``; COLMAP ``models.h``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.json_files import number, whole_number
from fsm_ros.stream.frame import Camera, Distortion

LENS_MODELS: Mapping[str, tuple[Distortion, tuple[str, ...]]] = {
    "SIMPLE_PINHOLE": (Distortion.NONE, ()),
    "PINHOLE": (Distortion.NONE, ()),
    "SIMPLE_RADIAL": (Distortion.PLUMB_BOB, ("k1",)),
    "RADIAL": (Distortion.PLUMB_BOB, ("k1", "k2")),
    "OPENCV": (Distortion.PLUMB_BOB, ("k1", "k2", "p1", "p2", "k3")),
    "FULL_OPENCV": (Distortion.RATIONAL_POLYNOMIAL, ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")),
    "SIMPLE_RADIAL_FISHEYE": (Distortion.EQUIDISTANT, ("k1",)),
    "RADIAL_FISHEYE": (Distortion.EQUIDISTANT, ("k1", "k2")),
    "OPENCV_FISHEYE": (Distortion.EQUIDISTANT, ("k1", "k2", "k3", "k4")),
}
"""Names of ``camera_model`` and what they are here: the model of REP-104, and its coefficients in its order."""

_COUNTS = {
    Distortion.NONE: 0,
    Distortion.PLUMB_BOB: 5,
    Distortion.RATIONAL_POLYNOMIAL: 8,
    Distortion.EQUIDISTANT: 4,
}
_ALL_COEFFICIENTS = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
_NEVER_APPLIED = {Distortion.EQUIDISTANT: ("p1", "p2")}
_MATRICES = ("K", "intrinsic_matrix", "camera_intrinsics", "intrinsics")
_OTHER_LENSES = ("ftheta_p0", "latlong", "equirectangular")
_IDEAL_FISHEYE_K1 = 1e-12
"""`Camera` takes a lens whose coefficients are all zero for none, as REP-104 does; an ideal fisheye bends all the
same, and gets a coefficient too small to move a pixel."""


def camera_of(frame: Mapping[str, Any], top: Mapping[str, Any], size: tuple[int, int] | None, where: str) -> Camera:
    """Camera of one frame.

    Args:
        frame: its entry in the file.
        top: the file, for what the frame does not say.
        size: width and height of its image, pixels, where the file does not say.
        where: file and frame, which error messages begin with.

    Raises:
        SourceError: a number is missing or is none, the lens model is not known, or has other coefficients.
    """
    frame, top = (_with_intrinsics(level, where) for level in (frame, top))
    both = {**top, **frame}
    if "w" in both and "h" in both:
        size = whole_number(both, "w", where), whole_number(both, "h", where)
    if size is None:
        raise SourceError(f"{where}: there is no 'w' and 'h': add the size of the image in pixels")
    fx, fy = _focal_lengths(frame, top, size, where)
    distortion, coefficients = _lens(both, where)
    try:
        return Camera(
            width=size[0],
            height=size[1],
            fx=fx,
            fy=fy,
            cx=number(both, "cx", where) if "cx" in both else size[0] / 2.0,
            cy=number(both, "cy", where) if "cy" in both else size[1] / 2.0,
            distortion=distortion,
            coefficients=coefficients,
        )
    except ValueError as error:
        raise SourceError(f"{where}: {error}") from error


def scaled_camera(camera: Camera, width: int, height: int) -> Camera | None:
    """The camera of an image file of another size, smaller or larger by one factor up to a pixel's rounding.

    Returns:
        The camera; ``None`` where the file has the camera's size, or is no scaled picture of it.
    """
    if (width, height) == (camera.width, camera.height):
        return None
    x, y = width / camera.width, height / camera.height
    # Of two factors, each the right one to within a pixel that was rounded away.
    if abs(x - y) > 1.0 / camera.width + 1.0 / camera.height:
        return None
    fx, fy, cx, cy = camera.fx * x, camera.fy * y, camera.cx * x, camera.cy * y
    return replace(camera, width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy)


def _focal_lengths(
    frame: Mapping[str, Any], top: Mapping[str, Any], size: tuple[int, int], where: str
) -> tuple[float, float]:
    """Along x and y, pixels."""
    own = [_focal_length(frame, top, axis, length, where) for axis, length in zip("xy", size, strict=True)]
    known = [focal_length for focal_length in own if focal_length is not None]
    if not known:
        raise SourceError(
            f"{where}: there are no intrinsics, neither here nor at the top of the file: add fl_x, fl_y, cx, cy, w and "
            "h in pixels, or camera_angle_x in radians"
        )
    return known[0], known[-1]


def _with_intrinsics(level: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """A frame or the file with its matrix K, where it has one, spelled out; what it says in other words goes first."""
    rows = next((level[key] for key in _MATRICES if level.get(key) is not None), None)
    if rows is None or {"fl_x", "fl_y", "cx", "cy"} <= level.keys():
        return level
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.ndim != 2 or min(matrix.shape) < 3 or not np.isfinite(matrix).all():
        raise SourceError(f"{where}: the matrix K must be 3x3 numbers, row by row: export it again")
    (fx, _, cx), (_, fy, cy) = matrix[:2, :3].tolist()
    return {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, **level}


def _focal_length(frame: Mapping[str, Any], top: Mapping[str, Any], axis: str, length: int, where: str) -> float | None:
    """Along one axis, pixels; None where neither the frame nor the file says."""
    for level in (frame, top):
        if f"fl_{axis}" in level:
            return number(level, f"fl_{axis}", where)
        if f"camera_angle_{axis}" not in level:
            continue
        angle = number(level, f"camera_angle_{axis}", where)
        if not 0.0 < angle < math.pi:
            raise SourceError(
                f"{where}: camera_angle_{axis} must lie between 0 and pi, got {angle}: it is the full opening angle in "
                "radians, not in degrees"
            )
        return 0.5 * length / math.tan(0.5 * angle)
    return None


def _lens(both: Mapping[str, Any], where: str) -> tuple[Distortion, tuple[float, ...]]:
    """Distortion model and its coefficients."""
    for key in _OTHER_LENSES:
        if both.get(key):
            raise SourceError(f"{where}: the lens model '{key}' is not known here: undistort the images first")
    name = both.get("camera_model", "OPENCV_FISHEYE" if both.get("is_fisheye") else "OPENCV")
    if name not in LENS_MODELS:
        raise SourceError(
            f"{where}: unknown camera_model {name!r}, known are {', '.join(LENS_MODELS)}: undistort the images to one "
            "of these"
        )
    distortion, keys = LENS_MODELS[name]
    values = {key: number(both, key, where) for key in _ALL_COEFFICIENTS if key in both}
    unknown = sorted(
        key for key, value in values.items() if value and key not in (*keys, *_NEVER_APPLIED.get(distortion, ()))
    )
    if unknown:
        raise SourceError(
            f"{where}: camera_model {name} has no {', '.join(unknown)}, but they are not zero: correct camera_model "
            "(FULL_OPENCV has them all), or remove them"
        )
    coefficients = [values.get(key, 0.0) for key in keys]
    coefficients += [0.0] * (_COUNTS[distortion] - len(coefficients))
    if distortion is Distortion.EQUIDISTANT and not any(coefficients):
        coefficients[0] = _IDEAL_FISHEYE_K1
    if not any(coefficients):
        return Distortion.NONE, ()
    return distortion, tuple(coefficients)
