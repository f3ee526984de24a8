# SPDX-License-Identifier: Apache-2.0
"""Stamps of rendered views rise, whatever the clock does."""

from __future__ import annotations

import pytest
from rclpy.clock import ROSClock
from rclpy.time import Time

from fsm_ros.messages.stamps import stamp_to_ns
from fsm_ros.node.view_stamps import ViewStamps

SECOND = 10**9


@pytest.fixture
def clock() -> ROSClock:
    """Simulated time."""
    clock = ROSClock()
    clock._set_ros_time_is_active(True)
    return clock


def test_stamps_are_the_clocks_and_rise_while_it_stands_still_or_slips_back(clock: ROSClock) -> None:
    stamps = ViewStamps(clock)
    found = []
    for now_ns in (5 * SECOND, 5 * SECOND, 6 * SECOND, 6 * SECOND - 1):
        clock.set_ros_time_override(Time(nanoseconds=now_ns, clock_type=clock.clock_type))
        found.append(stamp_to_ns(stamps.now()))
    assert found == [5 * SECOND, 5 * SECOND + 1, 6 * SECOND, 6 * SECOND + 1]


def test_before_any_time_is_known_no_stamp_is_zero_which_means_the_latest(clock: ROSClock) -> None:
    assert stamp_to_ns(ViewStamps(clock).now()) == 1


def test_after_a_jump_back_stamps_follow_the_clock(clock: ROSClock) -> None:
    stamps = ViewStamps(clock)
    clock.set_ros_time_override(Time(nanoseconds=100 * SECOND, clock_type=clock.clock_type))
    stamps.now()
    clock.set_ros_time_override(Time(nanoseconds=2 * SECOND, clock_type=clock.clock_type))
    stamps.clock_jumped_back()
    assert stamp_to_ns(stamps.now()) == 2 * SECOND
