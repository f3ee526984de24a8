# SPDX-License-Identifier: Apache-2.0
"""Jumps: a step that no robot can make is reported once, and ordinary motion and noise never."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fsm_ros.stream.jumps import JumpDetector

MS = 1_000_000


def a_pose(x: float = 0.0, yaw: float = 0.0) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:2, :2] = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    pose[0, 3] = x
    return pose


def test_a_loop_closure_is_reported_once() -> None:
    detector = JumpDetector(max_speed_mps=3.0, max_turn_radps=4.0)
    assert detector.check(a_pose(0.0), 0, "camera") is None
    jump = detector.check(a_pose(1.5), 100 * MS, "camera")
    assert jump is not None
    assert (jump.translation_m, jump.rotation_rad) == (1.5, 0.0)
    assert jump.dt_s == pytest.approx(0.1)
    assert str(jump) == "1.500 m and 0.0 deg in 0.100 s"
    assert detector.check(a_pose(1.6), 200 * MS, "camera") is None


def test_a_turn_alone_can_be_a_jump() -> None:
    detector = JumpDetector(3.0, 4.0)
    detector.check(a_pose(), 0, "camera")
    jump = detector.check(a_pose(yaw=1.0), 100 * MS, "camera")
    assert jump is not None and jump.rotation_rad == pytest.approx(1.0)


@given(
    speed=st.floats(-3.0, 3.0),
    turn=st.floats(-4.0, 4.0),
    periods_ms=st.lists(st.integers(1, 500), min_size=1, max_size=20),
    noise=st.floats(0.0, 0.009),
)
def test_a_robot_within_its_limits_never_jumps_noise_included(
    speed: float, turn: float, periods_ms: list[int], noise: float
) -> None:
    detector = JumpDetector(3.0, 4.0)
    time_ms = 0
    for i, period_ms in enumerate(periods_ms):
        time_ms += period_ms
        seconds = time_ms / 1000
        pose = a_pose(speed * seconds + noise * (-1) ** i, turn * seconds + noise * (-1) ** i)
        assert detector.check(pose, time_ms * MS, "camera") is None


def test_frames_that_are_not_newer_are_passed_over() -> None:
    detector = JumpDetector(3.0, 4.0)
    detector.check(a_pose(0.0), 100 * MS, "camera")
    assert detector.check(a_pose(9.0), 100 * MS, "camera") is None
    assert detector.check(a_pose(9.0), 50 * MS, "camera") is None
    assert detector.check(a_pose(0.1), 200 * MS, "camera") is None


def test_cameras_are_compared_each_with_itself() -> None:
    detector = JumpDetector(3.0, 4.0)
    detector.check(a_pose(0.0), 0, "left")
    assert detector.check(a_pose(9.0), MS, "right") is None


def test_nothing_is_compared_across_a_reset() -> None:
    detector = JumpDetector(3.0, 4.0)
    detector.check(a_pose(0.0), 100 * MS, "camera")
    detector.reset()
    assert detector.check(a_pose(9.0), 110 * MS, "camera") is None


def test_zero_switches_a_check_off_and_leaves_the_other_on() -> None:
    blind_to_speed = JumpDetector(0.0, 4.0)
    blind_to_speed.check(a_pose(), 0, "camera")
    assert blind_to_speed.check(a_pose(100.0), MS, "camera") is None
    assert blind_to_speed.check(a_pose(100.0, yaw=1.0), 2 * MS, "camera") is not None


@pytest.mark.parametrize("limits", [(-1.0, 1.0), (1.0, math.nan)])
def test_limits_that_mean_nothing_are_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        JumpDetector(*limits)


def test_a_pose_that_is_not_rigid_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        JumpDetector(3.0, 4.0).check(np.full((4, 4), np.nan), 0, "camera")
