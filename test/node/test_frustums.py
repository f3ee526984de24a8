# SPDX-License-Identifier: Apache-2.0
"""Pictures of cameras: the frustums of keyframes in a viewer, and a level camera to look at a point with."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from yaw_poses import turned

pytest.importorskip("rclpy", reason="needs ROS")
from builtin_interfaces.msg import Time  # noqa: E402
from visualization_msgs.msg import Marker  # noqa: E402

from fsm_ros.command_line import USAGE  # noqa: E402
from fsm_ros.node.markers import keyframe_markers  # noqa: E402
from fsm_ros.stream.frame import Camera, PosedImage, validate_rigid  # noqa: E402
from fsm_ros.tools import render_view  # noqa: E402
from fsm_ros.tools.asking import look_at  # noqa: E402

CAMERA = Camera(64, 48, 50.0, 55.0, 30.0, 25.0)
FINITE = st.floats(-1e3, 1e3)


# --- frustums ---------------------------------------------------------------------------------------------------------


def a_view(pose: NDArray[np.float64], camera: Camera = CAMERA) -> PosedImage:
    return PosedImage(np.zeros((camera.height, camera.width, 3), np.uint8), camera, pose, 0)


def points_of(marker: Marker) -> NDArray[np.float64]:
    return np.array([(p.x, p.y, p.z) for p in marker.points]).reshape(-1, 2, 3)


def test_markers_are_two_line_lists_in_the_memorys_frame() -> None:
    stamp = Time(sec=3, nanosec=4)
    remembered, just_seen = [a_view(np.eye(4)), a_view(turned(30.0, 1.0, 0.0, 0.0))], [a_view(np.eye(4))]
    array = keyframe_markers(remembered, just_seen, 0.5, "map", stamp)
    assert [marker.ns for marker in array.markers] == ["remembered", "just_seen"]
    for marker, views in zip(array.markers, (remembered, just_seen), strict=True):
        assert marker.type == Marker.LINE_LIST and marker.action == Marker.ADD
        assert (marker.header.frame_id, marker.header.stamp) == ("map", stamp)
        assert marker.pose.orientation.w == 1.0
        assert marker.scale.x > 0 and marker.color.a > 0
        assert len(points_of(marker)) == 8 * len(views)
    assert array.markers[0].color != array.markers[1].color


def test_a_frustum_runs_from_the_camera_centre_to_the_corners_of_its_picture() -> None:
    depth = 2.0
    pose = turned(90.0, 10.0, 20.0, 30.0)
    (_, marker) = keyframe_markers([], [a_view(pose)], depth, "map", Time()).markers
    lines = points_of(marker)
    corners = [
        pose @ np.array([depth * (u - CAMERA.cx) / CAMERA.fx, depth * (v - CAMERA.cy) / CAMERA.fy, depth, 1.0])
        for u, v in ((0, 0), (64, 0), (64, 48), (0, 48))
    ]
    expected = {tuple(np.round(corner[:3], 9)) for corner in corners}
    edges = [line for line in lines if np.allclose(line[0], pose[:3, 3])]
    assert len(edges) == 4
    assert {tuple(np.round(edge[1], 9)) for edge in edges} == expected
    border = [line for line in lines if not np.allclose(line[0], pose[:3, 3])]
    assert len(border) == 4
    widths = sorted(float(np.linalg.norm(a - b)) for a, b in border)
    assert widths == pytest.approx(sorted([depth * 64 / 50, depth * 64 / 50, depth * 48 / 55, depth * 48 / 55]))


def test_no_keyframes_are_empty_markers_that_clear_the_old_ones() -> None:
    array = keyframe_markers([], [], 1.0, "map", Time())
    assert [list(marker.points) for marker in array.markers] == [[], []]


# --- a camera to look with --------------------------------------------------------------------------------------------


@given(position=st.tuples(FINITE, FINITE, FINITE), away=st.tuples(FINITE, FINITE, FINITE))
def test_a_camera_that_looks_at_a_point_is_level_and_has_it_in_the_middle(
    position: tuple[float, float, float], away: tuple[float, float, float]
) -> None:
    offset = np.array(away)
    if np.linalg.norm(offset[:2]) < 1e-3 * max(1.0, np.linalg.norm(offset)):
        return
    here = np.array(position)
    pose = look_at(here, here + offset)
    validate_rigid(pose)
    right, down, forward = pose[:3, :3].T
    np.testing.assert_allclose(forward, offset / np.linalg.norm(offset), atol=1e-6)
    assert abs(right[2]) < 1e-9, "level"
    assert down[2] < 0, "and not upside down"
    assert np.array_equal(pose[:3, 3], here)
    in_camera = np.linalg.inv(pose) @ np.array([*(here + offset), 1.0])
    np.testing.assert_allclose(in_camera[:2], 0.0, atol=1e-6 * max(1.0, np.linalg.norm(here)))
    assert in_camera[2] > 0


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ((1.0, 2.0, 3.0), "another point"),
        ((1.0, 2.0, 9.0), "right above or below"),
        ((1.0, 2.0, -9.0), "right above or below"),
        ((math.nan, 0.0, 0.0), "finite"),
        ((math.inf, 0.0, 0.0), "finite"),
    ],
)
def test_where_no_level_camera_can_look_is_refused(target: tuple[float, float, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        look_at(np.array([1.0, 2.0, 3.0]), np.array(target))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--look-at", "0", "0", "1"],
        ["--look-at", "nan", "0", "1"],
        ["--size", "0", "10"],
        ["--size", "10", "10", "--fov", "0"],
        ["--size", "10", "10", "--fov", "180"],
        ["--size", "10", "10", "--fov", "nan"],
        ["--time", "nan"],
        ["--time", "inf"],
        ["--time", "1e12"],
        ["--depth", "depth.png"],
        ["--confidence", "confidence"],
    ],
    ids=" ".join,
)
def test_arguments_that_make_no_request_end_the_tool_with_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert render_view.main(arguments) == USAGE
    told = capsys.readouterr().err
    assert told.startswith("render_view: ") and len(told.splitlines()) == 1
