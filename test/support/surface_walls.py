# SPDX-License-Identifier: Apache-2.0
"""Depth maps of a wall, as several keyframes tell it."""

from __future__ import annotations

import numpy as np
from recall_scenes import posed

from fsm_ros.surface.agreement import agreed, witnesses_of
from fsm_ros.surface.cloud import Told
from fsm_ros.surface.depth_map import DepthMap

WALL_M = 3.0


def wall_map(number: int, x: float, *, times: float = 1.0, error: float = 0.05, noise: float = 0.0) -> DepthMap:
    """What a camera at ``(x, 0, 0)`` that looks along z tells of a wall: so many times as far away."""
    height, width = 30, 40
    rng = np.random.default_rng(number)
    depth_m = WALL_M * times * np.exp(rng.normal(0.0, noise, (height, width)))
    lens = np.array([35.0, 35.0, width / 2, height / 2])
    colour = np.full((height, width, 3), (200, 100, 50), dtype=np.uint8)
    errors = np.full((height, width), error, dtype=np.float32)
    return DepthMap(number, colour, depth_m.astype(np.float32), errors, lens, posed((x, 0, 0)))


def told(maps: list[DepthMap]) -> list[Told]:
    """Every map with what the others agree on."""
    return [(own, agreed(own, witnesses_of(own, [other for other in maps if other is not own]))) for own in maps]


def three_views(**changes: float) -> list[Told]:
    """A wall from three places."""
    return told([wall_map(i, 0.5 * i, **changes) for i in range(3)])
