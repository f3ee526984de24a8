"""Spatial memory, epochs: what happens when the stream leaves the place or the time that the memory was laid around."""

from __future__ import annotations

from dataclasses import replace

import pytest
from spatial_scenes import (
    SIZE,
    SMALL,
    S,
    a_chunk,
    a_frame,
    observe_all,
    scene_of,
    small_memory,
    views_of,
)
from tiny_memory import CONFIG, assert_untouched, largest_difference, tiny_model

from fsm_ros.memory.state import MemoryState
from fsm_ros.spatial.settings import MemoryMode
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.world import DEFAULT_EXTENT_M, ExtentSource, FrameExit

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
    assert report.failure is None
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


def test_an_automatic_extent_that_was_read_off_a_standing_camera_grows_with_the_next_epoch() -> None:
    memory = small_memory(extent_m=0.0, extent_margin=4.0)
    standing = Chunk((a_frame(0, x=0.0), a_frame(1, x=0.0)))
    memory.observe(standing)
    assert scene_of(memory).frame.extent_source is ExtentSource.FALLBACK
    assert scene_of(memory).frame.extent_m == DEFAULT_EXTENT_M
    moving = Chunk((a_frame(2, x=5.0), a_frame(3, x=7.0)))
    assert memory.observe(moving).epoch_began is FrameExit.EXTENT
    frame = scene_of(memory).frame
    assert (frame.extent_source, frame.extent_m) == (ExtentSource.MEASURED, pytest.approx(4.0))
    slower = Chunk((a_frame(4, x=20.0), a_frame(5, x=20.5)))
    assert memory.observe(slower).epoch_began is FrameExit.EXTENT
    assert scene_of(memory).frame.extent_m == pytest.approx(4.0), "it never shrinks"


def test_a_given_extent_stays_for_all_epochs() -> None:
    memory = small_memory(extent_m=2.0)
    memory.observe(a_chunk(0))
    memory.observe(Chunk((a_frame(2, x=50.0), a_frame(3, x=51.9))))
    assert (scene_of(memory).frame.extent_m, scene_of(memory).epoch) == (2.0, 1)
