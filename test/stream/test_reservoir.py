# SPDX-License-Identifier: Apache-2.0
"""The reservoir is a bounded, fair and repeatable sample of everything that was offered."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsm_ros.stream.frame import Camera, PosedImage
from fsm_ros.stream.reservoir import KeyframeReservoir


@cache
def a_frame(stamp_ns: int) -> PosedImage:
    return PosedImage(np.zeros((1, 1, 3), dtype=np.uint8), Camera(1, 1, 1.0, 1.0, 0.5, 0.5), np.eye(4), stamp_ns)


def stamps(reservoir: KeyframeReservoir) -> list[int]:
    return [frame.stamp_ns for frame in reservoir.frames]


def filled(capacity: int, seed: int, offers: int) -> KeyframeReservoir:
    reservoir = KeyframeReservoir(capacity, seed)
    for stamp_ns in range(offers):
        reservoir.offer(a_frame(stamp_ns))
    return reservoir


@settings(deadline=None)
@given(capacity=st.integers(1, 8), seed=st.integers(0, 2**32), offers=st.integers(0, 60))
def test_it_keeps_as_many_frames_as_fit_all_different_and_ordered(capacity: int, seed: int, offers: int) -> None:
    reservoir = filled(capacity, seed, offers)
    kept = stamps(reservoir)
    assert len(kept) == len(reservoir) == min(capacity, offers)
    assert kept == sorted(set(kept)) and set(kept) <= set(range(offers))
    assert reservoir.seen == offers


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_sample_also_after_a_clear(seed: int) -> None:
    reservoir = filled(4, seed, 40)
    first = stamps(reservoir)
    assert stamps(filled(4, seed, 40)) == first
    reservoir.clear()
    assert (reservoir.frames, reservoir.seen) == ((), 0)
    for stamp_ns in range(40):
        reservoir.offer(a_frame(stamp_ns))
    assert stamps(reservoir) == first


def test_different_seeds_give_different_samples() -> None:
    assert len({tuple(stamps(filled(4, seed, 40))) for seed in range(10)}) > 5


def test_every_frame_is_kept_with_the_same_probability() -> None:
    capacity, offers, runs = 5, 20, 4000
    kept = np.zeros(offers)
    for seed in range(runs):
        kept[stamps(filled(capacity, seed, offers))] += 1
    expected = runs * capacity / offers
    deviation = np.sqrt(runs * (capacity / offers) * (1 - capacity / offers))
    assert np.abs(kept - expected).max() < 4.5 * deviation
    assert kept.sum() == runs * capacity


def test_frames_that_come_out_of_order_are_listed_by_stamp() -> None:
    reservoir = KeyframeReservoir(3, 0)
    for stamp_ns in (7, 2, 5):
        reservoir.offer(a_frame(stamp_ns))
    assert stamps(reservoir) == [2, 5, 7]


def test_a_replaced_sample_stands_for_the_stream_so_far() -> None:
    reservoir = filled(3, 0, 100)
    reservoir.replace_all(a_frame(stamp_ns) for stamp_ns in (9, 1))
    assert stamps(reservoir) == [1, 9]
    assert reservoir.seen == 100
    fresh = KeyframeReservoir(3, 0)
    fresh.replace_all([a_frame(1), a_frame(2)])
    assert fresh.seen == 2


def test_a_replaced_sample_may_say_what_stream_it_stands_for() -> None:
    reservoir = filled(3, 0, 100)
    reservoir.replace_all([a_frame(1), a_frame(2)], seen=7)
    assert reservoir.seen == 7
    reservoir.replace_all([a_frame(1), a_frame(2)], seen=0)
    assert reservoir.seen == 2, "never less than the sample itself"


def test_too_many_frames_are_refused_and_the_sample_stays() -> None:
    reservoir = filled(2, 0, 2)
    with pytest.raises(ValueError, match="3 frames do not fit into a reservoir of 2"):
        reservoir.replace_all([a_frame(i) for i in range(3)])
    assert stamps(reservoir) == [0, 1]


def test_a_reservoir_needs_room() -> None:
    with pytest.raises(ValueError, match="capacity of at least 1"):
        KeyframeReservoir(0, 0)
