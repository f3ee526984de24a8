# SPDX-License-Identifier: Apache-2.0
"""A memory with kept photographs: what it answers, keeps, saves and forgets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spatial_scenes import (
    a_frame,
    loaded,
    observe_all,
    refusal,
    refused,
    room_views,
    saved,
    scene_of,
    shipped_model,
    small_memory,
)
from tiny_memory import tiny_model

from fsm_ros.memory.state import load_memory, save_memory
from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.recall.choose import COLUMNS, ROWS
from fsm_ros.recall.keyframes import KeyframeLimits
from fsm_ros.spatial.results import FailureKind, Rendered
from fsm_ros.spatial.settings import MemorySettings, RenderMethod
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import Photograph, PosedImage
from fsm_ros.stream.rectify import shrunk


def apart(index: int, *, time_s: float | None = None) -> Chunk:
    """The index-th chunk of a camera that moves far enough for every frame to be kept."""
    return Chunk(tuple(a_frame(2 * index + i, x=0.05 * (2 * index + i), time_s=time_s) for i in range(2)))


def a_memory(*, recall: bool = True, **changes: object) -> SpatialMemory:
    settings = MemorySettings(**({"extent_m": 2.0} | changes))  # type: ignore[arg-type]
    return SpatialMemory(shipped_model(), settings, None, load_recall("shipped") if recall else None)


def observed_and_withheld() -> tuple[list[Chunk], list[PosedImage]]:
    views = room_views(33)
    seen, withheld = views[::2], views[1::8]
    return [Chunk(tuple(seen[i : i + 4])) for i in range(0, len(seen), 4)], list(withheld)


def answered(memory: SpatialMemory, view: PosedImage, method: RenderMethod | None = None) -> Rendered:
    return memory.render(view.world_from_camera, view.stamp_ns, view.camera, method)


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.square((image.astype(float) - truth) / 255).mean()))


@pytest.fixture(scope="module")
def room() -> tuple[SpatialMemory, list[PosedImage]]:
    chunks, withheld = observed_and_withheld()
    memory = a_memory()
    observe_all(memory, chunks)
    return memory, withheld


@pytest.mark.slow
def test_recalled_views_are_better_than_what_the_fast_weights_render(
    room: tuple[SpatialMemory, list[PosedImage]],
) -> None:
    memory, withheld = room
    both = [psnr(answered(memory, view).image, view.image) for view in withheld]
    alone = [psnr(answered(memory, view, RenderMethod.MEMORY).image, view.image) for view in withheld]
    assert np.mean(both) > np.mean(alone) + 3


@pytest.mark.slow
def test_an_answer_says_where_it_comes_from(room: tuple[SpatialMemory, list[PosedImage]]) -> None:
    memory, withheld = room
    kept = {keyframe.number: keyframe for keyframe in scene_of(memory).keyframes.keyframes}
    answer = answered(memory, withheld[1])
    assert 1 <= len(answer.keyframes) <= memory.settings.photographs
    for used in answer.keyframes:
        assert used.stamp_ns == kept[used.number].stamp_ns
        assert np.array_equal(used.world_from_camera, kept[used.number].world_from_camera)
    assert 0.5 < answer.recalled <= 1 and answer.epoch == 0
    assert answer.depth_m.shape == answer.confidence.shape == (64, 64)
    assert answer.depth_m.dtype == answer.confidence.dtype == np.float32


@pytest.mark.slow
def test_the_surer_half_of_the_pixels_is_less_wrong(room: tuple[SpatialMemory, list[PosedImage]]) -> None:
    memory, withheld = room
    sure, unsure = [], []
    for view in withheld:
        answer = answered(memory, view)
        error = np.abs(answer.image.astype(float) - view.image).mean(axis=2).ravel()
        order = np.argsort(-answer.confidence.ravel())
        sure.append(error[order[: len(order) // 2]].mean())
        unsure.append(error[order[len(order) // 2 :]].mean())
    assert np.mean(sure) < 0.67 * np.mean(unsure)


def test_the_memory_alone_is_bit_equal_to_one_without_recall() -> None:
    chunks, withheld = observed_and_withheld()
    plain, recalling = a_memory(recall=False, keyframes=KeyframeLimits(0, 0)), a_memory(method=RenderMethod.MEMORY)
    observe_all(plain, chunks[:2])
    observe_all(recalling, chunks[:2])
    for view in withheld[:2]:
        one, other = answered(plain, view), answered(recalling, view)
        assert np.array_equal(one.image, other.image)
        assert other.recalled == 0 and other.keyframes == () and not other.confidence.any()


@pytest.mark.slow
def test_photographs_are_kept_as_sharp_as_they_come_and_used_at_any_size() -> None:
    views = room_views(9)
    chunks = []
    for i in range(0, 8, 4):
        frames = []
        for view in views[i : i + 4]:
            image, camera = np.kron(view.image, np.ones((2, 2, 1), dtype=np.uint8)), view.camera
            sharp = replace(camera, width=128, height=128, fx=100.0, fy=100.0, cx=64.0, cy=64.0)
            frames.append(replace(view, photograph=shrunk(image, sharp, 320, 240)))
        chunks.append(Chunk(tuple(frames)))
    memory = a_memory()
    observe_all(memory, chunks)
    assert {keyframe.image.shape for keyframe in scene_of(memory).keyframes.keyframes} == {(128, 128, 3)}
    wanted = replace(views[2].camera, width=96, height=80, fx=70.0, fy=70.0, cx=48.0, cy=40.0)
    answer = memory.render(views[2].world_from_camera, views[2].stamp_ns, wanted)
    assert answer.image.shape == (80, 96, 3) and answer.depth_m.shape == (80, 96) and answer.recalled > 0.5


def test_a_view_that_nobody_saw_says_so() -> None:
    chunks, _ = observed_and_withheld()
    memory = a_memory()
    observe_all(memory, chunks[:1])
    away = chunks[0].frames[0].world_from_camera.copy()
    away[:3, :3] = away[:3, :3] @ np.diag([-1.0, 1.0, -1.0])
    answer = memory.render(away)
    assert answer.recalled == 0 and answer.keyframes == () and not answer.confidence.any()


def test_kept_photographs_are_saved_and_come_back(tmp_path: Path) -> None:
    chunks, withheld = observed_and_withheld()
    memory, other = a_memory(), a_memory()
    observe_all(memory, chunks[:2])
    loaded(other, saved(memory, tmp_path / "room.safetensors"))
    for kept, back in zip(scene_of(memory).keyframes.keyframes, scene_of(other).keyframes.keyframes, strict=True):
        assert (kept.number, kept.stamp_ns, kept.source) == (back.number, back.stamp_ns, back.source)
        for name in ("image", "fxfycxcy", "world_from_camera", "depth_m", "doubts"):
            assert np.array_equal(getattr(kept, name), getattr(back, name))
    assert scene_of(other).keyframes.next_number == scene_of(memory).keyframes.next_number
    assert np.array_equal(answered(memory, withheld[0]).image, answered(other, withheld[0]).image)


def test_what_is_out_of_date_is_saved_and_files_of_before_doubt_nothing(tmp_path: Path) -> None:
    memory, other, older = small_memory(), small_memory(), small_memory()
    observe_all(memory, [apart(0)])
    scene = scene_of(memory)
    doubts = np.arange(ROWS * COLUMNS, dtype=np.uint8).reshape(ROWS, COLUMNS) % 3
    kept = replace(scene.keyframes, keyframes=tuple(each.doubted(doubts) for each in scene.keyframes.keyframes))
    memory._scene = replace(scene, keyframes=kept)
    for each in loaded(other, saved(memory, tmp_path / "new.safetensors")).keyframes.keyframes:
        assert np.array_equal(each.doubts, doubts) and each.outdated.sum() == (doubts == 2).sum()

    def as_before(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        del tensors[next(name for name in tensors if name.endswith("keyframes.doubts"))]

    loaded(older, rewritten(memory, tmp_path / "old.safetensors", as_before))
    assert scene_of(older).keyframes.keyframes
    assert not any(each.doubts.any() for each in scene_of(older).keyframes.keyframes)


def with_depth(chunk: Chunk, depth_m: float) -> Chunk:
    """The same with depth that a camera measured, but for a corner."""
    measured = np.full((12, 16), depth_m, dtype=np.float32)
    measured[:3, :4] = np.nan
    photographs = [Photograph(frame.image, frame.camera, measured) for frame in chunk.frames]
    return Chunk(tuple(replace(frame, photograph=p) for frame, p in zip(chunk.frames, photographs, strict=True)))


def test_measured_depth_is_kept_saved_and_comes_back_and_files_of_before_have_none(tmp_path: Path) -> None:
    memory, other, older = small_memory(), small_memory(), small_memory()
    observe_all(memory, [with_depth(apart(0), 2.0), apart(1)])
    kept = scene_of(memory).keyframes.keyframes
    assert [each.sensed is not None for each in kept] == [True, True, False, False]
    for mine, back in zip(kept, loaded(other, saved(memory, tmp_path / "new")).keyframes.keyframes, strict=True):
        assert np.array_equal(mine.depth_m, back.depth_m)  # type: ignore[arg-type]
        if mine.sensed is None or back.sensed is None:
            assert mine.sensed is back.sensed
        else:
            assert back.sensed.dtype == np.float16 and np.array_equal(mine.sensed, back.sensed, equal_nan=True)

    def as_before(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.endswith(".sensed")]:
            del tensors[name]

    loaded(older, rewritten(memory, tmp_path / "old.safetensors", as_before))
    assert [each.sensed for each in scene_of(older).keyframes.keyframes] == [None] * 4


def test_a_smaller_limit_holds_for_what_is_loaded_too(tmp_path: Path) -> None:
    chunks, _ = observed_and_withheld()
    memory, small = a_memory(), a_memory(keyframes=KeyframeLimits(3, 2**30))
    observe_all(memory, chunks[:2])
    loaded(small, saved(memory, tmp_path / "room.safetensors"))
    assert len(scene_of(small).keyframes) == 3


Change = Callable[[dict[str, Any], dict[str, torch.Tensor]], object]


def rewritten(memory: SpatialMemory, path: Path, change: Change) -> Path:
    """A sound file of a memory, whose notes and attachments somebody has changed."""
    model = tiny_model()
    content = load_memory(saved(memory, path), model.initial_state(), model.fingerprint())
    notes, attachments = json.loads(json.dumps(content.notes)), dict(content.attachments)
    change(notes, attachments)
    save_memory(path, replace(content, notes=notes, attachments=attachments), model.fingerprint())
    return path


def test_a_memory_of_the_version_before_is_read_without_photographs(tmp_path: Path) -> None:
    memory, other = small_memory(), small_memory()
    observe_all(memory, [apart(0), apart(1)])

    def as_before(notes: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        del notes["keyframes"]
        notes["version"] = 2
        for name in [name for name in tensors if name.startswith("keyframes.")]:
            del tensors[name]

    loaded(other, rewritten(memory, tmp_path / "old.safetensors", as_before))
    assert len(scene_of(other).keyframes) == 0
    observe_all(other, [apart(2)])
    assert len(scene_of(other).keyframes) == 2


DAMAGED: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "an image is gone": lambda tensors: tensors.pop(next(n for n in tensors if n.endswith("keyframes.0.image"))),
    "an image of another kind": lambda tensors: _changed(tensors, "keyframes.0.image", lambda t: t.float()),
    "intrinsics that are none": lambda tensors: _changed(tensors, "keyframes.fxfycxcy", lambda t: t * 0),
    "a pose that is none": lambda tensors: _changed(tensors, "keyframes.poses", lambda t: t * 2),
    "two of one number": lambda tensors: _changed(tensors, "keyframes.numbers", lambda t: t * 0),
    "depths of another grid": lambda tensors: _changed(tensors, "keyframes.depths_m", lambda t: t[:, :2]),
    "doubts of another kind": lambda tensors: _changed(tensors, "keyframes.doubts", lambda t: t.float()),
    "doubts of another grid": lambda tensors: _changed(tensors, "keyframes.doubts", lambda t: t[:, :2]),
    "measured depth of another kind": lambda tensors: tensors.update(
        {"keyframes.0.sensed": torch.ones(4, 4, dtype=torch.float64)}
    ),
    "fewer stamps": lambda tensors: _changed(tensors, "keyframes.stamps_ns", lambda t: t[:1]),
}


def _changed(tensors: dict[str, torch.Tensor], ending: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    name = next(name for name in tensors if name.endswith(ending))
    tensors[name] = change(tensors[name]).contiguous()


@pytest.mark.parametrize("damage", DAMAGED, ids=str)
def test_damaged_photographs_are_refused_and_the_memory_stays(damage: str, tmp_path: Path) -> None:
    memory = small_memory()
    observe_all(memory, [apart(0), apart(1)])
    path = rewritten(memory, tmp_path / "room.safetensors", lambda _, tensors: DAMAGED[damage](tensors))
    assert str(path) in refusal(memory, path)


def test_a_reset_forgets_them_and_a_new_epoch_does_not() -> None:
    memory = small_memory(horizon_s=10.0)
    observe_all(memory, [apart(0), apart(1)])
    report = observe_all(memory, [apart(2, time_s=30.0)])[0]
    assert report.epoch == 1
    assert report.kept == len(scene_of(memory).keyframes) > 2
    memory.reset()
    observe_all(memory, [apart(9)])
    assert len(scene_of(memory).keyframes) == 2


def test_they_count_in_the_size_of_the_memory_and_are_bounded() -> None:
    memory = small_memory(keyframes=KeyframeLimits(5, 2**30))
    reports = observe_all(memory, [apart(i) for i in range(8)])
    assert max(report.kept for report in reports) <= 5
    for report in reports:
        assert report.state_bytes > report.kept_bytes > 0
    assert reports[-1].kept_bytes == scene_of(memory).keyframes.size_bytes


def test_the_reservoir_and_the_window_keep_no_photographs_beside() -> None:
    frames = [replace(frame, photograph=Photograph(frame.image, frame.camera)) for frame in apart(0).frames]
    memory = small_memory()
    observe_all(memory, [Chunk(tuple(frames)), apart(1)])
    report = observe_all(memory, [apart(2)])[0]
    assert all(frame.photograph is None for frame in report.keyframes)


def test_who_knows_a_place_is_told_without_rendering(room: tuple[SpatialMemory, list[PosedImage]]) -> None:
    memory, withheld = room
    known = memory.known_from(withheld[0].world_from_camera, withheld[0].stamp_ns, withheld[0].camera, 3)
    assert len(known) == 3
    with refused(FailureKind.BAD_REQUEST):
        memory.known_from(np.zeros((4, 4)), None, None, 3)
    with refused(FailureKind.NOTHING_OBSERVED):
        small_memory().known_from(np.eye(4), None, None, 3)


def test_a_stream_gives_the_same_memory_with_and_without_recall() -> None:
    """What is kept and rendered never reaches the fast weights."""
    chunks, _ = observed_and_withheld()
    one, other = a_memory(), a_memory(recall=False, keyframes=KeyframeLimits(0, 0))
    observe_all(one, chunks[:3])
    observe_all(other, chunks[:3])
    for mine, theirs in zip(scene_of(one).atlas.submaps, scene_of(other).atlas.submaps, strict=True):
        for name, tensor in mine.state.tensors().items():
            assert torch.equal(tensor, theirs.state.tensors()[name])
