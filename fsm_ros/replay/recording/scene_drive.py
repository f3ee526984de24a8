# SPDX-License-Identifier: Apache-2.0
"""Finds a drive: a held-out scene of the supply in which something moves, and a robot's way through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from fsm_ros.replay.recording.free_space import FreeSpace
from fsm_ros.replay.recording.loops import find_loop
from fsm_ros.replay.recording.scene_robot import PACE_M, SceneRobot
from fsm_ros.replay.recording.scene_world import CLEARANCE_M, SceneWorld, lively_worlds
from fsm_ros.training.scenes import Family, SceneSettings, SceneSource, Split

FEWEST_OBJECTS = 4
CANDIDATES = 200
"""Scenes that are looked at, at most, before a seed is given up."""

_WAY = 11
"""Keeps the randomness of the way apart from that of the scene."""
_LAPS = 2.0
_SHORTEST_BOUND_M = 10.0


@dataclass(frozen=True)
class _Manner:
    """How a robot behaves in a kind of place, see `SceneRobot`, how large its loop is, and how far things travel."""

    height_m: float
    pitch_rad: float
    inward_rad: float
    glance_rad: float
    least_span_m: float
    least_travel_m: float


_MANNERS = {
    Family.ROOM: _Manner(
        height_m=1.0, pitch_rad=-0.1, inward_rad=0.8, glance_rad=0.8, least_span_m=1.8, least_travel_m=0.2
    ),
    Family.CORRIDOR: _Manner(
        height_m=1.0, pitch_rad=-0.1, inward_rad=0.2, glance_rad=0.5, least_span_m=3.0, least_travel_m=0.2
    ),
    Family.OPEN: _Manner(
        height_m=1.0, pitch_rad=-0.2, inward_rad=0.7, glance_rad=0.8, least_span_m=2.5, least_travel_m=0.2
    ),
    Family.TABLETOP: _Manner(
        height_m=1.3, pitch_rad=-0.45, inward_rad=0.0, glance_rad=0.25, least_span_m=1.2, least_travel_m=0.06
    ),
}


class SceneDrive(NamedTuple):
    """A scene, and who drives through it."""

    world: SceneWorld
    robot: SceneRobot


def find_drive(family: Family, seed: int, *, duration_s: float, difficulty: float) -> SceneDrive:
    """The drive of a seed: through the first of its scenes that is lively and leaves room for a loop.

    The scenes are numbers 0, 1, 2, ... of the supply ``SceneSource(seed, Split.REPORT, ...)``, which training never
    sees. A scene is taken if it has `FEWEST_OBJECTS` or more, one of which travels to and fro all the while, and if
    there is a closed way that keeps `CLEARANCE_M` from everything. The way is the one around the greatest area; it is
    so short that the drive comes round twice where it lasts long enough. So the drive follows from family, seed,
    duration and difficulty.

    Args:
        family: what kind of place.
        seed: of the supply, not negative.
        duration_s: from the first image to the last, seconds.
        difficulty: of the scene, in [0, 1]; see `fsm_ros.training.scenes.difficulty`.

    Raises:
        ValueError: a negative seed, a difficulty outside [0, 1], or none of the first `CANDIDATES` scenes fits.
    """
    settings = SceneSettings(
        families=((family, 1.0),), difficulty=(difficulty, difficulty), photographs=False, sensor=0.0
    )
    source = SceneSource(seed, Split.REPORT, settings, torch.device("cpu"))
    manner = _MANNERS[family]
    longest_m = max(PACE_M * duration_s / _LAPS, _SHORTEST_BOUND_M)
    for world in lively_worlds(
        source, CANDIDATES, duration_s, fewest_objects=FEWEST_OBJECTS, least_travel_m=manner.least_travel_m
    ):
        rng = np.random.default_rng(source.seed_sequence(world.number, _WAY))
        space = FreeSpace.of(world.spec, manner.height_m + CLEARANCE_M)
        loop = find_loop(space, rng, least_span_m=manner.least_span_m, longest_m=longest_m)
        if loop is None:
            continue
        robot = SceneRobot(
            loop=loop,
            start=float(rng.uniform(0.0, loop.length_m)),
            terrain=world.spec.terrain,
            height_m=manner.height_m,
            pitch_rad=manner.pitch_rad,
            inward_rad=manner.inward_rad,
            glance_rad=manner.glance_rad,
            look_at=world.spec.things[0].centre[:2] if family is Family.TABLETOP else None,  # the table
        )
        if world.keeps_clear(robot, duration_s):
            return SceneDrive(world, robot)
    raise ValueError(
        f"none of the first {CANDIDATES} {family.value} scenes of seed {seed} and difficulty {difficulty:g} leaves "
        "room for a drive: take another seed or difficulty"
    )
