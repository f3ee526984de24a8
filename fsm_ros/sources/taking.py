# SPDX-License-Identifier: Apache-2.0
"""Frames that are at hand, of a recording or of arrays, through the stream's decisions and into the ledger.

The decisions are those of `fsm_ros.stream.intake`, the node's own. What a node waits for (calibration, TF, the device)
is there at once, so nothing is dropped, and equal frames give equal chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.recorded import DepthReader, RecordedFrame
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import DepthImage, PosedImage
from fsm_ros.stream.intake import KEYFRAME_REFUSALS, STAMP_REFUSALS, Intake
from fsm_ros.stream.ledger import FrameLedger, Refusal
from fsm_ros.stream.stamps import StampVerdict

FrameRead = Callable[[RecordedFrame], PosedImage]
"""Decodes a frame; may raise `SourceError`."""
_SECONDS = 1e-9
_CLOCK_UNKNOWN = 0
"""There is no clock beside the stamps: none is ahead of it."""


@dataclass(frozen=True)
class TakenChunk:
    """A chunk, and the frames that it was made of, in its order."""

    chunk: Chunk
    frames: tuple[RecordedFrame, ...]


class FrameTaker:
    """Takes frames in the order of their arrival, which is its clock.

    Attributes:
        intake: what decides.
        ledger: where every frame ended.
        unreadable: why frames could not be decoded or rectified.
        with_depth: keyframes with measured depth.
        depth_unreadable: why depth could not be used.
        jumps: how often the pose jumped, if stamps are moments.
        restarts: how often a camera's stamps were set back.
    """

    def __init__(self, intake: Intake, depth_tolerance_s: float | None) -> None:
        """Start with no frame taken.

        Args:
            intake: new.
            depth_tolerance_s: how far away in time measured depth may be; ``None``: it is not asked for.
        """
        self.intake = intake
        self.ledger = FrameLedger()
        self.unreadable: list[str] = []
        self.with_depth = 0
        self.depth_unreadable: list[str] = []
        self.jumps = 0
        self.restarts = 0
        self._depth_tolerance_ns = None if depth_tolerance_s is None else round(depth_tolerance_s * 1e9)
        self._pending: list[RecordedFrame] = []
        self._first_ns: int | None = None
        self._now_s = 0.0

    @property
    def uses_depth(self) -> bool:
        """Whether measured depth is asked for."""
        return self._depth_tolerance_ns is not None

    def due(self, frame: RecordedFrame) -> TakenChunk | None:
        """What a node's timer would have flushed before this frame came."""
        if self._first_ns is None:
            self._first_ns = frame.arrival_ns
        self._now_s = max(self._now_s, (frame.arrival_ns - self._first_ns) * _SECONDS)
        return self._taken(self.intake.flush_due(self._now_s))

    def take(self, frame: RecordedFrame, read: FrameRead, depth: DepthReader | None = None) -> TakenChunk | None:
        """Deal with a frame for which nothing is `due` any more; every way out is booked in the ledger.

        Args:
            frame: the frame.
            read: called where it is worth it.
            depth: what a depth camera measured with it.

        Returns:
            The chunk that it filled.
        """
        self.ledger.receive()
        keyframe = self._keyframe(frame, read, depth)
        if isinstance(keyframe, Refusal):
            self.ledger.refuse(keyframe)
            return None
        self.ledger.keyframe()
        self._pending.append(frame)
        return self._taken(self.intake.keep(keyframe, self._now_s))

    def flush(self) -> TakenChunk | None:
        """The partial chunk, if there is one."""
        return self._taken(self.intake.flush())

    def _taken(self, chunk: Chunk | None) -> TakenChunk | None:
        if chunk is None:
            return None
        frames, self._pending = tuple(self._pending), []
        return TakenChunk(chunk, frames)

    def _keyframe(self, frame: RecordedFrame, read: FrameRead, depth: DepthReader | None) -> PosedImage | Refusal:
        """A frame as the memory observes it, or why it does not."""
        verdict = self.intake.judge_stamp(frame.stamp_ns, _CLOCK_UNKNOWN, frame.camera)
        if verdict in STAMP_REFUSALS:
            return STAMP_REFUSALS[verdict]
        if verdict is StampVerdict.JUMPED_BACK:
            self.restarts += 1
            self.intake.begin_anew(frame.camera)
        if frame.world_from_camera is None:
            return Refusal.NO_TRANSFORM
        decision, jump = self.intake.judge_pose(frame.world_from_camera, frame.stamp_ns, frame.camera)
        self.jumps += jump is not None
        if not decision.accepted:
            return KEYFRAME_REFUSALS[decision]
        try:
            image = read(frame)
        except SourceError as error:
            self.unreadable.append(str(error))
            return Refusal.UNREADABLE_IMAGE
        measured = self._measured(frame, depth) if image.depth is None else image.depth
        try:
            keyframe = self.intake.rectify(replace(image, depth=measured))
        except ValueError as error:
            self.unreadable.append(str(error))
            return Refusal.BAD_CALIBRATION
        self.with_depth += measured is not None
        return keyframe

    def _measured(self, frame: RecordedFrame, depth: DepthReader | None) -> DepthImage | None:
        """What a depth camera measured with a frame; that it did not refuses no frame."""
        if depth is None or self._depth_tolerance_ns is None:
            return None
        try:
            return depth.at(frame, self._depth_tolerance_ns)
        except SourceError as error:
            self.depth_unreadable.append(str(error))
            return None
