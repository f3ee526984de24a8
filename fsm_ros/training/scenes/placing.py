# SPDX-License-Identifier: Apache-2.0
"""Places objects, standing and moving, where they are in no one's way."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fsm_ros.training.scenes.difficulty import Difficulty
from fsm_ros.training.scenes.looks import Looks
from fsm_ros.training.scenes.spec import FOREVER_S, TERRAIN_WAVES, Doubles, Kind, Thing, terrain_height_m
from fsm_ros.training.scenes.trajectory import Trajectory

CAMERA_CLEARANCE_M = 0.12
"""No object comes closer to the camera's way."""
_CANDIDATES = 72
_KINDS = (Kind.BOX, Kind.SPHERE, Kind.CYLINDER)
_KIND_WEIGHTS = (0.5, 0.25, 0.25)


@dataclass(frozen=True, eq=False)
class Area:
    """Where objects may stand.

    Attributes:
        low, high: ``[3]`` corners, metres; objects stand on ``low[2]``.
        largest_m: half extent of the largest object.
        terrain: ``[waves, 4]`` of the ground they stand on.
        moving: whether they may move.
        is_table: whether they lie on a table, and must not move off it.
        crowd: factor on their number.
    """

    low: Doubles
    high: Doubles
    largest_m: float
    terrain: Doubles = field(default_factory=lambda: np.zeros((TERRAIN_WAVES, 4)))
    moving: bool = True
    is_table: bool = False
    crowd: float = 1.0


def place_things(
    rng: np.random.Generator, easy: Difficulty, looks: Looks, area: Area, way: Trajectory, most: int
) -> list[Thing]:
    """Objects in an area, clear of the camera's way wherever they move.

    Args:
        rng: all that is random comes from here.
        easy: decides how many there are, how big, and how many move.
        looks: draws their surfaces.
        area: where they may be.
        way: the camera's.
        most: upper bound on their number.
    """
    wanted = min(round(area.crowd * int(rng.integers(easy.objects[0], easy.objects[1] + 1))), most)
    count = _CANDIDATES
    kinds = rng.choice(len(_KINDS), size=count, p=_KIND_WEIGHTS)
    half = area.largest_m * rng.uniform(*easy.size_scale, (count, 1)) * rng.uniform(0.55, 1.0, (count, 3))
    round_ones = kinds > 0
    half[round_ones, 1] = half[round_ones, 0]
    half[kinds == 1, 2] = half[kinds == 1, 0]
    tall = rng.random(count) < 0.3
    half[tall & (kinds != 1), 2] *= 1.8
    yaw = rng.uniform(-np.pi, np.pi, count)
    tilt = np.where(rng.random(count) < 0.2, rng.uniform(-0.6, 0.6, count), 0.0)
    tilt[kinds == 1] = 0.0
    rise = _half_height(half, tilt)
    radius = np.linalg.norm(half, axis=1)
    radius[kinds == 1] = half[kinds == 1, 0]
    flat_radius = np.hypot(half[:, 0], half[:, 1] + np.abs(np.sin(tilt)) * half[:, 2])

    moves = (rng.random(count) < easy.moving_fraction) & area.moving
    floats = moves & (rng.random(count) < 0.35) & (not area.is_table)
    slides = moves & (rng.random(count) < 0.75)
    bearing = rng.uniform(0, 2 * np.pi, count)
    span = area.high - area.low
    amplitude = rng.uniform(0.08, 0.3, count) * span[:2].min() * slides
    amplitude = np.minimum(amplitude, 1.5)
    sweep = np.stack([amplitude * np.cos(bearing), amplitude * np.sin(bearing), np.zeros(count)], axis=1)
    lift = floats * rng.uniform(0.1, 0.4, count) * span[2]
    sweep[:, 2] = np.where(floats, np.minimum(rng.uniform(0.0, 0.25, count) * span[2], lift), 0.0)

    free = span[:2] / 2 - flat_radius[:, None] - np.abs(sweep[:, :2])
    centre = np.empty((count, 3))
    centre[:, :2] = (area.low + area.high)[:2] / 2 + rng.uniform(-1, 1, (count, 2)) * np.maximum(free, 0.0)
    ground = terrain_height_m(area.terrain, centre[:, 0], centre[:, 1])
    centre[:, 2] = area.low[2] + rise + lift + ground
    fits = (free > 0).all(axis=1) & (centre[:, 2] + rise + sweep[:, 2] - ground <= area.high[2])
    fits &= _clearance(centre, sweep, radius, way.world_from_camera[:, :3, 3]) > CAMERA_CLEARANCE_M
    chosen = _apart(centre, flat_radius + 0.5 * amplitude, np.flatnonzero(fits), wanted)

    start, end = float(way.times_s[0]), float(way.times_s[-1])
    things = []
    for index in chosen:
        moving = bool(moves[index])
        speed = easy.speed * rng.uniform(0.6, 1.4)
        turns = moving and (not slides[index] or rng.random() < 0.4)
        swings = turns and rng.random() < 0.4
        thing = Thing(
            kind=_KINDS[kinds[index]],
            half=half[index],
            centre=centre[index],
            surface=looks.surface(2.0 * float(half[index].max())),
            yaw=float(yaw[index]),
            tilt=float(tilt[index]),
            sweep=sweep[index],
            swing=float(rng.uniform(0.3, 1.2)) if swings else 0.0,
            spin=float(rng.uniform(-1.2, 1.2)) * speed if turns and not swings else 0.0,
            period_s=float(rng.uniform(3.0, 12.0)) / speed,
            phase=float(rng.uniform(0, 2 * np.pi)),
            bounces=bool(rng.random() < 0.5),
            visible_s=_interval(rng, easy, start, end),
        )
        things.append(thing)
    return things


def _half_height(half: Doubles, tilt: Doubles) -> Doubles:
    return np.asarray(np.abs(half[:, 2] * np.cos(tilt)) + np.abs(half[:, 1] * np.sin(tilt)))


def _clearance(centre: Doubles, sweep: Doubles, radius: Doubles, way: Doubles) -> Doubles:
    """Least distance of each moving ball's surface from the way, metres; ``[objects]``."""
    length = (sweep**2).sum(axis=1) + 1e-12
    offset = way[None] - centre[:, None]
    share = np.clip((offset * sweep[:, None]).sum(axis=-1) / length[:, None], -1.0, 1.0)
    gap = ((offset - share[..., None] * sweep[:, None]) ** 2).sum(axis=-1)
    return np.asarray(np.sqrt(gap.min(axis=1)) - radius)


def _apart(centre: Doubles, radius: Doubles, candidates: NDArray[np.intp], wanted: int) -> list[int]:
    """The first candidates that do not crowd those before them; fewer than wanted where the place is full."""
    place, size = centre[candidates, :2], radius[candidates]
    gaps = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1))
    crowds = gaps <= 0.85 * (size[:, None] + size[None])
    blocked = np.zeros(len(candidates), dtype=bool)
    chosen: list[int] = []
    for order, index in enumerate(candidates.tolist()):
        if len(chosen) == wanted:
            break
        if not blocked[order]:
            chosen.append(index)
            blocked |= crowds[order]
    return chosen


def _interval(rng: np.random.Generator, easy: Difficulty, start: float, end: float) -> tuple[float, float]:
    """When an object is there: always, from some time on, or until some time."""
    if rng.random() >= easy.vanishing_fraction:
        return -FOREVER_S, FOREVER_S
    when = float(rng.uniform(0.2, 0.8)) * (end - start) + start
    return (when, FOREVER_S) if rng.random() < 0.5 else (-FOREVER_S, when)
