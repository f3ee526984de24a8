# SPDX-License-Identifier: Apache-2.0
"""Which frames are worth remembering.

A Muon-orthogonalised write has the same size whatever it brings (Jordan et al., 2024, as used by LaCT, arXiv
2505.23884), so a parked robot that wrote every frame would overwrite its memory with one view. Hence a frame
is written when the camera has moved, and while it stands only now and then, so that things that move before
it are still seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from fsm_ros.parameter import DAY_S, Checked, parameter
from fsm_ros.stream.frame import validate_rigid
from fsm_ros.stream.rigid import distance_m, turn_rad

STANDING_SHARE = 0.1
"""A camera that has not moved by more than this share of either threshold stands: what is left is
localisation noise."""


@dataclass(frozen=True)
class KeyframePolicy(Checked):
    """When a frame becomes a keyframe, measured from the last keyframe of the same source.

    A translation or rotation of 0 takes every frame, an interval of 0 is switched off.
    """

    translation_m: float = parameter(
        0.3, "keyframes.translation", "A camera that moved this far is worth a keyframe.", "m", 0.0, 1000.0
    )
    rotation_rad: float = parameter(
        0.3, "keyframes.rotation", "A camera that turned this far is worth a keyframe.", "rad", 0.0, 3.2
    )
    interval_s: float = parameter(
        1.0, "keyframes.interval", "A moving camera is worth a keyframe this often.", "s", 0.0, DAY_S
    )
    min_interval_s: float = parameter(
        0.0, "keyframes.min_interval", "Keyframes never come faster than this.", "s", 0.0, DAY_S
    )
    static_interval_s: float = parameter(
        2.0,
        "keyframes.static_interval",
        "A standing camera is worth a keyframe this often, so that moving things are seen; 0: never.",
        "s",
        0.0,
        DAY_S,
    )


class KeyframeDecision(Enum):
    """What became of a frame, and why."""

    FIRST = "first"
    TRANSLATION = "translation"
    ROTATION = "rotation"
    INTERVAL = "interval"
    STATIC_REFRESH = "static_refresh"
    NOT_MOVED = "not_moved"
    TOO_SOON = "too_soon"
    NOT_NEWER = "not_newer"

    @property
    def accepted(self) -> bool:
        """Whether the frame is a keyframe."""
        return self not in (KeyframeDecision.NOT_MOVED, KeyframeDecision.TOO_SOON, KeyframeDecision.NOT_NEWER)


@dataclass(frozen=True)
class _Keyframe:
    world_from_camera: NDArray[np.float64]
    stamp_ns: int


class KeyframeSelector:
    """Decides frame by frame, each source of a rig on its own; only an accepted frame moves the reference."""

    def __init__(self, policy: KeyframePolicy) -> None:
        """Start without any keyframe."""
        self.policy = policy
        self._last: dict[str, _Keyframe] = {}

    def decide(self, world_from_camera: NDArray[np.float64], stamp_ns: int, source: str) -> KeyframeDecision:
        """Judge a frame, and remember it as the new reference if it is accepted; arguments as of `judge`."""
        decision = self.judge(world_from_camera, stamp_ns, source)
        if decision.accepted:
            self.remember(world_from_camera, stamp_ns, source)
        return decision

    def judge(self, world_from_camera: NDArray[np.float64], stamp_ns: int, source: str) -> KeyframeDecision:
        """Say what would become of a frame; changes nothing.

        Args:
            world_from_camera: ``[4, 4]`` float64, rigid, metres.
            stamp_ns: acquisition time, nanoseconds.
            source: which camera of the rig.

        Returns:
            The decision. A stamp that is not newer than the last keyframe's is refused: a clock that has
            truly jumped back is for ``reset``.

        Raises:
            ValueError: the pose is not rigid.
        """
        validate_rigid(world_from_camera)
        last = self._last.get(source)
        return KeyframeDecision.FIRST if last is None else self._compare(last, world_from_camera, stamp_ns)

    def remember(self, world_from_camera: NDArray[np.float64], stamp_ns: int, source: str) -> None:
        """Make a frame the reference: it was judged worth it, and its image turned out to be readable."""
        self._last[source] = _Keyframe(np.array(world_from_camera), stamp_ns)

    def reset(self, source: str | None = None) -> None:
        """Forget the keyframes of a source, or of all: the next frame is a first one."""
        if source is None:
            self._last.clear()
        else:
            self._last.pop(source, None)

    def _compare(self, last: _Keyframe, world_from_camera: NDArray[np.float64], stamp_ns: int) -> KeyframeDecision:
        policy = self.policy
        elapsed_ns = stamp_ns - last.stamp_ns
        if elapsed_ns <= 0:
            return KeyframeDecision.NOT_NEWER
        if elapsed_ns < _nanoseconds(policy.min_interval_s):
            return KeyframeDecision.TOO_SOON
        moved = distance_m(last.world_from_camera, world_from_camera)
        if moved >= policy.translation_m:
            return KeyframeDecision.TRANSLATION
        turned = turn_rad(last.world_from_camera, world_from_camera)
        if turned >= policy.rotation_rad:
            return KeyframeDecision.ROTATION
        stands = moved <= STANDING_SHARE * policy.translation_m and turned <= STANDING_SHARE * policy.rotation_rad
        if not stands and _has_passed(elapsed_ns, policy.interval_s):
            return KeyframeDecision.INTERVAL
        if _has_passed(elapsed_ns, policy.static_interval_s):
            return KeyframeDecision.STATIC_REFRESH
        return KeyframeDecision.NOT_MOVED


def _has_passed(elapsed_ns: int, interval_s: float) -> bool:
    """Whether an interval is over; one of length 0 is switched off and never is."""
    return interval_s > 0 and elapsed_ns >= _nanoseconds(interval_s)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
