"""One recording under one setting: what is found is what the pictures show, and what was seen is all accounted for."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_bags import QUICK, changed, drive

from fsm_ros.replay.demo_bag import START_NS
from fsm_ros.replay.evaluation.job import Job, Limits, Reading
from fsm_ros.replay.evaluation.progress import Silent
from fsm_ros.replay.evaluation.results import Baseline, Metric, Novelty, PathSide, Run
from fsm_ros.replay.evaluation.run import EvaluationError, check, evaluate
from fsm_ros.replay.evaluation.settings import Setting, settings_of
from fsm_ros.replay.evaluation.store import Stored, load_run, save_run
from fsm_ros.replay.metrics import psnr
from fsm_ros.sources.source import SourceError
from fsm_ros.stream.ledger import Refusal

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
    assert set(matrix.chunks) <= {view.chunk for view in done.held_out}
    assert len(matrix.chunks) >= 3
    for row, number in enumerate(matrix.chunks):
        own = [view.psnr_when_new for view in done.held_out if view.chunk == number]
        assert matrix.psnr[row, row] == pytest.approx(np.mean(own), abs=1e-6)
        assert np.isnan(matrix.psnr[row, row + 1 :]).all()
        assert np.isfinite(matrix.psnr[row, : row + 1]).all()
    last = [view.render[Metric.PSNR] for view in done.held_out if view.chunk == matrix.chunks[0]]
    if matrix.chunks[-1] == len(done.chunks) - 1:
        assert matrix.psnr[-1, 0] == pytest.approx(np.mean(last), abs=1e-4)


def test_chunks_tell_what_the_node_would_publish_and_what_they_cost(done: Run) -> None:
    assert math.isnan(done.chunks[0].surprise_psnr)
    assert all(math.isfinite(chunk.surprise_psnr) for chunk in done.chunks[1:])
    assert all(math.isfinite(chunk.retention_psnr) for chunk in done.chunks[1:])
    for chunk in done.chunks:
        assert chunk.failure == ""
        assert math.isfinite(chunk.observed_psnr)
        assert chunk.observe_s > 0
        assert chunk.state_bytes > 0
        assert 0 < chunk.host_bytes <= chunk.host_peak_bytes
        assert chunk.device_peak_bytes == 0
    assert done.stream_s > sum(chunk.observe_s for chunk in done.chunks)
    assert len(done.render_s) >= len(done.held_out) + len(done.observed)


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


def test_a_run_comes_back_from_its_files_as_it_was(done: Run, tmp_path: Path) -> None:
    save_run(tmp_path / "runs" / "a", Stored("x", done))
    stored = load_run(tmp_path / "runs" / "a")
    assert stored is not None
    assert stored.fingerprint == "x"
    back = stored.run
    assert figures(back) == figures(done)
    for name in ("recording", "values", "refused", "notes", "metrics_told", "path", "render_s", "provenance"):
        assert getattr(back, name) == getattr(done, name), name
    assert repr(back.chunks) == repr(done.chunks)  # NaN is NaN
    assert back.forgetting.chunks == done.forgetting.chunks
    assert np.array_equal(back.forgetting.psnr, done.forgetting.psnr, equal_nan=True)
    for name in ("truth", "render", "fxfycxcy"):
        assert np.array_equal(getattr(back.pictures, name), getattr(done.pictures, name))
    assert back.pictures.baselines.keys() == done.pictures.baselines.keys()
    assert sorted(entry.name for entry in (tmp_path / "runs").iterdir()) == ["a"]


@pytest.mark.parametrize("damage", ["no notes", "cut", "no pictures", "other format", "field missing"])
def test_a_damaged_run_is_none_at_all(done: Run, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "a"
    save_run(folder, Stored("x", done))
    notes = folder / "run.json"
    text = notes.read_text()
    if damage == "no notes":
        notes.unlink()
    elif damage == "cut":
        notes.write_text(text[:-20])
    elif damage == "no pictures":
        (folder / "pictures.npz").write_bytes(b"PK")
    elif damage == "other format":
        notes.write_text(text.replace('"format": 1', '"format": 0', 1))
    else:
        notes.write_text(text.replace('"stream_s"', '"stream"', 1))
    assert load_run(folder) is None


def test_a_fingerprint_changes_with_whatever_the_result_depends_on(bag: Path) -> None:
    plain = job(bag)
    others = [
        job(bag, hold_out="every:5"),
        job(bag, "plastic"),
        job(bag, limits=Limits(views=3)),
        job(bag, reading=Reading(world_frame="odom")),
        replace(plain, setting=Setting("configured", {**QUICK, "memory.extent": 2.0})),
    ]
    assert plain.fingerprint == job(bag, command="another").fingerprint
    assert len({plain.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)


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
    assert [c.surprise_psnr for c in part.chunks[1:]] == [c.surprise_psnr for c in done.chunks[1:3]]


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


def test_images_that_do_not_decode_are_counted_and_named(bag: Path, tmp_path: Path) -> None:
    def broken(topic: str, arrival_ns: int, message: object) -> object:
        is_late = arrival_ns - START_NS > 4 * S
        return replace(message, encoding="32FC7") if topic.endswith("image_raw") and is_late else message

    found = run(job(changed(bag, tmp_path / "broken", broken)))
    assert found.refused[Refusal.UNREADABLE_IMAGE.value] >= 5
    assert any("could not be used" in note for note in found.notes)
    assert all(view.time_s <= 4.0 for view in found.held_out)


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
