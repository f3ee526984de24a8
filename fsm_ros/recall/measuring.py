# SPDX-License-Identifier: Apache-2.0
"""A keyframe to which a depth camera has measured how far away what it shows is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fsm_ros.recall.choose import COLUMNS, ROWS
from fsm_ros.recall.keyframes import Keyframe

LEAST_SHARE = 0.25
"""Where less of a cell was measured, it is not known how far away its middle is."""


def measured(keyframe: Keyframe, depth_m: NDArray[np.float32]) -> Keyframe:
    """The keyframe with measured depth, in place of what the memory guessed where there is any.

    Args:
        keyframe: as the memory knows it.
        depth_m: ``[rows, columns]`` of its whole photograph, metres along the optical axis; NaN where nothing was
            measured.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        sensed = (-np.log(depth_m)).astype(np.float16)
    coarse = _at_points(depth_m)
    known = np.isfinite(coarse)
    if keyframe.depth_m is not None:
        coarse = np.where(known, coarse, keyframe.depth_m)
    elif known.any():
        coarse = np.where(known, coarse, np.float32(np.median(coarse[known])))
    else:
        return replace(keyframe, sensed=sensed)
    return replace(keyframe, depth_m=coarse, sensed=sensed)


def _at_points(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[ROWS, COLUMNS]`` the median of each cell, NaN where too little of it was measured."""
    rows, columns = (
        np.linspace(0, size, count + 1).astype(np.intp)
        for size, count in zip(depth_m.shape, (ROWS, COLUMNS), strict=True)
    )
    found = np.full((ROWS, COLUMNS), np.nan, dtype=np.float32)
    for row in range(ROWS):
        for column in range(COLUMNS):
            cell = depth_m[rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
            known = cell[np.isfinite(cell)]
            if known.size and known.size >= LEAST_SHARE * cell.size:
                found[row, column] = np.median(known)
    return found
