# SPDX-License-Identifier: Apache-2.0
"""Camera poses out of the text files of other programs: rigid, or refused with what is wrong with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fsm_ros.sources.errors import SourceError

ROUNDING = 1e-3
"""How far an axis may be from unit length, or from a right angle: what remains of a rotation that was written with
three or four decimals. The nearest rotation is then taken."""

_EXACT = 1e-6


class NoPoseError(SourceError):
    """An image that was never placed: exporters leave its pose out, or fill it with NaN."""


def rigid_pose(rows: object, where: str) -> NDArray[np.float64]:
    """A rigid transform out of nested lists.

    Args:
        rows: 4x4 or 3x4 numbers, row-major, column vectors.
        where: file, frame and key, which error messages begin with.

    Returns:
        ``[4, 4]`` float64; the rotation as it was written or, where rounding shows in it, the nearest one (the
        orthogonal factor of the polar decomposition).

    Raises:
        NoPoseError: not finite.
        SourceError: not a matrix of numbers, mirrored, scaled or sheared.
    """
    try:
        pose = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        raise SourceError(f"{where} must be 4x4 numbers, row by row: export it again") from None
    if pose.shape == (3, 4):
        pose = np.concatenate([pose, [[0.0, 0.0, 0.0, 1.0]]])
    if pose.shape != (4, 4):
        raise SourceError(f"{where} must be 4x4 numbers, row by row, and has shape {pose.shape}: export it again")
    if not np.isfinite(pose).all():
        raise NoPoseError(f"{where} is not finite: leave frames without a pose out of the file")
    if not np.array_equal(pose[3], [0.0, 0.0, 0.0, 1.0]):
        raise SourceError(
            f"{where} is no rigid transform: its last row is {pose[3].tolist()} instead of 0 0 0 1 (a transposed "
            "matrix has its translation there): write it row by row, for column vectors"
        )
    left, stretch, right = np.linalg.svd(pose[:3, :3])
    if np.abs(stretch - 1.0).max() > ROUNDING:
        if stretch[0] - stretch[2] <= ROUNDING * stretch[0]:
            raise SourceError(
                f"{where} is no rigid transform: its rotation is scaled by {stretch.mean():.6g}. Divide the 3x3 part "
                "by that, and leave the translation (in Blender, apply the camera's scale before the export)"
            )
        raise SourceError(
            f"{where} is no rigid transform: its axes have lengths or angles that no rotation has (singular values "
            f"{', '.join(f'{value:.6g}' for value in stretch)} instead of 1): export the poses without scale or shear"
        )
    if np.linalg.det(pose[:3, :3]) < 0:
        raise SourceError(
            f"{where} is no rigid transform: it mirrors (left-handed axes). Negate the axis that was converted "
            "the wrong way"
        )
    if np.abs(stretch - 1.0).max() > _EXACT:
        pose[:3, :3] = left @ right
    return pose


def invert_rigid(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[4, 4]`` inverse of a rigid transform."""
    inverse = np.eye(4)
    inverse[:3, :3] = pose[:3, :3].T
    inverse[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return inverse
