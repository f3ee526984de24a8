# SPDX-License-Identifier: Apache-2.0
"""One recording under one setting: the stream, what is asked of the memory meanwhile, and what is asked at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from fsm_ros.configuration.model import LoadedModel, load_model
from fsm_ros.configuration.settings import Settings
from fsm_ros.configuration.table import values_of
from fsm_ros.engine import MemoryEngine
from fsm_ros.errors import FsmError
from fsm_ros.replay.evaluation.asking import Asked, Asking, place_of
from fsm_ros.replay.evaluation.final_views import FinalViews
from fsm_ros.replay.evaluation.footprint import begin_footprint, footprint, provenance
from fsm_ros.replay.evaluation.forgetting import ForgettingProbe
from fsm_ros.replay.evaluation.hold_out import choose, names_a_camera
from fsm_ros.replay.evaluation.job import Job
from fsm_ros.replay.evaluation.metrics import ImageMetrics
from fsm_ros.replay.evaluation.notes import notes
from fsm_ros.replay.evaluation.progress import STREAM, VIEWS, Progress
from fsm_ros.replay.evaluation.replaying import Replay, Step
from fsm_ros.replay.evaluation.results import CameraPath, ChunkResult, Pictures, Run, ViewResult
from fsm_ros.replay.evaluation.sampling import evenly
from fsm_ros.replay.evaluation.settings import check_values
from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.opening import SourceKind, open_rig, source_kind
from fsm_ros.sources.recorded import RecordedFrame
from fsm_ros.sources.rig import Rig
from fsm_ros.spatial.settings import RenderMethod

VIEWS_WHEN_CUT_SHORT = 24
"""So many views are still asked for when an evaluation is interrupted."""
_NAN = float("nan")
_SECONDS = 1e-9


class EvaluationError(FsmError, RuntimeError):
    """A recording that cannot be evaluated as it was asked for; the message names the cause and the remedy."""


class InterruptedEarlyError(EvaluationError):
    """It was interrupted before there was anything to measure."""


def evaluate(job: Job, progress: Progress, is_stopped: Callable[[], bool]) -> Run:
    """Evaluate one recording under one setting.

    Args:
        job: what is to be done.
        progress: told how far it is.
        is_stopped: asked between steps; once it says so, what has been seen is measured briefly and returned.

    Returns:
        What was found; equal inputs give equal figures, but for times and memory.

    Raises:
        EvaluationError: nothing could be observed.
        InterruptedEarlyError: nothing was observed before it was stopped.
        SourceError: the recording cannot be read.
        ValueError: settings, hold-out or recording do not go together.
        fsm_ros.memory.checkpoint.CheckpointError: weights that cannot be used.
    """
    settings = job.setting.parameters
    with _opened(job, settings) as rig:
        withheld = choose(job.hold_out, rig.frames, rig.cameras)
        loaded = load_model(settings)
        metrics = ImageMetrics(settings.memory.height, settings.memory.width, job.lpips_weights)
        # One chunk is handed over at a time: nothing is ever dropped.
        engine = MemoryEngine(loaded.new_memory(settings.memory), queue_capacity=1)
        engine.start()
        try:
            return _Evaluation(job, settings, rig, withheld, loaded, engine, metrics).run(progress, is_stopped)
        finally:
            progress.close()
            engine.stop()


def check(job: Job) -> str:
    """Whether a recording can be evaluated as it is asked for, without weights or decoding.

    Returns:
        What it holds, in one line.

    Raises:
        SourceError: the recording cannot be read.
        ValueError: settings, hold-out or recording do not go together.
    """
    with _opened(job, job.setting.parameters) as rig:
        choose(job.hold_out, rig.frames, rig.cameras)
        return rig.told


@contextmanager
def _opened(job: Job, settings: Settings) -> Iterator[Rig]:
    check_values(settings)
    reading = job.reading
    # Whoever holds a camera out has said that there are several, and wants them all.
    cameras = reading.cameras or (("all",) if names_a_camera(job.hold_out) else ())
    world_frame = reading.world_frame
    # A recording that is no bag has one world, whatever a robot would call it.
    is_bag = source_kind(job.path) is SourceKind.BAG
    if world_frame is None and is_bag and "memory.frame_id" in job.setting.changes:
        world_frame = settings.node.memory_frame
    rig = open_rig(
        job.path,
        cameras=cameras,
        world_frame=world_frame,
        frame_rate_hz=reading.frame_rate_hz,
        duration_s=reading.duration_s,
        rectified=settings.input.rectified,
        image_folder=reading.image_folder,
    )
    try:
        yield rig
    finally:
        rig.close()


class _Evaluation:
    """The parts of one evaluation, and what has been found so far."""

    def __init__(
        self,
        job: Job,
        settings: Settings,
        rig: Rig,
        withheld: set[int],
        loaded: LoadedModel,
        engine: MemoryEngine,
        metrics: ImageMetrics,
    ) -> None:
        self._job, self._settings, self._rig, self._withheld = job, settings, rig, withheld
        self._loaded, self._engine, self._metrics = loaded, engine, metrics
        self._replay = Replay(rig, withheld, settings, engine)
        limits = job.limits
        self._asking = Asking(rig, self._replay.taker.intake, engine, limits.matrix_chunks * limits.matrix_views)
        self._first_ns = rig.start_ns
        posed = [place for place in sorted(withheld) if rig.frames[place].world_from_camera is not None]
        self._measured = frozenset(evenly(posed, limits.views))
        self._notes: list[str] = []
        self._broken: list[str] = []
        if len(self._measured) < len(posed):
            self._notes.append(f"{len(self._measured)} of {len(posed)} withheld views are measured, evenly chosen")
        self._probe: ForgettingProbe[RecordedFrame] = ForgettingProbe(
            self._asking.psnr_now, views_per_chunk=limits.matrix_views, limit=limits.matrix_chunks
        )
        self._provenance = provenance(job.command, settings.model.checkpoint, loaded.model)
        self._chunks: list[ChunkResult] = []
        self._held_out: list[Asked] = []
        self._keyframes: list[Asked] = []

    def run(self, progress: Progress, is_stopped: Callable[[], bool]) -> Run:
        """The stream, then the views."""
        device = self._loaded.model.device
        begin_footprint(device)
        progress.stage(STREAM, len(self._rig.frames))
        done, complete = 0, True
        for step in self._replay.steps():
            self._after(step)
            progress.advance(step.places_done - done)
            done = step.places_done
            if is_stopped():
                complete = False
                break
        else:
            self._keep_left_over()
            progress.advance(len(self._rig.frames) - done)
        if not self._keyframes:
            if not complete:
                raise InterruptedEarlyError(f"{self._rig.name}: interrupted before anything was observed")
            raise EvaluationError(self._why_nothing())
        asked, seen = self._held_out, self._keyframes
        limit = self._job.limits.views
        if not complete:
            asked = evenly(asked, VIEWS_WHEN_CUT_SHORT)
            limit = VIEWS_WHEN_CUT_SHORT
        seen = evenly(seen, limit)
        progress.stage(VIEWS, len(asked) + len(seen))

        def goes_on(done: int) -> bool:
            progress.advance()
            return done < VIEWS_WHEN_CUT_SHORT or not is_stopped()

        recalls = self._loaded.recall is not None and self._settings.memory.method is RenderMethod.RECALL
        views = FinalViews(self._asking, self._metrics, self._keyframes, self._first_ns, from_photographs=recalls)
        held_out, pictures = views.held_out(asked, goes_on)
        observed = views.observed(seen, goes_on)
        complete = complete and len(held_out) + len(observed) == len(asked) + len(seen)
        return self._result(complete, held_out, observed, pictures)

    # --- while the stream goes on ----------------------------------------------------------------------------------

    def _after(self, step: Step) -> None:
        """Note what a chunk brought, and ask for its views."""
        report, number = step.report, len(self._chunks)
        wanted = [self._rig.frames[place] for place in step.withheld if place in self._measured]
        fresh = [asked for frame in wanted if (asked := self._asked(frame, number, report.failure is None)) is not None]
        self._held_out += fresh
        seen: list[float] = []
        if report.failure is None:
            self._keyframes += [Asked(frame, number) for frame in step.keyframes]
            self._probe.after_chunk(number, [asked.frame for asked in fresh])
            seen = [self._asking.psnr_of(frame, RenderMethod.MEMORY) for frame in report.chunk.frames]
        own = float(np.mean([asked.psnr_when_new for asked in fresh])) if fresh else _NAN
        used = footprint(self._loaded.model.device)
        stamps = [frame.stamp_ns for frame in report.chunk.frames]
        self._chunks.append(
            ChunkResult(
                number=number,
                views=len(report.chunk.frames),
                first_s=self._time_s(min(stamps)),
                last_s=self._time_s(max(stamps)),
                epoch=report.epoch,
                epoch_began="" if report.epoch_began is None else report.epoch_began.value,
                failure="" if report.failure is None else report.failure.message,
                prediction_psnr=report.prediction_psnr,
                retention_psnr=report.retention_psnr,
                held_out_psnr=own,
                observed_psnr=float(np.mean(seen)) if seen else _NAN,
                observe_s=report.observe_s,
                state_bytes=report.state_bytes,
                submaps=report.submaps,
                host_bytes=used.host,
                host_peak_bytes=used.host_peak,
                device_peak_bytes=used.device_peak,
            )
        )

    def _asked(self, frame: RecordedFrame, chunk: int, was_observed: bool) -> Asked | None:
        """A held-out view, to be asked for at the end too; None where the recording cannot give the truth.

        Of a chunk that could not be observed as well: all settings are asked for the same views.
        """
        try:
            truth = self._asking.truth(frame)
        except (SourceError, ValueError) as error:
            self._broken.append(str(error))
            return None
        return Asked(frame, chunk, self._asking.psnr_of(truth, RenderMethod.MEMORY) if was_observed else _NAN)

    def _keep_left_over(self) -> None:
        """Withheld frames after the last chunk belong to it."""
        last = len(self._chunks) - 1
        was_observed = bool(self._chunks) and not self._chunks[-1].failure
        for place in self._replay.left_over:
            if place in self._measured:
                asked = self._asked(self._rig.frames[place], max(0, last), was_observed)
                self._held_out += [] if asked is None else [asked]

    # --- together --------------------------------------------------------------------------------------------------

    def _result(
        self, complete: bool, held_out: Sequence[ViewResult], observed: Sequence[ViewResult], pictures: Pictures
    ) -> Run:
        job, rig, replay = self._job, self._rig, self._replay
        refused = {reason.value: count for reason, count in replay.taker.ledger.snapshot().refused.items() if count}
        stamps = [frame.stamp_ns for frame in rig.frames]
        return Run(
            recording=job.recording,
            recording_told=rig.told,
            world_frame=rig.world_frame or self._settings.node.memory_frame,
            setting=job.setting.name,
            values=values_of(self._settings),
            hold_out=job.hold_out,
            complete=complete,
            frames=len(rig.frames),
            withheld=len(self._withheld),
            refused=refused,
            notes=(*self._notes, *self._told(), *self._metrics.notes),
            metrics_told=self._metrics.told,
            duration_s=(max(stamps) - min(stamps)) * _SECONDS,
            chunks=tuple(self._chunks),
            held_out=tuple(held_out),
            observed=tuple(observed),
            forgetting=self._probe.matrix(),
            path=CameraPath(
                observed=tuple(place_of(kept.frame) for kept in self._keyframes),
                observed_s=tuple(self._time_s(kept.frame.stamp_ns) for kept in self._keyframes),
            ),
            render_s=tuple(self._asking.render_s),
            stream_s=replay.stream_s,
            pictures=pictures,
            provenance=self._provenance,
        )

    def _told(self) -> list[str]:
        """What a reader should know of this run."""
        positions = [place_of(kept.frame) for kept in self._keyframes]
        return notes(self._rig, self._replay, self._chunks, positions, self._broken)

    def _why_nothing(self) -> str:
        refused = {reason: count for reason, count in self._replay.taker.ledger.snapshot().refused.items() if count}
        causes = ", ".join(f"{count} {reason.value} ({reason.remedy})" for reason, count in refused.items())
        return f"{self._rig.name}: none of the images could be observed: {causes} {' '.join(self._told())}"

    def _time_s(self, stamp_ns: int) -> float:
        return (stamp_ns - self._first_ns) * _SECONDS
