# SPDX-License-Identifier: Apache-2.0
"""Lens distortion: the models of REP-104, and the pinhole whose every pixel the lens has seen.

OpenCV's formulas and functions are used, and with them its pixel centres at integers; ``Camera`` has them at
half-integers, so the principal point is shifted by half a pixel on the way in and on the way out.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from fsm_ros.stream.frame import Camera, Distortion

MAX_TANGENT = math.tan(math.radians(60.0))
"""A pinhole image is not opened wider than 60 degrees to each side: beyond, a fisheye's view needs a picture
plane that grows without bound, and most of the pixels would go to its stretched border."""

COEFFICIENT_COUNTS = {
    Distortion.NONE: (0,),
    Distortion.PLUMB_BOB: (4, 5),
    Distortion.RATIONAL_POLYNOMIAL: (8, 12, 14),
    Distortion.EQUIDISTANT: (4,),
}
CORRECT_COEFFICIENTS = (
    "correct D or distortion_model in the camera's calibration (plumb_bob: k1 k2 p1 p2 [k3]; rational_polynomial: "
    "k1 k2 p1 p2 k3 k4 k5 k6 [s1 s2 s3 s4 [tx ty]]; equidistant: k1 k2 k3 k4)"
)
"""What to do where they are of another number."""
_BORDER_SAMPLES = 129
_GRID_SAMPLES = 65
_INVERSE_TOLERANCE_PX = 0.05
_MOST_STEPS = 100
_LONGEST_STEP = 0.1
_LEAST_SHARE = 1e-3
_ENOUGH_PX = 1e-9
_OVERSHOOT_PX = 0.01
_SMALLEST_SHARE = 0.02
_SMALLEST_AREA = 0.02
_NEIGHBOUR = 1e-4


def check_coefficients(distortion: Distortion, coefficients: tuple[float, ...]) -> None:
    """Check that a distortion model has the number of coefficients it is defined with.

    All zero, or none at all, is a lens that does not distort, whatever the model's name.

    Raises:
        ValueError: another number of coefficients.
    """
    if not any(coefficients):
        return
    counts = COEFFICIENT_COUNTS[distortion]
    if len(coefficients) not in counts:
        wanted = " or ".join(str(count) for count in counts)
        raise ValueError(
            f"distortion model '{distortion.value}' takes {wanted} coefficients, got {len(coefficients)}: "
            f"{CORRECT_COEFFICIENTS}"
        )


def distort(camera: Camera, rays: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the lens images rays.

    Args:
        camera: camera with its lens.
        rays: ``[n, 2]`` float64, ``(x / z, y / z)`` in the optical frame.

    Returns:
        ``[n, 2]`` float64, (column, row) in pixels, pixel centres at integers.
    """
    matrix, coefficients = _opencv_camera(camera)
    if camera.distortion is Distortion.EQUIDISTANT:
        pixels = cv2.fisheye.distortPoints(rays.reshape(-1, 1, 2), matrix, coefficients)
    else:
        points = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
        pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, coefficients)
    return np.asarray(pixels, dtype=np.float64).reshape(-1, 2)


def undistort(camera: Camera, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rays that the lens images at pixels.

    Args:
        camera: camera with its lens.
        pixels: ``[n, 2]`` float64, (column, row), pixel centres at integers.

    Returns:
        ``[n, 2]`` float64, ``(x / z, y / z)`` in the optical frame; NaN where the model has no ray for the
        pixel (beyond the fold of a polynomial, or 90 degrees and more off the axis).
    """
    rays: NDArray[np.float64]
    if camera.distortion is Distortion.EQUIDISTANT:
        matrix, coefficients = _opencv_camera(camera)
        found = cv2.fisheye.undistortPoints(pixels.reshape(-1, 1, 2), matrix, coefficients)
        rays = np.asarray(found, dtype=np.float64).reshape(-1, 2)
    else:
        rays = _undistort_polynomial(camera, pixels)
    # Neither iteration says where it failed: only a ray that leads back to its pixel is an answer.
    rays[~np.isfinite(rays).all(axis=1)] = np.nan
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(distort(camera, rays) - pixels).max(axis=1)
    rays[~(error <= _INVERSE_TOLERANCE_PX)] = np.nan
    return rays


def _undistort_polynomial(camera: Camera, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `undistort`, of OpenCV's polynomials, by Newton's method from where the ray would be without the lens.

    OpenCV's own iteration depends on its release: that of 4.6 (Ubuntu 24.04) finds none for a quarter of the pixels of
    a wide lens, where that of 4.13 finds all. Steps are kept short enough not to leap over a fold of the polynomial.
    """
    matrix, _ = _opencv_camera(camera)
    rays: NDArray[np.float64] = (pixels - matrix[:2, 2]) / matrix.diagonal()[:2]
    share = np.ones(len(rays))
    imaged, slope, spread = _imaged(camera, rays)
    miss = np.abs(pixels - imaged).max(axis=1)
    for _ in range(_MOST_STEPS):
        unsolved = np.flatnonzero((miss > _ENOUGH_PX) & (share > _LEAST_SHARE) & (spread > 0.0))
        if not unsolved.size:
            break
        (a, b), (c, d) = np.moveaxis(slope[unsolved], 0, -1)
        across, down = (pixels[unsolved] - imaged[unsolved]).T
        step = np.stack([d * across - b * down, a * down - c * across], axis=1) / spread[unsolved, None]
        length = np.linalg.norm(step, axis=1)
        tried = rays[unsolved] + step * (share[unsolved] * np.minimum(1.0, _LONGEST_STEP / length))[:, None]
        there, slope_there, spread_there = _imaged(camera, tried)
        miss_there = np.abs(pixels[unsolved] - there).max(axis=1)
        better = (miss_there < miss[unsolved]) & (spread_there > 0.0)
        share[unsolved[~better]] *= 0.5
        taken = unsolved[better]
        rays[taken], imaged[taken], slope[taken] = tried[better], there[better], slope_there[better]
        spread[taken], miss[taken] = spread_there[better], miss_there[better]
    return rays


def _imaged(
    camera: Camera, rays: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Where a polynomial lens images rays ``[n, 2]``, the slope ``[n, 2, 2]`` of that, and its determinant ``[n]``."""
    matrix, coefficients = _opencv_camera(camera)
    points = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
    imaged, slopes = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, coefficients)
    # To move the camera across is to move the ray, at a distance of one.
    slope = np.asarray(slopes, dtype=np.float64)[:, 3:5].reshape(-1, 2, 2)
    spread: NDArray[np.float64] = slope[:, 0, 0] * slope[:, 1, 1] - slope[:, 0, 1] * slope[:, 1, 0]
    return np.asarray(imaged, dtype=np.float64).reshape(-1, 2), slope, spread


def valid_pinhole(camera: Camera) -> Camera:
    """A wide upright pinhole, of the image's own size, in which every pixel has been seen through the lens.

    It is the largest picture inside the four undistorted borders (OpenCV's ``alpha = 0``, or ``balance = 0``
    for the fisheye) that keeps the camera's ratio of focal lengths: stretching square pixels would win a
    little view and give the memory pictures unlike all it was trained on. The picture is then checked through
    the forward model and shrunk where the borders alone did not tell the truth (a polynomial that folds back,
    a border partly without rays); it is not opened wider than ``MAX_TANGENT``.

    Args:
        camera: camera with its lens.

    Returns:
        Camera without a lens, of the same size; its numbers are exactly those the maps of
        ``undistortion_maps`` use.

    Raises:
        ValueError: wrong number of coefficients, an image of a single row or column, or a calibration so far
            off that no part of the image can be undistorted.
    """
    check_coefficients(camera.distortion, camera.coefficients)
    if camera.width < 2 or camera.height < 2:
        raise ValueError(
            f"cannot undistort an image of {camera.width}x{camera.height} pixels: it needs two rows and two columns"
        )
    left, top, right, bottom = _inner_rectangle(camera)
    centre = np.array([0.5 * (left + right), 0.5 * (top + bottom)])
    half = np.array([0.5 * (right - left), 0.5 * (bottom - top)])
    # Half the picture's extent on a plane at unit distance, were the lens not there.
    natural = 0.5 * np.array([(camera.width - 1) / camera.fx, (camera.height - 1) / camera.fy])
    widest = float(np.min(half / natural))
    if not (widest > 0.0 and _is_seen(camera, centre, _SMALLEST_SHARE * widest * natural)):
        raise ValueError(
            f"the '{camera.distortion.value}' calibration {camera.coefficients} leaves no part of the "
            f"{camera.width}x{camera.height} image that can be undistorted: calibrate the camera again, or "
            "publish rectified images with an empty distortion_model"
        )
    if not _is_seen(camera, centre, widest * natural):
        seen, unseen = _SMALLEST_SHARE * widest, widest
        for _ in range(24):
            middle = 0.5 * (seen + unseen)
            seen, unseen = (middle, unseen) if _is_seen(camera, centre, middle * natural) else (seen, middle)
        widest = seen
    fx, fy = camera.fx / widest, camera.fy / widest
    return Camera(
        width=camera.width,
        height=camera.height,
        fx=fx,
        fy=fy,
        cx=0.5 * camera.width - fx * float(centre[0]),
        cy=0.5 * camera.height - fy * float(centre[1]),
    )


def undistortion_maps(camera: Camera, pinhole: Camera) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where in the camera's image each pixel of the pinhole's image is found.

    Args:
        camera: camera with its lens.
        pinhole: camera without a lens.

    Returns:
        Columns and rows, each ``[pinhole.height, pinhole.width]`` float32, pixel centres at integers, for
        ``cv2.remap``.

    Raises:
        ValueError: wrong number of coefficients.
    """
    check_coefficients(camera.distortion, camera.coefficients)
    matrix, coefficients = _opencv_camera(camera)
    new_matrix, _ = _opencv_camera(pinhole)
    size = (pinhole.width, pinhole.height)
    build = (
        cv2.fisheye.initUndistortRectifyMap
        if camera.distortion is Distortion.EQUIDISTANT
        else cv2.initUndistortRectifyMap
    )
    columns, rows = build(matrix, coefficients, np.eye(3), new_matrix, size, cv2.CV_32FC1)
    return np.asarray(columns, dtype=np.float32), np.asarray(rows, dtype=np.float32)


def _opencv_camera(camera: Camera) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Camera matrix with pixel centres at integers, and coefficients as a column."""
    matrix = np.array(
        [[camera.fx, 0.0, camera.cx - 0.5], [0.0, camera.fy, camera.cy - 0.5], [0.0, 0.0, 1.0]],
        dtype=np.float64,
    )
    coefficients = np.array(camera.coefficients or (0.0,) * 4, dtype=np.float64).reshape(-1, 1)
    return matrix, coefficients


def _inner_rectangle(camera: Camera) -> tuple[float, float, float, float]:
    """Largest rectangle of rays inside the four undistorted borders: left, top, right, bottom."""
    last_column, last_row = camera.width - 1.0, camera.height - 1.0

    def border(first: tuple[float, float], last: tuple[float, float], axis: int) -> NDArray[np.float64]:
        pixels = np.linspace(first, last, _BORDER_SAMPLES).astype(np.float64)
        coordinate = undistort(camera, pixels)[:, axis]
        known: NDArray[np.float64] = coordinate[np.isfinite(coordinate)]
        return known

    return (
        float(np.max(border((0.0, 0.0), (0.0, last_row), 0), initial=-MAX_TANGENT)),
        float(np.max(border((0.0, 0.0), (last_column, 0.0), 1), initial=-MAX_TANGENT)),
        float(np.min(border((last_column, 0.0), (last_column, last_row), 0), initial=MAX_TANGENT)),
        float(np.min(border((0.0, last_row), (last_column, last_row), 1), initial=MAX_TANGENT)),
    )


def _is_seen(camera: Camera, centre: NDArray[np.float64], half: NDArray[np.float64]) -> bool:
    """Whether the lens images a rectangle of rays inside the image, without folding it.

    Near a fold a polynomial squeezes ever more rays into a pixel. Hence the area that a ray's neighbourhood
    takes in the image may not fall below a share of what it takes in the middle; a true fisheye stays above
    it.
    """
    rays_x, rays_y = np.linspace(centre - half, centre + half, _GRID_SAMPLES).T
    grid = np.stack(np.meshgrid(rays_x, rays_y), axis=-1)
    pixels = distort(camera, grid.reshape(-1, 2)).reshape(grid.shape)
    last = np.array([camera.width - 1.0, camera.height - 1.0])
    if not (np.all(pixels >= -_OVERSHOOT_PX) and np.all(pixels <= last + _OVERSHOOT_PX)):
        return False
    # At the rays themselves: between neighbours of the grid a fold at a corner would be averaged away.
    along_x, along_y = (
        distort(camera, (grid + step).reshape(-1, 2)) - distort(camera, (grid - step).reshape(-1, 2))
        for step in _NEIGHBOUR * np.diag(half)
    )
    area = (along_x[:, 0] * along_y[:, 1] - along_x[:, 1] * along_y[:, 0]).reshape(grid.shape[:2])
    middle = float(area[_GRID_SAMPLES // 2, _GRID_SAMPLES // 2])
    return middle > 0.0 and bool(np.all(area > _SMALLEST_AREA * middle))
