# SPDX-License-Identifier: Apache-2.0
"""The memory frame: fixed by the first chunk, exact in both directions, and honest about its limits."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fsm_ros.stream.frame import Camera, PosedImage, validate_rigid
from fsm_ros.stream.world import (
    LEAST_EXTENT_M,
    FrameExit,
    MemoryFrame,
    mean_pose,
)

START_NS = 1_700_000_000_123_456_789
S = 10**9


def random_poses(seed: int, n: int, spread: float = 1.0, centre: float = 0.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (n, 1, 1))
    for pose in poses:
        q, r = np.linalg.qr(rng.normal(size=(3, 3)))
        q = q * np.sign(np.diag(r))
        pose[:3, :3] = q if np.linalg.det(q) > 0 else -q
        pose[:3, 3] = centre + spread * rng.normal(size=3)
    return poses


def a_frame(pose: NDArray[np.float64], stamp_ns: int = START_NS) -> PosedImage:
    return PosedImage(np.zeros((1, 1, 3), dtype=np.uint8), Camera(1, 1, 1.0, 1.0, 0.5, 0.5), pose, stamp_ns)


def at(*position: float) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, 3] = position
    return pose


def laid(
    poses: NDArray[np.float64], extent_m: float = 0.0, horizon_s: float = 60.0, margin: float = 4.0
) -> MemoryFrame:
    return MemoryFrame.around(poses, start_ns=START_NS, extent_m=extent_m, horizon_s=horizon_s, margin=margin)


A_MEMORY = MemoryFrame(random_poses(7, 1)[0], extent_m=5.0, start_ns=START_NS, horizon_s=60.0)


# --- the mean pose
# -------------------------------------------------------------------------------------------


def test_the_mean_pose_of_one_camera_is_its_pose() -> None:
    pose = random_poses(3, 1)
    np.testing.assert_allclose(mean_pose(pose), pose[0], atol=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 9), order=st.permutations(range(9)))
def test_the_mean_pose_is_rigid_and_knows_no_order(seed: int, n: int, order: list[int]) -> None:
    poses = random_poses(seed, n, spread=3.0, centre=10.0)
    mean = mean_pose(poses)
    validate_rigid(mean)
    np.testing.assert_allclose(mean[:3, 3], poses[:, :3, 3].mean(axis=0))
    shuffled = poses[[i for i in order if i < n]]
    np.testing.assert_allclose(mean_pose(shuffled), mean, atol=1e-6)


def test_the_mean_looks_where_the_cameras_look_on_average_and_hangs_as_they_hang() -> None:
    yaw = np.array([-0.3, 0.1, 0.2])
    poses = np.tile(np.eye(4), (3, 1, 1))
    for pose, angle in zip(poses, yaw, strict=True):
        pose[:3, 0] = (
            math.cos(angle),
            0,
            -math.sin(angle),
        )
        pose[:3, 2] = (math.sin(angle), 0, math.cos(angle))
    forward = poses[:, :3, 2].mean(axis=0)
    mean = mean_pose(poses)
    np.testing.assert_allclose(mean[:3, 2], forward / np.linalg.norm(forward), atol=1e-12)
    np.testing.assert_allclose(mean[:3, 1], [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize("turn", [np.diag([-1.0, 1, -1, 1]), np.diag([-1.0, -1, 1, 1])])
def test_cameras_that_look_opposite_ways_fall_back_to_the_first_one(turn: NDArray[np.float64]) -> None:
    first = random_poses(5, 1)[0]
    np.testing.assert_allclose(mean_pose(np.stack([first, first @ turn])), first, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 4), (0, 4, 4), (2, 3, 4)])
def test_poses_come_as_a_stack(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[n, 4, 4\]"):
        mean_pose(np.zeros(shape))


# --- laying the frame
# ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("extent_m", [0.01, 7.5])
def test_a_given_extent_is_used_as_it_is(extent_m: float) -> None:
    assert laid(random_poses(1, 4), extent_m=extent_m).extent_m == extent_m


@pytest.mark.parametrize("margin", [1.0, 4.0, 10.0])
def test_an_automatic_extent_gives_the_first_chunk_the_share_that_the_margin_says(margin: float) -> None:
    poses = random_poses(1, 4, spread=10.0, centre=50.0)
    memory = laid(poses, margin=margin)
    assert np.abs(memory.normalise_poses(poses)[:, :3, 3]).max() == pytest.approx(1 / margin)
    assert [memory.contains(a_frame(pose)) for pose in poses] == [None] * 4


@pytest.mark.parametrize("spread_m", [0.0, 1e-5, 0.03, 0.3])
def test_a_first_chunk_that_hardly_moved_is_taken_for_slow_not_for_near(spread_m: float) -> None:
    assert laid(random_poses(1, 5, spread=spread_m, centre=3.0)).extent_m == LEAST_EXTENT_M
    assert laid(random_poses(1, 1)).extent_m == LEAST_EXTENT_M


def test_the_origin_is_the_mean_pose() -> None:
    poses = random_poses(11, 5)
    np.testing.assert_array_equal(laid(poses).world_from_memory, mean_pose(poses))


@pytest.mark.parametrize(
    "changes",
    [
        {"extent_m": -1.0},
        {"extent_m": math.nan},
        {"extent_m": math.inf},
        {"horizon_s": 0.0},
        {"horizon_s": math.inf},
        {"margin": 0.5},
        {"margin": math.nan},
    ],
)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes)).split("_")[0]):
        laid(random_poses(1, 3), **changes)


# --- poses
# ---------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), extent=st.floats(0.1, 1000.0), centre=st.floats(-1e6, 1e6))
def test_poses_come_back_from_the_memory(seed: int, extent: float, centre: float) -> None:
    poses = random_poses(seed, 6, centre=centre).reshape(2, 3, 4, 4)
    memory = replace(A_MEMORY, world_from_memory=random_poses(seed + 1, 1, centre=centre)[0], extent_m=extent)
    normalised = memory.normalise_poses(poses)
    assert normalised.shape == poses.shape
    normalised[..., :3, 3] *= extent
    np.testing.assert_allclose(memory.world_from_memory @ normalised, poses, atol=1e-9)


def test_memory_poses_are_the_inverse_of_the_frame_times_the_pose_over_the_extent() -> None:
    pose = random_poses(4, 1)[0]
    expected = np.linalg.inv(A_MEMORY.world_from_memory) @ pose
    expected[:3, 3] /= 5.0
    np.testing.assert_allclose(A_MEMORY.normalise_poses(pose), expected, atol=1e-12)


def test_the_frame_cannot_be_changed_from_outside() -> None:
    pose = np.eye(4)
    memory = replace(A_MEMORY, world_from_memory=pose)
    pose[0, 3] = 9.0
    assert memory.world_from_memory[0, 3] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        memory.world_from_memory[0, 3] = 1.0


# --- time
# ----------------------------------------------------------------------------------------------------


def test_time_runs_from_minus_one_to_one() -> None:
    stamps = START_NS + np.array([0, 15, 30, 60], dtype=np.int64) * S
    np.testing.assert_array_equal(A_MEMORY.normalise_time(stamps), [-1.0, -0.5, 0.0, 1.0])
    assert [A_MEMORY.normalise_time(int(stamp)) for stamp in stamps] == [-1.0, -0.5, 0.0, 1.0]


def test_a_nanosecond_of_today_is_told_apart() -> None:
    assert A_MEMORY.normalise_time(START_NS + 1) > A_MEMORY.normalise_time(START_NS)


def test_stamps_as_floats_are_refused() -> None:
    with pytest.raises(ValueError, match="integer nanoseconds"):
        A_MEMORY.normalise_time(np.array([1.7e18]))


# --- limits
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "seconds", "expected"),
    [
        ((0.0, 0.0, 0.0), 0, None),
        ((5.0, -5.0, 5.0), 60, None),
        ((5.01, 0.0, 0.0), 1, FrameExit.EXTENT),
        ((0.0, 0.0, -5.01), 1, FrameExit.EXTENT),
        ((0.0, 0.0, 0.0), 63, FrameExit.HORIZON_END),
        ((9.0, 0.0, 0.0), 63, FrameExit.HORIZON_END),
        ((0.0, 0.0, 0.0), -3, FrameExit.BEFORE_START),
    ],
)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("centre", [0.0, 5e6], ids=["at_the_origin", "utm"])
def test_leaving_the_memory_is_noticed_and_the_border_is_inside(
    position: tuple[float, float, float], seconds: int, expected: FrameExit | None, seed: int, centre: float
) -> None:
    """However the memory is turned: a position on the border is one ulp beside it in some rotations."""
    memory = replace(A_MEMORY, world_from_memory=random_poses(seed, 1, centre=centre)[0])
    pose = memory.world_from_memory @ at(*np.array(position))
    assert memory.contains(a_frame(pose, START_NS + seconds * S)) is expected


# --- saving
# --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    seed=st.integers(0, 10**6),
    extent=st.floats(1e-6, 1e9),
    horizon=st.floats(1e-6, 1e9),
    start_ns=st.integers(-(2**62), 2**62),
)
def test_a_memory_frame_survives_json_to_the_bit(seed: int, extent: float, horizon: float, start_ns: int) -> None:
    memory = MemoryFrame(random_poses(seed, 1, centre=0.1)[0], extent, start_ns, horizon)
    loaded = MemoryFrame.from_dict(json.loads(json.dumps(memory.to_dict())))
    assert loaded.world_from_memory.tobytes() == memory.world_from_memory.tobytes()
    assert loaded == memory
    assert hash(loaded) == hash(memory)


def test_a_frame_saved_with_a_note_of_where_its_extent_came_from_still_loads() -> None:
    assert MemoryFrame.from_dict({**A_MEMORY.to_dict(), "extent_source": "measured"}) == A_MEMORY


def test_frames_that_differ_anywhere_are_not_equal() -> None:
    others = [
        replace(A_MEMORY, world_from_memory=np.eye(4)),
        replace(A_MEMORY, extent_m=5.1),
        replace(A_MEMORY, start_ns=START_NS + 1),
        replace(A_MEMORY, horizon_s=61.0),
    ]
    assert all(other != A_MEMORY for other in others)
    assert A_MEMORY != "a memory"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("world_from_memory", [[1.0, 0.0], [0.0, 1.0]]),
        ("world_from_memory", "somewhere"),
        ("extent_m", -1.0),
        ("extent_m", None),
        ("start_ns", 1.5),
        ("start_ns", True),
        ("horizon_s", math.nan),
    ],
)
def test_a_damaged_file_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValueError, match="not a saved memory frame"):
        MemoryFrame.from_dict({**A_MEMORY.to_dict(), key: value})


@pytest.mark.parametrize("key", list(A_MEMORY.to_dict()))
def test_a_file_that_lacks_something_is_refused(key: str) -> None:
    values = A_MEMORY.to_dict()
    del values[key]
    with pytest.raises(ValueError, match=f"it has no '{key}'"):
        MemoryFrame.from_dict(values)
