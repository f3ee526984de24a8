# SPDX-License-Identifier: Apache-2.0
"""Depth that a sensor measured: which image of it belongs to a frame, and what it says in another camera's image."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fsm_ros.stream.frame import Camera, DepthImage
from fsm_ros.stream.lens import undistort

LARGEST = (160, 120)
"""Columns and rows at most of the depth that is kept with a photograph."""
SURFACE = 0.05
"""Points of a pixel that are no further away than this behind the nearest one are of the same surface."""
_NEAR_M = 1e-2


def nearest_stamp(stamps_ns: Sequence[int], stamp_ns: int, tolerance_ns: int) -> int | None:
    """Place of the stamp nearest to another, the earlier of two; ``None`` where none is as near as the tolerance.

    Args:
        stamps_ns: rising.
        stamp_ns: of the colour image.
        tolerance_ns: the furthest it may be away.
    """
    after = bisect_left(stamps_ns, stamp_ns)
    near = [place for place in (after - 1, after) if 0 <= place < len(stamps_ns)]
    best = min(near, key=lambda place: abs(stamps_ns[place] - stamp_ns), default=None)
    return best if best is not None and abs(stamps_ns[best] - stamp_ns) <= tolerance_ns else None


def kept_depth(
    depth: DepthImage, pinhole: Camera, world_from_camera: NDArray[np.float64]
) -> NDArray[np.float32] | None:
    """What a depth image says in a photograph, as it is kept with it: no finer than it was measured.

    Args:
        depth: the image.
        pinhole: of the photograph, without distortion.
        world_from_camera: ``[4, 4]`` pose of the photograph.

    Returns:
        ``[rows, columns]`` float32 metres along the photograph's optical axis, of the whole photograph, `LARGEST` at
        most; NaN where nothing was measured. ``None`` where nothing was measured at all.
    """
    scale = min(
        1.0,
        LARGEST[0] / pinhole.width,
        LARGEST[1] / pinhole.height,
        max(depth.camera.fx / pinhole.fx, 1 / pinhole.width),
    )
    columns, rows = max(1, round(pinhole.width * scale)), max(1, round(pinhole.height * scale))
    lens = pinhole.fxfycxcy * ([columns / pinhole.width, rows / pinhole.height] * 2)
    seen = seen_from(depth, Camera(columns, rows, *lens.tolist()), world_from_camera)
    return seen if np.isfinite(seen).any() else None


def seen_from(depth: DepthImage, pinhole: Camera, world_from_camera: NDArray[np.float64]) -> NDArray[np.float32]:
    """A depth image in another camera's image: of points that fall into one pixel the nearest surface hides the others.

    Args:
        depth: the image.
        pinhole: the other camera, without distortion.
        world_from_camera: ``[4, 4]`` pose of the other camera.

    Returns:
        ``[height, width]`` float32 metres along its optical axis; NaN where no point falls.
    """
    known = np.isfinite(depth.depth_m)
    z = depth.depth_m[known].astype(np.float64)
    relative = np.linalg.inv(world_from_camera) @ depth.world_from_camera
    x, y, z = relative[:3, :3] @ (_rays(depth.camera)[known] * z[:, None]).T + relative[:3, 3:]
    before = z > _NEAR_M
    x, y, z = x[before], y[before], z[before]
    column = np.floor(pinhole.fx * x / z + pinhole.cx)
    row = np.floor(pinhole.fy * y / z + pinhole.cy)
    inside = (column >= 0) & (column < pinhole.width) & (row >= 0) & (row < pinhole.height)
    cell = (row[inside] * pinhole.width + column[inside]).astype(np.intp)
    log_z = np.log(z[inside])
    size = pinhole.width * pinhole.height
    nearest = np.full(size, np.inf)
    np.minimum.at(nearest, cell, log_z)
    same = log_z <= nearest[cell] + np.log1p(SURFACE)
    count = np.bincount(cell[same], minlength=size)
    total = np.bincount(cell[same], log_z[same], minlength=size)
    mean: NDArray[np.float64] = np.exp(total / np.where(count, count, np.nan))
    return mean.reshape(pinhole.height, pinhole.width).astype(np.float32)


def _rays(camera: Camera) -> NDArray[np.float64]:
    """``[height, width, 3]`` rays of the pixels' centres, of length 1 along the optical axis."""
    column, row = np.meshgrid(np.arange(camera.width, dtype=np.float64), np.arange(camera.height, dtype=np.float64))
    rays = np.ones((camera.height, camera.width, 3))
    if camera.is_distorted:
        rays[..., :2] = undistort(camera, np.stack([column, row], axis=-1).reshape(-1, 2)).reshape(*column.shape, 2)
    else:
        rays[..., 0] = (column + 0.5 - camera.cx) / camera.fx
        rays[..., 1] = (row + 0.5 - camera.cy) / camera.fy
    return rays
