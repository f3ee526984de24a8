"""Finds a drive: a held-out scene of the supply in which something moves, and a robot's way through it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fsm_ros.replay.recording.free_space import FreeSpace
from fsm_ros.replay.recording.loops import find_loop
from fsm_ros.replay.recording.scene_robot import PACE_M, SceneRobot
from fsm_ros.stream.frame import Camera
from fsm_ros.training.scenes import Family, SceneSettings, SceneSource, Split, Worlds
from fsm_ros.training.scenes.spec import SceneSpec

CLEARANCE_M = 0.25
"""Nothing solid comes closer to a camera, or to the robot below the first one."""
FEWEST_OBJECTS = 4
"""A scene with fewer objects, those on its walls among them, is passed over."""
CANDIDATES = 200
"""Scenes that are looked at, at most, before a seed is given up."""

_WAY = 11
"""Keeps the randomness of the way apart from that of the scene."""
_LAPS = 2.0
_SHORTEST_BOUND_M = 10.0
_CHECK_PERIOD_S = 0.1
_STRIDE = 10
_HEIGHTS_CHECKED = 3


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


@dataclass(frozen=True, eq=False)
class SceneDrive:
    """A drive through one scene, on a clock that is zero at the first image.

    Attributes:
        worlds: the scene, and no other.
        number: of the scene in its supply.
        start_s: the scene's own time at the first image, seconds.
        robot: where the robot is.
    """

    worlds: Worlds
    number: int
    start_s: float
    robot: SceneRobot

    def clearance_m(self, position: NDArray[np.float64], time_s: float) -> float:
        """How far a place ``[3]`` is from everything solid, at least, metres; negative inside."""
        return self.worlds.clearance_m(0, position, self.start_s + time_s)

    def render(self, camera: Camera, poses: NDArray[np.float64], times_s: NDArray[np.float64]) -> NDArray[np.uint8]:
        """What a perfect camera sees, with 2x2 rays a pixel.

        Args:
            camera: size and intrinsics; its lens is left out.
            poses: ``[n, 4, 4]`` of its optical frame in the world.
            times_s: ``[n]`` moments since the first image.

        Returns:
            ``[n, height, width, 3]`` uint8 RGB.
        """
        images = self.worlds.render(
            torch.zeros(len(poses), dtype=torch.long),
            torch.from_numpy(poses),
            torch.from_numpy(camera.fxfycxcy).expand(len(poses), 4),
            torch.from_numpy(self.start_s + times_s),
            camera.height,
            camera.width,
            samples=2,
        )
        return np.ascontiguousarray(images.permute(0, 2, 3, 1).mul(255.0).round_().clamp_(0, 255).byte().numpy())


def find_drive(family: Family, seed: int, *, duration_s: float, difficulty: float) -> SceneDrive:
    """The drive of a seed: through the first of its scenes that is lively and leaves room for a loop.

    The scenes are numbers 0, 1, 2, ... of the supply ``SceneSource(seed, Split.REPORT, ...)``, which training never
    sees. A scene is taken if it has `FEWEST_OBJECTS` or more, one of which travels to and fro all the while, and if
    there is a closed way that keeps `CLEARANCE_M` from everything (looked at ten times a second). The way is the one
    around the greatest area; it is so short that the drive comes round twice where it lasts long enough. So the drive
    follows from family, seed, duration and difficulty.

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
    for number in range(CANDIDATES):
        (drawn,) = source.draw([number])
        spec, start_s = drawn.spec, float(drawn.way.times_s[0])
        if not _is_lively(spec, manner.least_travel_m, start_s, start_s + duration_s):
            continue
        rng = np.random.default_rng(source.seed_sequence(number, _WAY))
        space = FreeSpace.of(spec, manner.height_m + CLEARANCE_M)
        loop = find_loop(space, rng, least_span_m=manner.least_span_m, longest_m=longest_m)
        if loop is None:
            continue
        robot = SceneRobot(
            loop=loop,
            start=float(rng.uniform(0.0, loop.length_m)),
            terrain=spec.terrain,
            height_m=manner.height_m,
            pitch_rad=manner.pitch_rad,
            inward_rad=manner.inward_rad,
            glance_rad=manner.glance_rad,
            look_at=spec.things[0].centre[:2] if family is Family.TABLETOP else None,  # the table
        )
        worlds = source.worlds([number])
        if _keeps_clear(worlds, robot, start_s, duration_s):
            return SceneDrive(worlds, number, start_s, robot)
    raise ValueError(
        f"none of the first {CANDIDATES} {family.value} scenes of seed {seed} and difficulty {difficulty:g} leaves "
        "room for a drive: take another seed or difficulty"
    )


def _is_lively(spec: SceneSpec, least_travel_m: float, begin_s: float, end_s: float) -> bool:
    """Whether there are enough objects, and one of them travels to and fro and is there all the while."""
    travels = [float(np.linalg.norm(thing.sweep)) >= least_travel_m for thing in spec.things]
    stays = [thing.visible_s[0] <= begin_s and end_s < thing.visible_s[1] for thing in spec.things]
    return len(spec.things) >= FEWEST_OBJECTS and any(a and b for a, b in zip(travels, stays, strict=True))


def _keeps_clear(worlds: Worlds, robot: SceneRobot, start_s: float, duration_s: float) -> bool:
    """Whether the robot, from just above the ground to its camera, never comes too close to anything."""
    times_s = np.linspace(0.0, duration_s, int(np.ceil(duration_s / _CHECK_PERIOD_S)) + 1).tolist()
    for first in range(_STRIDE):  # coarsely first: most ways that do not fit are found out early
        for time_s in times_s[first::_STRIDE]:
            base = robot.map_from_base(time_s)[:3, 3]
            for height_m in np.linspace(CLEARANCE_M, robot.height_m, _HEIGHTS_CHECKED):
                # At the lowest place a slope may take a little of what is below.
                place = base + (0.0, 0.0, height_m + 1e-9)
                if worlds.clearance_m(0, place, start_s + time_s) < CLEARANCE_M:
                    return False
    return True
