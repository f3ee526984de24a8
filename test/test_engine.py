# SPDX-License-Identifier: Apache-2.0
"""The engine: requests and chunks in turns, bounded queues, and a worker that survives whatever it is given."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import TypeVar, cast

import pytest
from deadline import DEADLINE_S
from spatial_scenes import a_chunk, at, small_memory

from fsm_ros.engine import REPORTS_KEPT, MemoryEngine
from fsm_ros.spatial.results import Failure, FailureKind, ObserveReport, Rendered, RequestFailedError
from fsm_ros.spatial.scene import Scene, failed_report
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.chunker import Chunk

T = TypeVar("T")


class Diary:
    """In the place of a memory: notes what it is asked to do, in order."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.scene: Scene | None = None
        self.trouble: Exception | None = None

    def observe(self, chunk: Chunk) -> ObserveReport:
        self.entries.append(f"chunk {index_of(chunk)}")
        if self.trouble is not None:
            raise self.trouble
        return failed_report(chunk, None, Failure(FailureKind.INTERNAL, "only a diary"))

    def note(self, entry: str) -> str:
        self.entries.append(entry)
        return entry


CHUNKS = [a_chunk(i, views=1, time_s=float(i)) for i in range(8)]


def index_of(chunk: Chunk) -> int:
    return next(i for i, known in enumerate(CHUNKS) if known is chunk)


def noted(entry: str) -> Callable[[SpatialMemory], str]:
    return lambda memory: cast(Diary, memory).note(entry)


def engine_of(diary: Diary, capacity: int = 4) -> MemoryEngine:
    return MemoryEngine(cast(SpatialMemory, diary), capacity)


@contextmanager
def running(diary: Diary, capacity: int = 4) -> Iterator[MemoryEngine]:
    engine = engine_of(diary, capacity)
    engine.start()
    try:
        yield engine
    finally:
        assert engine.stop(DEADLINE_S)


@contextmanager
def kept_busy(engine: MemoryEngine) -> Iterator[None]:
    """The worker is in the middle of a job for as long as this lasts."""
    begun, let_go = threading.Event(), threading.Event()

    def job(_: SpatialMemory) -> bool:
        begun.set()
        return let_go.wait(DEADLINE_S)

    busy = engine.ask(job)
    assert begun.wait(DEADLINE_S)
    try:
        yield
    finally:
        let_go.set()
    assert busy.result(DEADLINE_S) is True


def wait_until_idle(engine: MemoryEngine) -> None:
    """Everything that was handed over has been worked on."""
    while (status := engine.status()).chunks_waiting > 0 or status.busy_s > 0:
        assert status.alive
        # Comes back when the job in hand is done, so this waits and does not spin.
        engine.ask(lambda _: None).result(DEADLINE_S)


def answer_of(future: Future[T | Failure]) -> T | Failure:
    return future.result(DEADLINE_S)


def failure_of(future: Future[T | Failure]) -> Failure:
    answer = answer_of(future)
    assert isinstance(answer, Failure), answer
    return answer


# --- order ------------------------------------------------------------------------------------------------------------


def test_requests_and_chunks_take_turns_and_each_kind_keeps_its_order() -> None:
    diary = Diary()
    with running(diary) as engine:
        with kept_busy(engine):  # by a request: a chunk is next
            first = engine.ask(noted("request 0"))
            second = engine.ask(noted("request 1"))
            third = engine.ask(noted("request 2"))
            engine.submit(CHUNKS[0])
            engine.submit(CHUNKS[1])
            assert engine.status().chunks_waiting == 2
        assert [answer_of(request) for request in (first, second, third)] == ["request 0", "request 1", "request 2"]
        wait_until_idle(engine)
    assert diary.entries == ["chunk 0", "request 0", "chunk 1", "request 1", "request 2"]


def test_a_crowd_that_never_stops_asking_does_not_keep_chunks_from_being_observed() -> None:
    diary = Diary()
    with running(diary, capacity=1) as engine:
        asked_again = threading.Event()

        def ask_again(_: object = None) -> None:
            if not asked_again.is_set():
                engine.ask(noted("request")).add_done_callback(ask_again)

        try:
            for _ in range(8):
                ask_again()
            for index in range(20):
                begun = len(diary.entries)
                engine.submit(CHUNKS[index % len(CHUNKS)])
                # From here on the chunk waits, if it has not been observed already.
                submitted = len(diary.entries)
                assert engine.wait_for_report(DEADLINE_S)
                engine.drain_reports()
                came = next(i for i, entry in enumerate(diary.entries) if i >= begun and entry.startswith("chunk"))
                assert came - submitted <= 2, "behind the request in hand and the one whose turn it was"
            assert engine.status().chunks_dropped == 0
        finally:
            asked_again.set()
    assert diary.entries.count("request") >= 20


def test_a_request_that_comes_while_a_chunk_is_observed_goes_ahead_of_the_next_chunk() -> None:
    diary = Diary()
    with running(diary) as engine:
        begun, let_go = threading.Event(), threading.Event()
        observe = diary.observe

        def slow_observe(chunk: Chunk) -> ObserveReport:
            begun.set()
            assert let_go.wait(DEADLINE_S)
            return observe(chunk)

        diary.observe = slow_observe  # type: ignore[method-assign]
        engine.submit(CHUNKS[0])
        engine.submit(CHUNKS[1])
        assert begun.wait(DEADLINE_S)
        request = engine.ask(noted("request"))
        let_go.set()
        assert answer_of(request) == "request"
        wait_until_idle(engine)
    assert diary.entries == ["chunk 0", "request", "chunk 1"]


def test_a_full_queue_drops_the_oldest_chunk_and_says_which() -> None:
    diary = Diary()
    with running(diary, capacity=2) as engine:
        with kept_busy(engine):
            assert engine.submit(CHUNKS[0]) is None
            assert engine.submit(CHUNKS[1]) is None
            assert engine.submit(CHUNKS[2]) is CHUNKS[0]
            assert engine.submit(CHUNKS[3]) is CHUNKS[1]
            status = engine.status()
            assert (status.chunks_waiting, status.chunks_dropped) == (2, 2)
        wait_until_idle(engine)
    assert diary.entries == ["chunk 2", "chunk 3"]


def test_discarded_chunks_are_handed_back_and_not_observed() -> None:
    diary = Diary()
    with running(diary) as engine:
        with kept_busy(engine):
            engine.submit(CHUNKS[0])
            engine.submit(CHUNKS[1])
            assert engine.discard_chunks() == [CHUNKS[0], CHUNKS[1]]
            assert engine.discard_chunks() == []
        wait_until_idle(engine)
    assert diary.entries == []
    assert engine.status().chunks_dropped == 0, "discarded on request is not dropped"


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_job_that_raises_is_a_failure_and_the_worker_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: SpatialMemory) -> int:
        raise KeyError("no such layer")

    with running(Diary()) as engine, caplog.at_level(logging.ERROR):
        failure = failure_of(engine.ask(broken))
        assert failure.kind is FailureKind.INTERNAL
        assert "KeyError" in failure.message and "no such layer" in failure.message
        assert answer_of(engine.ask(noted("after"))) == "after"
    assert any(record.exc_info for record in caplog.records), "the traceback is in the log"


def test_an_observation_that_raises_is_a_failed_report_and_the_worker_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    diary = Diary()
    diary.trouble = RuntimeError("the device fell off")
    with running(diary) as engine, caplog.at_level(logging.CRITICAL):
        engine.submit(CHUNKS[0])
        engine.submit(CHUNKS[1])
        wait_until_idle(engine)
        reports = engine.drain_reports()
        assert [report.chunk for report in reports] == [CHUNKS[0], CHUNKS[1]]
        for report in reports:
            assert report.failure is not None and report.failure.kind is FailureKind.INTERNAL
            assert "the device fell off" in report.failure.message
        assert answer_of(engine.ask(noted("after"))) == "after"


def test_what_a_job_could_not_do_is_a_failure_of_that_kind_and_no_fault_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refused(_: SpatialMemory) -> int:
        raise RequestFailedError(FailureKind.BAD_REQUEST, "no")

    with running(Diary()) as engine:
        assert failure_of(engine.ask(refused)) == Failure(FailureKind.BAD_REQUEST, "no")
        assert answer_of(engine.ask(lambda _: None)) is None
    assert not caplog.records


def test_a_chunk_that_cannot_be_observed_is_a_failed_report() -> None:
    diary = Diary()
    diary.trouble = RequestFailedError(FailureKind.NON_FINITE, "not finite")
    with running(diary) as engine:
        engine.submit(CHUNKS[0])
        wait_until_idle(engine)
        (report,) = engine.drain_reports()
    assert report.failure == Failure(FailureKind.NON_FINITE, "not finite")
    assert (report.chunk, report.chunks_observed, report.layers) == (CHUNKS[0], 0, ())


def test_a_listener_that_raises_does_not_end_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Future[str | Failure]) -> None:
        raise RuntimeError("a listener")

    with running(Diary()) as engine, caplog.at_level(logging.CRITICAL):
        with kept_busy(engine):
            engine.ask(noted("first")).add_done_callback(broken)
        assert answer_of(engine.ask(noted("second"))) == "second"


# --- giving up --------------------------------------------------------------------------------------------------------


def test_a_request_that_was_cancelled_while_it_waited_is_skipped() -> None:
    diary = Diary()
    with running(diary) as engine:
        with kept_busy(engine):
            given_up, kept = engine.ask(noted("given up")), engine.ask(noted("kept"))
            assert given_up.cancel()
        assert answer_of(kept) == "kept"
        with pytest.raises(CancelledError):
            given_up.result(0)
    assert diary.entries == ["kept"]


def test_stopping_answers_what_waits_and_leaves_its_chunks_alone() -> None:
    diary = Diary()
    engine = engine_of(diary)
    engine.start()
    with kept_busy(engine):
        engine.submit(CHUNKS[0])
        waiting, cancelled = engine.ask(noted("too late")), engine.ask(noted("cancelled"))
        cancelled.cancel()
        # The job in hand outlasts this: the worker is still there, and nobody is kept waiting for it.
        assert not engine.stop(timeout_s=0.01)
        assert failure_of(waiting).kind is FailureKind.STOPPED
        assert failure_of(engine.ask(noted("after the stop"))).kind is FailureKind.STOPPED
        assert engine.status().alive
    assert engine.stop(DEADLINE_S)
    assert not engine.status().alive
    assert diary.entries == []
    assert engine.discard_chunks() == [CHUNKS[0]]


def test_an_engine_that_never_ran_can_be_stopped_and_stops_again() -> None:
    engine = engine_of(Diary())
    waiting = engine.ask(noted("never"))
    assert engine.stop() and engine.stop()
    assert failure_of(waiting).kind is FailureKind.STOPPED
    assert failure_of(engine.ask(noted("after"))).kind is FailureKind.STOPPED


def test_many_engines_started_and_stopped_leave_no_thread_behind() -> None:
    before = threading.active_count()
    for _ in range(100):
        with running(Diary()) as engine:
            assert answer_of(engine.ask(noted("x"))) == "x"
        assert not engine.status().alive
    assert threading.active_count() == before
    assert not [thread.name for thread in threading.enumerate() if thread.name == "fsm-memory"]


# --- what it tells ----------------------------------------------------------------------------------------------------


def test_reports_are_drained_once_in_order() -> None:
    with running(Diary()) as engine:
        for chunk in CHUNKS[:3]:
            engine.submit(chunk)
        wait_until_idle(engine)
        assert [report.chunk for report in engine.drain_reports()] == CHUNKS[:3]
        assert engine.drain_reports() == []
        engine.submit(CHUNKS[3])
        wait_until_idle(engine)
        assert [report.chunk for report in engine.drain_reports()] == [CHUNKS[3]]


def test_reports_that_nobody_drains_do_not_pile_up() -> None:
    with running(Diary()) as engine:
        for _ in range(REPORTS_KEPT + 10):
            engine.submit(CHUNKS[0])
            wait_until_idle(engine)
        engine.submit(CHUNKS[1])
        wait_until_idle(engine)
        reports = engine.drain_reports()
    assert len(reports) == REPORTS_KEPT
    assert reports[-1].chunk is CHUNKS[1]


def test_the_status_tells_how_the_worker_does() -> None:
    engine = engine_of(Diary())
    assert not engine.status().alive
    engine.start()
    with kept_busy(engine):
        engine.submit(CHUNKS[0])
        first, second = engine.status(), engine.status()
        assert first.alive and first.chunks_waiting == 1 and first.chunks_dropped == 0
        assert 0 < first.busy_s <= second.busy_s
    wait_until_idle(engine)
    idle = engine.status()
    assert (idle.alive, idle.chunks_waiting, idle.busy_s) == (True, 0, 0.0)
    assert engine.stop(DEADLINE_S)
    assert (engine.status().alive, engine.status().busy_s) == (False, 0.0)


def test_everyone_who_asks_at_once_gets_their_own_answer() -> None:
    askers, questions = 16, 50
    together = threading.Barrier(askers)
    wrong: list[tuple[int, int, object]] = []

    def ask_all(asker: int, engine: MemoryEngine) -> None:
        together.wait(DEADLINE_S)
        for question in range(questions):
            answer = answer_of(engine.ask(lambda _, q=question: (asker, q)))
            if answer != (asker, question):
                wrong.append((asker, question, answer))

    with running(Diary()) as engine:
        threads = [threading.Thread(target=ask_all, args=(asker, engine)) for asker in range(askers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_a_queue_needs_room() -> None:
    with pytest.raises(ValueError, match="capacity"):
        engine_of(Diary(), capacity=0)


# --- with a true memory -----------------------------------------------------------------------------------------------


def test_a_true_memory_is_written_and_read_through_it() -> None:
    engine = MemoryEngine(small_memory(), 4)
    engine.start()
    try:
        failure = failure_of(engine.ask(lambda memory: memory.render(at())))
        assert failure.kind is FailureKind.NOTHING_OBSERVED
        engine.submit(a_chunk(0))
        engine.submit(a_chunk(1))
        wait_until_idle(engine)
        assert [report.chunks_observed for report in engine.drain_reports()] == [1, 2]
        view = answer_of(engine.ask(lambda memory: memory.render(at())))
        assert isinstance(view, Rendered) and view.chunks_observed == 2
        assert engine.memory.scene is not None and engine.memory.scene.chunks_observed == 2
    finally:
        assert engine.stop(DEADLINE_S)


def test_whoever_waits_for_a_report_goes_on_when_it_comes_when_time_is_up_and_when_the_engine_stops() -> None:
    diary = Diary()
    with running(diary) as engine:
        assert not engine.wait_for_report(timeout_s=0.01)
        engine.submit(CHUNKS[0])
        assert engine.wait_for_report(timeout_s=DEADLINE_S)
        assert [report.chunk for report in engine.drain_reports()] == [CHUNKS[0]]
        waiting = threading.Thread(target=engine.wait_for_report)
        waiting.start()
        engine.stop()
        waiting.join(DEADLINE_S)
        assert not waiting.is_alive()
