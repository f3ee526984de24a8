# SPDX-License-Identifier: Apache-2.0
"""Spatial memory, epochs: what happens when the stream leaves the place or the time that the memory was laid around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spatial_scenes import (
    SIZE,
    SMALL,
    START_NS,
    S,
    a_chunk,
    a_frame,
    loaded,
    observe_all,
    saved,
    scene_of,
    small_memory,
    views_of,
)
from tiny_memory import CONFIG, assert_untouched, largest_difference, tiny_model

from fsm_ros.memory.state import MemoryState
from fsm_ros.spatial.epochs import first_frame
from fsm_ros.spatial.results import ObserveReport
from fsm_ros.spatial.settings import MemoryMode
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.world import LEAST_EXTENT_M, FrameExit

CHUNK_TOKENS = 2 * (SIZE // CONFIG.patch_size) ** 2


def assert_same_weights(found: MemoryState, expected: MemoryState) -> None:
    """Bit for bit, counters aside."""
    assert_untouched(found, expected.tensors())


def later(chunk: Chunk, seconds: float) -> Chunk:
    return Chunk(tuple(replace(frame, stamp_ns=frame.stamp_ns + round(seconds * S)) for frame in chunk.frames))


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        (a_chunk(3, x=2.5), FrameExit.EXTENT),
        (a_chunk(3, time_s=110.0), FrameExit.HORIZON_END),
        (a_chunk(3, time_s=-30.0), FrameExit.BEFORE_START),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
def test_leaving_the_frame_begins_a_new_epoch_and_the_counts_go_on(chunk: Chunk, reason: FrameExit) -> None:
    memory = small_memory()
    observe_all(memory, [a_chunk(i) for i in range(3)])
    old = scene_of(memory).frame
    report = memory.observe(chunk)
    assert report.epoch_began is reason
    assert (report.epoch, report.chunks_observed, report.views_observed) == (1, 4, 8)
    scene = scene_of(memory)
    assert scene.frame != old
    assert scene.frame.extent_m == old.extent_m
    assert [scene.frame.contains(frame) for frame in chunk.frames] == [None, None]
    assert scene.frame.normalise_time(chunk.newest_stamp_ns) == pytest.approx(0.0), "half of the new horizon is left"
    following = memory.observe(later(chunk, 1.0))
    assert (following.epoch, following.epoch_began) == (1, None)


@pytest.mark.parametrize("mode", MemoryMode, ids=lambda mode: mode.value)
def test_a_new_epoch_is_seeded_with_the_remembered_views_that_lie_in_its_frame(mode: MemoryMode) -> None:
    memory = small_memory(mode=mode, window_chunks=9, reservoir=9)
    observe_all(memory, [a_chunk(0), a_chunk(1, views=3, time_s=80.0), a_chunk(2, time_s=90.0)])
    leaving = a_chunk(5, time_s=103.0)
    report = memory.observe(leaving)
    assert report.epoch_began is FrameExit.HORIZON_END
    frame = scene_of(memory).frame
    remembered = [view for view in report.keyframes if frame.contains(view) is None]
    assert (len(remembered), len(report.keyframes)) == (5, 7), "the first views are too old for the new frame"
    model, state = tiny_model(), tiny_model().initial_state()
    chunks = [remembered[:2], remembered[2:4], remembered[4:], list(leaving.frames)]
    if mode is MemoryMode.STREAMING:
        for views in chunks:
            state = model.observe(state, views_of(views, frame), SMALL.rule)
    else:
        everything = [view for views in chunks for view in views]
        state = model.observe_batch(state, views_of(everything, frame), CHUNK_TOKENS, SMALL.rule)
    assert_same_weights(scene_of(memory).state, state)
    unseeded = model.observe(model.initial_state(), views_of(leaving.frames, frame), SMALL.rule)
    assert largest_difference(scene_of(memory).state, unseeded) > 1e-3
    assert (report.chunks_observed, report.views_observed) == (4, 9), "seeding is not observing"


def test_an_epoch_far_from_everything_remembered_starts_empty() -> None:
    memory = small_memory()
    observe_all(memory, [a_chunk(0), a_chunk(1)])
    memory.observe(a_chunk(2, x=1000.0))
    far, model = scene_of(memory), tiny_model()
    alone = model.observe(model.initial_state(), views_of(a_chunk(2, x=1000.0).frames, far.frame), SMALL.rule)
    assert_same_weights(far.state, alone)


# --- an automatic extent ----------------------------------------------------------------------------------------------

AUTOMATIC = {"extent_m": 0.0, "retention_views": 0, "measure_prediction": False}
HAND_HELD = [0.01 * i for i in range(60)]
STANDING_THEN_DRIVING = [0.0] * 6 + [0.3 * i for i in range(30)]
THIRTY_METRES = [0.5 * i for i in range(61)]
FAST = [2.0 * i for i in range(10)]
THERE_AND_BACK = [9.0 * np.sin(0.1 * i) for i in range(64)]


def driven(memory: SpatialMemory, path_m: Sequence[float], seconds_apart: float = 0.5) -> list[ObserveReport]:
    """Observe a drive along the x axis, two views a chunk."""
    views = [a_frame(i, x=x, time_s=seconds_apart * i) for i, x in enumerate(path_m)]
    return observe_all(memory, [Chunk(tuple(views[i : i + 2])) for i in range(0, len(views), 2)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path_m", "extent_m", "epochs"),
    [
        pytest.param(HAND_HELD, LEAST_EXTENT_M, 0, id="hand_held"),
        pytest.param(STANDING_THEN_DRIVING, 2 * LEAST_EXTENT_M, 1, id="standing_then_driving"),
        pytest.param(THIRTY_METRES, 8 * LEAST_EXTENT_M, 3, id="thirty_metres"),
        pytest.param(THERE_AND_BACK, 2 * LEAST_EXTENT_M, 1, id="there_and_back"),
        pytest.param(FAST, 4 * 8.0, 2, id="fast_from_the_start"),
    ],
)
def test_an_automatic_extent_doubles_where_the_camera_leaves_it_and_keeps_origin_and_time(
    path_m: list[float], extent_m: float, epochs: int
) -> None:
    memory = small_memory(**AUTOMATIC)
    reports = driven(memory, path_m)
    scene, first = scene_of(memory), Chunk(reports[0].chunk.frames)
    assert scene.epoch == epochs
    assert scene.frame == replace(first_frame(memory.settings, first), extent_m=extent_m)
    assert {report.epoch_began for report in reports} <= {None, FrameExit.EXTENT}
    everything = [view for report in reports for view in report.chunk.frames]
    assert [scene.frame.contains(view) for view in everything] == [None] * len(everything), "nothing fell out"


def test_a_grown_epoch_is_seeded_with_all_that_is_remembered() -> None:
    memory = small_memory(**AUTOMATIC, reservoir=15)
    reports = driven(memory, THIRTY_METRES[:15])
    assert [report.epoch for report in reports] == [0, 0, 0, 0, 0, 0, 1, 1]
    assert sum(submap.views for submap in scene_of(memory).atlas.submaps) == 15


def test_growth_does_not_shorten_the_horizon() -> None:
    """The extent is left three times, and the time axis of 100 s ends when it would have."""
    reports = driven(small_memory(**AUTOMATIC), [1.35 * i for i in range(36)], seconds_apart=3.0)
    began = {(report.chunk.newest_stamp_ns - START_NS) // S: report.epoch_began for report in reports}
    assert {at_s: exit_ for at_s, exit_ in began.items() if exit_} == {
        15: FrameExit.EXTENT,
        33: FrameExit.EXTENT,
        57: FrameExit.EXTENT,
        105: FrameExit.HORIZON_END,
    }


def test_an_automatic_extent_never_shrinks() -> None:
    memory = small_memory(**AUTOMATIC)
    driven(memory, [1.35 * i for i in range(36)])
    memory.observe(a_chunk(0, x=47.0, time_s=110.0))
    scene = scene_of(memory)
    assert (scene.epoch, scene.frame.extent_m) == (4, 8 * LEAST_EXTENT_M)
    assert scene.frame.normalise_time(scene.newest_ns) == pytest.approx(0.0)


def test_a_camera_that_jumped_far_is_elsewhere_and_no_reason_to_grow() -> None:
    memory = small_memory(**AUTOMATIC)
    for index, x in enumerate((0.0, 1000.0, 0.0, 1000.0)):
        assert memory.observe(a_chunk(index, x=x)).epoch == index
        assert scene_of(memory).frame.extent_m == LEAST_EXTENT_M


def test_a_loaded_memory_grows_on_as_the_saved_one(tmp_path: Path) -> None:
    stays, other = (small_memory(**AUTOMATIC, reservoir=99) for _ in range(2))
    driven(stays, THIRTY_METRES[:32:2])
    loaded(other, saved(stays, tmp_path / "half.safetensors"))
    for memory in (stays, other):
        observe_all(memory, [a_chunk(8 + i, x=16.0 + 3 * i) for i in range(5)])
    assert scene_of(other).frame == scene_of(stays).frame
    assert (scene_of(other).epoch, scene_of(other).frame.extent_m) == (3, 8 * LEAST_EXTENT_M)
    assert_same_weights(scene_of(other).state, scene_of(stays).state)


def test_a_given_extent_stays_for_all_epochs() -> None:
    memory = small_memory(extent_m=2.0)
    memory.observe(a_chunk(0))
    memory.observe(Chunk((a_frame(2, x=50.0), a_frame(3, x=51.9))))
    assert (scene_of(memory).frame.extent_m, scene_of(memory).epoch) == (2.0, 1)


def test_the_next_epoch_of_a_loaded_memory_has_the_extent_that_is_given_now(tmp_path: Path) -> None:
    memory = small_memory(extent_m=2.0)
    memory.observe(a_chunk(0))
    wider = small_memory(extent_m=20.0)
    loaded(wider, saved(memory, tmp_path / "memory.safetensors"))
    assert scene_of(wider).frame.extent_m == 2.0, "what was written is in the frame that it was written in"
    assert wider.observe(a_chunk(3, x=2.5)).epoch_began is FrameExit.EXTENT
    assert scene_of(wider).frame.extent_m == 20.0
