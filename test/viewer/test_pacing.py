# SPDX-License-Identifier: Apache-2.0
"""Which picture is asked for when: the newest wish, small while it changes, full at rest, and nothing twice."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_ros.viewer.pacing import DRAFT_PIXELS, LEAST_PIXELS, REFRESH_S, RESTS_S, SMALL_S, Asked, Pace
from fsm_ros.viewer.wish import Look, Mode, Wish

FULL = 320 * 240
LOOK = Look((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), 1.0, 4 / 3)
MEMORY, LATER_MEMORY = object(), object()


def wish(step: int, mode: Mode = Mode.BOTH) -> Wish:
    return Wish(replace(LOOK, position=(0.1 * step, 0.0, 0.0)), mode=mode)


def begun(pace: Pace, now_s: float, memory: object = MEMORY) -> Asked:
    asked = pace.begin(memory, now_s)
    assert asked is not None
    return asked


def at_rest(pace: Pace, now_s: float = 0.0) -> float:
    """Shows a first wish fully; returns the time."""
    pace.want(wish(0), now_s)
    assert not begun(pace, now_s).is_full
    pace.arrived(SMALL_S, now_s + RESTS_S)
    assert begun(pace, now_s + RESTS_S).is_full
    pace.arrived(4 * SMALL_S, now_s + 2 * RESTS_S)
    return now_s + 2 * RESTS_S


def test_nothing_is_asked_for_before_there_is_a_wish() -> None:
    pace = Pace(FULL)
    assert pace.begin(MEMORY, 0.0) is None and pace.due_in_s(0.0) == float("inf")


def test_a_new_wish_is_small_at_once_and_full_once_it_rests() -> None:
    pace = Pace(FULL)
    pace.want(wish(0), 0.0)
    assert pace.due_in_s(0.0) == 0.0
    small = begun(pace, 0.0)
    assert not small.is_full and small.pixels < FULL
    pace.arrived(0.01, 0.01)
    assert pace.begin(MEMORY, 0.01) is None
    assert pace.due_in_s(0.01) == pytest.approx(RESTS_S - 0.01)
    full = begun(pace, RESTS_S)
    assert full.is_full and full.pixels == FULL


def test_while_it_changes_only_the_newest_is_asked_for() -> None:
    pace = Pace(FULL)
    pace.want(wish(0), 0.0)
    begun(pace, 0.0)
    for step in range(1, 6):
        pace.want(wish(step), 0.01 * step)
        assert pace.begin(MEMORY, 0.01 * step) is None  # one at a time
    pace.arrived(SMALL_S, 0.06)
    newest = begun(pace, 0.06)
    assert newest.wish == wish(5) and not newest.is_full


@pytest.mark.parametrize("changed", [wish(1), wish(0, Mode.DEPTH), replace(wish(0), stamp_ns=5)])
def test_whatever_changes_is_rendered_anew_and_the_same_wish_is_not(changed: Wish) -> None:
    pace = Pace(FULL)
    now_s = at_rest(pace)
    pace.want(wish(0), now_s + 9.0)
    assert pace.begin(MEMORY, now_s + 9.0) is None
    pace.want(changed, now_s + 9.0)
    assert begun(pace, now_s + 9.0).wish == changed


def test_what_was_learned_meanwhile_is_shown_now_and_then() -> None:
    pace = Pace(FULL)
    now_s = at_rest(pace)
    assert pace.begin(LATER_MEMORY, now_s + 0.5 * REFRESH_S) is None and pace.has_changed_lately(now_s)
    assert not pace.has_changed_lately(now_s + 1.1 * REFRESH_S)
    assert begun(pace, now_s + 1.1 * REFRESH_S, LATER_MEMORY).is_full


def test_a_picture_that_failed_is_not_asked_for_again_before_something_changes() -> None:
    pace = Pace(FULL)
    pace.want(wish(0), 0.0)
    begun(pace, 0.0)
    pace.failed(0.1)
    assert pace.begin(MEMORY, 10.0) is None
    pace.want(wish(1), 10.0)
    assert begun(pace, 10.0).wish == wish(1)


def test_after_a_reset_the_same_wish_is_rendered_again() -> None:
    pace = Pace(FULL)
    now_s = at_rest(pace)
    pace.forget()
    assert begun(pace, now_s).wish == wish(0)


@pytest.mark.parametrize("pixels_a_second", [1e5, 6e5, 1e8])
def test_a_small_picture_is_as_large_as_can_be_rendered_in_time(pixels_a_second: float) -> None:
    pace = Pace(FULL)
    for step in range(60):
        pace.want(wish(step), float(step))
        asked = begun(pace, float(step))
        pace.arrived(asked.pixels / pixels_a_second, step + 0.5)
    affordable = min(FULL, max(LEAST_PIXELS, SMALL_S * pixels_a_second))
    assert 0.6 * affordable <= pace.small_pixels <= 1.6 * affordable


def test_pictures_that_were_quick_while_the_memory_was_young_get_small_again() -> None:
    pace = Pace(FULL)
    sizes = []
    for step in range(120):
        pace.want(wish(step), float(step))
        asked = begun(pace, float(step))
        sizes.append(asked.pixels)
        pace.arrived(asked.pixels / (1e8 if step < 60 else 6e5), step + 0.5)
    assert sizes[59] == FULL
    assert 0.5 * SMALL_S * 6e5 < sizes[-1] < 2 * SMALL_S * 6e5


def test_where_photographs_are_too_slow_the_fast_weights_draw_while_it_changes_and_no_longer_once_they_are_not() -> (
    None
):
    pace, now_s = Pace(FULL), 0.0

    def fly(step: int, small_s: float, full_s: float) -> Asked:
        """One move, looked at until it is full; returns what was asked for first."""
        nonlocal now_s
        now_s += 1.0
        pace.want(wish(step), now_s)
        first = begun(pace, now_s)
        pace.arrived(0.01 if first.is_draft else small_s, now_s + RESTS_S)
        full = begun(pace, now_s + 1.1 * RESTS_S)
        assert full.is_full and full.rendered == wish(step)
        pace.arrived(full_s, now_s + 2 * RESTS_S)
        return first

    slow = [fly(step, 5 * SMALL_S, 1.0) for step in range(30)]
    assert not slow[0].is_draft and slow[-1].is_draft
    assert slow[-1].rendered == wish(29, Mode.MEMORY) and slow[-1].pixels == DRAFT_PIXELS
    quick = [fly(30 + step, SMALL_S, 0.2) for step in range(30)]
    assert not quick[-1].is_draft and quick[-1].pixels == LEAST_PIXELS
    pace.want(wish(99, Mode.DEPTH), now_s + 9.0)
    assert not begun(pace, now_s + 9.0).is_draft


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.001, 0.2)), min_size=1, max_size=40), st.floats(0.001, 0.5))
def test_whatever_was_wished_the_last_wish_is_shown_fully_in_the_end(
    wishes: list[tuple[int, float]], render_s: float
) -> None:
    pace, now_s = Pace(FULL), 0.0
    in_flight: tuple[Asked, float] | None = None
    shown: list[Asked] = []

    def step_to(later_s: float) -> None:
        nonlocal in_flight, now_s
        now_s = later_s
        if in_flight is not None and in_flight[1] <= now_s:
            shown.append(in_flight[0])
            in_flight = None
            pace.arrived(render_s, now_s)
        asked = pace.begin(MEMORY, now_s)
        if asked is not None:
            assert in_flight is None
            in_flight = (asked, now_s + render_s)
        # Or whoever waits for it would turn round and round.
        assert pace.due_in_s(now_s) > 0.0 and pace.begin(MEMORY, now_s) is None

    for number, after_s in wishes:
        pace.want(wish(number), now_s)
        step_to(now_s + after_s)
    for _ in range(200):
        step_to(now_s + 0.05)
    assert shown[-1].wish == wish(wishes[-1][0]) and shown[-1].is_full
    asked_for = len(shown)
    for _ in range(100):
        step_to(now_s + 0.05)
    assert len(shown) == asked_for and in_flight is None
