# SPDX-License-Identifier: Apache-2.0
"""How the input does, for whoever tells of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fsm_ros.stream.jumps import PoseJump


@dataclass(frozen=True)
class DepthStatus:
    """How the depth cameras do.

    Attributes:
        keyframes: that have measured depth.
        keyframes_without: of cameras that have a depth camera, for which it was missing or could not be used.
        last_miss: why, the last time; empty before the first.
    """

    keyframes: int = 0
    keyframes_without: int = 0
    last_miss: str = ""

    def taken(self) -> DepthStatus:
        """After another keyframe with depth."""
        return replace(self, keyframes=self.keyframes + 1)

    def missed(self, why: str) -> DepthStatus:
        """After another one without."""
        return replace(self, keyframes_without=self.keyframes_without + 1, last_miss=why)


@dataclass(frozen=True)
class IngestStatus:
    """How the input does.

    Attributes:
        last_frame_s: monotonic time of the last frame that arrived; ``None`` before the first.
        last_refusal: the latest cause in words; empty before the first.
        last_tf_error: why the latest frame without a transform had none; empty before the first.
        last_jump: the latest jump of the pose, ``None`` before the first.
        jumps: how many jumps of the pose there were.
        clock_jumps: how often time was set back.
        frames_waiting: frames that wait for calibration or TF.
        views_pending: keyframes of the chunk that is being filled.
        calibrations_carried_on: frames whose calibration has another stamp than theirs.
        frame_hint: what seems to be wrong with the images' frames, and the remedy; empty where nothing is.
        depth: how the depth cameras do.
        alive: whether frames are judged at all: not before the start, nor where the thread has ended.
    """

    last_frame_s: float | None
    last_refusal: str
    last_tf_error: str
    last_jump: PoseJump | None
    jumps: int
    clock_jumps: int
    frames_waiting: int
    views_pending: int
    calibrations_carried_on: int = 0
    frame_hint: str = ""
    depth: DepthStatus = DepthStatus()
    alive: bool = True
