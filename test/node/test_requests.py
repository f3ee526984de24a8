# SPDX-License-Identifier: Apache-2.0
"""Requests in numbers: poses and cameras, deadlines, where files may lie, stamps and transforms."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from concurrent.futures import Future as WorkerFuture
from pathlib import Path

import numpy as np
import pytest
from deadline import DEADLINE_S
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from yaw_poses import turned

rclpy = pytest.importorskip("rclpy", reason="needs ROS")
from builtin_interfaces.msg import Time  # noqa: E402
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from sensor_msgs.msg import CameraInfo  # noqa: E402

from fsm_ros.messages.stamps import stamp_to_ns  # noqa: E402
from fsm_ros.node.calibration import info_from_camera  # noqa: E402
from fsm_ros.node.conversions import (  # noqa: E402
    matrix,
    matrix_to_transform,
    ns_to_stamp,
    pose_to_matrix,
)
from fsm_ros.node.requests import Bridge, ViewRequest, parse_view  # noqa: E402
from fsm_ros.node.storage import SUFFIX, confined_path  # noqa: E402
from fsm_ros.spatial.results import Failure, FailureKind  # noqa: E402
from fsm_ros.stream.frame import Camera, validate_rigid  # noqa: E402
from fsm_ros.stream.transforms import StampedTransform, TransformError  # noqa: E402

S = 10**9
CAMERA = Camera(64, 48, 50.0, 55.0, 30.0, 25.0)
FINITE = st.floats(-1e3, 1e3)


# --- a wanted view ----------------------------------------------------------------------------------------------------


class Transforms:
    """A lookup that knows one frame, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, int | None]] = []

    def __call__(self, target: str, source: str, stamp_ns: int | None) -> NDArray[np.float64]:
        self.asked.append((target, source, stamp_ns))
        if source != "robot":
            raise TransformError(f"there is no frame {source!r}")
        return turned(90.0, 1.0, 2.0, 3.0)


def a_pose(frame_id: str = "robot", **parts: float) -> PoseStamped:
    """One metre ahead in x and not turned; ``parts`` are of position and of orientation (qx to qw)."""
    stamped = PoseStamped()
    stamped.header.frame_id = frame_id
    stamped.pose.position = Point(x=parts.get("x", 1.0), y=parts.get("y", 0.0), z=parts.get("z", 0.0))
    stamped.pose.orientation = Quaternion(
        x=parts.get("qx", 0.0), y=parts.get("qy", 0.0), z=parts.get("qz", 0.0), w=parts.get("qw", 1.0)
    )
    return stamped


def parsed(
    pose: PoseStamped, scene_time: Time | None = None, info: CameraInfo | None = None
) -> tuple[ViewRequest | Failure, Transforms]:
    lookup = Transforms()
    return parse_view(pose, scene_time or Time(), info or CameraInfo(), lookup, "map"), lookup


def view_of(answer: ViewRequest | Failure) -> ViewRequest:
    assert isinstance(answer, ViewRequest), answer
    return answer


def test_the_pose_is_brought_into_the_memorys_frame() -> None:
    answer, lookup = parsed(a_pose(qz=1.0, qw=0.0))
    np.testing.assert_allclose(view_of(answer).world_from_camera, turned(270.0, 1.0, 3.0, 3.0), atol=1e-12)
    assert lookup.asked == [("map", "robot", None)], "a stamp of zero is the latest transform"


def test_zero_times_and_sizes_leave_the_choice_to_the_memory() -> None:
    view = view_of(parsed(a_pose())[0])
    assert view.stamp_ns is None and view.camera is None


def test_times_and_cameras_are_passed_on_exactly() -> None:
    pose = a_pose()
    pose.header.stamp = Time(sec=5, nanosec=6)
    answer, lookup = parsed(pose, Time(sec=7, nanosec=8), info_from_camera(CAMERA, "", Time()))
    view = view_of(answer)
    assert lookup.asked == [("map", "robot", 5 * S + 6)]
    assert view.stamp_ns == 7 * S + 8
    assert view.camera is not None and view.camera.undistorted() == CAMERA


def test_a_region_of_the_wanted_camera_is_what_is_wanted() -> None:
    info = info_from_camera(CAMERA, "", Time())
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 10, 20, 30, 20
    info.binning_x = 2
    camera = view_of(parsed(a_pose(), info=info)[0]).camera
    assert camera is not None
    assert (camera.width, camera.height, camera.fx, camera.cx, camera.cy) == (15, 20, 25.0, 10.0, 5.0)


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (a_pose(frame_id=""), "frame_id is empty.*'map'"),
        (a_pose(frame_id="moon"), "no transform from 'moon' to the memory's frame 'map'.*no frame 'moon'"),
        (a_pose(qw=0.0), "zero quaternion"),
        (a_pose(qw=1e-6), "zero quaternion"),
        (a_pose(qw=1e300), "too large"),
        (a_pose(qw=math.nan), "not finite"),
        (a_pose(x=math.inf), "not finite"),
    ],
)
def test_a_pose_that_cannot_be_used_is_refused_in_words(pose: PoseStamped, words: str) -> None:
    answer, _ = parsed(pose)
    assert isinstance(answer, Failure) and answer.kind is FailureKind.BAD_REQUEST
    assert re.search(words, answer.message), answer.message


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("k", [0.0] * 9, "focal"),
        ("k", [math.nan] * 9, "finite"),
        ("height", 0, "height"),
        ("width", 0, "width"),
        ("d", [0.1, 0.2], "plumb_bob"),
        ("binning_x", 1000, "size"),
    ],
)
def test_a_camera_that_cannot_see_is_refused_in_words(field: str, value: object, word: str) -> None:
    info = info_from_camera(CAMERA, "", Time())
    setattr(info, field, value)
    answer, lookup = parsed(a_pose(), info=info)
    assert isinstance(answer, Failure) and answer.kind is FailureKind.BAD_REQUEST
    assert "camera" in answer.message and word in answer.message
    assert not lookup.asked


# --- waiting for the worker ----------------------------------------------------------------------------------------


@pytest.fixture
def executor() -> Iterator[SingleThreadedExecutor]:
    context = Context()
    rclpy.init(context=context)
    executor = SingleThreadedExecutor(context=context)
    node = Node("waiting", context=context, use_global_arguments=False)
    executor.add_node(node)
    yield executor
    executor.shutdown()
    node.destroy_node()
    context.try_shutdown()


def awaited(executor: SingleThreadedExecutor, bridge: Bridge, worker: WorkerFuture[object]) -> object:
    task = executor.create_task(bridge.wait, worker)
    deadline = executor.get_nodes()[0].create_timer(0.01, bridge.expire)
    executor.spin_until_future_complete(task, timeout_sec=DEADLINE_S)
    deadline.cancel()
    assert task.done()
    return task.result()


@pytest.mark.parametrize("answer", [None, False, 0, "a view", Failure(FailureKind.STOPPED, "x")], ids=str)
@pytest.mark.parametrize("early", [True, False], ids=["answered before", "answered later"])
def test_whatever_the_worker_answers_comes_back(answer: object, early: bool, executor: SingleThreadedExecutor) -> None:
    worker: WorkerFuture[object] = WorkerFuture()
    bridge = Bridge(executor.get_nodes()[0], timeout_s=DEADLINE_S)
    if early:
        worker.set_result(answer)
    else:
        executor.create_task(lambda: worker.set_result(answer))
    assert awaited(executor, bridge, worker) is answer


def test_a_worker_that_does_not_get_to_it_in_time_is_not_waited_for(executor: SingleThreadedExecutor) -> None:
    worker: WorkerFuture[object] = WorkerFuture()
    answer = awaited(executor, Bridge(executor.get_nodes()[0], timeout_s=0.05), worker)
    assert isinstance(answer, Failure) and "0.05 s" in answer.message
    assert worker.cancelled(), "and need not begin any more"


# --- where files may lie ----------------------------------------------------------------------------------------------


def test_a_name_is_a_file_below_the_folder(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    assert confined_path(str(tmp_path), "kitchen") == root / f"kitchen{SUFFIX}"
    assert confined_path(str(tmp_path), f"kitchen{SUFFIX}") == root / f"kitchen{SUFFIX}"
    assert confined_path(str(tmp_path), "v1.2") == root / f"v1.2{SUFFIX}"
    assert confined_path(str(tmp_path), "a/b/../c") == root / "a" / f"c{SUFFIX}"
    assert confined_path(str(tmp_path), str(root / "whole")) == root / f"whole{SUFFIX}"


@pytest.mark.parametrize("name", ["room", "room.txt", "room.ply.safetensors", ".ply"])
def test_where_there_are_several_kinds_of_files_a_name_says_which(name: str, tmp_path: Path) -> None:
    suffixes = (".ply", ".glb")
    assert confined_path(str(tmp_path), "room.glb", suffixes) == tmp_path.resolve() / "room.glb"
    with pytest.raises(ValueError, match=r"must end in \.ply or \.glb"):
        confined_path(str(tmp_path), name, suffixes)


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert confined_path("~/memories", "x") == tmp_path.resolve() / "memories" / f"x{SUFFIX}"


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_a_name_that_names_nothing_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        confined_path(str(tmp_path), name)


@pytest.mark.parametrize("name", ["a\0b", "\0", "a\nb", "\x1b[2Jx", "a\tb", "\u202ex", "~", "~/x", "~root/x"])
def test_a_name_that_shells_and_terminals_take_otherwise_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no name for a file"):
        confined_path(str(tmp_path), name)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """A pipe would be waited for without end, by a thread that nothing can wake."""
    os.mkfifo(tmp_path / f"pipe{SUFFIX}")
    (tmp_path / f"folder{SUFFIX}").mkdir()
    for name in ("pipe", "folder", f"pipe{SUFFIX}"):
        with pytest.raises(ValueError, match="no regular file"):
            confined_path(str(tmp_path), name)


@pytest.mark.parametrize(
    "name", ["..", ".", "/", "../x", "a/../../x", "/etc/passwd", "../root_but_longer/x", "x/../..", "//x", "./.././x"]
)
def test_nothing_outside_of_the_folder_can_be_named(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(ValueError):
        confined_path(str(root), name)


def test_links_that_lead_outside_are_followed_and_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / f"file{SUFFIX}").touch()
    (root / "folder").symlink_to(outside)
    (root / "bare").symlink_to(outside / f"file{SUFFIX}")
    (root / f"suffixed{SUFFIX}").symlink_to(outside / f"file{SUFFIX}")
    (root / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("folder/x", "folder/file", "bare", "suffixed", f"suffixed{SUFFIX}", "dangling"):
        with pytest.raises(ValueError, match="outside of storage_dir"):
            confined_path(str(root), name)
    (root / "inner").mkdir()
    (root / "inside").symlink_to(root / "inner")
    assert confined_path(str(root), "inside/x") == root.resolve() / "inner" / f"x{SUFFIX}"


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / f"circle{SUFFIX}").symlink_to(tmp_path / f"circle{SUFFIX}")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for name in ("circle", "a/x"):
        try:
            path = confined_path(str(tmp_path), name)
        except ValueError:
            continue
        # Python 3.13 leaves such a link as it is: it still lies inside, and opening it fails.
        assert tmp_path.resolve() in path.parents


@settings(deadline=None, max_examples=300)
@given(
    name=st.text(max_size=30)
    | st.lists(st.sampled_from(["..", ".", "", "a", "link", "deep", "~", "x" + SUFFIX]), max_size=6).map("/".join)
)
def test_no_name_escapes_the_folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.getbasetemp() / "confined"
    root = base / "root"
    (root / "deep").mkdir(parents=True, exist_ok=True)
    if not (root / "link").is_symlink():
        (root / "link").symlink_to(base)
    try:
        path = confined_path(str(root), name)
    except ValueError as error:
        assert str(error)
        return
    assert path.is_absolute() and path.suffix == SUFFIX
    assert os.path.commonpath([os.path.realpath(path), os.path.realpath(root)]) == os.path.realpath(root)
    assert path != root.resolve()


# --- stamps and transforms --------------------------------------------------------------------------------------------


@given(nanoseconds=st.integers(-(2**31) * S, (2**31) * S - 1))
def test_stamps_come_back_to_the_nanosecond(nanoseconds: int) -> None:
    stamp = ns_to_stamp(nanoseconds)
    assert 0 <= stamp.nanosec < S
    assert stamp_to_ns(stamp) == nanoseconds


def test_a_stamp_before_the_epoch_counts_on_from_the_second_below() -> None:
    stamp = ns_to_stamp(-1)
    assert (stamp.sec, stamp.nanosec) == (-1, S - 1)


@pytest.mark.parametrize("nanoseconds", [2**31 * S, -(2**31) * S - 1, 10**30])
def test_a_stamp_that_the_message_cannot_hold_is_refused(nanoseconds: int) -> None:
    with pytest.raises(ValueError, match=str(nanoseconds)):
        ns_to_stamp(nanoseconds)


@given(position=st.tuples(FINITE, FINITE, FINITE), seed=st.integers(0, 10**6))
def test_a_pose_survives_the_way_into_a_message_and_back(position: tuple[float, float, float], seed: int) -> None:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    pose[:3, 3] = position
    transform = matrix_to_transform(pose)
    np.testing.assert_allclose(matrix(transform.translation, transform.rotation), pose, atol=1e-12)
    message = Pose(position=Point(x=position[0], y=position[1], z=position[2]), orientation=transform.rotation)
    np.testing.assert_allclose(pose_to_matrix(message), pose, atol=1e-12)


@given(
    numbers=st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64), min_size=7, max_size=7),
    scale=st.sampled_from([1.0, 1e-6, 1e-7, 1e155, 1e-300]),
)
def test_what_becomes_a_matrix_is_rigid_and_a_transform_that_buffers_accept(numbers: list[float], scale: float) -> None:
    x, y, z, qx, qy, qz, qw = numbers
    with np.errstate(over="ignore", invalid="ignore"):
        qx, qy, qz, qw = (float(np.float64(q) * scale) for q in (qx, qy, qz, qw))
        try:
            pose = matrix(Vector3(x=x, y=y, z=z), Quaternion(x=qx, y=qy, z=qz, w=qw))
        except ValueError:
            return
        validate_rigid(pose)
        assert StampedTransform("a", "b", 0, (x, y, z), (qx, qy, qz, qw)).is_valid


@pytest.mark.parametrize("length", [0.0, 1e-6, 1e200, math.inf, math.nan])
def test_a_quaternion_of_no_usable_length_is_refused(length: float) -> None:
    with pytest.raises(ValueError, match="orientation"):
        matrix(Vector3(), Quaternion(x=length, y=0.0, z=0.0, w=0.0))


def test_a_quaternion_of_another_length_is_the_same_attitude() -> None:
    found = matrix(Vector3(x=1.0), Quaternion(x=0.0, y=0.0, z=20.0, w=20.0))
    np.testing.assert_allclose(found, turned(90.0, 1.0, 0.0, 0.0), atol=1e-12)
