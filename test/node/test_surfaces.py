# SPDX-License-Identifier: Apache-2.0
"""Surfaces from the running node: `~/points`, `~/export`; and `~/preview`, what it shows where the camera is."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh
from node_camera import Camera
from node_harness import CHUNK_VIEWS, Robot, active_node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, PointCloud2, PointField
from spatial_scenes import room_views
from surface_rooms import as_frame

from fsm_ros_msgs.srv import ExportSurface

pytestmark = pytest.mark.slow

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
VIEWS = 6 * CHUNK_VIEWS


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def robot(storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """A node that has seen some of a room."""
    parameters = {
        "storage_dir": str(storage),
        "points.period": 0.1,
        "points.min_confidence": 0.1,
        "preview.rate": 20.0,
        "keyframes.interval": 0.0,
    }
    with active_node(tmp_path_factory.mktemp("surfaces"), parameters) as robot:
        camera = Camera(robot)
        for view in room_views(VIEWS):
            camera.publish(as_frame(view))
        robot.wait_until(lambda: len(robot.heard.memory) >= VIEWS // CHUNK_VIEWS, "the room observed")
        yield robot


def export(robot: Robot, path: str, **request: float) -> ExportSurface.Response:
    answer: ExportSurface.Response = robot.ask(
        ExportSurface, "/fsm/export", ExportSurface.Request(path=path, **request)
    )
    return answer


def values_of(cloud: PointCloud2) -> np.ndarray:
    """What the fields say there is."""
    assert {field.datatype for field in cloud.fields} == {PointField.FLOAT32} and not cloud.is_bigendian
    names, offsets = zip(*((field.name, field.offset) for field in cloud.fields), strict=True)
    layout = {"names": names, "formats": ["<f4"] * len(names), "offsets": offsets, "itemsize": cloud.point_step}
    return np.frombuffer(bytes(cloud.data), dtype=np.dtype(layout))


def test_points_are_told_to_whoever_listens_and_to_those_that_come_later(robot: Robot) -> None:
    heard: list[PointCloud2] = []
    robot.node.create_subscription(PointCloud2, "/fsm/points", heard.append, LATCHED)
    robot.wait_until(lambda: heard and heard[-1].width > 100, "points")
    cloud = heard[-1]
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb", "confidence"]
    assert cloud.header.frame_id == "map" and cloud.height == 1 and cloud.is_dense
    assert cloud.row_step == len(cloud.data) == cloud.point_step * cloud.width
    values = values_of(cloud)
    assert np.isfinite(np.stack([values[axis] for axis in "xyz"])).all()
    assert 0.1 <= values["confidence"].min() and values["confidence"].max() <= 1
    colours = np.ascontiguousarray(values["rgb"]).view(np.uint32)
    assert (colours < 2**24).all() and len(np.unique(colours)) > 10
    late: list[PointCloud2] = []
    robot.node.create_subscription(PointCloud2, "/fsm/points", late.append, LATCHED)
    robot.wait_until(lambda: late, "the latched points")
    assert late[0].width > 100


def test_surfaces_are_written_below_the_storage_folder(robot: Robot, storage: Path) -> None:
    points = export(robot, "maps/room.ply", resolution=0.05)
    assert points.success, points.message
    assert Path(points.path) == (storage / "maps/room.ply").resolve()
    assert points.size == Path(points.path).stat().st_size
    assert len(trimesh.load(points.path).vertices) == points.points > 100 and points.triangles == 0
    mesh = export(robot, "room.glb", resolution=0.05)
    assert mesh.success, mesh.message
    assert len(trimesh.load(mesh.path, force="mesh").faces) == mesh.triangles > 10
    assert robot.save("afterwards").success, "the memory is as it was"
    assert export(robot, "sure.ply", resolution=0.05, min_confidence=0.5).points < points.points


@pytest.mark.parametrize(
    ("path", "request_", "told"),
    [
        ("room", {}, "must end in .ply or .glb"),
        ("../room.ply", {}, "outside of storage_dir"),
        ("", {}, "path is empty"),
        ("room.ply", {"min_confidence": 2.0}, "min_confidence must be from 0 to 1"),
        ("room.ply", {"min_confidence": float("nan")}, "min_confidence must be from 0 to 1"),
        ("room.ply", {"resolution": -1.0}, "resolution must be from 0"),
        ("room.ply", {"min_confidence": 1.0}, "no surface to write"),
    ],
)
def test_what_cannot_be_written_says_why(robot: Robot, path: str, request_: dict[str, float], told: str) -> None:
    answer = export(robot, path, **request_)
    assert not answer.success and told in answer.message


def test_the_memory_is_shown_where_the_camera_is(robot: Robot) -> None:
    images: list[Image] = []
    differences: list[Image] = []
    robot.node.create_subscription(Image, "/fsm/preview", images.append, 10)
    robot.node.create_subscription(Image, "/fsm/preview/difference", differences.append, 10)
    camera = Camera(robot)
    robot.wait_until(lambda: robot.node.count_publishers("/fsm/preview") == 1, "the preview's publisher")

    shot_s = -math.inf

    def shown() -> bool:
        nonlocal shot_s
        # A preview waits for chunks: where pictures come faster than they are observed, there is none.
        if time.monotonic() - shot_s > 1.0:
            shot_s = time.monotonic()
            camera.shoot()
        return bool(images and differences)

    robot.wait_until(shown, "a preview")
    image, difference = images[-1], differences[-1]
    assert image.encoding == "rgb8" and difference.encoding == "32FC1"
    assert (image.width, image.height) == (difference.width, difference.height) == camera.size
    assert image.header.frame_id == "camera_optical_frame"
    values = np.frombuffer(bytes(difference.data), dtype="<f4")
    assert 0 <= values.min() and values.max() <= 1
    told = {entry.key: entry.value for entry in robot.status("memory").values}
    assert 0 < float(told["preview_difference"]) < 1


def test_points_go_with_the_memory(robot: Robot) -> None:
    heard: list[PointCloud2] = []
    robot.node.create_subscription(PointCloud2, "/fsm/points", heard.append, LATCHED)
    robot.wait_until(lambda: heard, "points")
    assert robot.reset().success
    robot.wait_until(lambda: heard[-1].width == 0, "no points")
    assert not heard[-1].data
    answer = export(robot, "room.ply")
    assert not answer.success and "nothing has been observed" in answer.message
