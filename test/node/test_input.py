# SPDX-License-Identifier: Apache-2.0
"""What the running node listens to: transports, several cameras, names, QoS, resolutions, simulated time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from node_camera import NANOSECONDS, Camera, Frame, pose_in, stamp, transform
from node_harness import CHUNK_VIEWS, Robot, active_node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock

from fsm_ros.stream.optical import FIRST_FRAMES

pytestmark = pytest.mark.slow

# --- a rig of two cameras, in a namespace ----------------------------------------------------------------------------

LEFT_IMAGE, LEFT_INFO = "/rig/left/image", "/rig/left/info"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """A node for two cameras, with the QoS that it has on a robot."""
    parameters = {"cameras": ["left", "right"], "input.reliability": "best_effort", "input.info_timeout": 0.2}
    remaps = []
    for name, topic in (
        ("left/image_raw", LEFT_IMAGE),
        ("left/image_raw/compressed", f"{LEFT_IMAGE}/compressed"),
        ("left/camera_info", LEFT_INFO),
    ):
        remaps += ["-r", f"{name}:={topic}"]
    with active_node(tmp_path_factory.mktemp("rig"), parameters, namespace="/robot1", arguments=remaps) as robot:
        yield robot


def observe_with(robot: Robot, camera: Camera) -> None:
    """Take pictures until one more chunk is observed; the way may lose some of them."""
    before = len(robot.heard.memory)

    def observed() -> bool:
        camera.shoot()
        robot.counts()  # not faster than the node tells how it does
        return len(robot.heard.memory) > before

    robot.wait_until(observed, "a chunk of this camera")


@pytest.mark.parametrize("reliable", [True, False], ids=["reliable", "best effort"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_both_cameras_are_heard_from_either_kind_of_publisher(rig: Robot, side: str, reliable: bool) -> None:
    frame_id = f"{side}_optical_frame"
    if side == "left":
        camera = Camera(
            rig,
            topics=(f"{LEFT_IMAGE}/compressed", LEFT_INFO),
            frame_id=frame_id,
            compressed=True,
            reliable=reliable,
        )
    else:
        topics = ("/robot1/right/image_raw", "/robot1/right/camera_info")
        camera = Camera(rig, topics=topics, frame_id=frame_id, reliable=reliable)
    observe_with(rig, camera)
    refused = {reason for reason, count in rig.refused().items() if count}
    # Calibration may be lost on the way, and a camera may begin its circle where the one before it ended.
    assert refused <= {"no_camera_info", "not_moved"}
    view = rig.render(pose_in(frame_id, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)))
    assert view.success, view.message


def test_of_two_transports_the_one_that_delivers_is_kept(rig: Robot) -> None:
    camera = Camera(rig, topics=(f"{LEFT_IMAGE}/compressed", LEFT_INFO), frame_id="left_optical_frame", compressed=True)
    observe_with(rig, camera)
    rig.wait_until(lambda: rig.node.count_subscribers(LEFT_IMAGE) == 0, "the end of the raw subscription")
    assert rig.node.count_subscribers(f"{LEFT_IMAGE}/compressed") == 1


def test_everything_of_the_node_is_in_its_namespace(rig: Robot) -> None:
    services = {name for name, _ in rig.node.get_service_names_and_types_by_node("fsm", "/robot1")}
    topics = {name for name, _ in rig.node.get_publisher_names_and_types_by_node("fsm", "/robot1")}
    own = ("render", "reset", "pause", "save_memory", "load_memory", "change_state")
    assert {f"/robot1/fsm/{name}" for name in own} <= services
    assert {
        f"/robot1/fsm/{name}" for name in ("memory", "keyframes", "rendered/image", "rendered/camera_info")
    } <= topics
    assert {"/tf", "/diagnostics"} <= topics


# --- one camera ------------------------------------------------------------------------------------------------------

QUEUE = 100


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """A node that waits long for TF."""
    parameters = {"input.queue_size": QUEUE}
    with active_node(tmp_path_factory.mktemp("patient"), parameters) as robot:
        yield robot


@pytest.fixture
def robot(patient: Robot) -> Robot:
    assert patient.reset().success
    return patient


def without_tf(frame: Frame) -> Frame:
    return replace(frame, transform=None)


def test_the_resolution_may_change_in_mid_stream_and_in_mid_chunk(robot: Robot) -> None:
    camera = Camera(robot)
    camera.stream(1)
    before, chunks = robot.counts(), len(robot.heard.memory)
    for size in [(40, 60), (160, 120), (33, 17)]:
        camera.shoot()
        camera.size = size
        camera.shoot()
    robot.wait_until(lambda: len(robot.heard.memory) == chunks + 3, "the chunks of two sizes")
    counts = robot.counts()
    assert counts == before | {"received": before["received"] + 6, "keyframed": before["keyframed"] + 6}
    assert robot.render(pose_in("map")).chunks_observed == 4


def test_images_in_the_frame_of_a_body_are_taken_and_told_of_once(robot: Robot) -> None:
    body = Camera(robot, frame_id="camera_link")
    before = robot.counts()["keyframed"]
    for _ in range(CHUNK_VIEWS * FIRST_FRAMES):
        frame = body.frame()
        assert frame.transform is not None
        level = transform("map", "camera_link", frame.stamp_ns, body.position, (0.0, 0.0, 0.0, 1.0))
        body.publish(replace(frame, transform=level))
    robot.wait_for_counts(keyframed=before + CHUNK_VIEWS * FIRST_FRAMES)
    hint = next(entry.value for entry in robot.status("tf").values if entry.key == "frame_hint")
    assert "'camera_link' seems to be that of a body" in hint
    # A jump from where another test's camera was goes first, once.
    robot.wait_until(lambda: robot.status("tf").message == hint, "the hint as the message")
    robot.wait_until(lambda: hint in robot.process.log, "the line in the log")
    assert robot.process.log.count(hint) == 1


def test_as_many_frames_as_the_queue_holds_may_wait_for_tf(robot: Robot) -> None:
    camera = Camera(robot)
    before = robot.counts()
    frames = [camera.publish(without_tf(frame)) and frame for frame in (camera.frame() for _ in range(QUEUE - 10))]
    counts = robot.wait_for_counts(received=before["received"] + len(frames))
    assert counts["pending"] == len(frames)
    for frame in frames:
        camera.publish(Frame(frame.stamp_ns, None, None, frame.transform))
    counts = robot.wait_for_counts(keyframed=before["keyframed"] + len(frames))
    assert counts["pending"] == 0


def test_a_stream_that_begins_again_is_taken_from_its_beginning_whatever_still_waits(robot: Robot) -> None:
    camera = Camera(robot)
    camera.stream(1)
    before = robot.counts()
    straggler = camera.frame()
    camera.publish(without_tf(straggler))
    begin_ns = camera.newest_ns - 10 * NANOSECONDS
    for index in range(5):
        camera.publish(camera.frame(begin_ns + index * NANOSECONDS // 10))
    # The first two might be late ones of before; with the third it is clear.
    counts = robot.wait_for_counts(keyframed=before["keyframed"] + 3)
    assert counts["refused.stamp_too_old"] == before.get("refused.stamp_too_old", 0) + 2
    later = [camera.frame(begin_ns + index * NANOSECONDS // 10) for index in range(5, 10)]
    # The straggler's pose is ten seconds ahead: known before the others, they would be interpolated towards it.
    for frame in [*later, straggler]:
        camera.publish(Frame(frame.stamp_ns, None, None, frame.transform))
    for frame in later:
        camera.publish(without_tf(frame))
    after = robot.wait_for_counts(keyframed=before["keyframed"] + 8)
    assert after["refused.stamp_too_old"] == counts["refused.stamp_too_old"]
    robot.wait_until(
        lambda: robot.refused().get("discarded", 0) == before.get("refused.discarded", 0) + 1, "the end of the wait"
    )


# --- simulated time --------------------------------------------------------------------------------------------------


class SimulatedTime:
    """/clock, which goes on when it is told to."""

    def __init__(self, robot: Robot, start_s: float) -> None:
        self.now_ns = round(start_s * NANOSECONDS)
        self._publisher = robot.node.create_publisher(Clock, "/clock", QoSProfile(depth=1))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._thread.start()

    def _tell(self) -> None:
        # Again and again, as the node listens without asking for what it has missed.
        while not self._ended.wait(0.01):
            self._publisher.publish(Clock(clock=stamp(self.now_ns)))

    def step(self) -> int:
        """A tenth of a second on."""
        self.now_ns += NANOSECONDS // 10
        return self.now_ns

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


def test_time_may_be_simulated_and_start_again_as_a_bag_does(tmp_path: Path) -> None:
    with active_node(tmp_path, {"use_sim_time": True, "tf.timeout": 2.0}) as robot:
        # Before there is a clock, and while it stands, the node tells how it does all the same.
        assert "no image yet" in robot.status("input").message
        time = SimulatedTime(robot, start_s=100.0)
        camera = Camera(robot, now_ns=time.step)
        camera.stream(2)
        first_ns = camera.newest_ns

        time.now_ns = 100 * NANOSECONDS
        camera.newest_ns = 0
        robot.wait_until(lambda: "time was set back" in robot.process.log, "the loop")
        # The transforms of the time before are forgotten: with them this place would be known.
        orphan = camera.frame()
        camera.publish(Frame(orphan.stamp_ns, orphan.image, orphan.info, None))
        before = robot.counts()
        robot.wait_until(lambda: robot.refused().get("no_transform") == 1, "a refusal for want of TF")
        assert before["keyframed"] == 2 * CHUNK_VIEWS

        reports = camera.stream(2)
        assert camera.newest_ns < first_ns + NANOSECONDS
        assert [report.chunks_observed for report in reports] == [3, 4]
        assert {report.epoch for report in reports} == {0}
        assert robot.render(pose_in("map")).chunks_observed == 4
        assert {entry.key: entry.value for entry in robot.status("input").values}["clock_jumps"] == "1"
        time.end()
