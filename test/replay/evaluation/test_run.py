# SPDX-License-Identifier: Apache-2.0
"""One recording under one setting: what is found is what the pictures show, and what was seen is all accounted for."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_bags import QUICK, changed, drive
from recordings_folders import frame_of, write

from fsm_ros.memory.model import FsmModel
from fsm_ros.replay.demo.bag import START_NS
from fsm_ros.replay.evaluation import footprint as footprints
from fsm_ros.replay.evaluation import run as running
from fsm_ros.replay.evaluation.final_views import coarse_to_fine
from fsm_ros.replay.evaluation.job import Job
from fsm_ros.replay.evaluation.limits import Limits
from fsm_ros.replay.evaluation.progress import Silent
from fsm_ros.replay.evaluation.psnr import psnr
from fsm_ros.replay.evaluation.results import Baseline, Metric, Novelty, PathSide, Provenance, Run
from fsm_ros.replay.evaluation.run import EvaluationError, check, evaluate
from fsm_ros.replay.evaluation.settings import settings_of
from fsm_ros.replay.evaluation.summary import summary
from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.recorded import RecordedFrame
from fsm_ros.sources.rig import Rig
from fsm_ros.spatial.results import FailureKind, ObserveReport, RequestFailedError
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import PosedImage
from fsm_ros.stream.ledger import Refusal

pytestmark = pytest.mark.slow

S = 10**9


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drive(tmp_path_factory.mktemp("bag") / "drive")


def job(bag: Path, setting: str = "configured", hold_out: str = "every:6", **changes: object) -> Job:
    (chosen,) = settings_of([setting], QUICK)
    return replace(Job(bag, "drive", chosen, hold_out), **changes)


def run(wanted: Job) -> Run:
    return evaluate(wanted, Silent(), lambda: False)


@pytest.fixture(scope="module")
def done(bag: Path) -> Run:
    return run(job(bag))


class Counted(Silent):
    """Notes the stages, and how far each came."""

    def __init__(self) -> None:
        self.stages: list[list[Any]] = []

    def stage(self, name: str, total: int) -> None:
        self.stages.append([name, total, 0])

    def advance(self, steps: int = 1) -> None:
        self.stages[-1][2] += steps


# --- what is found ---------------------------------------------------------------------------------------------------


def test_every_frame_is_withheld_a_keyframe_or_refused_for_a_reason(done: Run) -> None:
    assert done.frames == 30
    assert done.withheld == 5
    assert done.withheld + done.keyframes + sum(done.refused.values()) == done.frames
    assert done.keyframes == len(done.path.observed) == len(done.observed)
    assert sum(chunk.views for chunk in done.chunks) == done.keyframes
    assert done.complete


def test_the_figures_are_those_of_the_pictures(done: Run) -> None:
    assert len(done.held_out) == len(done.pictures.truth) == 5
    for view in done.held_out:
        truth = done.pictures.truth[view.number]
        assert view.render[Metric.PSNR] == pytest.approx(psnr(done.pictures.render[view.number], truth), abs=1e-4)
        for which in Baseline:
            shown = psnr(done.pictures.baselines[which][view.number], truth)
            assert view.baselines[which][Metric.PSNR] == pytest.approx(shown, abs=1e-4)
        assert view.baselines[Baseline.NEAREST].keys() == view.render.keys() == done.metrics_told.keys()
    assert len({done.pictures.truth[view.number].tobytes() for view in done.held_out}) == 5


def test_a_memory_that_was_shown_a_room_is_better_than_one_that_shows_the_last_frame(done: Run) -> None:
    render = np.mean([view.render[Metric.PSNR] for view in done.held_out])
    last = np.mean([view.baselines[Baseline.LAST][Metric.PSNR] for view in done.held_out])
    assert render > last


def test_withheld_views_belong_to_the_chunk_that_was_filled_when_they_came(done: Run) -> None:
    for view in done.held_out:
        chunk = done.chunks[view.chunk]
        before = done.chunks[view.chunk - 1].last_s if view.chunk else -1.0
        assert before < view.time_s
        assert view.time_s < chunk.last_s or view.chunk == len(done.chunks) - 1


def test_the_matrix_has_a_row_and_a_column_for_each_chunk_with_held_out_views(done: Run) -> None:
    matrix = done.forgetting
    assert matrix.chunks == tuple(chunk.number for chunk in done.chunks)
    measured = {view.chunk for view in done.held_out}
    for row, number in enumerate(matrix.chunks):
        own = [view.psnr_when_new for view in done.held_out if view.chunk == number]
        if own and number != matrix.chunks[-1]:
            assert matrix.psnr[row, row] == pytest.approx(np.mean(own), abs=1e-6)
        assert np.isnan(matrix.psnr[row, row + 1 :]).all()
        assert {column for column in range(row + 1) if np.isfinite(matrix.psnr[row, column])} == {
            column for column in measured if column <= row
        }


def test_the_matrix_is_of_the_fast_weights_alone_and_the_views_of_what_ships(done: Run, bag: Path) -> None:
    (chosen,) = settings_of(["configured"], {**QUICK, "render.method": "memory"})
    alone = run(Job(bag, "drive", chosen, "every:6"))
    assert np.array_equal(alone.forgetting.psnr, done.forgetting.psnr, equal_nan=True)
    matrix = alone.forgetting
    for column in {view.chunk for view in alone.held_out} - {matrix.chunks[-1]}:  # the last has what came after it, too
        last = [view.render[Metric.PSNR] for view in alone.held_out if view.chunk == column]
        assert matrix.psnr[-1, column] == pytest.approx(np.mean(last), abs=1e-4)
    shown, rendered = ([view.render[Metric.PSNR] for view in each.held_out] for each in (done, alone))
    assert np.mean(shown) > np.mean(rendered)
    assert [view.memory for view in done.held_out] == [view.render for view in alone.held_out], "beside what ships"
    assert [view.memory for view in done.observed] == [view.render for view in alone.observed]
    assert not any(view.memory for view in (*alone.held_out, *alone.observed)), "nothing is measured twice"
    assert summary([done])[0].gap == pytest.approx(summary([alone])[0].gap), "no kept photograph makes a gap"


def test_chunks_tell_what_the_node_would_publish_and_what_they_cost(done: Run) -> None:
    assert math.isnan(done.chunks[0].prediction_psnr)
    assert all(math.isfinite(chunk.prediction_psnr) for chunk in done.chunks[1:])
    assert all(math.isfinite(chunk.retention_psnr) for chunk in done.chunks[1:])
    for chunk in done.chunks:
        assert chunk.failure == ""
        assert math.isfinite(chunk.observed_psnr)
        assert chunk.observe_s > 0
        assert chunk.state_bytes > 0
        assert 0 < chunk.host_bytes <= chunk.host_peak_bytes
        assert chunk.device_peak_bytes == 0
    assert done.stream_s > sum(chunk.observe_s for chunk in done.chunks)
    assert len(done.render_s) == len(done.held_out) + len(done.observed), "of what ships, and of nothing that measures"


def test_views_between_keyframes_lie_inside_the_path_and_tell_how_far_they_are(done: Run) -> None:
    for view in done.held_out:
        where = view.where
        assert where is not None
        assert 0 <= where.metres < 0.2
        assert where.seconds_from_observed <= where.seconds + 1e-9
        assert isinstance(where.side, PathSide)
        assert isinstance(where.novelty, Novelty)
    assert any(view.where and view.where.side is PathSide.INSIDE for view in done.held_out)


def test_it_is_told_where_the_numbers_come_from(done: Run) -> None:
    origin = done.provenance
    assert len(origin.checkpoint_sha256) == 64
    assert origin.checkpoint == "shipped"
    assert origin.parameters > 1e6
    assert "PyTorch" in origin.software
    assert origin.hardware
    assert "30 images" in done.recording_told
    assert done.values["memory.extent"] == 1.0


# --- laws ------------------------------------------------------------------------------------------------------------


def figures(found: Run) -> list[object]:
    return [(v.render, v.psnr_when_new, v.baselines, v.where) for v in found.held_out] + [
        v.render for v in found.observed
    ]


def test_equal_jobs_give_equal_figures(bag: Path, done: Run) -> None:
    again = run(job(bag))
    assert figures(again) == figures(done)
    assert np.array_equal(again.pictures.render, done.pictures.render)
    assert np.array_equal(again.forgetting.psnr, done.forgetting.psnr, equal_nan=True)


def test_measuring_changes_nothing(bag: Path, done: Run) -> None:
    less = run(job(bag, limits=Limits(views=2, matrix_views=1)))
    assert len(less.held_out) == 2
    ends = {view.stamp_ns: view.render for view in done.held_out}
    for view in less.held_out:
        assert view.render == ends[view.stamp_ns]
    assert any("2 of 5 withheld views" in note for note in less.notes)


def test_another_rule_gives_other_renders_of_the_same_truth(bag: Path, done: Run) -> None:
    plastic = run(job(bag, "plastic"))
    assert np.array_equal(plastic.pictures.truth, done.pictures.truth)
    assert not np.array_equal(plastic.pictures.render, done.pictures.render)
    assert [view.baselines for view in plastic.held_out] == [view.baselines for view in done.held_out]


# --- interruption ----------------------------------------------------------------------------------------------------


def test_progress_ends_where_it_said_it_would(bag: Path) -> None:
    counted = Counted()
    evaluate(job(bag), counted, lambda: False)
    assert [stage[0] for stage in counted.stages] == ["stream", "views"]
    assert all(total == steps for _, total, steps in counted.stages)


def test_an_interrupt_in_the_stream_leaves_what_has_been_seen(bag: Path, done: Run) -> None:
    asked = 0

    def is_stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked >= 3

    part = evaluate(job(bag), Silent(), is_stopped)
    assert not part.complete
    assert len(part.chunks) == 3 < len(done.chunks)
    assert part.held_out
    assert all(view.chunk < 3 for view in part.held_out)
    assert len(part.observed) == part.keyframes
    assert [c.prediction_psnr for c in part.chunks[1:]] == [c.prediction_psnr for c in done.chunks[1:3]]


def test_an_interrupt_among_the_views_leaves_some_of_the_whole_stream(
    bag: Path, done: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those of its beginning, which are the most forgotten."""
    monkeypatch.setattr(running, "VIEWS_WHEN_CUT_SHORT", 3)
    stages = Counted()
    part = evaluate(job(bag), stages, lambda: len(stages.stages) > 1)
    assert not part.complete
    assert (len(part.held_out), len(part.observed)) == (3, 3)
    assert len(part.pictures.truth) == len(part.pictures.render) == 3
    for views in (part.held_out, part.observed):
        assert [view.number for view in views] == [0, 1, 2]
        assert sorted(view.stamp_ns for view in views) == [view.stamp_ns for view in views]
    for ended, whole in ((part.held_out, done.held_out), (part.observed, done.observed)):
        assert ended[-1].time_s - ended[0].time_s >= 0.5 * (whole[-1].time_s - whole[0].time_s)
    whole_views = {view.stamp_ns: view for view in done.held_out}
    for view in part.held_out:
        assert np.array_equal(
            part.pictures.render[view.number], done.pictures.render[whole_views[view.stamp_ns].number]
        )
        assert view.render == whole_views[view.stamp_ns].render


@pytest.mark.parametrize("count", [0, 1, 2, 5, 8, 23])
def test_every_beginning_of_coarse_to_fine_is_spread_over_all(count: int) -> None:
    order = coarse_to_fine(count)
    assert sorted(order) == list(range(count))
    for done in range(2, count + 1):
        gaps = np.diff([*sorted(order[:done]), count])
        assert gaps.max() <= 4 * count / done


# --- recordings with faults ------------------------------------------------------------------------------------------


def test_a_stretch_without_tf_is_named_and_its_frames_are_refused(bag: Path, tmp_path: Path) -> None:
    def without(topic: str, arrival_ns: int, message: object) -> object:
        return None if topic == "/tf" and 2 * S < arrival_ns - START_NS < 4 * S else message

    found = run(job(changed(bag, tmp_path / "gap", without)))
    assert found.complete
    assert found.refused[Refusal.NO_TRANSFORM.value] >= 6
    (told,) = [note for note in found.notes if "have no pose" in note]
    assert "from 2" in told
    assert not any(2.2 < view.time_s < 3.8 for view in found.held_out)


def test_images_in_the_frame_of_a_body_are_told_with_the_remedy(bag: Path, done: Run, tmp_path: Path) -> None:
    def in_body(topic: str, _: int, message: Any) -> object:  # noqa: ANN401
        if topic != "/camera/image_raw":
            return message
        return replace(message, header=replace(message.header, frame_id="base_link"))

    found = run(job(changed(bag, tmp_path / "body", in_body)))
    (told,) = [note for note in found.notes if "REP-103" in note]
    assert "'base_link'" in told and "base_link_optical" in told
    assert not any("REP-103" in note for note in done.notes)


@pytest.mark.parametrize(("name", "small"), [("memory.extent", 0.1), ("memory.horizon", 2.0)])
def test_a_memory_that_began_anew_says_what_would_have_held_it(bag: Path, name: str, small: float) -> None:
    (narrow,) = settings_of(["configured"], {**QUICK, name: small})
    found = run(replace(job(bag), setting=narrow))
    (told,) = [note for note in found.notes if "began anew" in note]
    suggested = dict(re.findall(r"(memory\.\w+)=([\d.]+)", told))
    assert suggested.keys() == {name}
    (wide,) = settings_of(["configured"], QUICK | {name: float(suggested[name])})
    again = run(replace(job(bag), setting=wide))
    assert not any("began anew" in note for note in again.notes)


def test_few_keyframes_of_many_images_are_told(bag: Path) -> None:
    (coarse,) = settings_of(["configured"], {**QUICK, "keyframes.translation": 50.0, "keyframes.rotation": 3.0})
    found = run(replace(job(bag), setting=coarse))
    assert any("lower these" in note for note in found.notes), found.notes


def test_stamps_that_are_set_back_are_told(bag: Path, tmp_path: Path) -> None:
    def twice(topic: str, arrival_ns: int, message: Any) -> object:  # noqa: ANN401
        if topic != "/camera/image_raw" or arrival_ns - START_NS < 4 * S:
            return message
        stamp_ns = message.header.stamp.sec * S + message.header.stamp.nanosec - 3 * S
        stamp = replace(message.header.stamp, sec=stamp_ns // S, nanosec=stamp_ns % S)
        return replace(message, header=replace(message.header, stamp=stamp))

    found = run(job(changed(bag, tmp_path / "twice", twice)))
    assert any("stamps were set back 1 times" in note for note in found.notes)


@pytest.mark.parametrize(("frames", "has_jumped"), [({}, False), ({"timestamp": 0.01}, True)], ids=["no time", "timed"])
def test_speeds_are_judged_only_where_frames_have_times(
    tmp_path: Path, frames: dict[str, float], has_jumped: bool
) -> None:
    """A folder of photographs from here and there: 30 Hz is our invention, and no speed follows from it."""
    spread = [frame_of(n, **{key: n * each for key, each in frames.items()}) for n in range(9)]
    found = run(job(write(tmp_path / "photographs", spread)))
    assert any("pose jumped" in note for note in found.notes) is has_jumped, found.notes


def test_images_that_do_not_decode_are_counted_and_named(bag: Path, tmp_path: Path) -> None:
    def broken(topic: str, arrival_ns: int, message: object) -> object:
        is_late = arrival_ns - START_NS > 4 * S
        return replace(message, encoding="32FC7") if topic.endswith("image_raw") and is_late else message

    found = run(job(changed(bag, tmp_path / "broken", broken)))
    assert found.refused[Refusal.UNREADABLE_IMAGE.value] >= 5
    assert any("could not be used" in note for note in found.notes)
    assert all(view.time_s <= 4.0 for view in found.held_out)


def test_a_chunk_that_fails_takes_no_view_from_what_is_compared(
    bag: Path, done: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings are compared on equal views, whatever becomes of them meanwhile."""
    observe, seen = SpatialMemory.observe, 0

    def fails_once(memory: SpatialMemory, chunk: Chunk) -> ObserveReport:
        nonlocal seen
        seen += 1
        if seen == 2:
            raise RequestFailedError(FailureKind.OUT_OF_MEMORY, "too much")
        return observe(memory, chunk)

    monkeypatch.setattr(SpatialMemory, "observe", fails_once)
    found = run(job(bag))
    assert [bool(chunk.failure) for chunk in found.chunks][:3] == [False, True, False]
    assert [view.stamp_ns for view in found.held_out] == [view.stamp_ns for view in done.held_out]
    assert found.refused[Refusal.OBSERVE_FAILED.value] == found.chunks[1].views
    of_failed = [view for view in found.held_out if view.chunk == 1]
    assert of_failed
    assert all(math.isnan(view.psnr_when_new) and math.isfinite(view.render[Metric.PSNR]) for view in of_failed)
    assert 1 not in found.forgetting.chunks
    assert any("1 chunks could not be observed" in note for note in found.notes)


def test_a_withheld_frame_belongs_behind_what_was_flushed_before_it_came(bag: Path) -> None:
    """A chunk is given up waiting for at the first frame that comes too late, and that one may be withheld."""
    (timed,) = settings_of(["configured"], {**QUICK, "chunk.timeout": 0.5, "chunk.views": 64})
    found = run(replace(job(bag, hold_out="every:2"), setting=timed))
    assert len(found.chunks) > 3
    for view in found.held_out:
        if view.chunk:
            assert view.time_s > found.chunks[view.chunk - 1].last_s
        first = found.chunks[view.chunk].first_s
        assert view.time_s - first < 0.5 or view.chunk == len(found.chunks) - 1


def test_it_is_told_when_it_started(bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(running, "begin_footprint", lambda device: order.append("stream"))
    provenance = footprints.provenance

    def noted(command: str, checkpoint: str, model: FsmModel) -> Provenance:
        order.append("provenance")
        return provenance(command, checkpoint, model)

    monkeypatch.setattr(running, "provenance", noted)
    run(job(bag, limits=Limits(views=1)))
    assert order == ["provenance", "stream"]


def test_where_peaks_may_not_be_reset_they_count_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprints, "_CLEAR", Path("/proc/1/none/clear_refs"))
    footprints.begin_footprint(torch.device("cpu"))
    assert footprints.footprint(torch.device("cpu")).host_peak > 0


def test_keyframes_are_not_decoded_again_while_the_stream_goes_on(bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What measuring keeps or decodes would count as memory and time of what is measured."""
    read, reads = Rig.read, []

    def counted(rig: Rig, frame: RecordedFrame) -> PosedImage:
        reads.append(frame)
        return read(rig, frame)

    monkeypatch.setattr(Rig, "read", counted)
    stages = Counted()
    in_stream: list[int] = []
    stages.stage = lambda name, total: in_stream.append(len(reads))  # type: ignore[method-assign]
    stages.advance = lambda steps=1: None  # type: ignore[method-assign]
    found = evaluate(job(bag), stages, lambda: False)
    assert in_stream[1] - in_stream[0] == found.keyframes + len(found.held_out)


def test_a_recording_of_which_nothing_can_be_observed_is_refused_with_the_reasons(bag: Path, tmp_path: Path) -> None:
    def broken(topic: str, arrival_ns: int, message: object) -> object:
        return replace(message, encoding="32FC7") if topic.endswith("image_raw") else message

    with pytest.raises(EvaluationError, match="unreadable_image"):
        run(job(changed(bag, tmp_path / "broken", broken)))


def test_what_cannot_be_evaluated_is_refused_before_anything_runs(bag: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing could be measured"):
        check(job(bag, hold_out="every:100"))
    with pytest.raises(SourceError, match="nothing at"):
        check(job(tmp_path / "none"))
    assert "30 images" in check(job(bag))
