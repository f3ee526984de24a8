# SPDX-License-Identifier: Apache-2.0
"""Who comes late sees what holds: markers, ~/memory and the last view are latched, and no lie of them stays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from node_camera import Camera, pose_in
from node_harness import CHUNK_VIEWS, Robot, active_node
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import Marker, MarkerArray

from fsm_ros_msgs.msg import MemoryDiagnostics

pytestmark = pytest.mark.slow


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Robot]:
    with active_node(tmp_path, {"storage_dir": str(tmp_path / "storage")}) as robot:
        yield robot


def shown(markers: MarkerArray) -> dict[str, int]:
    """How many frustums a viewer of these markers, and of nothing before them, sees of each kind."""
    return {marker.ns: len(marker.points) // 16 for marker in markers.markers if marker.action == Marker.ADD}


def test_what_is_latched_is_of_the_memory_that_there_is(robot: Robot) -> None:
    live: list[MarkerArray] = []
    robot.node.create_subscription(MarkerArray, f"{robot.name}/keyframes", live.append, 100)
    camera = Camera(robot)
    camera.stream(3)
    assert shown(robot.latched_markers()) == {"remembered": 2 * CHUNK_VIEWS, "just_seen": CHUNK_VIEWS}
    assert robot.latched(MemoryDiagnostics, "memory").chunks_observed == 3
    assert robot.save("room").success

    assert robot.reset().success
    assert [marker.action for marker in robot.latched_markers().markers] == [Marker.DELETEALL]
    empty = robot.latched(MemoryDiagnostics, "memory")
    assert (empty.chunks_observed, empty.views_observed, empty.submaps, empty.kept, empty.state_size) == (0,) * 5
    assert math.isnan(empty.observe_time) and math.isnan(empty.prediction_psnr) and not empty.layers
    assert (empty.mode, empty.rule, empty.header.frame_id) == ("streaming", "consolidation", "map")
    assert empty.frames_received == 3 * CHUNK_VIEWS, "the ledger is that of the node"

    assert robot.load("room").success
    assert shown(robot.latched_markers()) == {"remembered": 3 * CHUNK_VIEWS, "just_seen": 0}
    loaded = robot.latched(MemoryDiagnostics, "memory")
    assert (loaded.chunks_observed, loaded.views_observed) == (3, 3 * CHUNK_VIEWS)
    assert loaded.submaps > 0 and loaded.state_size > 0 and math.isnan(loaded.observe_time)
    assert [message.chunks_observed for message in robot.heard.replaced] == [0, 3]

    # Who is there when the memory is freed is told too; who comes later hears nothing.
    assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
    assert shown(robot.latched_markers()), "the memory stays"
    assert robot.change_state(Transition.TRANSITION_CLEANUP)
    robot.wait_until(lambda: live[-1].markers[0].action == Marker.DELETEALL, "the markers deleted")
    robot.wait_until(lambda: len(robot.heard.replaced) == 3, "the empty memory")
    assert robot.heard.replaced[-1].chunks_observed == 0
    ours = {name for name, _ in robot.node.get_publisher_names_and_types_by_node("fsm", "/")}
    assert not {name for name in ours if name.startswith("/fsm/") and not name.endswith("transition_event")}


def test_the_last_view_is_latched_and_outlives_a_reset(robot: Robot) -> None:
    Camera(robot).stream(1)
    for position in ((0.0, 0.0, 1.0), (0.1, 0.0, 1.0)):
        view = robot.render(pose_in("map", position))
        assert view.success, view.message
    topics = {
        "image": (Image, view.image),
        "camera_info": (CameraInfo, view.camera_info),
        "depth": (Image, view.depth),
        "confidence": (Image, view.confidence),
    }
    assert robot.reset().success  # a view is a record of what was rendered, with its stamp
    for topic, (kind, answered) in topics.items():
        assert robot.latched(kind, f"rendered/{topic}").header == answered.header


def test_a_view_of_a_memory_that_was_freed_is_not_latched_by_the_next(robot: Robot) -> None:
    Camera(robot).stream(1)
    assert robot.render(pose_in("map")).success
    for transition in (
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_CONFIGURE,
    ):
        assert robot.change_state(transition)
    topic = f"{robot.name}/rendered/image"
    robot.wait_until(lambda: robot.node.count_publishers(topic) == 1, "the publisher before gone")


@pytest.mark.parametrize("is_published", [True, False])
def test_tf_of_views_is_published_unless_it_is_left_to_others(is_published: bool, tmp_path: Path) -> None:
    with active_node(tmp_path, {"render.publish_tf": is_published}) as robot:
        topics = [name for name, _ in robot.node.get_publisher_names_and_types_by_node("fsm", "/")]
        assert ("/tf" in topics) is is_published
        Camera(robot).stream(1)
        view = robot.render(pose_in("map"))
        assert view.success, view.message
        robot.wait_until(lambda: robot.heard.images, "the view")
        assert view.image.header.frame_id == "fsm_rendered_optical_frame"
