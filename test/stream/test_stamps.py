# SPDX-License-Identifier: Apache-2.0
"""Stamps: which are believed, and how a bag that starts again is told from a straggler."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_ros.stream.stamps import RUN_OF_A_JUMP, StampGate, StampVerdict, clock_difference

S = 10**9
NOW = 1_700_000_000 * S
GOOD, REPEATED, TOO_OLD = StampVerdict.GOOD, StampVerdict.REPEATED, StampVerdict.TOO_OLD
IN_FUTURE, JUMPED_BACK = StampVerdict.IN_FUTURE, StampVerdict.JUMPED_BACK


def verdicts(gate: StampGate, *seconds: float, now_s: float = 100.0, source: str = "camera") -> list[StampVerdict]:
    return [gate.judge(NOW + round(s * S), NOW + round(now_s * S), source) for s in seconds]


def test_rising_stamps_are_good() -> None:
    assert verdicts(StampGate(1.0), -500.0, 0.0, 0.1, 99.0) == [GOOD] * 4


def test_the_same_stamp_again_is_repeated() -> None:
    assert verdicts(StampGate(1.0), 1.0, 1.0, 1.0, 1.1) == [GOOD, REPEATED, REPEATED, GOOD]


def test_a_straggler_is_too_old_and_changes_nothing() -> None:
    assert verdicts(StampGate(1.0), 1.0, 2.0, 1.5, 2.1, 1.9, 2.05, 2.2) == [
        GOOD,
        GOOD,
        TOO_OLD,
        GOOD,
        TOO_OLD,
        TOO_OLD,
        GOOD,
    ]


def test_a_run_of_old_rising_stamps_is_a_clock_that_was_set_back() -> None:
    assert RUN_OF_A_JUMP == 3
    assert verdicts(StampGate(1.0), 10.0, 0.0, 0.1, 0.2, 0.3, 9.0) == [GOOD, TOO_OLD, TOO_OLD, JUMPED_BACK, GOOD, GOOD]


def test_old_stamps_that_do_not_rise_are_no_clock() -> None:
    gate = StampGate(1.0)
    assert verdicts(gate, 10.0, 5.0, 4.0, 3.0, 2.0, 2.0, 1.0) == [GOOD] + [TOO_OLD] * 6
    assert verdicts(gate, 10.1) == [GOOD]


def test_a_run_is_broken_by_a_frame_of_the_old_time() -> None:
    # Two publishers on one topic, one a second behind: neither may win.
    assert verdicts(StampGate(1.0), 10.0, 9.0, 10.1, 9.1, 10.2, 9.2, 10.3, 9.3)[1::2] == [TOO_OLD] * 4


def test_sources_are_judged_on_their_own() -> None:
    gate = StampGate(1.0)
    assert verdicts(gate, 5.0, source="left") == [GOOD]
    assert verdicts(gate, 5.0, 4.0, source="right") == [GOOD, TOO_OLD]
    assert verdicts(gate, 3.0, 3.1, 3.2, source="left") == [TOO_OLD, TOO_OLD, JUMPED_BACK]
    assert verdicts(gate, 4.5, source="right") == [TOO_OLD], "the run of another source is none of its own"


def test_stamps_ahead_of_the_clock_are_refused_and_forgotten() -> None:
    gate = StampGate(1.0)
    assert verdicts(gate, 10.0, 11.0, now_s=10.0) == [GOOD, GOOD]
    assert verdicts(gate, 11.001, 1000.0, 11.001, now_s=10.0) == [IN_FUTURE] * 3
    assert verdicts(gate, 11.001, now_s=10.1) == [GOOD], "what was refused is not the newest"


def test_without_a_clock_nothing_is_ahead_of_it() -> None:
    assert StampGate(0.0).judge(NOW, 0, "camera") is GOOD


def test_a_reset_forgets_all_sources() -> None:
    gate = StampGate(1.0)
    verdicts(gate, 10.0, 9.0, 9.1)
    gate.reset()
    assert verdicts(gate, 0.0, 1.0) == [GOOD, GOOD]


@pytest.mark.parametrize("wrong", [-0.1, float("nan")])
def test_a_tolerance_that_means_nothing_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="max_future_s"):
        StampGate(wrong)


@given(seconds=st.lists(st.integers(0, 20), max_size=60))
def test_what_is_accepted_rises_except_at_a_jump(seconds: list[int]) -> None:
    gate, newest = StampGate(1.0), -1
    for second, verdict in zip(seconds, verdicts(gate, *seconds), strict=True):
        if verdict is GOOD:
            assert second > newest
        elif verdict is JUMPED_BACK:
            assert second < newest
        else:
            assert verdict is (REPEATED if second == newest else TOO_OLD)
            assert second <= newest
            continue
        newest = second


@pytest.mark.slow
@given(length=st.integers(RUN_OF_A_JUMP + 1, 30), start=st.integers(0, 10**6))
def test_a_looped_recording_loses_two_frames_a_round(length: int, start: int) -> None:
    gate = StampGate(1.0)
    recording = [start / 10 + i / 10 for i in range(length)]
    assert verdicts(gate, *recording, now_s=1e7) == [GOOD] * length
    for _ in range(3):
        found = verdicts(gate, *recording, now_s=1e7)
        assert found == [TOO_OLD, TOO_OLD, JUMPED_BACK] + [GOOD] * (length - 3)


@pytest.mark.parametrize(
    ("stamp_s", "now_s", "words"),
    [
        (1.1e9, 1.1e9 + 20 * 365.25 * 86400, "the camera's clock is 20 years behind this node's"),
        (1.7e9, 1.7e9 - 3 * 86400, "the camera's clock is 3 days ahead of this node's"),
        (1.7e9, 1.7e9 + 7200, "2 hours behind"),
        (1.7e9, 1.7e9 + 45, "45 s behind"),
        (0.0, 1.7e9, "54 years behind"),
    ],
)
def test_a_stamp_of_another_clock_is_told_as_such(stamp_s: float, now_s: float, words: str) -> None:
    told = clock_difference(round(stamp_s * 1e9), round(now_s * 1e9))
    assert words in told and "synchronise" in told


@pytest.mark.parametrize(("stamp_s", "now_s"), [(1.7e9, 1.7e9 + 1), (1.7e9, 0.0), (1.7e9 + 2, 1.7e9)])
def test_a_stamp_of_about_this_clock_is_not_blamed_on_it(stamp_s: float, now_s: float) -> None:
    assert clock_difference(round(stamp_s * 1e9), round(now_s * 1e9)) == ""
