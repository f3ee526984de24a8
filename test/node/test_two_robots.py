# SPDX-License-Identifier: Apache-2.0
"""Two robots in one ROS graph and one home folder, each in its namespace, do not mix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_camera import Camera, pose_in
from node_harness import Robot, active_node, free_domain

from fsm_ros.node.namespaces import scoped, storage_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def robots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Robot]]:
    folder = tmp_path_factory.mktemp("robots")
    domain_id = free_domain()
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                active_node(
                    folder / name,
                    {"storage_dir": str(folder / "storage")},
                    namespace=f"/{name}",
                    domain_id=domain_id,
                )
            )
            for name in ("robot1", "robot2")
        }


def test_diagnostics_of_both_are_told_apart(robots: dict[str, Robot]) -> None:
    parts = ("input", "tf", "memory", "device", "name")
    expected = {(f"{name}/fsm: {part}", f"{name}/cpu") for name in robots for part in parts}
    heard: set[tuple[str, str]] = set()
    one = robots["robot1"]
    one.node.create_subscription(
        DiagnosticArray,
        "/diagnostics",
        lambda message: heard.update((status.name, status.hardware_id) for status in message.status),
        100,
    )
    one.wait_until(lambda: heard >= expected, "the statuses of both")
    assert heard == expected
    assert {robot.status("name").level for robot in robots.values()} == {DiagnosticStatus.OK}


def test_views_and_files_of_both_are_their_own(robots: dict[str, Robot]) -> None:
    frames, paths = {}, {}
    for name, robot in robots.items():
        Camera(robot, topics=(f"/{name}/image_raw", f"/{name}/camera_info")).stream(1)
        view = robot.render(pose_in("map"))
        assert view.success, view.message
        frames[name] = view.image.header.frame_id
        saved = robot.save("room")
        assert saved.success, saved.message
        paths[name] = Path(saved.path)
    assert frames == {name: f"{name}/fsm_rendered_optical_frame" for name in robots}
    assert {path.parent.name for path in paths.values()} == set(robots)
    one = robots["robot1"]
    own = set(frames.values())
    one.wait_until(lambda: own <= {transform.child_frame_id for transform in one.heard.transforms}, "both on /tf")
    assert not one.load("../robot2/room").success


@pytest.mark.parametrize(
    ("namespace", "name", "folder"),
    [
        ("/", "camera", "/maps"),
        ("", "camera", "/maps"),
        ("/robot1", "robot1/camera", "/maps/robot1"),
        ("/fleet/robot1", "fleet/robot1/camera", "/maps/fleet/robot1"),
    ],
)
def test_a_namespace_is_a_prefix_and_a_folder(namespace: str, name: str, folder: str) -> None:
    assert scoped("camera", namespace) == name
    assert storage_folder("/maps", namespace) == folder
    assert scoped("/camera", namespace) == "camera", "meant as it is"
