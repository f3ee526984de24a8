# SPDX-License-Identifier: Apache-2.0
"""Depth images: which belongs to a frame, and what they say in another camera's image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.stream.depth import LARGEST, kept_depth, nearest_stamp, seen_from
from fsm_ros.stream.frame import Camera, DepthImage, Distortion, PosedImage
from fsm_ros.stream.rectify import Rectifier

COLOUR = Camera(40, 30, 35.0, 35.0, 20.0, 15.0)
DEPTH = Camera(160, 120, 110.0, 110.0, 80.0, 60.0)
MOUNT = np.eye(4)
MOUNT[:3, 3] = (-0.05, 0.01, 0.02)


def plane_depth(
    camera: Camera, pose: NDArray[np.float64], normal: NDArray[np.float64], away: float
) -> NDArray[np.float32]:
    """Depth of the plane ``normal . x = away`` of the world in a camera's image, ray by ray."""
    column, row = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    rays = np.stack([(column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy, np.ones_like(row)], axis=-1)
    return ((away - normal @ pose[:3, 3]) / (rays @ pose[:3, :3].T @ normal)).astype(np.float32)


def pose_of(turn: tuple[float, float, float], place: tuple[float, float, float]) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = Rotation.from_rotvec(turn).as_matrix(), place
    return pose


small = st.floats(-0.15, 0.15)
three = st.tuples(small, small, small)


@given(turn=three, place=three, lean=three, away=st.floats(1.0, 5.0))
def test_a_plane_that_both_cameras_see_is_the_plane_in_both(
    turn: tuple[float, float, float],
    place: tuple[float, float, float],
    lean: tuple[float, float, float],
    away: float,
) -> None:
    normal = Rotation.from_rotvec(lean).as_matrix()[:, 2]
    own = pose_of(turn, place)
    depth = DepthImage(plane_depth(DEPTH, own, normal, away), DEPTH, own, 0)
    found, truth = seen_from(depth, COLOUR, np.eye(4)), plane_depth(COLOUR, np.eye(4), normal, away)
    inside = np.isfinite(found)
    assert inside.mean() > 0.4
    # A pixel holds the mean of points that fall into it, up to half a pixel off its centre.
    steepest = float(np.abs(np.diff(np.log(truth), axis=1)).max() + np.abs(np.diff(np.log(truth), axis=0)).max())
    np.testing.assert_array_less(np.abs(np.log(found[inside] / truth[inside])), 1e-4 + 0.75 * steepest)


def test_from_the_same_camera_it_is_the_same_image() -> None:
    depth = plane_depth(DEPTH, np.eye(4), np.array([0.1, 0.2, 0.97]), 2.0)
    depth[10:20, 30:40] = np.nan
    np.testing.assert_allclose(seen_from(DepthImage(depth, DEPTH, np.eye(4), 0), DEPTH, np.eye(4)), depth, rtol=1e-5)


def test_what_is_nearer_hides_what_is_behind_it() -> None:
    """A post a metre away, seen by a depth camera from beside: behind it the colours' camera sees no wall."""
    depth = np.full((DEPTH.height, DEPTH.width), 4.0, dtype=np.float32)
    depth[:, 60:100] = 1.0
    found = seen_from(DepthImage(depth, DEPTH, MOUNT, 0), COLOUR, np.eye(4))
    known = found[np.isfinite(found)]
    assert np.all((np.abs(known - 1.02) < 0.01) | (np.abs(known - 4.02) < 0.01)), "never something in between"
    post = np.abs(found[15] - 1.02) < 0.01
    edges = np.flatnonzero(post)[[0, -1]] + np.array([0, 1])
    truth = [COLOUR.fx * (1.0 * (column - DEPTH.cx) / DEPTH.fx - 0.05) / 1.02 + COLOUR.cx for column in (60, 100)]
    assert np.abs(edges - truth).max() <= 1.0 and post[edges[0] : edges[1]].all()


def test_a_registered_image_behind_a_lens_is_straightened_as_the_colours_are() -> None:
    lens = Camera(160, 120, 110.0, 110.0, 80.0, 60.0, Distortion.PLUMB_BOB, (-0.2, 0.03, 0.0, 0.0, 0.0))
    flat = DepthImage(np.full((120, 160), 2.0, dtype=np.float32), lens, np.eye(4), 0)
    image = np.zeros((120, 160, 3), dtype=np.uint8)
    rectified = Rectifier(16, 16, (80, 60)).rectify(PosedImage(image, lens, np.eye(4), 0, depth=flat))
    assert rectified.depth is None and rectified.photograph is not None
    assert rectified.photograph.depth_m is not None
    np.testing.assert_allclose(rectified.photograph.depth_m, 2.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("photograph", "size"),
    [
        (Camera(320, 240, 280.0, 280.0, 160.0, 120.0), (126, 94)),
        (Camera(640, 480, 1100.0, 1100.0, 320.0, 240.0), (64, 48)),
        (COLOUR, (40, 30)),
        (Camera(640, 480, 100.0, 100.0, 320.0, 240.0), LARGEST),
    ],
    ids=["no finer than it was measured", "a longer lens", "no finer than the photograph", "no larger than is kept"],
)
def test_the_size_that_is_kept(photograph: Camera, size: tuple[int, int]) -> None:
    depth = DepthImage(np.full((120, 160), 2.0, dtype=np.float32), DEPTH, np.eye(4), 0)
    kept = kept_depth(depth, photograph, np.eye(4))
    assert kept is not None and kept.shape == (size[1], size[0])


@pytest.mark.parametrize("behind", [False, True], ids=["nothing measured", "all of it behind the camera"])
def test_without_a_point_nothing_is_kept(behind: bool) -> None:
    values = np.full((120, 160), 1.0 if behind else np.nan, dtype=np.float32)
    turned = pose_of((0.0, np.pi, 0.0), (0.0, 0.0, 0.0))
    assert kept_depth(DepthImage(values, DEPTH, turned, 0), COLOUR, np.eye(4)) is None


@pytest.mark.parametrize(
    ("stamp_ns", "place"),
    [(100, 0), (149, 0), (150, 0), (151, 1), (200, 1), (240, 1), (251, None), (59, None), (60, 0)],
)
def test_the_nearest_in_time_within_the_tolerance(stamp_ns: int, place: int | None) -> None:
    assert nearest_stamp([100, 200], stamp_ns, 50 if stamp_ns != 59 and stamp_ns != 60 else 40) == place


def test_where_there_are_none_none_is_nearest() -> None:
    assert nearest_stamp([], 100, 50) is None


@pytest.mark.parametrize(
    ("values", "cause"),
    [(np.ones((3, 4), np.float32), r"float32 \(120, 160\)"), (np.ones((120, 160)), "float64")],
    ids=["another size", "another type"],
)
def test_an_image_that_is_not_its_cameras_is_refused(values: NDArray[np.float32], cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        DepthImage(values, DEPTH, np.eye(4), 0)
