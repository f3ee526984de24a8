# SPDX-License-Identifier: Apache-2.0
"""Camera motions as robots make them: turns, drives, looks around, orbits, arms; with hand-held shake on some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from fsm_ros.training.scene_settings import Family
from fsm_ros.training.scenes.difficulty import Difficulty
from fsm_ros.training.scenes.spec import Doubles, terrain_height_m

FIELD_OF_VIEW_DEG = (50.0, 100.0)
DURATION_S = (4.0, 60.0)
WALL_CLEARANCE_M = 0.3
"""No camera comes closer to a wall, the floor or the ceiling."""
_LONGEST_STEP_M = 0.2
_START_S = (1.0, 100.0)
_PRINCIPAL_SPREAD = 0.02


class Move(Enum):
    """How the camera moves."""

    TURN = "turn in place"
    LOOK = "look around"
    DRIVE = "drive forward"
    LOOP = "drive along a closed curve"
    ORBIT = "orbit around a point"
    ARM = "arm above a table"


MOVES: dict[Family, tuple[tuple[Move, float], ...]] = {
    Family.ROOM: ((Move.TURN, 0.3), (Move.LOOK, 0.2), (Move.LOOP, 0.25), (Move.ORBIT, 0.25)),
    Family.CORRIDOR: ((Move.DRIVE, 0.65), (Move.LOOK, 0.2), (Move.TURN, 0.15)),
    Family.OPEN: ((Move.DRIVE, 0.4), (Move.ORBIT, 0.25), (Move.LOOK, 0.2), (Move.TURN, 0.15)),
    Family.TABLETOP: ((Move.ORBIT, 0.55), (Move.ARM, 0.45)),
}


@dataclass(frozen=True, eq=False)
class Space:
    """Where a camera may go.

    Attributes:
        low, high: ``[3]`` corners of the free box, metres.
        terrain: ``[waves, 4]`` of the ground.
        table: ``[3]`` middle of the table's top and ``[2]`` its half extents, or None.
    """

    low: Doubles
    high: Doubles
    terrain: Doubles
    table: tuple[Doubles, Doubles] | None = None


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A camera's way and lens.

    Attributes:
        move: what kind of motion it is.
        times_s: ``[F]`` strictly increasing.
        world_from_camera: ``[F, 4, 4]`` rigid, optical frame to world.
        field_of_view_rad: horizontal.
        principal: ``[2]`` offset of the principal point from the image's centre, as a share of its width.
    """

    move: Move
    times_s: Doubles
    world_from_camera: Doubles
    field_of_view_rad: float
    principal: Doubles

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """``[F]`` stamps of the frames."""
        stamps_ns: NDArray[np.int64] = np.rint(self.times_s * 1e9).astype(np.int64)
        return stamps_ns

    def fxfycxcy(self, height: int, width: int) -> Doubles:
        """``[F, 4]`` intrinsics in pixels of an image of that size; pixel centres lie at half-integers."""
        focal = 0.5 * width / np.tan(0.5 * self.field_of_view_rad)
        centre = np.array([0.5 * width, 0.5 * height]) + self.principal * width
        return np.tile(np.array([focal, focal, *centre]), (len(self.times_s), 1))


@dataclass(eq=False)
class _Path:
    """Positions ``[F, 3]`` and view angles ``[F]`` of an ideal camera."""

    position: Doubles
    yaw: Doubles
    pitch: Doubles


def plan_trajectory(
    rng: np.random.Generator, family: Family, space: Space, easy: Difficulty, frames: int
) -> Trajectory:
    """A way through the free space of a place.

    Consecutive frames are 0.05 to 0.3 m or 0.05 to 0.3 rad apart, in general, so that all frames cover a turn of up
    to some 400 degrees or a drive of some metres; the whole takes 4 to 60 s.

    Args:
        rng: all that is random comes from here.
        family: decides on the kinds of motion.
        space: where the camera may be.
        easy: decides on the length of the steps.
        frames: number of poses.
    """
    moves, weights = zip(*MOVES[family], strict=True)
    move = moves[int(rng.choice(len(moves), p=np.array(weights) / sum(weights)))]
    duration = np.exp(rng.uniform(*np.log(DURATION_S)))
    intervals = duration / (frames - 1) * rng.uniform(0.8, 1.2, frames - 1)
    times = np.rint(1e9 * (rng.uniform(*_START_S) + np.concatenate([[0.0], np.cumsum(intervals)]))) * 1e-9
    pace = 1.0 + 0.35 * np.sin(np.linspace(0, rng.uniform(2, 9), frames - 1) + rng.uniform(0, 2 * np.pi))
    progress = np.concatenate([[0.0], np.cumsum(pace)]) / pace.mean()  # in mean steps: 0 to frames - 1
    path = _PLAN[move](rng, space, easy, progress)
    if family is Family.OPEN:  # there is more to see on the ground than in the sky
        path.pitch = path.pitch - rng.uniform(0.0, 0.25)
    shaky = rng.random() < (0.3 if family is not Family.TABLETOP else 0.5)
    roll: Doubles = np.zeros(frames)
    if shaky:
        path.position = path.position + _shake(rng, times, rng.uniform(0.003, 0.02), 3)
        angles = _shake(rng, times, rng.uniform(0.005, 0.03), 3)
        path.yaw, path.pitch, roll = path.yaw + angles[:, 0], path.pitch + angles[:, 1], angles[:, 2]
    ground = terrain_height_m(space.terrain, path.position[:, 0], path.position[:, 1])
    position: Doubles = path.position.clip(space.low, space.high)
    position[:, 2] += ground
    low, high = np.deg2rad(FIELD_OF_VIEW_DEG)
    return Trajectory(
        move=move,
        times_s=times,
        world_from_camera=camera_poses(position, path.yaw, path.pitch, roll),
        field_of_view_rad=float(rng.uniform(low, high)),
        principal=rng.normal(0.0, _PRINCIPAL_SPREAD, 2).clip(-0.05, 0.05) * float(rng.random() < 0.5),
    )


def camera_poses(position: Doubles, yaw: Doubles, pitch: Doubles, roll: Doubles) -> Doubles:
    """``[F, 4, 4]`` world_from_camera of optical frames that look along yaw (left) and pitch (up), radians."""
    cos_yaw, sin_yaw, cos_pitch, sin_pitch = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    forward = np.stack([cos_yaw * cos_pitch, sin_yaw * cos_pitch, sin_pitch], axis=-1)
    right = np.stack([sin_yaw, -cos_yaw, np.zeros_like(yaw)], axis=-1)
    down = np.cross(forward, right)
    cos_roll, sin_roll = np.cos(roll)[:, None], np.sin(roll)[:, None]
    poses = np.zeros((len(position), 4, 4))
    poses[:, :3, 0] = cos_roll * right + sin_roll * down
    poses[:, :3, 1] = cos_roll * down - sin_roll * right
    poses[:, :3, 2] = forward
    poses[:, :3, 3] = position
    poses[:, 3, 3] = 1.0
    return poses


def _shake(rng: np.random.Generator, times: Doubles, size: float, axes: int) -> Doubles:
    """``[F, axes]`` smooth tremor: a few sines between 0.5 and 4 Hz."""
    hertz = rng.uniform(0.5, 4.0, (3, axes))
    phase = rng.uniform(0, 2 * np.pi, (3, axes))
    return np.asarray(size * np.sin(2 * np.pi * hertz * times[:, None, None] + phase).mean(axis=1) * 1.7)


def _height(rng: np.random.Generator, space: Space) -> float:
    low, high = space.low[2], min(space.high[2], 1.7)
    return float(rng.uniform(low + 0.15 * (high - low), high))


def _spot(rng: np.random.Generator, space: Space, share: float) -> Doubles:
    """A place within the middle share of the free space."""
    middle, half = 0.5 * (space.low + space.high), 0.5 * (space.high - space.low)
    spot = middle + rng.uniform(-share, share, 3) * half
    spot[2] = _height(rng, space)
    return np.asarray(spot)


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


def _look_at(position: Doubles, target: Doubles) -> tuple[Doubles, Doubles]:
    way = target - position
    return np.unwrap(np.arctan2(way[:, 1], way[:, 0])), np.arctan2(way[:, 2], np.hypot(way[:, 0], way[:, 1]))


def _turn(rng: np.random.Generator, space: Space, easy: Difficulty, progress: Doubles) -> _Path:
    yaw = rng.uniform(-np.pi, np.pi) + _sign(rng) * rng.uniform(*easy.turn_step_rad) * 0.85 * progress
    lever = rng.uniform(0.0, 0.2)  # the camera sits in front of the axis that the robot turns about
    spot = _spot(rng, space, 0.5)
    position = spot + lever * np.stack([np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)], axis=-1)
    pitch = rng.uniform(-0.35, 0.15) + rng.uniform(0, 0.12) * np.sin(yaw * rng.uniform(0.5, 2.0))
    return _Path(position, yaw, pitch)


def _look(rng: np.random.Generator, space: Space, easy: Difficulty, progress: Doubles) -> _Path:
    reach = rng.uniform(0.7, 1.6)
    phase = rng.uniform(*easy.turn_step_rad) * progress / reach * 1.2
    yaw = rng.uniform(-np.pi, np.pi) + reach * np.sin(phase)
    pitch = rng.uniform(-0.3, 0.1) + rng.uniform(0.1, 0.4) * np.sin(phase * rng.uniform(0.6, 2.2) + rng.uniform(0, 6))
    drift = rng.normal(0, 0.012, 3) * (1, 1, 0.3)
    centred = progress - progress.mean()
    return _Path(_spot(rng, space, 0.5) + drift * centred[:, None], yaw, pitch)


def _drive(rng: np.random.Generator, space: Space, easy: Difficulty, progress: Doubles) -> _Path:
    """Along the longer side of the free space, with slight curves; beyond its sides it would leave the place."""
    half = 0.5 * (space.high - space.low)
    length = min(rng.uniform(*easy.drive_step_m) * progress[-1], 1.9 * half[0])
    along = length * (progress / progress[-1] - 0.5)
    room = half[0] - 0.5 * length
    start = rng.uniform(-room, room)
    weave = rng.uniform(0.2, 0.8) * min(half[1], 0.08 * length)
    waves = rng.uniform(0.5, 1.5) * 2 * np.pi / max(length, 1.0)
    phase = rng.uniform(0, 2 * np.pi)
    across = weave * np.sin(waves * along + phase)
    heading = np.arctan(weave * waves * np.cos(waves * along + phase))
    gaze = rng.uniform(0.0, 0.5) * np.sin(2 * np.pi * rng.uniform(0.5, 2.0) * progress / progress[-1] + phase)
    side = _sign(rng)
    middle = 0.5 * (space.low + space.high)
    height = _height(rng, space)
    position = np.stack([side * (along + start), side * across, np.full_like(along, height)], axis=-1)
    position[:, :2] += middle[:2]
    yaw = heading + gaze + (0.0 if side > 0 else np.pi)
    return _Path(position, yaw, np.full_like(yaw, rng.uniform(-0.25, 0.1)))


def _loop(rng: np.random.Generator, space: Space, easy: Difficulty, progress: Doubles) -> _Path:
    middle, half = 0.5 * (space.low + space.high), 0.5 * (space.high - space.low)
    radius = half[:2] * rng.uniform(0.4, 0.95, 2)
    radius = np.minimum(radius, 1.6 * radius.min())  # no hairpins
    step = min(rng.uniform(*easy.drive_step_m) / float(radius.mean()), 0.14)
    side = _sign(rng)
    angle = rng.uniform(0, 2 * np.pi) + side * step * progress
    position = np.stack(
        [radius[0] * np.cos(angle), radius[1] * np.sin(angle), np.full_like(angle, _height(rng, space))], axis=-1
    )
    position[:, :2] += middle[:2]
    tangent = np.unwrap(np.arctan2(side * radius[1] * np.cos(angle), -side * radius[0] * np.sin(angle)))
    gaze = side * rng.uniform(-0.2, 0.7)
    return _Path(position, tangent + gaze, np.full_like(angle, rng.uniform(-0.3, 0.1)))


def _orbit(rng: np.random.Generator, space: Space, easy: Difficulty, progress: Doubles) -> _Path:
    middle, half = 0.5 * (space.low + space.high), 0.5 * (space.high - space.low)
    if space.table is None:
        radius = min(half[:2].min() * rng.uniform(0.6, 0.95), rng.uniform(1.5, 4.0))
    else:
        radius = space.table[1].max() + rng.uniform(0.15, 0.45)
    step = min(rng.uniform(*easy.turn_step_rad), _LONGEST_STEP_M / radius)
    angle = rng.uniform(0, 2 * np.pi) + _sign(rng) * step * progress
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)
    if space.table is not None:
        top, size = space.table
        target = top + np.array([*rng.uniform(-0.25, 0.25, 2) * size, rng.uniform(0.0, 0.1)])
        height = target[2] + radius * rng.uniform(0.35, 1.0)
        position = top + ring * radius
    else:
        slack = half[:2] - radius
        target = middle + np.array([*rng.uniform(-0.6, 0.6, 2) * slack.clip(0, 3), 0.0])
        target[2] = rng.uniform(0.2, 1.0)
        height = _height(rng, space)
        position = target + ring * radius
    position[:, 2] = min(height, space.high[2]) + rng.uniform(0, 0.08) * np.sin(angle + rng.uniform(0, 6))
    yaw, pitch = _look_at(position, target)
    return _Path(position, yaw, pitch)


def _arm(rng: np.random.Generator, space: Space, easy: Difficulty, progress: Doubles) -> _Path:
    """A camera in a robot's hand: it sweeps over the table and keeps looking at places on it."""
    if space.table is None:
        raise ValueError("an arm moves above a table, and this space has none")
    top, size = space.table
    phase = 1.8 * rng.uniform(*easy.turn_step_rad) * progress
    rates = rng.uniform(0.7, 1.3, 3)
    offset = rng.uniform(0, 2 * np.pi, 3)
    swing = np.sin(phase[:, None] * rates + offset)
    base = rng.uniform(-np.pi, np.pi)
    away = np.array([np.cos(base), np.sin(base)]) * (size.min() * rng.uniform(0.5, 1.1))
    position = np.empty((len(progress), 3))
    position[:, :2] = top[:2] + away + swing[:, :2] * size * rng.uniform(0.4, 0.8)
    position[:, 2] = top[2] + rng.uniform(0.4, 0.6) + 0.12 * swing[:, 2]
    aim = top[:2] - 0.2 * away + 0.45 * size * np.sin(phase[:, None] * rates[:2] * 0.6 + offset[1:])
    yaw, pitch = _look_at(position, np.concatenate([aim, np.full((len(aim), 1), top[2])], axis=1))
    # Straight down the heading is undefined: hold the camera as an arm does, looking forward and down.
    return _Path(position, np.full_like(yaw, base + np.pi) + 0.4 * swing[:, 0], pitch.clip(-1.2, -0.2))


_PLAN: dict[Move, Callable[[np.random.Generator, Space, Difficulty, Doubles], _Path]] = {
    Move.TURN: _turn,
    Move.LOOK: _look,
    Move.DRIVE: _drive,
    Move.LOOP: _loop,
    Move.ORBIT: _orbit,
    Move.ARM: _arm,
}
