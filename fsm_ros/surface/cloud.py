# SPDX-License-Identifier: Apache-2.0
"""Coloured points of surfaces, one for each cell of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsm_ros.surface.agreement import AgreedPoints
from fsm_ros.surface.depth_map import DepthMap

Told = tuple[DepthMap, AgreedPoints]
"""One view, and which of its points others agree on."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """``N`` points.

    Attributes:
        points: ``[N, 3]`` float32 in the world, metres.
        colours: ``[N, 3]`` uint8, RGB.
        confidence: ``[N]`` float32 in [0, 1], see :class:`fsm_ros.surface.agreement.AgreedPoints`.
        resolution_m: edge of the cells; 0 where there are no points.
    """

    points: NDArray[np.float32]
    colours: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    resolution_m: float

    def __len__(self) -> int:
        """How many points there are."""
        return len(self.points)


def cloud_of(views: Sequence[Told], min_confidence: float, resolution_m: float = 0.0) -> Cloud:
    """The points that views agree on: in each cell the mean, as far as each is to be trusted.

    Args:
        views: each with its agreed points.
        min_confidence: points whose confidence is less are left out.
        resolution_m: edge of the cells; 0: see :func:`finest_m`.
    """
    kept = [agreed.confidence >= max(min_confidence, 1e-6) for _, agreed in views]
    resolution_m = resolution_m or finest_m(views)
    count = sum(int(keep.sum()) for keep in kept)
    if not count:
        return Cloud(np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8), np.empty(0, np.float32), 0.0)
    points = np.concatenate([_points(*view)[keep] for view, keep in zip(views, kept, strict=True)])
    colours = np.concatenate([view.colour[keep] for (view, _), keep in zip(views, kept, strict=True)])
    weights = np.concatenate([agreed.confidence[keep] for (_, agreed), keep in zip(views, kept, strict=True)])
    cells = np.floor(points / resolution_m).astype(np.int64)
    cells -= cells.min(axis=0)
    _, wide, high = (cells.max(axis=0) + 1).tolist()
    _, cell = np.unique((cells[:, 0] * wide + cells[:, 1]) * high + cells[:, 2], return_inverse=True)
    total = np.bincount(cell, weights)

    def means(values: NDArray[np.float64] | NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.float64]:
        columns = values.reshape(count, -1).T
        return np.stack([np.bincount(cell, weights * column) / total for column in columns], axis=-1)

    return Cloud(
        means(points).astype(np.float32),
        means(colours).round().astype(np.uint8),
        means(weights)[:, 0].astype(np.float32),
        resolution_m,
    )


def finest_m(views: Sequence[Told]) -> float:
    """About what a pixel of the views covers on the surfaces, metres; 0 where nothing is known."""
    covered = [float(np.nanmedian(agreed.depth_m)) / view.fxfycxcy[0] for view, agreed in views if _knows(agreed)]
    return float(np.median(covered)) if covered else 0.0


def _knows(agreed: AgreedPoints) -> bool:
    return bool((agreed.confidence > 0).any())


def _points(view: DepthMap, agreed: AgreedPoints) -> NDArray[np.float64]:
    """``[height, width, 3]`` in the world."""
    return view.position + agreed.depth_m[..., None] * view.lines()
