# SPDX-License-Identifier: Apache-2.0
"""Many recordings under many settings: one after the other in processes of their own, or on Ray; each only once."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any

from fsm_ros.allocator import keep_freed_memory
from fsm_ros.memory.checkpoint import CheckpointError
from fsm_ros.replay.evaluation.job import Job
from fsm_ros.replay.evaluation.progress import Bar, Silent
from fsm_ros.replay.evaluation.results import Run
from fsm_ros.replay.evaluation.run import EvaluationError, InterruptedEarlyError, evaluate
from fsm_ros.replay.evaluation.store import Stored, load_run, save_run
from fsm_ros.sources.errors import SourceError

RUNS = "runs"
"""Folder, in that of the evaluation, which the runs are kept in."""
FAILURES = (EvaluationError, SourceError, CheckpointError, ValueError, OSError, RuntimeError, ImportError)
"""What an evaluation may fail with, and be told by its message."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 2
"""So many interrupts from a terminal are taken for the wish to see what there is."""
_POLL_S = 0.1


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

    An interrupt (SIGINT, SIGTERM) lets the job in hand end early with what it has, and begins no other; so does the end
    of this process in its child.
    """
    outcomes: list[Outcome] = []
    with _interrupts() as interrupted:
        for job in jobs:
            done = _done_already(out, job, say)
            if done is not None:
                outcomes.append(done)
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
        raise ImportError(f"--ray needs Ray ({error}): pip install 'fsm_ros[ray]'") from error
    outcomes: dict[int, Outcome] = {}
    for number, job in enumerate(jobs):
        done = _done_already(out, job, say)
        if done is not None:
            outcomes[number] = done
    waiting = [number for number in range(len(jobs)) if number not in outcomes]
    if not waiting:
        return [outcomes[number] for number in range(len(jobs))]
    ray.init(address=address, include_dashboard=False, log_to_driver=False)
    try:
        # A process for each task: what is left of another would count as its memory.
        task = ray.remote(max_retries=1, max_calls=1)(_on_ray)
        gpus = _gpus(ray)
        numbers: dict[Any, int] = {
            task.options(num_gpus=gpus_for(jobs[number], gpus)).remote(jobs[number]): number for number in waiting
        }
        pending = list(numbers)
        with _interrupts() as interrupted:
            while pending and not interrupted.is_set():
                ready, pending = ray.wait(pending, num_returns=1, timeout=0.5)
                for reference in ready:
                    number = numbers.pop(reference)  # with the last reference Ray lets go of its pictures
                    outcomes[number] = _kept(out, jobs[number], _fetched(ray, reference))
                    say(_told(outcomes[number]))
            for reference in pending:
                ray.cancel(reference, force=True)
    finally:
        ray.shutdown()
    return [outcomes.get(number, Outcome(job, None)) for number, job in enumerate(jobs)]


def _done_already(out: Path, job: Job, say: Callable[[str], None]) -> Outcome | None:
    """What was found by an earlier evaluation; None where there is nothing that holds still."""
    run = finished(out, job)
    if run is None:
        return None
    say(f"{job.recording}, {job.setting.name}: done already")
    return Outcome(job, run)


def gpus_for(job: Job, there_are: float) -> int:
    """How many GPUs a task has to ask Ray for, which shows it no other.

    Args:
        job: the task.
        there_are: in the whole cluster.
    """
    return int(there_are >= 1 and job.setting.parameters.model.device != "cpu")


def _gpus(ray: Any) -> float:  # noqa: ANN401  # a module without types
    return float(ray.cluster_resources().get("GPU", 0.0))


def _told(outcome: Outcome) -> str:
    ended = "done" if outcome.run is not None else outcome.failure
    return f"{outcome.job.recording}, {outcome.job.setting.name}: {ended}"


def _on_ray(job: Job) -> Run | str:
    """A task: the run, or why there is none."""
    try:
        return evaluate(job, Silent(), lambda: False)
    except FAILURES as error:
        return _why(error)


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
    with _signals_held_back():
        process.start()
    sending.close()
    try:
        with receiving:
            failure = _awaited(process, receiving, interrupted)
        process.join()
    except BaseException:  # ended at once, as was insisted on: nothing goes on behind it
        process.kill()
        raise
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


def _awaited(process: SpawnProcess, receiving: Connection, interrupted: threading.Event) -> str | None:
    """Why a process failed, empty where it says nothing, None where it was interrupted early; passes interrupts on."""
    is_told = False
    while not receiving.poll(_POLL_S):
        if interrupted.is_set() and not is_told:
            # A terminal gives an interrupt to all processes at once, a program to one only.
            process.terminate()
            is_told = True
            print("interrupted: what there is will be measured and shown", file=sys.stderr)
    try:
        answer: str | None = receiving.recv()
    except EOFError:
        return ""
    return answer


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Interrupts wait, here and in a process that is started meanwhile, until that one lets them through.

    They would end it half-way through its imports.
    """
    # Where its tracker of resources does not run yet, `multiprocessing` starts it first, and lets signals through then.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(out: Path, job: Job, sending: Connection) -> None:
    """A process's part: evaluates, writes the run, or says why not."""
    keep_freed_memory()  # as the node does
    parent = multiprocessing.parent_process()
    with _interrupts() as interrupted:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

        def is_stopped() -> bool:
            return interrupted.is_set() or (parent is not None and not parent.is_alive())

        try:
            run = evaluate(job, Bar(f"{job.recording}, {job.setting.name}"), is_stopped)
            save_run(folder_of(out, job), Stored(job.fingerprint, run))
        except InterruptedEarlyError:
            sending.send(None)
        except FAILURES as error:
            sending.send(_why(error))
    sending.close()


def _why(error: Exception) -> str:
    """Never empty: that would be a success."""
    return str(error) or f"{type(error).__name__}, which says no more"


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """While it lasts, SIGINT and SIGTERM set an event; a third SIGINT ends the process."""
    event = threading.Event()
    count = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal count
        # Not SIGTERM: a terminal's interrupt reaches a worker twice, from the terminal, and passed on as that.
        count += number == signal.SIGINT
        event.set()
        if count > _PATIENCE:
            sys.exit(128 + number)

    before = [signal.signal(number, handle) for number in _SIGNALS]
    try:
        yield event
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def terminable() -> Iterator[None]:
    """While it lasts, SIGTERM raises KeyboardInterrupt as SIGINT does, so that nothing half-written is left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
