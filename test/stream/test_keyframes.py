# SPDX-License-Identifier: Apache-2.0
"""Keyframes: a moving camera is remembered by how far it came, a standing one only now and then."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fsm_ros.stream.keyframes import KeyframeDecision, KeyframePolicy, KeyframeSelector

MS = 1_000_000
POLICY = KeyframePolicy(translation_m=0.1, rotation_rad=0.1, interval_s=0.5, static_interval_s=2.0)


def a_pose(x: float = 0.0, yaw: float = 0.0) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:2, :2] = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    pose[0, 3] = x
    return pose


def decisions(policy: KeyframePolicy, steps: list[tuple[NDArray[np.float64], int]]) -> list[KeyframeDecision]:
    selector = KeyframeSelector(policy)
    return [selector.decide(pose, stamp_ns, "camera") for pose, stamp_ns in steps]


def test_the_first_frame_is_a_keyframe() -> None:
    assert decisions(POLICY, [(a_pose(), 0)]) == [KeyframeDecision.FIRST]


@pytest.mark.parametrize(
    ("pose", "elapsed_ms", "expected"),
    [
        (a_pose(x=0.1), 1, KeyframeDecision.TRANSLATION),
        (a_pose(x=-0.2), 1, KeyframeDecision.TRANSLATION),
        (a_pose(yaw=0.11), 1, KeyframeDecision.ROTATION),
        (a_pose(yaw=-0.11), 1, KeyframeDecision.ROTATION),
        (a_pose(x=0.05), 500, KeyframeDecision.INTERVAL),
        (a_pose(yaw=0.05), 500, KeyframeDecision.INTERVAL),
        (a_pose(x=0.05), 499, KeyframeDecision.NOT_MOVED),
        (a_pose(x=0.009, yaw=0.009), 1999, KeyframeDecision.NOT_MOVED),
        (a_pose(), 2000, KeyframeDecision.STATIC_REFRESH),
        (a_pose(x=0.09), 0, KeyframeDecision.NOT_NEWER),
        (a_pose(x=9.0), -1, KeyframeDecision.NOT_NEWER),
    ],
)
def test_the_second_frame_is_judged_by_motion_then_by_time(
    pose: NDArray[np.float64], elapsed_ms: int, expected: KeyframeDecision
) -> None:
    start_ns = 1_700_000_000 * 10**9
    assert decisions(POLICY, [(a_pose(), start_ns), (pose, start_ns + elapsed_ms * MS)])[1] is expected


def test_a_minimum_interval_holds_back_even_fast_motion() -> None:
    policy = KeyframePolicy(min_interval_s=0.2)
    steps = [(a_pose(0.0), 0), (a_pose(5.0), 199 * MS), (a_pose(5.0), 200 * MS)]
    assert decisions(policy, steps)[1:] == [KeyframeDecision.TOO_SOON, KeyframeDecision.TRANSLATION]


def test_a_refused_frame_does_not_move_the_reference() -> None:
    steps = [(a_pose(0.03 * i), 10 * i * MS) for i in range(5)]
    assert decisions(POLICY, steps) == [
        KeyframeDecision.FIRST,
        KeyframeDecision.NOT_MOVED,
        KeyframeDecision.NOT_MOVED,
        KeyframeDecision.NOT_MOVED,
        KeyframeDecision.TRANSLATION,
    ]


def test_an_interval_of_zero_is_switched_off() -> None:
    policy = KeyframePolicy(interval_s=0.0, static_interval_s=0.0)
    steps = [(a_pose(), 0), (a_pose(0.05), 10**12), (a_pose(), 10**13)]
    assert decisions(policy, steps)[1:] == [KeyframeDecision.NOT_MOVED] * 2


def test_a_threshold_of_zero_takes_every_newer_frame() -> None:
    policy = KeyframePolicy(translation_m=0.0)
    steps = [(a_pose(), 0), (a_pose(), 1), (a_pose(), 2), (a_pose(), 2)]
    assert [d.accepted for d in decisions(policy, steps)] == [True, True, True, False]


def test_the_cameras_of_a_rig_are_judged_each_on_its_own() -> None:
    selector = KeyframeSelector(POLICY)
    assert selector.decide(a_pose(), 0, "left") is KeyframeDecision.FIRST
    assert selector.decide(a_pose(0.2), 0, "right") is KeyframeDecision.FIRST
    assert selector.decide(a_pose(0.01), MS, "left") is KeyframeDecision.NOT_MOVED


def test_after_a_reset_the_clock_may_have_jumped_back() -> None:
    selector = KeyframeSelector(POLICY)
    selector.decide(a_pose(), 100 * MS, "camera")
    assert selector.decide(a_pose(1.0), 50 * MS, "camera") is KeyframeDecision.NOT_NEWER
    selector.reset()
    assert selector.decide(a_pose(1.0), 50 * MS, "camera") is KeyframeDecision.FIRST


def test_a_pose_changed_by_its_owner_later_does_not_move_the_reference() -> None:
    selector, pose = KeyframeSelector(POLICY), a_pose()
    selector.decide(pose, 0, "camera")
    pose[0, 3] = 50.0
    assert selector.decide(a_pose(), MS, "camera") is KeyframeDecision.NOT_MOVED


def test_a_pose_that_is_not_rigid_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        KeyframeSelector(POLICY).decide(np.full((4, 4), np.nan), 0, "camera")


@settings(deadline=None)
@given(
    per_interval=st.integers(1, 30),
    frames=st.integers(1, 200),
    static_ms=st.integers(1, 5000).map(lambda n: n * 30),
    jitter=st.floats(0.0, 0.004),
)
def test_a_standing_camera_yields_one_keyframe_per_static_interval(
    per_interval: int, frames: int, static_ms: int, jitter: float
) -> None:
    static_ns = static_ms * MS
    period_ns = static_ns // per_interval
    static_ns = period_ns * per_interval
    policy = KeyframePolicy(static_interval_s=static_ns / 1e9)
    steps = [(a_pose(jitter * (-1) ** i), i * period_ns) for i in range(frames)]
    accepted = sum(d.accepted for d in decisions(policy, steps))
    assert accepted == (frames - 1) * period_ns // static_ns + 1


@settings(deadline=None)
@given(
    steps=st.lists(st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.integers(-50, 3000)), max_size=60),
    min_interval_ms=st.integers(0, 400),
)
def test_keyframes_are_always_new_enough_and_never_without_cause(
    steps: list[tuple[float, float, int]], min_interval_ms: int
) -> None:
    policy = KeyframePolicy(translation_m=0.1, rotation_rad=0.1, min_interval_s=min_interval_ms / 1000)
    selector = KeyframeSelector(policy)
    x = yaw = 0.0
    stamp_ns = 10**18
    last: tuple[float, float, int] | None = None
    for dx, dyaw, dt_ms in steps:
        x, yaw, stamp_ns = x + dx, yaw + dyaw, stamp_ns + dt_ms * MS
        accepted = selector.decide(a_pose(x, yaw), stamp_ns, "camera").accepted
        if last is None:
            assert accepted
        else:
            elapsed_s = (stamp_ns - last[2]) / 1e9
            moved = abs(x - last[0]) >= 0.1 + 1e-9 or 0.1 + 1e-9 <= abs(yaw - last[1]) <= 3.0
            if elapsed_s <= 0 or stamp_ns - last[2] < min_interval_ms * MS:
                assert not accepted
            elif moved or elapsed_s >= policy.static_interval_s:
                assert accepted
            elif elapsed_s < policy.interval_s and abs(x - last[0]) < 0.0999 and abs(yaw - last[1]) < 0.0999:
                assert not accepted
        if accepted:
            last = (x, yaw, stamp_ns)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("name", [field.name for field in fields(KeyframePolicy)])
def test_a_policy_that_means_nothing_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        KeyframePolicy(**{name: value})
