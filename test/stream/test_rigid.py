# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of rigid transforms holds where it is usually lost: near zero, near half a turn, far from home."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fsm_ros.stream.rigid import camera_distance_m, distance_m, nearest_camera, relative_poses, turn_rad


def turned(angle: float, axis: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> NDArray[np.float64]:
    """A pose at the origin, turned about an axis (Rodrigues)."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    pose = np.eye(4)
    pose[:3, :3] += math.sin(angle) * k + (1 - math.cos(angle)) * k @ k
    return pose


@given(st.floats(0.0, math.pi), st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.1))
def test_the_angle_between_two_attitudes_is_the_angle_of_the_turn(
    angle: float, axis: tuple[float, float, float]
) -> None:
    base = turned(0.7, (1.0, 2.0, 3.0))
    assert turn_rad(base, base @ turned(angle, axis)) == pytest.approx(angle, abs=1e-9)


@pytest.mark.parametrize("angle", [1e-9, 1e-7, math.pi - 1e-7])
def test_the_angle_keeps_its_digits_at_both_ends(angle: float) -> None:
    assert turn_rad(np.eye(4), turned(angle)) == pytest.approx(angle, rel=1e-6)


def test_distance_is_between_the_origins_whatever_the_attitude() -> None:
    a, b = turned(1.0), turned(2.0)
    b[:3, 3] = (3.0, 4.0, 0.0)
    assert distance_m(a, b) == 5.0


def test_relative_poses_are_the_inverse_times_the_pose() -> None:
    reference, pose = turned(0.4, (1.0, 0.0, 2.0)), turned(-1.1, (0.0, 1.0, 0.3))
    reference[:3, 3], pose[:3, 3] = (1.0, 2.0, 3.0), (-4.0, 0.5, 2.0)
    poses = np.stack([pose, reference])[None]
    expected = np.linalg.inv(reference) @ poses
    np.testing.assert_allclose(relative_poses(reference, poses), expected, atol=1e-12)
    assert poses[0, 0, 0, 3] == -4.0, "the poses given are left alone"


def test_relative_poses_far_from_the_origin_lose_no_digits() -> None:
    reference = turned(0.4, (1.0, 0.0, 2.0))
    reference[:3, 3] = (500_000.0, 5_000_000.0, 100.0)
    pose = reference.copy()
    pose[:3, 3] += 0.25
    moved = relative_poses(reference, pose)[:3, 3]
    np.testing.assert_allclose(moved, reference[:3, :3].T @ np.full(3, 0.25), rtol=0, atol=1e-12)


def placed(x: float = 0.0, yaw: float = 0.0) -> NDArray[np.float64]:
    pose = turned(yaw)
    pose[0, 3] = x
    return pose


@pytest.mark.parametrize(
    ("cameras", "nearest"),
    [
        ([placed(x=3.0), placed(yaw=0.5), placed(x=0.3)], 2),
        ([placed(x=3.0), placed(yaw=0.5)], 1),
        ([placed(x=0.3, yaw=0.3), placed(yaw=0.5)], 1),
        ([placed(yaw=math.pi), placed(x=3.0)], 1),
        ([placed(x=1.0), placed(x=-1.0)], 0),
    ],
    ids=["in place", "half a radian is half a metre", "both count", "looking away", "the first of equals"],
)
def test_the_nearest_camera_is_near_in_place_and_in_attitude(cameras: list[NDArray[np.float64]], nearest: int) -> None:
    assert nearest_camera(np.stack(cameras), np.eye(4)) == nearest
    assert min(camera_distance_m(pose, np.eye(4)) for pose in cameras) == pytest.approx(
        camera_distance_m(cameras[nearest], np.eye(4))
    )


def test_among_no_cameras_there_is_no_nearest_one() -> None:
    with pytest.raises(ValueError, match="among no cameras"):
        nearest_camera(np.empty((0, 4, 4)), np.eye(4))
