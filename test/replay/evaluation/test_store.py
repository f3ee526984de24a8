# SPDX-License-Identifier: Apache-2.0
"""Runs as files: they come back as they were, and are taken for a job only where nothing about it has changed."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation_bags import QUICK, drive
from evaluation_runs import make_run

from fsm_ros.replay.evaluation import job as jobs
from fsm_ros.replay.evaluation.job import Job, Reading
from fsm_ros.replay.evaluation.limits import Limits
from fsm_ros.replay.evaluation.results import Run
from fsm_ros.replay.evaluation.settings import Setting, settings_of
from fsm_ros.replay.evaluation.store import FORMAT, Stored, load_run, save_run


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drive(tmp_path_factory.mktemp("bag") / "drive", duration_s=1.0)


def job(bag: Path, setting: str = "configured", hold_out: str = "every:6", **changes: object) -> Job:
    (chosen,) = settings_of([setting], QUICK)
    return replace(Job(bag, "drive", chosen, hold_out), **changes)


@pytest.fixture
def done() -> Run:
    return make_run(photographs_add=2.0)


def figures(found: Run) -> list[object]:
    return [(v.render, v.psnr_when_new, v.memory, v.baselines, v.where) for v in found.held_out] + [
        v.render for v in found.observed
    ]


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


def test_pictures_are_mapped_so_that_many_runs_fit_into_memory(done: Run, tmp_path: Path) -> None:
    save_run(tmp_path / "a", Stored("x", done))
    stored = load_run(tmp_path / "a")
    assert stored is not None
    for pictures in (stored.run.pictures.truth, stored.run.pictures.render, *stored.run.pictures.baselines.values()):
        assert isinstance(pictures.base, np.memmap)
    save_run(tmp_path / "a", Stored("y", make_run(seed=1)))
    assert np.array_equal(stored.run.pictures.render, done.pictures.render), "what was read stays as it was"


def test_a_run_without_views_comes_back_too(tmp_path: Path) -> None:
    save_run(tmp_path / "a", Stored("x", make_run(views=0)))
    stored = load_run(tmp_path / "a")
    assert stored is not None
    assert stored.run.held_out == ()
    assert len(stored.run.pictures.truth) == 0


@pytest.mark.parametrize(
    "damage", ["no notes", "cut", "no pictures", "pictures cut", "other notes", "other format", "field missing"]
)
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
        (folder / "render.npy").unlink()
    elif damage == "pictures cut":
        os.truncate(folder / "render.npy", (folder / "render.npy").stat().st_size - 1)
    elif damage == "other notes":
        notes.write_text(json.dumps({**json.loads(text), "run": {**json.loads(text)["run"], "values": [1]}}))
    elif damage == "other format":
        notes.write_text(text.replace(f'"format": {FORMAT}', '"format": 0', 1))
    else:
        notes.write_text(text.replace('"stream_s"', '"stream"', 1))
    assert load_run(folder) is None


def test_a_fingerprint_changes_with_whatever_the_result_depends_on(bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = job(bag)
    others = [
        job(bag, hold_out="every:5"),
        job(bag, "plastic"),
        job(bag, limits=Limits(views=3)),
        job(bag, reading=Reading(world_frame="odom")),
        replace(plain, setting=Setting("configured", {**QUICK, "memory.extent": 2.0})),
    ]
    assert plain.fingerprint == job(bag, command="another").fingerprint
    monkeypatch.setattr(jobs, "_code", lambda: "another")
    assert job(bag).fingerprint != plain.fingerprint, "the code may have changed, committed or not"
    monkeypatch.undo()
    assert len({plain.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)


def test_a_fingerprint_sees_the_files_below_a_posed_folder(tmp_path: Path) -> None:
    image = tmp_path / "scene" / "images" / "0.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"one")
    (tmp_path / "scene" / "transforms.json").write_text("{}")
    before = job(tmp_path / "scene").fingerprint
    image.write_bytes(b"another")
    assert job(tmp_path / "scene").fingerprint != before


def test_what_changes_while_a_job_is_done_is_no_part_of_its_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "bag.mcap"
    file.write_bytes(b"one")
    begun = job(file)
    before = begun.fingerprint
    file.write_bytes(b"another")
    assert begun.fingerprint == pickle.loads(pickle.dumps(begun)).fingerprint == before
    assert job(file).fingerprint != before
