# SPDX-License-Identifier: Apache-2.0
"""A recording through the stream and the engine, frame by frame, as the node would take it, but in one thread's order.

The decisions are those of `fsm_ros.stream.intake`, the writing that of `fsm_ros.engine`: the node's own. What a node
waits for (calibration, TF, the device) is there at once, so nothing is dropped, and equal inputs give equal memories.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from fsm_ros.configuration.settings import DepthUse, Settings
from fsm_ros.engine import MemoryEngine
from fsm_ros.errors import FsmError
from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.recorded import RecordedFrame
from fsm_ros.sources.rig import Rig
from fsm_ros.spatial.results import ObserveReport
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import DepthImage
from fsm_ros.stream.intake import KEYFRAME_REFUSALS, STAMP_REFUSALS
from fsm_ros.stream.ledger import FrameLedger, Refusal
from fsm_ros.stream.stamps import StampVerdict

_SECONDS = 1e-9
_CLOCK_UNKNOWN = 0
"""There is no clock beside the stamps: none is ahead of it."""


class WorkerEndedError(FsmError, RuntimeError):
    """The memory's worker ended before the stream did."""


@dataclass(frozen=True)
class Step:
    """What one chunk brought.

    Attributes:
        report: of the engine.
        keyframes: the chunk's frames, in its order.
        withheld: places of the withheld frames that arrived while it was filled.
        places_done: how many frames of the recording have been dealt with.
    """

    report: ObserveReport
    keyframes: tuple[RecordedFrame, ...]
    withheld: tuple[int, ...]
    places_done: int


class Replay:
    """One pass over a recording."""

    def __init__(self, rig: Rig, withheld: Collection[int], settings: Settings, engine: MemoryEngine) -> None:
        """Prepare.

        Args:
            rig: the recording.
            withheld: places of the frames that the memory must not see; see `hold_out.choose`.
            settings: the node's.
            engine: started, with nothing waiting.
        """
        self._rig, self._withheld, self._engine = rig, frozenset(withheld), engine
        self.intake = settings.new_intake()
        self.ledger = FrameLedger()
        self.stream_s = 0.0
        """Seconds spent on the stream itself: reading, decoding, deciding, observing."""
        self.unreadable: list[str] = []
        """Why frames could not be decoded."""
        self.with_depth = 0
        """Keyframes with measured depth."""
        self.depth_unreadable: list[str] = []
        """Why depth could not be used."""
        self._depth_tolerance_ns = round(settings.input.depth_tolerance_s * 1e9)
        self.uses_depth = settings.input.depth is DepthUse.AUTO
        """Whether measured depth is taken."""
        self.jumps = 0
        """How often the pose jumped."""
        self.restarts = 0
        """How often a camera's stamps were set back."""
        self._pending: list[RecordedFrame] = []
        self._arrived: list[int] = []

    def steps(self) -> Iterator[Step]:
        """Replay the stream, one chunk each time; the time between two steps is the caller's own.

        Raises:
            WorkerEndedError: the engine was stopped meanwhile.
        """
        started_s = time.perf_counter()
        for chunk, places_done in self._chunks():
            step = self._observe(chunk, places_done)
            self.stream_s += time.perf_counter() - started_s
            yield step
            started_s = time.perf_counter()
        self.stream_s += time.perf_counter() - started_s

    @property
    def left_over(self) -> tuple[int, ...]:
        """Places of withheld frames that arrived after the last chunk."""
        return tuple(self._arrived)

    def _chunks(self) -> Iterator[tuple[Chunk, int]]:
        """Chunks, each with how many frames of the recording had been dealt with; what comes next waits for the caller.

        A frame belongs behind whatever its arrival shows to be due, be it withheld or not.
        """
        frames = self._rig.frames
        first_ns = frames[0].arrival_ns
        for place, frame in enumerate(frames):
            # What the node's timer would have flushed before this frame came.
            now_s = (frame.arrival_ns - first_ns) * _SECONDS
            chunk = self.intake.flush_due(now_s)
            if chunk is not None:
                yield chunk, place
            if place in self._withheld:
                self._arrived.append(place)
                continue
            chunk = self._take(frame, now_s)
            if chunk is not None:
                yield chunk, place + 1
        chunk = self.intake.flush()
        if chunk is not None:
            yield chunk, len(frames)

    def _take(self, frame: RecordedFrame, now_s: float) -> Chunk | None:
        """Deal with one frame; every way out is booked in the ledger."""
        self.ledger.receive()
        verdict = self.intake.judge_stamp(frame.stamp_ns, _CLOCK_UNKNOWN, frame.camera)
        refusal = STAMP_REFUSALS.get(verdict)
        if refusal is not None:
            self.ledger.refuse(refusal)
            return None
        if verdict is StampVerdict.JUMPED_BACK:
            self.restarts += 1
            self.intake.begin_anew(frame.camera)
        if frame.world_from_camera is None:
            self.ledger.refuse(Refusal.NO_TRANSFORM)
            return None
        decision, jump = self.intake.judge_pose(frame.world_from_camera, frame.stamp_ns, frame.camera)
        self.jumps += jump is not None and self._rig.is_timed  # without times, no speed is known
        if not decision.accepted:
            self.ledger.refuse(KEYFRAME_REFUSALS[decision])
            return None
        try:
            image = self._rig.read(frame)
        except SourceError as error:
            self.unreadable.append(str(error))
            self.ledger.refuse(Refusal.UNREADABLE_IMAGE)
            return None
        depth = self._depth(frame)
        try:
            keyframe = self.intake.rectify(replace(image, depth=depth))
        except ValueError as error:
            self.unreadable.append(str(error))
            self.ledger.refuse(Refusal.BAD_CALIBRATION)
            return None
        self.ledger.keyframe()
        self.with_depth += depth is not None
        chunk = self.intake.keep(keyframe, now_s)
        self._pending.append(frame)
        return chunk

    def _depth(self, frame: RecordedFrame) -> DepthImage | None:
        """What a depth camera measured with a frame; that it did not refuses no frame."""
        reader = self._rig.recorded[frame.camera].depth
        if reader is None or not self.uses_depth:
            return None
        try:
            return reader.at(frame, self._depth_tolerance_ns)
        except SourceError as error:
            self.depth_unreadable.append(str(error))
            return None

    def _observe(self, chunk: Chunk, places_done: int) -> Step:
        self._engine.submit(chunk)
        if not self._engine.wait_for_report():
            raise WorkerEndedError("the memory's worker has ended: see the log")
        (report,) = self._engine.drain_reports()
        keyframes, self._pending = self._pending, []
        withheld, self._arrived = self._arrived, []
        if report.failure is not None:
            self.ledger.demote(Refusal.OBSERVE_FAILED, len(chunk.frames))
        return Step(report, tuple(keyframes), tuple(withheld), places_done)
