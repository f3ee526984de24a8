# SPDX-License-Identifier: Apache-2.0
"""Views from the running node: `~/render` and `~/render_trajectory`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseStamped
from node_camera import (
    ALONG_X,
    CAMERA_FRAME,
    FOCAL,
    HEIGHT,
    NANOSECONDS,
    Camera,
    camera_info,
    nanoseconds,
    pixels_of,
    pose_in,
    stamp,
)
from node_harness import Robot, active_node
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from sensor_msgs.msg import CameraInfo

from fsm_ros_msgs.action import RenderTrajectory
from fsm_ros_msgs.srv import RenderView

pytestmark = pytest.mark.slow

RENDERED_FRAME = "fsm_rendered_optical_frame"
MEMORY_SIZE = 64
NAN = math.nan


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    with active_node(tmp_path_factory.mktemp("views")) as robot:
        yield robot


@pytest.fixture(scope="module")
def camera(robot: Robot) -> Camera:
    """A camera whose pictures have been observed."""
    camera = Camera(robot)
    camera.stream(3)
    return camera


# --- requests that cannot be met -------------------------------------------------------------------------------------


def changed(info: CameraInfo, **fields: object) -> CameraInfo:
    for name, value in fields.items():
        setattr(info, name, value)
    return info


def lens_of(focal_px: float) -> list[float]:
    return [focal_px, 0.0, 100.0, 0.0, focal_px, 100.0, 0.0, 0.0, 1.0]


NO_FOCAL_LENGTH = changed(camera_info(64, 64), k=[0.0, 0.0, 31.5, 0.0, 0.0, 31.5, 0.0, 0.0, 1.0])

# What is wrong, and what the message has to say about it.
IMPOSSIBLE: dict[str, tuple[PoseStamped, CameraInfo, str]] = {
    "unknown frame": (pose_in("no_such_frame"), CameraInfo(), "no_such_frame"),
    "empty frame_id": (pose_in(""), CameraInfo(), "frame_id is empty"),
    "zero quaternion": (pose_in("map", quaternion=(0.0, 0.0, 0.0, 0.0)), CameraInfo(), "set w to 1"),
    "NaN position": (pose_in("map", (NAN, 0.0, 0.0)), CameraInfo(), "not finite"),
    "NaN orientation": (pose_in("map", quaternion=(NAN, 0.0, 0.0, 1.0)), CameraInfo(), "not finite"),
    "too far": (pose_in("map", (1e300, 0.0, 0.0)), CameraInfo(), "less extreme"),
    "focal length 0": (pose_in("map"), NO_FOCAL_LENGTH, "focal lengths"),
    "unknown lens": (pose_in("map"), changed(camera_info(64, 64), distortion_model="mystery", d=[0.1]), "mystery"),
    "too much in one picture": (pose_in("map"), camera_info(4000, 3000), "degrees wide"),
    "width without height": (pose_in("map"), camera_info(64, 0), "width and height"),
    "too many pixels": (pose_in("map"), changed(camera_info(4000, 3000), k=lens_of(4e3)), "max_pixels"),
    "too wide": (pose_in("map"), changed(camera_info(2**32 - 1, 1), k=lens_of(4e9)), "max_pixels"),
}


@pytest.mark.parametrize("problem", IMPOSSIBLE)
def test_before_anything_is_observed_the_answer_says_what_to_check(robot: Robot, problem: str) -> None:
    pose, info, _ = IMPOSSIBLE[problem]
    for view in (robot.render(pose, camera_info=info), robot.render(pose_in("map"))):
        assert not view.success
        assert "nothing has been observed yet" in view.message
        assert "/diagnostics" in view.message
        assert view.chunks_observed == 0


@pytest.mark.parametrize("problem", IMPOSSIBLE)
def test_an_impossible_request_is_refused_with_a_reason(robot: Robot, camera: Camera, problem: str) -> None:
    pose, info, reason = IMPOSSIBLE[problem]
    view = robot.render(pose, camera_info=info)
    assert not view.success
    assert reason in view.message
    assert view.chunks_observed == 3
    assert robot.render(pose_in("map")).success


# --- views -----------------------------------------------------------------------------------------------------------


def test_the_view_is_that_of_the_live_camera_unless_asked_otherwise(robot: Robot, camera: Camera) -> None:
    view = robot.render(pose_in("map"))
    assert view.success, view.message
    assert view.chunks_observed == 3
    assert view.render_time > 0
    assert view.image.encoding == "rgb8"
    assert (view.image.width, view.image.height, view.image.step) == (MEMORY_SIZE, MEMORY_SIZE, 3 * MEMORY_SIZE)
    assert len(view.image.data) == 3 * MEMORY_SIZE**2
    assert nanoseconds(view.scene_time) == camera.newest_ns
    info = view.camera_info
    assert info.header == view.image.header
    assert (info.width, info.height) == (MEMORY_SIZE, MEMORY_SIZE)
    assert list(info.d) == [0.0] * 5
    # Scaled to cover the square, then cropped in the middle; ROS has pixel centres at integers.
    assert info.k[4] == pytest.approx(FOCAL * MEMORY_SIZE / HEIGHT)
    assert info.k[0] == pytest.approx(info.k[4], rel=0.02)
    assert (info.k[2], info.k[5]) == pytest.approx(((MEMORY_SIZE - 1) / 2,) * 2, abs=1.0)
    assert (info.p[0], info.p[5], info.p[2], info.p[6]) == (info.k[0], info.k[4], info.k[2], info.k[5])


def sizes(view: RenderView.Response | RenderTrajectory.Feedback) -> list[int]:
    """Bytes of pixels in an answer."""
    return [len(image.data) for image in (view.image, view.depth, view.confidence)]


@pytest.mark.parametrize("omit_image", [False, True])
def test_every_view_is_published_with_its_calibration_and_its_frame(
    robot: Robot, camera: Camera, omit_image: bool
) -> None:
    heard = robot.heard
    before = len(heard.images), len(heard.infos)
    position = (0.1, 0.2, 1.1) if omit_image else (0.2, 0.1, 0.9)
    view = robot.render(pose_in("map", position), omit_image=omit_image)
    assert view.success, view.message
    robot.wait_until(lambda: (len(heard.images), len(heard.infos)) > before, "the view on its topics")
    assert heard.infos[-1] == view.camera_info
    assert heard.images[-1].header == view.camera_info.header
    assert pixels_of(heard.images[-1]).std() > 0
    if omit_image:
        assert (view.image.width, view.image.height, sizes(view)) == (0, 0, [0, 0, 0])
    else:
        assert heard.images[-1] == view.image

    def is_the_views(transform: object) -> bool:
        place = transform.transform.translation
        return transform.child_frame_id == RENDERED_FRAME and (place.x, place.y, place.z) == pytest.approx(position)

    robot.wait_until(lambda: any(map(is_the_views, heard.transforms)), "the frame of the view on /tf")
    transform = next(filter(is_the_views, heard.transforms))
    assert transform.header.frame_id == "map"
    assert transform.header.stamp == view.camera_info.header.stamp
    turn = transform.transform.rotation
    # A quaternion and its negative are one rotation.
    assert abs(np.dot((turn.x, turn.y, turn.z, turn.w), ALONG_X)) == pytest.approx(1.0)


def test_a_pose_may_be_in_any_frame(robot: Robot, camera: Camera) -> None:
    in_map = robot.render(pose_in("map", camera.position))
    for stamp_ns in (0, camera.newest_ns):
        in_own = robot.render(pose_in(CAMERA_FRAME, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), stamp_ns))
        assert in_own.success, in_own.message
        difference = pixels_of(in_own.image).astype(int) - pixels_of(in_map.image)
        assert np.abs(difference).max() <= 1


def test_a_pose_that_tf_does_not_know_at_that_time_is_refused(robot: Robot, camera: Camera) -> None:
    view = robot.render(pose_in(CAMERA_FRAME, stamp_ns=camera.newest_ns - 3600 * NANOSECONDS))
    assert not view.success
    assert CAMERA_FRAME in view.message


def test_a_view_shows_the_moment_that_was_asked_for(robot: Robot, camera: Camera) -> None:
    earlier_ns = camera.newest_ns - 1800 * NANOSECONDS
    then, now = robot.render(pose_in("map"), scene_time=stamp(earlier_ns)), robot.render(pose_in("map"))
    assert then.success
    assert nanoseconds(then.scene_time) == earlier_ns
    assert nanoseconds(now.scene_time) == camera.newest_ns
    assert then.image.data != now.image.data


def test_whatever_moment_is_looked_at_a_view_is_stamped_when_it_was_rendered(robot: Robot, camera: Camera) -> None:
    own = [t for t in robot.heard.transforms if t.child_frame_id == RENDERED_FRAME]
    stamps_ns = [nanoseconds(own[-1].header.stamp)] if own else []
    begun_ns, seen = time.time_ns(), len(own)
    for age_s in (0, 1800, 10):
        view = robot.render(pose_in("map"), scene_time=stamp(camera.newest_ns - age_s * NANOSECONDS))
        headers = [message.header for message in (view.image, view.camera_info, view.depth, view.confidence)]
        assert {(header.frame_id, nanoseconds(header.stamp)) for header in headers} == {
            (RENDERED_FRAME, nanoseconds(view.image.header.stamp))
        }
        stamps_ns.append(nanoseconds(view.image.header.stamp))
    assert begun_ns <= stamps_ns[-3] and stamps_ns[-1] <= time.time_ns()
    assert stamps_ns == sorted(set(stamps_ns)), "TF takes no stamp twice and none that is older"
    robot.wait_until(
        lambda: len([t for t in robot.heard.transforms if t.child_frame_id == RENDERED_FRAME]) >= seen + 3, "on /tf"
    )
    own = [t for t in robot.heard.transforms if t.child_frame_id == RENDERED_FRAME]
    assert [nanoseconds(t.header.stamp) for t in own[-3:]] == stamps_ns[-3:]


def test_looking_back_in_time_does_not_disturb_tf(robot: Robot, camera: Camera) -> None:
    # The frames of rendered views come back to the node on /tf.
    for age_s in (0, 1800):
        assert robot.render(pose_in("map"), scene_time=stamp(camera.newest_ns - age_s * NANOSECONDS)).success
    robot.status("tf")
    view = robot.render(pose_in(CAMERA_FRAME))
    assert view.success, view.message


def test_a_view_far_from_all_that_was_seen_comes_with_a_warning(robot: Robot, camera: Camera) -> None:
    assert robot.render(pose_in("map")).message == ""
    view = robot.render(pose_in("map", (100.0, 0.0, 0.0)))
    assert view.success
    assert "outside" in view.message


@pytest.mark.parametrize("size", [(96, 40), (33, 65), (1, 1), (640, 480)])
def test_a_camera_of_the_clients_own_gets_exactly_its_size(robot: Robot, camera: Camera, size: tuple[int, int]) -> None:
    wanted = camera_info(*size)
    view = robot.render(pose_in("map"), camera_info=wanted)
    assert view.success, view.message
    assert (view.image.width, view.image.height) == size
    assert (view.camera_info.width, view.camera_info.height) == size
    assert list(view.camera_info.k) == pytest.approx(list(wanted.k))
    assert pixels_of(view.image).shape == (size[1], size[0], 3)


# --- trajectories ----------------------------------------------------------------------------------------------------


@dataclass
class Trajectory:
    """A goal that was sent, and what came of it."""

    robot: Robot
    handle: ClientGoalHandle
    feedback: list[RenderTrajectory.Feedback] = field(default_factory=list)

    def end(self) -> tuple[int, RenderTrajectory.Result]:
        answer = self.robot.result(self.handle.get_result_async(), "the result")
        return answer.status, answer.result


@pytest.fixture(scope="module")
def action(robot: Robot) -> Iterator[ActionClient]:
    client = ActionClient(robot.node, RenderTrajectory, f"{robot.name}/render_trajectory")
    robot.wait_until(client.server_is_ready, "the action")
    yield client
    client.destroy()


def send(robot: Robot, action: ActionClient, poses: list[PoseStamped], **goal: object) -> Trajectory:
    trajectory = Trajectory(robot, None)
    wanted = RenderTrajectory.Goal(poses=poses, **goal)
    trajectory.handle = robot.result(
        action.send_goal_async(wanted, feedback_callback=lambda m: trajectory.feedback.append(m.feedback))
    )
    assert trajectory.handle.accepted
    return trajectory


def path(length: int) -> list[PoseStamped]:
    return [pose_in("map", (0.01 * index, 0.0, 1.0)) for index in range(length)]


@pytest.mark.parametrize("moments", [0, 1, 5])
def test_a_trajectory_is_rendered_view_by_view(
    robot: Robot, camera: Camera, action: ActionClient, moments: int
) -> None:
    stamps = [camera.newest_ns - index * NANOSECONDS for index in range(moments)]
    times = [stamp(stamp_ns) for stamp_ns in stamps]
    trajectory = send(robot, action, path(5), scene_times=times, camera_info=camera_info(32, 24))
    status, result = trajectory.end()
    assert status == GoalStatus.STATUS_SUCCEEDED, result.message
    assert result.success
    assert result.views_rendered == 5
    robot.wait_until(lambda: len(trajectory.feedback) == 5, "five views")
    assert [view.view for view in trajectory.feedback] == [0, 1, 2, 3, 4]
    assert {pixels_of(view.image).shape for view in trajectory.feedback} == {(24, 32, 3)}
    assert {view.camera_info.width for view in trajectory.feedback} == {32}
    shown = [nanoseconds(view.scene_time) for view in trajectory.feedback]
    assert shown == (stamps if moments == 5 else [*stamps, camera.newest_ns][:1] * 5)
    assert len({bytes(view.image.data) for view in trajectory.feedback}) == 5


@pytest.mark.parametrize("omit_image", [False, True])
def test_a_trajectory_can_leave_out_pixels(
    robot: Robot, camera: Camera, action: ActionClient, omit_image: bool
) -> None:
    heard = len(robot.heard.images)
    trajectory = send(robot, action, path(2), camera_info=camera_info(32, 24), omit_image=omit_image)
    status, result = trajectory.end()
    assert status == GoalStatus.STATUS_SUCCEEDED, result.message
    robot.wait_until(lambda: len(trajectory.feedback) == 2, "two views")
    pixels = 32 * 24
    expected = [0, 0, 0] if omit_image else [3 * pixels, 4 * pixels, 4 * pixels]
    assert [sizes(view) for view in trajectory.feedback] == [expected] * 2
    assert {view.camera_info.width for view in trajectory.feedback} == {32}
    robot.wait_until(lambda: len(robot.heard.images) > heard, "the views on their topics")


def test_a_trajectory_can_be_canceled_in_between(robot: Robot, camera: Camera, action: ActionClient) -> None:
    trajectory = send(robot, action, path(2000))
    robot.wait_until(lambda: trajectory.feedback, "the first view")
    robot.result(trajectory.handle.cancel_goal_async(), "leave to cancel")
    status, result = trajectory.end()
    assert status == GoalStatus.STATUS_CANCELED
    assert not result.success
    assert 1 <= result.views_rendered < 2000
    assert f"canceled after {result.views_rendered} of 2000" in result.message
    assert robot.render(pose_in("map")).success


@pytest.mark.parametrize(("poses", "moments"), [(0, 0), (0, 1), (3, 2), (1, 2)])
def test_a_trajectory_of_lengths_that_do_not_fit_is_aborted(
    robot: Robot, camera: Camera, action: ActionClient, poses: int, moments: int
) -> None:
    status, result = send(robot, action, path(poses), scene_times=[stamp(camera.newest_ns)] * moments).end()
    assert status == GoalStatus.STATUS_ABORTED
    assert f"{poses} poses and {moments} scene_times" in result.message
    assert not result.success


def test_a_trajectory_ends_at_a_view_that_is_impossible(robot: Robot, camera: Camera, action: ActionClient) -> None:
    poses = [*path(2), pose_in("no_such_frame"), *path(2)]
    status, result = send(robot, action, poses).end()
    assert status == GoalStatus.STATUS_ABORTED
    assert result.message.startswith("view 2: ")
    assert "no_such_frame" in result.message
    assert result.views_rendered == 2
