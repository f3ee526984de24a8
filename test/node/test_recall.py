# SPDX-License-Identifier: Apache-2.0
"""Recalled views from the running node: depth, confidence, where they come from, and `~/recall`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseStamped
from node_camera import Camera, camera_info, pose_in
from node_harness import Robot, active_node
from rclpy.action import ActionClient
from sensor_msgs.msg import Image

from fsm_ros_msgs.action import RenderTrajectory
from fsm_ros_msgs.srv import Recall, RenderView

pytestmark = pytest.mark.slow

FACING = (-0.5, 0.5, -0.5, 0.5)
"""An optical frame that looks along the map's x axis, like the robot's camera."""
AWAY = (0.5, 0.5, -0.5, -0.5)


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    with active_node(tmp_path_factory.mktemp("recall")) as robot:
        Camera(robot).stream(3)
        yield robot


def floats_of(image: Image) -> np.ndarray:
    assert image.encoding == "32FC1" and image.step == 4 * image.width and not image.is_bigendian
    return np.frombuffer(bytes(image.data), dtype="<f4").reshape(image.height, image.width)


def from_the_camera(robot: Robot) -> PoseStamped:
    """A pose among those that the camera was at: that of the photograph kept last."""
    answer = robot.ask(Recall, "/fsm/recall", Recall.Request(pose=pose_in("map", quaternion=FACING), count=64))
    assert answer.success, answer.message
    if not answer.keyframes:
        answer = robot.ask(Recall, "/fsm/recall", Recall.Request(pose=pose_in("map", quaternion=AWAY), count=64))
    newest = max(answer.keyframes, key=lambda keyframe: keyframe.id)
    pose = PoseStamped(pose=newest.pose)
    pose.header.frame_id = newest.header.frame_id
    return pose


def test_a_view_comes_with_depth_confidence_and_its_photographs(robot: Robot) -> None:
    pose = from_the_camera(robot)
    answer: RenderView.Response = robot.render(pose, camera_info=camera_info(80, 60))
    assert answer.success, answer.message
    depth, confidence = floats_of(answer.depth), floats_of(answer.confidence)
    assert depth.shape == confidence.shape == (60, 80)
    assert ((depth > 0) | np.isnan(depth)).all()
    assert confidence.min() >= 0 and 0 < confidence.max() <= 1
    assert 0 < answer.recalled <= 1
    assert answer.depth.header == answer.confidence.header == answer.image.header
    assert 1 <= len(answer.keyframes) <= 4
    for keyframe in answer.keyframes:
        assert keyframe.header.frame_id == "map" and keyframe.camera_info.width > 0 and not keyframe.image.data


def test_the_fast_weights_alone_can_be_asked_for(robot: Robot) -> None:
    answer = robot.render(from_the_camera(robot), method="memory")
    assert answer.success and answer.recalled == 0 and not answer.keyframes
    assert not floats_of(answer.confidence).any()


def test_an_unknown_method_is_refused_with_those_that_are_known(robot: Robot) -> None:
    answer = robot.render(pose_in("map"), method="magic")
    assert not answer.success
    assert "magic" in answer.message and "recall, memory" in answer.message


def test_depth_and_confidence_are_published_beside_the_image(robot: Robot) -> None:
    heard: dict[str, list[Image]] = {"depth": [], "confidence": []}
    for name, images in heard.items():
        robot.node.create_subscription(Image, f"/fsm/rendered/{name}", images.append, 10)

    def both() -> bool:
        robot.render(from_the_camera(robot))
        return all(heard.values())

    robot.wait_until(both, "depth and confidence of a rendered view")
    assert {image.encoding for images in heard.values() for image in images} == {"32FC1"}


# --- trajectories ----------------------------------------------------------------------------------------------------


def travelled(robot: Robot, **goal: object) -> tuple[list[RenderTrajectory.Feedback], int, RenderTrajectory.Result]:
    """The views of a trajectory, how it ended, and what it said."""
    client = ActionClient(robot.node, RenderTrajectory, "/fsm/render_trajectory")
    robot.wait_until(client.server_is_ready, "the action")
    views: list[RenderTrajectory.Feedback] = []
    wanted = RenderTrajectory.Goal(**goal)
    handle = robot.result(client.send_goal_async(wanted, feedback_callback=lambda m: views.append(m.feedback)))
    answer = robot.result(handle.get_result_async())
    robot.wait_until(lambda: len(views) == answer.result.views_rendered, "every view")
    client.destroy()
    return views, answer.status, answer.result


def test_each_view_of_a_trajectory_tells_what_the_same_view_tells_alone(robot: Robot) -> None:
    poses = [from_the_camera(robot), pose_in("map", (100.0, 0.0, 0.0))]
    views, status, result = travelled(robot, poses=poses, camera_info=camera_info(80, 60))
    assert status == GoalStatus.STATUS_SUCCEEDED, result.message
    assert views[0].recalled > 0 and views[0].keyframes and "outside" in views[1].message
    for pose, view in zip(poses, views, strict=True):
        alone: RenderView.Response = robot.render(pose, camera_info=camera_info(80, 60))
        assert alone.success, alone.message
        assert view.image.data == alone.image.data and list(view.camera_info.k) == list(alone.camera_info.k)
        # Headers differ: they say when each was rendered.
        for name in ("message", "chunks_observed", "recalled", "keyframes", "epoch", "scene_time"):
            assert getattr(view, name) == getattr(alone, name), name
        # NaN is where depth is not known, and equals nothing.
        assert np.array_equal(floats_of(view.depth), floats_of(alone.depth), equal_nan=True)
        assert np.array_equal(floats_of(view.confidence), floats_of(alone.confidence))
        assert view.depth.header == view.confidence.header == view.image.header
        assert view.render_time > 0


def test_a_trajectory_of_the_fast_weights_alone_can_be_asked_for(robot: Robot) -> None:
    views, status, _ = travelled(robot, poses=[from_the_camera(robot)] * 2, method="memory")
    assert status == GoalStatus.STATUS_SUCCEEDED
    assert [(view.recalled, len(view.keyframes)) for view in views] == [(0.0, 0)] * 2
    assert not any(floats_of(view.confidence).any() for view in views)


def test_a_trajectory_of_an_unknown_method_is_aborted_with_those_that_are_known(robot: Robot) -> None:
    views, status, result = travelled(robot, poses=[from_the_camera(robot)], method="magic")
    assert status == GoalStatus.STATUS_ABORTED and not views
    assert "magic" in result.message and "recall, memory" in result.message


# --- the photographs -------------------------------------------------------------------------------------------------


def test_the_photographs_that_know_a_place_are_told_with_and_without_pixels(robot: Robot) -> None:
    request = Recall.Request(pose=from_the_camera(robot), count=2, images=True)
    answer: Recall.Response = robot.ask(Recall, "/fsm/recall", request)
    assert answer.success and len(answer.keyframes) == 2 and answer.kept >= 2
    for keyframe in answer.keyframes:
        info, image = keyframe.camera_info, keyframe.image
        assert (image.width, image.height, image.encoding) == (info.width, info.height, "rgb8")
    bare = robot.ask(Recall, "/fsm/recall", Recall.Request(pose=request.pose))
    assert 1 <= len(bare.keyframes) <= 4 and not any(keyframe.image.data for keyframe in bare.keyframes)


def test_a_pose_that_cannot_be_used_is_refused_by_name(robot: Robot) -> None:
    answer = robot.ask(Recall, "/fsm/recall", Recall.Request(pose=pose_in("no_such_frame")))
    assert not answer.success and "no_such_frame" in answer.message
