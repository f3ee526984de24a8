# SPDX-License-Identifier: Apache-2.0
"""Poses from other programs: rigid ones come through, and what is wrong with the others is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.poses import invert_rigid, rigid_pose
from fsm_ros.stream.frame import validate_rigid

numbers = st.floats(-3.0, 3.0)
rotation_vectors = st.tuples(numbers, numbers, numbers)


def pose_of(rotation_vector: tuple[float, float, float], place: tuple[float, float, float]) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(rotation_vector).as_matrix()
    pose[:3, 3] = place
    return pose


POSE = pose_of((0.3, -0.8, 0.2), (1.0, -2.0, 3.0))


@given(rotation_vectors, rotation_vectors)
def test_a_rigid_transform_comes_through_to_the_last_bit(
    rotation_vector: tuple[float, float, float], place: tuple[float, float, float]
) -> None:
    pose = pose_of(rotation_vector, place)
    assert np.array_equal(rigid_pose(pose.tolist(), "here"), pose)
    assert np.array_equal(rigid_pose(pose[:3].tolist(), "here"), pose)
    assert np.allclose(invert_rigid(pose) @ pose, np.eye(4), atol=1e-12)


@given(rotation_vectors)
def test_rounding_to_four_decimals_is_taken_back(rotation_vector: tuple[float, float, float]) -> None:
    exact = pose_of(rotation_vector, (1.0, 2.0, 3.0))
    rounded = rigid_pose(np.round(exact, 4).tolist(), "here")
    validate_rigid(rounded)
    assert np.abs(rounded - exact).max() < 2e-4


def changed(row: slice, column: slice, factor: float) -> list[list[float]]:
    pose = POSE.copy()
    pose[row, column] *= factor
    rows: list[list[float]] = pose.tolist()
    return rows


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("identity", "here must be 4x4 numbers"),
        (None, "here must be 4x4 numbers"),
        ([[1.0, 0.0], [0.0]], "here must be 4x4 numbers"),
        (np.eye(3).tolist(), r"4x4 numbers, row by row, and has shape \(3, 3\)"),
        ((POSE * np.nan).tolist(), "here is not finite: leave frames without a pose out"),
        (POSE.T.tolist(), "its last row is .*a transposed matrix"),
        (changed(slice(3), slice(3), 2.5), "its rotation is scaled by 2.5. Divide the 3x3 part"),
        (changed(slice(3), slice(1), 1.2), "no rotation has .*1.2, 1, 1"),
        (changed(slice(3), slice(1), -1.0), "it mirrors .*Negate the axis"),
        (changed(slice(3), slice(3), 0.0), "here is no rigid transform"),
    ],
)
def test_what_is_no_rigid_transform_is_refused(rows: object, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        rigid_pose(rows, "here")
