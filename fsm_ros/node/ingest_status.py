"""How the input does, for whoever tells of it."""

from __future__ import annotations

from dataclasses import dataclass

from fsm_ros.stream.jumps import PoseJump


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
    alive: bool = True
