# SPDX-License-Identifier: Apache-2.0
"""Forgetting, of toy memories whose answers are known in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_ros.replay.evaluation.forgetting import (
    ForgettingProbe,
    average_forgetting,
    backward_transfer,
    by_age,
)
from fsm_ros.replay.evaluation.results import ForgettingMatrix

NAN = math.nan


class ToyMemory:
    """Renders the views of a chunk as well as a rule says: PSNR of (chunk, newest chunk). A view is its chunk."""

    def __init__(self, rule: Callable[[int, int], float]) -> None:
        self.rule = rule
        self.newest = -1
        self.rendered: list[int] = []

    def psnr_now(self, views: Sequence[int]) -> list[float]:
        self.rendered.append(len(views))
        return [self.rule(view, self.newest) for view in views]

    def observe(self, chunks: int, probe: ForgettingProbe[int] | None = None) -> ForgettingMatrix:
        probe = probe or ForgettingProbe(self.psnr_now)
        for number in range(chunks):
            self.newest = number
            assert probe.after_chunk(number, [number] * 3) == self.rule(number, number)
        return probe.matrix()


def remembers_last(count: int, well: float = 30.0, badly: float = 12.0) -> ToyMemory:
    return ToyMemory(lambda chunk, newest: well if newest - chunk < count else badly)


def fades(db_per_chunk: float = 1.0, new: float = 40.0) -> ToyMemory:
    """With a negative rate it improves."""
    return ToyMemory(lambda chunk, newest: new - db_per_chunk * (newest - chunk))


# --- a memory that remembers only the last chunks ---------------------------------------------------------------------


@pytest.mark.parametrize(("chunks", "count"), [(10, 1), (10, 3), (10, 9), (6, 6), (6, 20)])
def test_a_memory_of_the_last_chunks(chunks: int, count: int) -> None:
    matrix = remembers_last(count).observe(chunks)
    lost = max(chunks - count, 0)
    assert average_forgetting(matrix) == pytest.approx(18.0 * lost / (chunks - 1))
    assert backward_transfer(matrix) == pytest.approx(-18.0 * lost / (chunks - 1))
    ages, change, counts = by_age(matrix)
    assert ages.tolist() == list(range(1, chunks))
    assert change.tolist() == [0.0 if age < count else -18.0 for age in ages]
    assert counts.tolist() == [chunks - age for age in ages]


# --- memories that fade, improve, and do both ------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [2, 3, 8])
def test_a_memory_that_fades_by_one_db_a_chunk(chunks: int) -> None:
    matrix = fades().observe(chunks)
    mean_age = chunks / 2  # of all chunks but the last
    assert average_forgetting(matrix) == pytest.approx(mean_age)
    assert backward_transfer(matrix) == pytest.approx(-mean_age)
    ages, change, _ = by_age(matrix)
    assert change.tolist() == (-ages).tolist()


def test_a_memory_that_improves_has_negative_forgetting() -> None:
    matrix = fades(-0.5).observe(6)
    assert backward_transfer(matrix) == pytest.approx(0.5 * 3.0)
    assert average_forgetting(matrix) == pytest.approx(-0.5), "the best before the end was half a dB less"
    assert by_age(matrix).change_db.tolist() == [0.5, 1.0, 1.5, 2.0, 2.5]


def test_forgetting_counts_from_the_best_and_transfer_from_the_first() -> None:
    matrix = ToyMemory(lambda chunk, newest: 20.0 + [0, 5, 3][min(newest - chunk, 2)]).observe(3)
    assert average_forgetting(matrix) == pytest.approx(((25.0 - 23.0) + (20.0 - 25.0)) / 2)
    assert backward_transfer(matrix) == pytest.approx((3.0 + 5.0) / 2)


def test_numbers_written_by_hand() -> None:
    matrix = ForgettingMatrix(
        (0, 2, 5, 6),
        np.array([[20.0, NAN, NAN, NAN], [24.0, 30.0, NAN, NAN], [18.0, 29.0, 25.0, NAN], [19.0, 26.0, 27.0, 22.0]]),
    )
    assert average_forgetting(matrix) == pytest.approx(((24 - 19) + (30 - 26) + (25 - 27)) / 3)
    assert backward_transfer(matrix) == pytest.approx(((19 - 20) + (26 - 30) + (27 - 25)) / 3)
    ages, change, counts = by_age(matrix)
    assert ages.tolist() == [1, 2, 3, 4, 5, 6], "in chunks of the stream, those without held-out views too"
    assert change.tolist() == [2.0, 4.0, -1.0, -4.0, -2.0, -1.0]
    assert counts.tolist() == [1] * 6


def test_chunks_of_one_age_are_averaged() -> None:
    matrix = ForgettingMatrix((0, 1, 2), np.array([[20.0, NAN, NAN], [18.0, 30.0, NAN], [10.0, 26.0, 25.0]]))
    ages, change, counts = by_age(matrix)
    assert (ages.tolist(), change.tolist(), counts.tolist()) == ([1, 2], [-3.0, -10.0], [2, 1])


# --- matrices that are hardly any ------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [0, 1])
def test_what_is_not_defined_is_no_number(chunks: int) -> None:
    matrix = fades().observe(chunks)
    assert matrix.psnr.shape == (chunks, chunks)
    assert math.isnan(average_forgetting(matrix)) and math.isnan(backward_transfer(matrix))
    assert len(by_age(matrix).ages) == len(by_age(matrix).change_db) == 0


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_row_that_was_cut_short_does_not_count(kept: int) -> None:
    whole, cut = fades().observe(4), fades().observe(5)
    cut.psnr[4, kept:] = NAN
    assert average_forgetting(cut) == average_forgetting(whole)
    assert backward_transfer(cut) == backward_transfer(whole)
    assert by_age(cut).change_db.tolist() == [-1.0, -2.0, -3.0, -4.0][: 4 if kept else 3]


def test_a_chunk_that_was_never_measured_is_left_out() -> None:
    matrix = fades().observe(5)
    matrix.psnr[:, 1] = NAN
    assert backward_transfer(matrix) == pytest.approx(-(4 + 2 + 1) / 3)
    assert average_forgetting(matrix) == pytest.approx((4 + 2 + 1) / 3)
    nothing = ForgettingMatrix((0, 1), np.full((2, 2), NAN))
    assert math.isnan(average_forgetting(nothing))


# --- the probe -------------------------------------------------------------------------------------------------------


def test_the_matrix_is_that_of_what_was_rendered() -> None:
    matrix = fades().observe(4)
    assert matrix.chunks == (0, 1, 2, 3)
    np.testing.assert_equal(matrix.psnr, [[40, NAN, NAN, NAN], [39, 40, NAN, NAN], [38, 39, 40, NAN], [37, 38, 39, 40]])


def test_it_can_be_looked_at_on_the_way() -> None:
    memory = fades()
    probe = ForgettingProbe(memory.psnr_now)
    memory.newest = 0
    probe.after_chunk(0, [0])
    early = probe.matrix()
    memory.newest = 1
    probe.after_chunk(1, [1])
    assert early.psnr.tolist() == [[40.0]]
    assert probe.matrix().psnr[1].tolist() == [39.0, 40.0]


def test_a_chunk_without_held_out_views_is_a_row_with_an_empty_column() -> None:
    memory = fades()
    probe = ForgettingProbe(memory.psnr_now)
    for number in range(5):
        memory.newest = number
        own = probe.after_chunk(number, [] if number in (0, 3) else [number])
        assert math.isnan(own) == (number in (0, 3))
    matrix = probe.matrix()
    assert matrix.chunks == (0, 1, 2, 3, 4)
    np.testing.assert_equal(
        matrix.psnr,
        [
            [NAN, NAN, NAN, NAN, NAN],
            [NAN, 40, NAN, NAN, NAN],
            [NAN, 39, 40, NAN, NAN],
            [NAN, 38, 39, NAN, NAN],
            [NAN, 37, 38, NAN, 40],
        ],
    )
    assert average_forgetting(matrix) == pytest.approx((3 + 2) / 2)
    assert backward_transfer(matrix) == pytest.approx(-(3 + 2) / 2)


def test_forgetting_shows_even_where_the_last_chunks_have_no_views_of_their_own() -> None:
    memory = fades()
    probe = ForgettingProbe(memory.psnr_now)
    for number in range(6):
        memory.newest = number
        probe.after_chunk(number, [number] if number == 1 else [])
    assert average_forgetting(probe.matrix()) == pytest.approx(4.0)
    assert by_age(probe.matrix()).change_db.tolist() == [-1.0, -2.0, -3.0, -4.0]


@pytest.mark.parametrize("first", [0, 1])
def test_thinning_keeps_the_chunks_that_have_views(first: int) -> None:
    memory = fades()
    probe = ForgettingProbe(memory.psnr_now, limit=8)
    for number in range(50):
        memory.newest = number
        probe.after_chunk(number, [number] if number % 2 == first else [])
    matrix = probe.matrix()
    measured = np.isfinite(np.diagonal(matrix.psnr))
    assert 4 <= len(matrix.chunks) <= 8
    assert measured.sum() >= len(matrix.chunks) - 1
    expected = 40.0 - (np.array(matrix.chunks)[:, None] - np.array(matrix.chunks)[None, :])
    known = np.isfinite(matrix.psnr)
    np.testing.assert_allclose(matrix.psnr[known], expected[known])


@pytest.mark.parametrize(
    ("views", "wanted", "chosen"),
    [
        (5, 2, [1, 3]),
        (8, 2, [2, 6]),
        (3, 1, [1]),
        (2, 2, [0, 1]),
        (1, 2, [0]),
        (7, 7, list(range(7))),
        (9, 3, [1, 4, 7]),
    ],
)
def test_views_of_a_chunk_are_evenly_chosen(views: int, wanted: int, chosen: list[int]) -> None:
    asked: list[int] = []

    def psnr_now(now: Sequence[int]) -> list[float]:
        asked.extend(now)
        return [float(view) for view in now]

    mean = ForgettingProbe(psnr_now, views_per_chunk=wanted).after_chunk(0, list(range(views)))
    assert asked == chosen and mean == pytest.approx(np.mean(chosen))


def test_a_failure_leaves_what_was_found() -> None:
    memory = fades()
    probe = ForgettingProbe(memory.psnr_now)
    memory.observe(3, probe)

    def interrupted(chunk: int, newest: int) -> float:
        raise KeyboardInterrupt

    memory.rule = interrupted
    with pytest.raises(KeyboardInterrupt):
        probe.after_chunk(3, [3])
    np.testing.assert_equal(probe.matrix().psnr, fades().observe(3).psnr)


# --- long streams ----------------------------------------------------------------------------------------------------


def rule_of_all(chunk: int, newest: int) -> float:
    """Another number for every pair."""
    return 1000.0 * newest + chunk


@pytest.mark.slow
@given(st.integers(0, 120), st.integers(2, 16))
def test_of_a_long_stream_a_sub_matrix_remains(chunks: int, limit: int) -> None:
    memory = ToyMemory(rule_of_all)
    probe = ForgettingProbe(memory.psnr_now, views_per_chunk=1, limit=limit)
    found = memory.observe(chunks, probe)
    assert len(found.chunks) <= limit
    kept = np.array(found.chunks, dtype=int)
    if chunks:
        every = np.diff([*kept, kept[-1] + (kept[1] if len(kept) > 1 else 1)])
        assert kept[0] == 0 and len(set(every)) == 1 and math.log2(every[0]).is_integer()
        if len(kept) > 1:
            assert kept[-1] + kept[1] >= chunks, "up to the end"
    full = ToyMemory(rule_of_all).observe(chunks).psnr
    np.testing.assert_array_equal(found.psnr, full[np.ix_(kept, kept)])


@given(st.integers(1, 150), st.integers(2, 12))
def test_the_work_is_bounded(chunks: int, limit: int) -> None:
    memory = ToyMemory(rule_of_all)
    memory.observe(chunks, ForgettingProbe(memory.psnr_now, views_per_chunk=2, limit=limit))
    assert max(memory.rendered) <= 2 * limit
    doublings = math.ceil(math.log2(max(chunks / limit, 1)))
    assert sum(memory.rendered) <= 2 * (limit**2 * (1 + doublings) + chunks)


@given(st.integers(2, 100), st.integers(2, 10))
def test_fading_is_seen_the_same_through_fewer_chunks(chunks: int, limit: int) -> None:
    memory = fades()
    matrix = memory.observe(chunks, ForgettingProbe(memory.psnr_now, limit=limit))
    ages, change, _ = by_age(matrix)
    assert change == pytest.approx(-ages.astype(float))
    if len(matrix.chunks) > 1:
        assert average_forgetting(matrix) == pytest.approx(-backward_transfer(matrix))


# --- laws ------------------------------------------------------------------------------------------------------------


@given(st.integers(2, 12), st.integers(0, 1000))
def test_forgetting_is_at_least_what_transfer_says(chunks: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    psnr = np.where(np.tri(chunks, dtype=bool), rng.uniform(10, 40, (chunks, chunks)), NAN)
    matrix = ForgettingMatrix(tuple(range(chunks)), psnr)
    assert average_forgetting(matrix) >= -backward_transfer(matrix) - 1e-9
    brighter = ForgettingMatrix(matrix.chunks, psnr + 5.0)
    assert average_forgetting(brighter) == pytest.approx(average_forgetting(matrix)), "a constant is not forgotten"
    assert backward_transfer(brighter) == pytest.approx(backward_transfer(matrix))


# --- errors ----------------------------------------------------------------------------------------------------------


def test_chunks_come_in_order() -> None:
    probe = ForgettingProbe[int](lambda views: [1.0] * len(views))
    probe.after_chunk(3, [1])
    probe.after_chunk(4, [])
    for number in (4, 1):
        with pytest.raises(ValueError, match=f"{number} came after 4"):
            probe.after_chunk(number, [1])


@pytest.mark.parametrize("figures", [[], [1.0], [1.0] * 3, [[1.0, 2.0]]])
def test_every_view_needs_its_figure(figures: list[float]) -> None:
    with pytest.raises(ValueError, match="2 views were to be rendered"):
        ForgettingProbe[int](lambda views: figures).after_chunk(0, [1, 2])


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"views_per_chunk": 0}, "views_per_chunk=0"), ({"limit": 1}, "limit=1")],
)
def test_too_little_is_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ForgettingProbe[int](lambda views: [], **settings)  # type: ignore[arg-type]
