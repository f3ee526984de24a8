"""Many recordings under many settings: one after the other in processes of their own, or on Ray; each only once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any

from fsm_ros.memory.checkpoint import CheckpointError
from fsm_ros.replay.evaluation.job import Job
from fsm_ros.replay.evaluation.progress import Bar, Silent
from fsm_ros.replay.evaluation.results import Run
from fsm_ros.replay.evaluation.run import EvaluationError, InterruptedEarlyError, evaluate
from fsm_ros.replay.evaluation.store import Stored, load_run, save_run
from fsm_ros.sources.source import SourceError

RUNS = "runs"
"""Folder, in that of the evaluation, which the runs are kept in."""
FAILURES = (EvaluationError, SourceError, CheckpointError, ValueError, OSError, RuntimeError, ImportError)
"""What an evaluation may fail with, and be told by its message."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_AGAIN = 2


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a job.

    Attributes:
        job: the job.
        run: what was found; None where it failed or was not begun.
        failure: why it failed; empty where it did not.
    """

    job: Job
    run: Run | None
    failure: str = ""


def folder_of(out: Path, job: Job) -> Path:
    """Where the run of a job is kept."""
    return out / RUNS / job.recording / job.setting.name


def finished(out: Path, job: Job) -> Run | None:
    """The run of a job where it is there, complete, and made of the same inputs."""
    stored = load_run(folder_of(out, job))
    return stored.run if stored and stored.run.complete and stored.fingerprint == job.fingerprint else None


def run_here(out: Path, jobs: Sequence[Job], say: Callable[[str], None]) -> list[Outcome]:
    """Evaluate one job after the other, each in a process of its own, so that its peak memory is its own.

    A first interrupt (SIGINT, SIGTERM) lets the job in hand end early with what it has, and begins no other.
    """
    outcomes: list[Outcome] = []
    with _interrupts() as interrupted:
        for job in jobs:
            done = finished(out, job)
            if done is not None:
                say(f"{job.recording}, {job.setting.name}: done already")
                outcomes.append(Outcome(job, done))
            elif interrupted.is_set():
                outcomes.append(Outcome(job, None))
            else:
                outcomes.append(_in_process(out, job, interrupted))
    return outcomes


def run_on_ray(out: Path, jobs: Sequence[Job], address: str | None, say: Callable[[str], None]) -> list[Outcome]:
    """Evaluate on Ray, a task for each recording and setting; recordings must have the same paths on all machines.

    Args:
        out: the evaluation's folder, on this machine.
        jobs: what is to be done.
        address: of a cluster (see ``ray.init``); None starts Ray on this machine.
        say: told of every task that ends.

    Raises:
        ImportError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError("--ray needs Ray: pip install 'fsm_ros[ray]'") from error
    outcomes: dict[int, Outcome] = {}
    for number, job in enumerate(jobs):
        done = finished(out, job)
        if done is not None:
            say(f"{job.recording}, {job.setting.name}: done already")
            outcomes[number] = Outcome(job, done)
    waiting = [number for number in range(len(jobs)) if number not in outcomes]
    if not waiting:
        return [outcomes[number] for number in range(len(jobs))]
    ray.init(address=address, include_dashboard=False, log_to_driver=False)
    try:
        task = ray.remote(max_retries=1)(_on_ray)
        numbers: dict[Any, int] = {task.remote(jobs[number]): number for number in waiting}
        pending = list(numbers)
        with _interrupts() as interrupted:
            while pending and not interrupted.is_set():
                ready, pending = ray.wait(pending, num_returns=1, timeout=0.5)
                for reference in ready:
                    number = numbers[reference]
                    outcomes[number] = _kept(out, jobs[number], _fetched(ray, reference))
                    say(_told(outcomes[number]))
            for reference in pending:
                ray.cancel(reference, force=True)
    finally:
        ray.shutdown()
    return [outcomes.get(number, Outcome(job, None)) for number, job in enumerate(jobs)]


def _told(outcome: Outcome) -> str:
    ended = "done" if outcome.run is not None else outcome.failure
    return f"{outcome.job.recording}, {outcome.job.setting.name}: {ended}"


def _on_ray(job: Job) -> Run | str:
    """A task: the run, or why there is none."""
    try:
        return evaluate(job, Silent(), lambda: False)
    except FAILURES as error:
        return str(error)


def _fetched(ray: Any, reference: Any) -> Run | str:  # noqa: ANN401  # a module without types, and its handle
    try:
        answer: Run | str = ray.get(reference)
    except ray.exceptions.RayError as error:
        return f"the task was lost: {error}"
    return answer


def _kept(out: Path, job: Job, answer: Run | str) -> Outcome:
    if isinstance(answer, str):
        return Outcome(job, None, answer)
    save_run(folder_of(out, job), Stored(job.fingerprint, answer))
    return Outcome(job, answer)


def _in_process(out: Path, job: Job, interrupted: threading.Event) -> Outcome:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(out, job, sending), name=f"{job.recording}-{job.setting.name}")
    # What comes while it starts waits for it, instead of ending it half-way through its imports.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    process.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    sending.close()
    with receiving:
        while process.is_alive() and not interrupted.is_set():
            process.join(0.1)
        if interrupted.is_set():
            _ask_to_end(process)
            process.join()
        try:
            failure = receiving.recv() if receiving.poll() else ""
        except EOFError:
            failure = ""
    if failure is None:
        return Outcome(job, None)
    if process.exitcode != 0:
        failure = f"its process ended with code {process.exitcode}: see above, or the system's log of killed processes"
    if failure:
        return Outcome(job, None, failure)
    stored = load_run(folder_of(out, job))
    if stored is None or stored.fingerprint != job.fingerprint:
        return Outcome(job, None, "its results cannot be read back: is the disk full?")
    return Outcome(job, stored.run)


def _ask_to_end(process: SpawnProcess) -> None:
    """Pass an interrupt on: a terminal gives it to all processes at once, a program to one only."""
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, signal.SIGTERM)


def _work(out: Path, job: Job, sending: Any) -> None:  # noqa: ANN401  # one end of a pipe
    """A process's part: evaluates, writes the run, or says why not."""
    with _interrupts() as interrupted:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        try:
            run = evaluate(job, Bar(f"{job.recording}, {job.setting.name}"), interrupted.is_set)
            save_run(folder_of(out, job), Stored(job.fingerprint, run))
        except InterruptedEarlyError:
            sending.send(None)
        except FAILURES as error:
            sending.send(str(error))
    sending.close()


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """While it lasts, SIGINT and SIGTERM set an event; insisted on, they end the process."""
    event = threading.Event()
    count = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal count
        # A terminal's interrupt reaches a worker twice: from the terminal, and passed on.
        count += number == signal.SIGINT
        event.set()
        if count > _AGAIN:
            sys.exit(128 + number)

    before = [signal.signal(number, handle) for number in _SIGNALS]
    try:
        yield event
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)
