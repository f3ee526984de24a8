# SPDX-License-Identifier: Apache-2.0
"""Which of a keyframe's points other keyframes agree on, and what they make of them together.

The depth of one view is wrong by tens of percent in places, and its own expectation of the error does not always know.
A point is believed where views from elsewhere put a surface there too, and where none of them looks clearly through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsm_ros.surface.depth_map import DepthMap

AGREEING = 0.08
"""Depths whose logarithms differ by less agree."""
SEEN_THROUGH = 0.25
"""Where another view's depth is by so much larger, its line of sight goes through the point."""
SURE = 0.12
"""A view whose expected error is larger does not contradict."""
PARALLAX_RAD = 0.05
"""Seen from within this angle a point is not seen twice: both views look along the same photographs."""
FEWEST = 1
"""So many other views must agree."""
MOST_WITNESSES = 10
"""So many other views are asked."""
TYPICAL_ERROR = 0.1
"""A depth whose expected error is ten percent has a confidence of 1/e."""
_SMALL = (6, 8)


@dataclass(frozen=True, eq=False)
class AgreedPoints:
    """The points of one keyframe that others agree on.

    Attributes:
        depth_m: ``[height, width]`` float32 along the optical axis, after all views were heard; NaN elsewhere.
        confidence: ``[height, width]`` float32 in [0, 1]: ``exp(-e / TYPICAL_ERROR)`` of the expected error ``e`` of
            the depth's logarithm; 0 elsewhere.
    """

    depth_m: NDArray[np.float32]
    confidence: NDArray[np.float32]


def witnesses_of(own: DepthMap, others: Sequence[DepthMap]) -> list[DepthMap]:
    """Those of the other views that see most of a view's points from elsewhere, the most useful first."""
    rows, columns = (
        (2 * np.arange(n) + 1) * size // (2 * n) for n, size in zip(_SMALL, own.depth_m.shape, strict=True)
    )
    points = own.points()[np.ix_(rows, columns)].reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=-1)]
    if not len(points):
        return []
    worth = []
    for other in others:
        inside = other.landings(points)[3]
        worth.append(float((inside & (_angles(points, own, other) > PARALLAX_RAD)).mean()))
    order = np.argsort(-np.array(worth), kind="stable")[:MOST_WITNESSES]
    return [others[i] for i in order if worth[i] > 0.0]


def agreed(own: DepthMap, witnesses: Sequence[DepthMap]) -> AgreedPoints:
    """The points of a view that witnesses agree on.

    Args:
        own: the view.
        witnesses: others, as :func:`witnesses_of` chooses them.
    """
    points = own.points()
    support = np.zeros(own.depth_m.shape)
    against = np.zeros(own.depth_m.shape)
    weight = 1.0 / own.error.astype(np.float64) ** 2
    shift, total, spread = np.zeros_like(weight), weight.copy(), np.zeros_like(weight)
    for other in witnesses:
        row, column, depth, inside = other.landings(points)
        theirs, error = other.depth_m[row, column], other.error[row, column]
        apart = np.where(inside & (theirs > 0), np.log(np.where(theirs > 0, theirs, 1.0) / depth), np.nan)
        elsewhere = _angles(points, own, other) > PARALLAX_RAD
        agrees = elsewhere & (np.abs(apart) < AGREEING)
        support += agrees
        against += (apart > SEEN_THROUGH) & (error < SURE)
        its = np.where(agrees, 1.0 / error.astype(np.float64) ** 2, 0.0)
        told = np.where(agrees, apart, 0.0)
        shift += its * told
        spread += its * told**2
        total += its
    mean = shift / total
    error = np.sqrt(1.0 / total + np.maximum(spread / total - mean**2, 0.0))
    believed = (support >= FEWEST) & (against < support)
    depth_m = np.where(believed, own.depth_m * np.exp(mean), np.nan)
    confidence = np.where(believed, np.exp(-error / TYPICAL_ERROR), 0.0)
    return AgreedPoints(depth_m.astype(np.float32), confidence.astype(np.float32))


def _angles(points: NDArray[np.float64], own: DepthMap, other: DepthMap) -> NDArray[np.float64]:
    """Between the lines from two cameras to points ``[..., 3]``, radians."""
    one, two = points - own.position, points - other.position
    across = np.linalg.norm(np.cross(one, two), axis=-1)
    return np.asarray(np.arctan2(across, (one * two).sum(axis=-1)))
