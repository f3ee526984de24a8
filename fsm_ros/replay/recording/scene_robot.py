# SPDX-License-Identifier: Apache-2.0
"""A robot that drives a loop through a procedural scene: where it is, where its cameras look, what TF says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial.transform import Rotation

from fsm_ros.replay.recording.loops import Loop
from fsm_ros.replay.recording.robot import Doubles, Robot, level_pose
from fsm_ros.training.scenes.spec import terrain_height_m
from fsm_ros.training.scenes.trajectory import camera_poses

PACE_M = 0.5
"""Way and turns (see `loops.METRES_PER_RADIAN`) in a second: half a metre, or one radian on the spot."""
ARM_REACH_M = 0.8
"""The second camera is so far from the first, at most."""
ARM_TURN_RAD = 0.6
"""It is turned by so much against the first, at most."""

_LAPS_PER_GLANCE = 0.618034
"""The robot looks left and right once in this share of a lap, so that it comes round looking another way."""
_ARM_PERIODS_S = (9.0, 23.0, 11.0, 31.0)
"""Of the arm's reach, of the direction of the reach, of the turn, and of the axis of the turn."""
_GUARD_S, _GUARD_STEP_S = 0.6, 0.1
_SHARES = np.linspace(0.0, 1.0, 9)


@dataclass(frozen=True, eq=False)
class SceneRobot(Robot):
    """A robot that drives a loop, see `Robot`; its camera stands straight above base_link.

    Attributes:
        loop: its way, which it drives again and again.
        start: how far along the loop it begins, as `Loop.progress` counts.
        terrain: ``[waves, 4]`` of the ground.
        height_m: of the first camera above the ground.
        pitch_rad: of the first camera, up.
        inward_rad: how far it looks to the inner side of the loop, on average, where there is more to see than walls.
        glance_rad: how far it looks to the left and right of that, in turn.
        look_at: ``[2]`` a place that it looks at instead of where it goes, or None.
    """

    loop: Loop
    start: float
    terrain: Doubles
    height_m: float
    pitch_rad: float
    inward_rad: float
    glance_rad: float
    look_at: Doubles | None = None

    @property
    def lap_s(self) -> float:
        """How long one lap takes, seconds."""
        _, progress, _ = self._measured
        return float(progress[-1]) / PACE_M

    def map_from_base(self, time_s: float) -> Doubles:
        """See `Robot`: level, x where the camera looks."""
        angles, progress, headings = self._measured
        along = (self.start + PACE_M * time_s) % progress[-1]
        (place,) = self.loop.places(np.array([np.interp(along, progress, angles)]))
        glance = self.glance_rad * np.sin(2.0 * np.pi * time_s / (_LAPS_PER_GLANCE * self.lap_s))
        if self.look_at is None:
            inward = self.inward_rad * float(np.sign(headings[-1] - headings[0]))
            yaw = float(np.interp(along, progress, headings)) + inward + glance
        else:
            ahead = self.look_at - place
            yaw = float(np.arctan2(ahead[1], ahead[0])) + glance
        return level_pose((*place, float(terrain_height_m(self.terrain, *place))), yaw)

    def map_from_odom(self, time_s: float) -> Doubles:
        """See `Robot`."""
        place = (0.2 * np.sin(0.05 * time_s), 0.03 * np.sin(0.4 * time_s), 0.0)
        return level_pose(place, np.deg2rad(1.5) * np.sin(0.3 * time_s))

    @property
    def base_from_camera(self) -> Doubles:
        """See `Robot`."""
        zero = np.zeros(1)
        (mount,) = camera_poses(np.array([[0.0, 0.0, self.height_m]]), zero, zero + self.pitch_rad, zero)
        return np.asarray(mount)

    @cached_property
    def _measured(self) -> tuple[Doubles, Doubles, Doubles]:
        """Angles of the loop, and the progress and heading at each."""
        angles, progress = self.loop.progress()
        return angles, progress, self.loop.headings(angles)


@dataclass(frozen=True, eq=False)
class Arm:
    """What carries the second camera: it swings out and back, and turns, always another way.

    Attributes:
        times_s: ``[n]`` rising, moments since the first image.
        shares: ``[n]`` how much of its reach the arm may use then, 0 to 1, so that the camera keeps clear.
    """

    times_s: Doubles
    shares: Doubles

    @classmethod
    def around(
        cls, robot: SceneRobot, clearance_m: Callable[[Doubles, float], float], *, least_m: float, duration_s: float
    ) -> Arm:
        """An arm whose camera keeps clear of everything solid.

        Args:
            robot: that carries it, its first camera clear all the way.
            clearance_m: of a place ``[3]`` at a time since the first image.
            least_m: what the camera keeps.
            duration_s: from the first image to the last.
        """
        count = int(np.ceil((duration_s + 2 * _GUARD_S) / _GUARD_STEP_S)) + 1
        times_s = np.asarray(_GUARD_STEP_S * np.arange(count) - _GUARD_S, dtype=np.float64)
        free = np.empty(count)
        for index, time_s in enumerate(times_s.tolist()):
            mount = robot.map_from_camera(min(max(time_s, 0.0), duration_s))
            offset = mount[:3, :3] @ _reach(time_s)
            free[index] = 0.0
            for share in _SHARES[1:]:  # outwards, as nothing may be in between either
                if clearance_m(mount[:3, 3] + share * offset, time_s) < least_m:
                    break
                free[index] = share
        # The least around every moment, then a mean over as wide a window: smooth, and never more than was free.
        wide = round(_GUARD_S / _GUARD_STEP_S)
        window = np.hanning(2 * wide + 3)[1:-1]
        padded = np.pad(free, 2 * wide, mode="edge")
        least = np.lib.stride_tricks.sliding_window_view(padded, 2 * wide + 1).min(axis=-1)
        return cls(times_s, np.asarray(np.convolve(least, window / window.sum(), mode="valid")))

    def first_from_second(self, time_s: float) -> Doubles:
        """``[4, 4]`` pose of the second camera's optical frame in the first's."""
        _, _, turn_period, axis_period = _ARM_PERIODS_S
        phase = 2.0 * np.pi * time_s / axis_period
        axis = np.array([0.6 * np.sin(phase), np.cos(phase), 0.2 * np.sin(2.0 * phase)])  # rolls least
        angle = ARM_TURN_RAD * np.sin(2.0 * np.pi * time_s / turn_period)
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
        pose[:3, 3] = float(np.interp(time_s, self.times_s, self.shares)) * _reach(time_s)
        return pose


def _reach(time_s: float) -> Doubles:
    """``[3]`` where the arm would hold the second camera in the first's optical frame, metres."""
    reach_period, way_period, _, _ = _ARM_PERIODS_S
    phase = 2.0 * np.pi * time_s / way_period
    way = np.array([np.cos(phase), 0.5 * np.sin(1.7 * phase), 0.6 * np.sin(phase)])
    length = 0.5 * ARM_REACH_M * (1.0 - np.cos(2.0 * np.pi * time_s / reach_period))
    return np.asarray(length * way / np.linalg.norm(way))
