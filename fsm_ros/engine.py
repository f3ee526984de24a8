# SPDX-License-Identifier: Apache-2.0
"""MemoryEngine: the one owner of the device and the memory, on a worker thread of its own.

Requests go ahead of waiting chunks. Nothing is raised across the thread: here, and nowhere else, what a synchronous
call raises becomes a :class:`fsm_ros.spatial.results.Failure`, and the worker goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from fsm_ros.spatial.results import Failure, FailureKind, ObserveReport, RequestFailedError
from fsm_ros.spatial.scene import failed_report
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.queues import BoundedQueue

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
REPORTS_KEPT = 256


@dataclass(frozen=True)
class EngineStatus:
    """How the worker does.

    Attributes:
        alive: whether the worker runs.
        chunks_waiting: chunks in the queue.
        chunks_dropped: oldest chunks that a full queue lost.
        busy_s: seconds that the job in hand has taken so far; 0 when idle.
    """

    alive: bool
    chunks_waiting: int
    chunks_dropped: int
    busy_s: float


class MemoryEngine:
    """Observes and renders off the caller's threads."""

    def __init__(self, memory: SpatialMemory, queue_capacity: int) -> None:
        """Args: the memory, which belongs to the worker from now on; how many chunks may wait."""
        self._memory = memory
        self._chunks: BoundedQueue[Chunk] = BoundedQueue(queue_capacity)
        self._requests: deque[tuple[Callable[[SpatialMemory], Any], Future[Any]]] = deque()
        self._reports: deque[ObserveReport] = deque(maxlen=REPORTS_KEPT)
        self._changed = threading.Condition()
        self._stopping = False
        self._dropped = 0
        self._busy_since: float | None = None
        self._served_last = False
        self._worker = threading.Thread(target=self._work, name="fsm-memory", daemon=True)

    @property
    def memory(self) -> SpatialMemory:
        """The memory. From outside the worker only its values may be read (``scene``, ``settings``)."""
        return self._memory

    def start(self) -> None:
        """Start the worker; once."""
        self._worker.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End the worker after the job in hand; what still waits is answered with a failure.

        Returns:
            Whether it ended in time.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._worker.is_alive():
            self._worker.join(timeout_s)
        self._answer_all(Failure(FailureKind.STOPPED, "the memory was shut down"))
        return not self._worker.is_alive()

    def submit(self, chunk: Chunk) -> Chunk | None:
        """Hand over a chunk to observe; returns at once.

        Returns:
            The oldest waiting chunk if it had to be dropped for this one.
        """
        with self._changed:
            dropped = self._chunks.push(chunk)
            if dropped is not None:
                self._dropped += 1
            self._changed.notify_all()
        return dropped

    def ask(self, job: Callable[[SpatialMemory], T]) -> Future[T | Failure]:
        """Have the worker do something with the memory; returns at once.

        Requests and chunks take turns: a request waits for those before it and for as many chunks at most, so that
        neither a crowd of clients keeps the memory from learning, nor a fast camera its clients from being answered.

        Args:
            job: runs on the worker; what it returns, or a failure where it raises, is the future's result, which never
                raises.
        """
        future: Future[T | Failure] = Future()
        with self._changed:
            accepted = not self._stopping
            if accepted:
                self._requests.append((job, future))
                self._changed.notify_all()
        if not accepted:
            future.set_result(Failure(FailureKind.STOPPED, "the memory was shut down"))
        return future

    def discard_chunks(self) -> list[Chunk]:
        """Take back the chunks that still wait."""
        with self._changed:
            return self._chunks.clear()

    def drain_reports(self) -> list[ObserveReport]:
        """What was observed since the last call, oldest first."""
        with self._changed:
            reports = list(self._reports)
            self._reports.clear()
        return reports

    def wait_for_report(self, timeout_s: float | None = None) -> bool:
        """Wait until there is a report to drain; not for callbacks.

        Args:
            timeout_s: seconds; ``None``: as long as the worker lives.

        Returns:
            Whether there is one.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._reports or self._stopping, timeout_s)
            return bool(self._reports)

    def status(self) -> EngineStatus:
        """How the worker does, now."""
        with self._changed:
            since = self._busy_since
            return EngineStatus(
                alive=self._worker.is_alive(),
                chunks_waiting=len(self._chunks),
                chunks_dropped=self._dropped,
                busy_s=0.0 if since is None else time.monotonic() - since,
            )

    def _work(self) -> None:
        while True:
            with self._changed:
                self._busy_since = None
                self._changed.wait_for(lambda: self._stopping or self._requests or len(self._chunks) > 0)
                if self._stopping:
                    return
                is_chunk_next = len(self._chunks) > 0 and (self._served_last or not self._requests)
                request = None if is_chunk_next else self._requests.popleft()
                chunk = self._chunks.pop() if is_chunk_next else None
                self._served_last = request is not None
                self._busy_since = time.monotonic()
            if request is not None:
                job, future = request
                # A requester that gave up and cancelled is not owed the work.
                if future.set_running_or_notify_cancel():
                    future.set_result(self._guarded(job))
            elif chunk is not None:
                self._observe(chunk)

    def _observe(self, chunk: Chunk) -> None:
        report = self._guarded(lambda memory: memory.observe(chunk))
        if isinstance(report, Failure):
            report = failed_report(chunk, self._memory.scene, report)
        with self._changed:
            self._reports.append(report)
            self._changed.notify_all()

    def _guarded(self, job: Callable[[SpatialMemory], T]) -> T | Failure:
        """Whatever goes wrong in a job must not end the worker: it becomes a value; a fault of ours is logged."""
        try:
            return job(self._memory)
        except RequestFailedError as error:
            return error.failure
        except Exception as error:
            _LOG.exception("a job of the memory worker failed")
            return Failure(FailureKind.INTERNAL, f"{type(error).__name__}: {error}")

    def _answer_all(self, failure: Failure) -> None:
        with self._changed:
            waiting = list(self._requests)
            self._requests.clear()
        for _, future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_result(failure)
