# SPDX-License-Identifier: Apache-2.0
"""Jumps of the pose: what a map correction at a loop closure looks like from a camera (REP-105)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsm_ros.stream.frame import validate_rigid
from fsm_ros.stream.rigid import distance_m, turn_rad

NOISE_TRANSLATION_M = 0.02
"""Localisation noise between two frames, metres: two frames a millisecond apart must not make it a speed."""
NOISE_ROTATION_RAD = 0.02
"""The same for the attitude, radians."""


@dataclass(frozen=True)
class PoseJump:
    """How far a camera came between two frames, faster than its robot moves.

    Attributes:
        translation_m: metres between the two camera centres.
        rotation_rad: angle between the two attitudes, radians.
        dt_s: seconds between the two frames.
    """

    translation_m: float
    rotation_rad: float
    dt_s: float

    def __str__(self) -> str:
        """One line for a log."""
        return f"{self.translation_m:.3f} m and {math.degrees(self.rotation_rad):.1f} deg in {self.dt_s:.3f} s"


@dataclass(frozen=True)
class _Seen:
    world_from_camera: NDArray[np.float64]
    stamp_ns: int


class JumpDetector:
    """Compares each frame's pose with the frame before it, each source of a rig on its own."""

    def __init__(self, max_speed_mps: float, max_turn_radps: float) -> None:
        """Set how fast the robot can be.

        Args:
            max_speed_mps: metres per second; 0 switches this check off.
            max_turn_radps: radians per second; 0 switches this check off.

        Raises:
            ValueError: negative or not a number.
        """
        for name, value in (("max_speed_mps", max_speed_mps), ("max_turn_radps", max_turn_radps)):
            if not value >= 0:
                raise ValueError(f"jump detection: {name} must not be negative, got {value}")
        self.max_speed_mps = max_speed_mps or math.inf
        self.max_turn_radps = max_turn_radps or math.inf
        self._last: dict[str, _Seen] = {}

    def check(self, world_from_camera: NDArray[np.float64], stamp_ns: int, source: str) -> PoseJump | None:
        """Judge the step from the source's last frame to this one, and remember this one.

        A frame that is not newer than the last one is passed over, and the last one stays the reference.

        Args:
            world_from_camera: ``[4, 4]`` float64, rigid, metres.
            stamp_ns: acquisition time, nanoseconds.
            source: which camera of the rig.

        Returns:
            The jump, once, at the first frame after it; None for a step that a robot can make.

        Raises:
            ValueError: the pose is not rigid.
        """
        validate_rigid(world_from_camera)
        last = self._last.get(source)
        if last is not None and stamp_ns <= last.stamp_ns:
            return None
        self._last[source] = _Seen(np.array(world_from_camera), stamp_ns)
        if last is None:
            return None
        dt_s = (stamp_ns - last.stamp_ns) * 1e-9
        moved = distance_m(last.world_from_camera, world_from_camera)
        turned = turn_rad(last.world_from_camera, world_from_camera)
        too_far = moved > self.max_speed_mps * dt_s + NOISE_TRANSLATION_M
        too_much = turned > self.max_turn_radps * dt_s + NOISE_ROTATION_RAD
        return PoseJump(moved, turned, dt_s) if too_far or too_much else None

    def reset(self, source: str | None = None) -> None:
        """Forget the frames of a source, or of all: nothing is compared across a reset of the clock or the memory."""
        if source is None:
            self._last.clear()
        else:
            self._last.pop(source, None)
