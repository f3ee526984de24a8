# SPDX-License-Identifier: Apache-2.0
"""What one keyframe tells of the surfaces before it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

NEAR_M = 1e-3
"""What is nearer to a camera, or behind it, is not seen."""


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Depth at a keyframe's own pose.

    Attributes:
        number: of the keyframe.
        colour: ``[height, width, 3]`` uint8, RGB.
        depth_m: ``[height, width]`` float32 along the optical axis (REP-118), metres; NaN where it is not known.
        error: ``[height, width]`` float32, expected absolute error of the depth's natural logarithm.
        fxfycxcy: ``[4]`` float64 pixels, pixel centres at half-integers.
        world_from_camera: ``[4, 4]`` float64 rigid, optical frame to the world, metres.
    """

    number: int
    colour: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    error: NDArray[np.float32]
    fxfycxcy: NDArray[np.float64]
    world_from_camera: NDArray[np.float64]

    @property
    def position(self) -> NDArray[np.float64]:
        """``[3]`` where the camera stood, metres."""
        return self.world_from_camera[:3, 3]

    def without(self, unknown: NDArray[np.bool_]) -> DepthMap:
        """The same, with the depth of some pixels ``[height, width]`` not known."""
        return replace(self, depth_m=np.where(unknown, np.float32(np.nan), self.depth_m))

    def points(self) -> NDArray[np.float64]:
        """``[height, width, 3]`` in the world, metres; NaN where depth is not known."""
        return self.position + self.depth_m[..., None] * self.lines()

    def lines(self) -> NDArray[np.float64]:
        """``[height, width, 3]`` from the camera through the pixels, one metre along the optical axis, in the world."""
        fx, fy, cx, cy = self.fxfycxcy
        height, width = self.depth_m.shape
        x = (np.arange(width) + 0.5 - cx) / fx
        y = (np.arange(height) + 0.5 - cy) / fy
        slopes = np.stack(np.broadcast_arrays(x, y[:, None], 1.0), axis=-1)
        return np.asarray(slopes @ self.world_from_camera[:3, :3].T)

    def landings(
        self, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64], NDArray[np.bool_]]:
        """Where points ``[..., 3]`` of the world fall in the picture.

        Returns:
            Rows, columns (0 where they fall outside), depth along the optical axis in metres, and whether inside;
            each ``[...]``.
        """
        fx, fy, cx, cy = self.fxfycxcy
        height, width = self.depth_m.shape
        x, y, z = np.moveaxis((points - self.position) @ self.world_from_camera[:3, :3], -1, 0)
        in_front = z > NEAR_M  # not so where it is NaN
        depth = np.where(in_front, z, 1.0)
        u, v = fx * x / depth + cx, fy * y / depth + cy
        inside = in_front & (u >= 0) & (u < width) & (v >= 0) & (v < height)
        row, column = (np.where(inside, each, 0.0).astype(np.intp) for each in (v, u))
        return row, column, depth, inside
