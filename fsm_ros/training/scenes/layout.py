# SPDX-License-Identifier: Apache-2.0
"""Draws scenes: a place of each family, the camera's way through it, and things around that way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fsm_ros.training.scene_settings import Family
from fsm_ros.training.scenes.bank import TextureBank
from fsm_ros.training.scenes.difficulty import Difficulty
from fsm_ros.training.scenes.looks import Looks
from fsm_ros.training.scenes.placing import Area, place_things
from fsm_ros.training.scenes.spec import (
    FACES,
    MAX_OBJECTS,
    TERRAIN_WAVES,
    Doubles,
    Kind,
    SceneSpec,
    Surface,
    Thing,
)
from fsm_ros.training.scenes.trajectory import WALL_CLEARANCE_M, Space, Trajectory, plan_trajectory

FAR_M = 2000.0
"""Half extent of an open scene: beyond the haze."""
_CLOUDS_M = 25.0


def draw_scene(
    rng: np.random.Generator, family: Family, difficulty: float, frames: int, bank: TextureBank
) -> tuple[SceneSpec, Trajectory]:
    """A scene and the camera's way through it.

    Args:
        rng: all that is random comes from here.
        family: what kind of place.
        difficulty: in [0, 1].
        frames: poses of the camera.
        bank: textures of the split.
    """
    easy = Difficulty(difficulty)
    return _DRAW[family](rng, easy, Looks(bank, easy, rng), frames)


def _indoors(
    rng: np.random.Generator, family: Family, easy: Difficulty, looks: Looks, half: Doubles, height: float
) -> SceneSpec:
    """An empty room: textured walls, a lamp below the ceiling."""
    low, high = np.array([-half[0], -half[1], 0.0]), np.array([half[0], half[1], height])
    wall = [looks.surface(2.5, calm=0.9, muted=0.65) for _ in range(FACES)]
    if rng.random() < 0.5:  # one wallpaper all around
        wall[1:4] = [wall[0]] * 3
    wall[5].mix = 0.5 * wall[5].mix
    wall[5].mix[:, 3] += 0.45
    lamp = np.array([*rng.uniform(-0.6, 0.6, 2) * half, height * rng.uniform(0.7, 0.97)])
    return SceneSpec(
        family=family,
        difficulty=easy.value,
        low=low,
        high=high,
        faces=wall,
        things=[],
        lamp=lamp,
        ambient=float(rng.uniform(0.45, 0.7)),
    )


def _free_space(spec: SceneSpec, highest: float = 1.7) -> Space:
    margin = WALL_CLEARANCE_M
    high = spec.high - margin
    high[2] = min(high[2], highest)
    return Space(low=spec.low + margin, high=high, terrain=spec.terrain)


def _room(rng: np.random.Generator, easy: Difficulty, looks: Looks, frames: int) -> tuple[SceneSpec, Trajectory]:
    spec = _indoors(rng, Family.ROOM, easy, looks, rng.uniform(1.3, 3.0, 2), 2 * rng.uniform(1.0, 1.8))
    way = plan_trajectory(rng, Family.ROOM, _free_space(spec), easy, frames)
    spec.things += _panels(rng, easy, looks, spec, way)
    area = Area(spec.low, spec.high, largest_m=0.16 * float((spec.high - spec.low)[:2].mean()))
    spec.things += place_things(rng, easy, looks, area, way, MAX_OBJECTS - len(spec.things))
    return spec, way


def _corridor(rng: np.random.Generator, easy: Difficulty, looks: Looks, frames: int) -> tuple[SceneSpec, Trajectory]:
    half = np.array([rng.uniform(3.5, 9.0), rng.uniform(0.8, 1.5)])
    spec = _indoors(rng, Family.CORRIDOR, easy, looks, half, 2 * rng.uniform(1.1, 1.6))
    way = plan_trajectory(rng, Family.CORRIDOR, _free_space(spec), easy, frames)
    spec.things += _panels(rng, easy, looks, spec, way, doors=True)
    area = Area(spec.low, spec.high, largest_m=0.33 * float(half[1]))
    spec.things += place_things(rng, easy, looks, area, way, MAX_OBJECTS - len(spec.things))
    return spec, way


def _open(rng: np.random.Generator, easy: Difficulty, looks: Looks, frames: int) -> tuple[SceneSpec, Trajectory]:
    ground = looks.surface(3.5, photograph_bias=0.3, muted=0.7)
    clouds, haze = looks.sky(_CLOUDS_M)
    bearing, elevation = rng.uniform(-np.pi, np.pi), rng.uniform(0.5, 1.3)
    sun = np.array([np.cos(bearing) * np.cos(elevation), np.sin(bearing) * np.cos(elevation), np.sin(elevation)])
    terrain = np.zeros((TERRAIN_WAVES, 4))
    if rng.random() < 0.5:
        length = rng.uniform(2.0, 14.0, TERRAIN_WAVES)
        turn = rng.uniform(0, 2 * np.pi, TERRAIN_WAVES)
        terrain[:, 0] = rng.uniform(0.2, 1.0) * 0.025 * length
        terrain[:, 1], terrain[:, 2] = 2 * np.pi / length * np.cos(turn), 2 * np.pi / length * np.sin(turn)
        terrain[:, 3] = rng.uniform(0, 2 * np.pi, TERRAIN_WAVES)
    spec = SceneSpec(
        family=Family.OPEN,
        difficulty=easy.value,
        low=np.array([-FAR_M, -FAR_M, 0.0]),
        high=np.array([FAR_M, FAR_M, _CLOUDS_M]),
        faces=[clouds, clouds, clouds, clouds, ground, clouds],
        things=[],
        lamp=1e4 * sun,
        ambient=float(rng.uniform(0.4, 0.65)),
        outdoors=True,
        haze=haze,
        haze_per_m=1.0 / rng.uniform(25.0, 70.0),
        terrain=terrain,
    )
    reach = rng.uniform(4.5, 7.0)
    space = Space(np.array([-reach, -reach, 0.4]), np.array([reach, reach, 1.7]), terrain)
    way = plan_trajectory(rng, Family.OPEN, space, easy, frames)
    near = Area(np.array([-reach - 1, -reach - 1, 0.0]), np.array([reach + 1, reach + 1, 4.0]), 0.7, terrain, crowd=1.3)
    spec.things += place_things(rng, easy, looks, near, way, MAX_OBJECTS - 10)
    far = Area(np.array([-25.0, -25.0, 0.0]), np.array([25.0, 25.0, 12.0]), 3.2, terrain, moving=False)
    spec.things += place_things(rng, easy, looks, far, way, min(10, MAX_OBJECTS - len(spec.things)))
    return spec, way


def _tabletop(rng: np.random.Generator, easy: Difficulty, looks: Looks, frames: int) -> tuple[SceneSpec, Trajectory]:
    spec = _indoors(rng, Family.TABLETOP, easy, looks, rng.uniform(1.4, 2.5, 2), 2 * rng.uniform(1.1, 1.6))
    half = np.array([rng.uniform(0.35, 0.6), rng.uniform(0.3, 0.5), rng.uniform(0.015, 0.03)])
    top = np.array([*rng.uniform(-0.2, 0.2, 2), rng.uniform(0.6, 0.8)])
    table = Thing(Kind.BOX, half, top - [0, 0, half[2]], looks.surface(1.0), occludes=0.0)
    leg_half = np.array([0.05, 0.05, 0.5 * (top[2] - 2 * half[2])])
    leg = Thing(Kind.CYLINDER, leg_half, np.array([top[0], top[1], leg_half[2]]), looks.surface(0.5), occludes=0.9)
    spec.things += [table, leg]
    free = _free_space(spec, 2.2)
    space = Space(free.low, free.high, spec.terrain, (top, half[:2]))
    way = plan_trajectory(rng, Family.TABLETOP, space, easy, frames)
    spec.things += _panels(rng, easy, looks, spec, way)
    edge = np.array([*half[:2], 0.0])
    area = Area(top - edge, top + edge + [0, 0, 0.35], 0.16, is_table=True)
    spec.things += place_things(rng, easy, looks, area, way, MAX_OBJECTS - len(spec.things))
    return spec, way


def _panels(
    rng: np.random.Generator, easy: Difficulty, looks: Looks, spec: SceneSpec, way: Trajectory, doors: bool = False
) -> list[Thing]:
    """Pictures, boards and doors: thin boxes on the walls."""
    fewest, most = easy.panels
    count = int(rng.integers(fewest, most + 1)) + (2 if doors else 0)
    panels = []
    for index in range(count):
        is_door = doors and index % 2 == 0
        axis = 1 if doors or rng.random() < 0.5 else 0
        along = 1 - axis
        width = rng.uniform(0.35, 0.5) if is_door else rng.uniform(0.2, 0.55)
        tall = 0.45 * spec.high[2] if is_door else rng.uniform(0.2, 0.35 * spec.high[2])
        half = np.zeros(3)
        half[axis], half[along], half[2] = rng.uniform(0.01, 0.04), width, tall
        centre = np.zeros(3)
        side = 1.0 if rng.random() < 0.5 else -1.0
        centre[axis] = side * (spec.high[axis] - half[axis])
        centre[along] = rng.uniform(-1, 1) * (spec.high[along] - width)
        centre[2] = tall if is_door else rng.uniform(tall, spec.high[2] - tall)
        surface: Surface = looks.surface(2 * max(width, tall), photograph_bias=2.0)
        panels.append(Thing(Kind.BOX, half, centre, surface, occludes=0.0))
    return panels


_DRAW: dict[Family, Callable[[np.random.Generator, Difficulty, Looks, int], tuple[SceneSpec, Trajectory]]] = {
    Family.ROOM: _room,
    Family.CORRIDOR: _corridor,
    Family.OPEN: _open,
    Family.TABLETOP: _tabletop,
}
