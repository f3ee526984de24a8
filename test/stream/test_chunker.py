# SPDX-License-Identifier: Apache-2.0
"""Chunks: full ones at once, partial ones after the timeout, and no frame twice or lost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_ros.stream.chunker import Chunk, Chunker
from fsm_ros.stream.frame import Camera, PosedImage


def a_frame(stamp_ns: int = 0, size: int = 2) -> PosedImage:
    camera = Camera(size, size, 1.0, 1.0, 1.0, 1.0)
    return PosedImage(np.zeros((size, size, 3), dtype=np.uint8), camera, np.eye(4), stamp_ns)


def test_a_chunk_comes_when_it_is_full_in_the_order_of_its_frames() -> None:
    chunker = Chunker(views=3, timeout_s=0.0)
    frames = [a_frame(stamp_ns) for stamp_ns in (5, 9, 7)]
    assert chunker.add(frames[0], 0.0) is None
    assert chunker.add(frames[1], 0.0) is None
    chunk = chunker.add(frames[2], 0.0)
    assert chunk is not None and chunk.frames == tuple(frames)
    assert (chunk.oldest_stamp_ns, chunk.newest_stamp_ns) == (5, 9)
    assert chunker.pending == 0


def test_a_partial_chunk_is_due_when_its_first_frame_has_waited_for_the_timeout() -> None:
    chunker = Chunker(views=3, timeout_s=2.0)
    chunker.add(a_frame(1), 10.0)
    chunker.add(a_frame(2), 11.9)
    assert chunker.flush_due(11.99) is None
    chunk = chunker.flush_due(12.0)
    assert chunk is not None and len(chunk.frames) == 2
    assert chunker.flush_due(100.0) is None


def test_the_wait_begins_anew_with_the_next_chunk() -> None:
    chunker = Chunker(views=2, timeout_s=2.0)
    chunker.add(a_frame(), 0.0)
    chunker.add(a_frame(), 1.0)
    chunker.add(a_frame(), 9.0)
    assert chunker.flush_due(10.9) is None
    assert chunker.flush_due(11.1) is not None


def test_without_a_timeout_a_partial_chunk_waits_for_ever() -> None:
    chunker = Chunker(views=2, timeout_s=0.0)
    chunker.add(a_frame(), 0.0)
    assert chunker.flush_due(1e9) is None
    assert chunker.pending == 1


def test_flushing_nothing_gives_nothing() -> None:
    chunker = Chunker(views=2, timeout_s=1.0)
    assert chunker.flush() is None
    assert chunker.flush_due(1e9) is None


def test_clearing_tells_how_many_frames_were_thrown_away() -> None:
    chunker = Chunker(views=5, timeout_s=1.0)
    for _ in range(3):
        chunker.add(a_frame(), 0.0)
    assert chunker.clear() == 3
    assert (chunker.clear(), chunker.pending) == (0, 0)


def test_a_chunk_of_one_view_is_full_at_once() -> None:
    chunk = Chunker(views=1, timeout_s=0.0).add(a_frame(4), 0.0)
    assert chunk is not None and chunk.oldest_stamp_ns == chunk.newest_stamp_ns == 4


def test_a_frame_of_another_size_is_refused_and_the_others_keep_waiting() -> None:
    chunker = Chunker(views=2, timeout_s=0.0)
    chunker.add(a_frame(size=2), 0.0)
    with pytest.raises(ValueError, match="got 2x2, 4x4: rectify"):
        chunker.add(a_frame(size=4), 0.0)
    assert chunker.pending == 1


@given(views=st.integers(1, 9), events=st.lists(st.sampled_from(["add", "flush", "clear"]), max_size=60))
def test_every_frame_leaves_exactly_once(views: int, events: list[str]) -> None:
    chunker = Chunker(views, timeout_s=0.0)
    added, written, thrown_away = 0, [], 0
    for event in events:
        chunk = None
        if event == "add":
            chunk = chunker.add(a_frame(added), 0.0)
            added += 1
        elif event == "flush":
            chunk = chunker.flush()
        else:
            thrown_away += chunker.clear()
        if chunk is not None:
            assert 1 <= len(chunk.frames) <= views
            written += [frame.stamp_ns for frame in chunk.frames]
        assert chunker.pending < views
    assert written == sorted(set(written))
    assert len(written) + thrown_away + chunker.pending == added


@pytest.mark.parametrize(("views", "timeout_s"), [(0, 1.0), (2, -1.0), (2, math.nan), (2, math.inf)])
def test_settings_that_mean_nothing_are_refused(views: int, timeout_s: float) -> None:
    with pytest.raises(ValueError, match="chunk"):
        Chunker(views, timeout_s)


def test_a_chunk_needs_frames_of_one_size() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        Chunk(())
    with pytest.raises(ValueError, match="one size"):
        Chunk((a_frame(size=2), a_frame(size=4)))
