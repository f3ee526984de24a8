# SPDX-License-Identifier: Apache-2.0
"""Spatial memory, saving and loading: the same memory to the bit, or a reason and the old one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from spatial_scenes import (
    SMALL,
    a_chunk,
    at,
    image_of,
    loaded,
    observe_all,
    refusal,
    refused,
    report_values,
    saved,
    scene_of,
    small_memory,
)
from tiny_memory import tiny_model

from fsm_ros.memory.rules.elastic import ElasticRule
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.state import SavedMemory, save_memory
from fsm_ros.spatial.results import FailureKind
from fsm_ros.spatial.scene_file import NOTES_VERSION
from fsm_ros.spatial.settings import MemoryMode
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.frame import Camera

EITHER_MODE = pytest.mark.parametrize("mode", MemoryMode, ids=lambda mode: mode.value)


# --- round trips ------------------------------------------------------------------------------------------------------


@EITHER_MODE
def test_a_loaded_memory_is_the_saved_one_to_the_bit_and_goes_on_like_it(mode: MemoryMode, tmp_path: Path) -> None:
    # A reservoir that is never full draws no random numbers, which are not saved.
    memory = small_memory(mode=mode, reservoir=20)
    observe_all(memory, [a_chunk(0), a_chunk(1, time_s=200.0), a_chunk(2, views=1, time_s=201.0)])
    assert scene_of(memory).epoch == 1
    other = small_memory(mode=mode, reservoir=20)
    observe_all(other, [a_chunk(9)])
    scene = loaded(other, saved(memory, tmp_path / "memory.safetensors"))
    truth = scene_of(memory)
    assert scene.state.equals(truth.state)
    for name in ("frame", "newest_ns", "camera", "epoch", "chunks_observed", "views_observed"):
        assert getattr(scene, name) == getattr(truth, name), name
    assert len(scene.window) == len(truth.window) == (2 if mode is MemoryMode.WINDOWED else 0)
    for found, kept in zip(scene.window, truth.window, strict=True):
        assert [frame.stamp_ns for frame in found.frames] == [frame.stamp_ns for frame in kept.frames]
        assert all(
            np.array_equal(a.image, b.image)
            and a.camera == b.camera
            and np.array_equal(a.world_from_camera, b.world_from_camera)
            for a, b in zip(found.frames, kept.frames, strict=True)
        )
    assert np.array_equal(image_of(memory), image_of(other))
    wide = Camera(33, 21, 20.0, 20.0, 16.0, 10.0)
    assert np.array_equal(image_of(memory, camera=wide), image_of(other, camera=wide))
    for index in (3, 4):
        chunk = a_chunk(index, time_s=200.0 + index)
        reports = [observe_all(each, [chunk])[0] for each in (memory, other)]
        assert str(report_values(reports[0])) == str(report_values(reports[1]))
        assert [frame.stamp_ns for frame in reports[0].keyframes] == [frame.stamp_ns for frame in reports[1].keyframes]
        assert scene_of(memory).state.equals(scene_of(other).state)


def test_a_loaded_memory_seeds_its_next_epoch_with_the_saved_keyframes(tmp_path: Path) -> None:
    memory, other = small_memory(), small_memory()
    observe_all(memory, [a_chunk(0, time_s=60.0), a_chunk(1, time_s=90.0)])
    loaded(other, saved(memory, tmp_path / "memory.safetensors"))
    leaving = a_chunk(2, time_s=200.0)
    for each in (memory, other):
        assert observe_all(each, [leaving])[0].epoch == 1
    assert scene_of(memory).state.equals(scene_of(other).state)


@pytest.mark.slow
def test_the_keyframes_of_a_long_stream_are_not_washed_out_by_the_first_chunks_after_loading(tmp_path: Path) -> None:
    memory, other = small_memory(reservoir=8, retention_views=0), small_memory(reservoir=8, retention_views=0)
    observe_all(memory, [a_chunk(i) for i in range(60)])
    path = saved(memory, tmp_path / "memory.safetensors")
    loaded(other, path)
    reports = observe_all(other, [a_chunk(60 + i) for i in range(5)])
    before = {frame.stamp_ns for frame in reports[0].keyframes}
    kept = [frame for frame in reports[-1].keyframes if frame.stamp_ns in before]
    # Of 8 from 120, each later frame takes the place of one with a chance of 1 in 15; counted anew it would be 8 in 9.
    assert len(kept) >= 6


def test_a_smaller_reservoir_takes_a_part_of_a_larger_one(tmp_path: Path) -> None:
    memory, other = small_memory(reservoir=6), small_memory(reservoir=3)
    observe_all(memory, [a_chunk(i) for i in range(3)])
    loaded(other, saved(memory, tmp_path / "memory.safetensors"))
    remembered = {frame.stamp_ns for i in range(3) for frame in a_chunk(i).frames}
    kept = [frame.stamp_ns for frame in observe_all(other, [a_chunk(3)])[0].keyframes]
    assert len(kept) == 3
    assert set(kept) < remembered


def test_a_memory_written_without_a_prior_is_anchored_where_it_stands_when_it_goes_on_with_one(tmp_path: Path) -> None:
    plastic, elastic = small_memory(rule=Plastic()), small_memory(rule=ElasticRule())
    observe_all(plastic, [a_chunk(0)])
    scene = loaded(elastic, saved(plastic, tmp_path / "memory.safetensors"))
    for layer in scene.state.layers:
        assert all(torch.equal(anchor, weights) for anchor, weights in zip(layer.anchor, layer.weights, strict=True))
    observe_all(elastic, [a_chunk(1)])
    again = loaded(small_memory(rule=ElasticRule()), saved(elastic, tmp_path / "again.safetensors"))
    assert again.state.equals(scene_of(elastic).state), "one that had a prior keeps its anchors"


def test_folders_are_made_and_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "memory.safetensors"
    memory = small_memory()
    observe_all(memory, [a_chunk(0)])
    saved(memory, path)
    observe_all(memory, [a_chunk(1)])
    saved(memory, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert loaded(small_memory(), path).chunks_observed == 2


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_an_empty_memory_cannot_be_saved(tmp_path: Path) -> None:
    with refused(FailureKind.NOTHING_OBSERVED):
        small_memory().save(tmp_path / "memory.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to_is_a_failure(tmp_path: Path) -> None:
    memory = small_memory()
    observe_all(memory, [a_chunk(0)])
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / "memory.safetensors", tmp_path):
        with refused(FailureKind.FILE) as told:
            memory.save(path)
        assert str(path) in str(told.value)


@pytest.fixture
def memory() -> SpatialMemory:
    """A memory with something to lose."""
    memory = small_memory()
    observe_all(memory, [a_chunk(0), a_chunk(1)])
    return memory


def test_a_missing_file_is_named(memory: SpatialMemory, tmp_path: Path) -> None:
    assert "no memory file" in refusal(memory, tmp_path / "none.safetensors")
    assert refusal(memory, tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 4096, b"\x89PNG\r\n\x1a\n", b"\xff" * 8], ids=["empty", "zeros", "png", "ff"]
)
def test_a_foreign_file_is_refused(content: bytes, memory: SpatialMemory, tmp_path: Path) -> None:
    path = tmp_path / "memory.safetensors"
    path.write_bytes(content)
    assert str(path) in refusal(memory, path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.999])
@pytest.mark.parametrize("harm", ["flipped", "cut"])
def test_a_damaged_file_is_refused_wherever_the_damage_is(
    harm: str, share: float, memory: SpatialMemory, tmp_path: Path
) -> None:
    path = saved(memory, tmp_path / "memory.safetensors")
    content = bytearray(path.read_bytes())
    place = int(share * len(content))
    if harm == "cut":
        del content[place:]
    else:
        content[place] ^= 0x10
    path.write_bytes(content)
    assert refusal(memory, path)


def test_a_memory_of_another_model_is_refused(memory: SpatialMemory, tmp_path: Path) -> None:
    other = small_memory(tiny_model(seed=1))
    observe_all(other, [a_chunk(0)])
    assert "another model" in refusal(memory, saved(other, tmp_path / "memory.safetensors"))


@EITHER_MODE
def test_a_memory_of_the_other_mode_is_refused(mode: MemoryMode, tmp_path: Path) -> None:
    other = MemoryMode.STREAMING if mode is MemoryMode.WINDOWED else MemoryMode.WINDOWED
    memory, written = small_memory(mode=mode), small_memory(mode=other)
    for each in (memory, written):
        observe_all(each, [a_chunk(0)])
    message = refusal(memory, saved(written, tmp_path / "memory.safetensors"))
    assert mode.value in message and other.value in message and "set mode" in message


def test_a_memory_of_views_of_another_size_is_refused(memory: SpatialMemory, tmp_path: Path) -> None:
    wide = Camera(24, 16, 20.0, 20.0, 12.0, 8.0)
    other = small_memory(width=24)
    observe_all(other, [a_chunk(0, camera=wide)])
    message = refusal(memory, saved(other, tmp_path / "memory.safetensors"))
    assert "24x16" in message and "16x16" in message and "set width" in message


def test_a_sound_file_that_is_not_a_scene_is_refused(memory: SpatialMemory, tmp_path: Path) -> None:
    state, path = scene_of(memory).state, tmp_path / "memory.safetensors"
    this_version = {"version": NOTES_VERSION, "mode": "streaming"}
    for notes in ({}, this_version, this_version | {"camera": {"width": 16}, "frame": 3}):
        save_memory(path, SavedMemory(state, notes, {}), tiny_model().fingerprint())
        assert "not a memory of this version" in refusal(memory, path)


def test_a_refused_file_leaves_the_remembered_keyframes(tmp_path: Path) -> None:
    memory, untouched = small_memory(), small_memory()
    for each in (memory, untouched):
        observe_all(each, [a_chunk(0), a_chunk(1)])
    refusal(memory, tmp_path / "none.safetensors")
    reports = [observe_all(each, [a_chunk(2)])[0] for each in (memory, untouched)]
    assert [frame.stamp_ns for frame in reports[0].keyframes] == [frame.stamp_ns for frame in reports[1].keyframes]


def test_a_refused_file_leaves_an_empty_memory_empty(tmp_path: Path) -> None:
    memory = small_memory()
    assert refusal(memory, tmp_path / "none.safetensors")
    with refused(FailureKind.NOTHING_OBSERVED):
        memory.render(at())
    assert memory.settings == replace(SMALL)
