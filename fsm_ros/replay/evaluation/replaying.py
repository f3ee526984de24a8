# SPDX-License-Identifier: Apache-2.0
"""A recording through the stream and the engine, frame by frame, as the node would take it, but in one thread's order.

The decisions are those of `fsm_ros.sources.taking`, the writing that of `fsm_ros.engine`: equal inputs give equal
memories.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from fsm_ros.configuration.settings import Settings
from fsm_ros.engine import MemoryEngine
from fsm_ros.errors import FsmError
from fsm_ros.sources.recorded import RecordedFrame
from fsm_ros.sources.rig import Rig
from fsm_ros.sources.taking import TakenChunk
from fsm_ros.spatial.results import ObserveReport
from fsm_ros.stream.ledger import Refusal


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
        self.taker = settings.new_taker()
        """The stream's decisions, and its books."""
        self.stream_s = 0.0
        """Seconds spent on the stream itself: reading, decoding, deciding, observing."""
        self._arrived: list[int] = []

    def steps(self) -> Iterator[Step]:
        """Replay the stream, one chunk each time; the time between two steps is the caller's own.

        Raises:
            WorkerEndedError: the engine was stopped meanwhile.
        """
        started_s = time.perf_counter()
        for taken, places_done in self._chunks():
            step = self._observe(taken, places_done)
            self.stream_s += time.perf_counter() - started_s
            yield step
            started_s = time.perf_counter()
        self.stream_s += time.perf_counter() - started_s

    @property
    def left_over(self) -> tuple[int, ...]:
        """Places of withheld frames that arrived after the last chunk."""
        return tuple(self._arrived)

    @property
    def jumps(self) -> int:
        """How often the pose jumped; without times, no speed is known."""
        return self.taker.jumps if self._rig.is_timed else 0

    def _chunks(self) -> Iterator[tuple[TakenChunk, int]]:
        """Chunks, each with how many frames of the recording had been dealt with; what comes next waits for the caller.

        A frame belongs behind whatever its arrival shows to be due, be it withheld or not.
        """
        frames, recorded = self._rig.frames, self._rig.recorded
        for place, frame in enumerate(frames):
            taken = self.taker.due(frame)
            if taken is not None:
                yield taken, place
            if place in self._withheld:
                self._arrived.append(place)
                continue
            taken = self.taker.take(frame, self._rig.read, recorded[frame.camera].depth)
            if taken is not None:
                yield taken, place + 1
        taken = self.taker.flush()
        if taken is not None:
            yield taken, len(frames)

    def _observe(self, taken: TakenChunk, places_done: int) -> Step:
        self._engine.submit(taken.chunk)
        if not self._engine.wait_for_report():
            raise WorkerEndedError("the memory's worker has ended: see the log")
        (report,) = self._engine.drain_reports()
        withheld, self._arrived = self._arrived, []
        if report.failure is not None:
            self.taker.ledger.demote(Refusal.OBSERVE_FAILED, len(taken.frames))
        return Step(report, taken.frames, tuple(withheld), places_done)
