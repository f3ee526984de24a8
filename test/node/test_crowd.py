# SPDX-License-Identifier: Apache-2.0
"""Many clients at once, and faults inside of the node: everybody is answered, and nothing ends."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

rclpy = pytest.importorskip("rclpy", reason="needs ROS")
from deadline import DEADLINE_S, wait_until  # noqa: E402
from node_camera import Camera, camera_info, pose_in, raw_image  # noqa: E402
from node_harness import Robot, active_node, free_domain  # noqa: E402
from rclpy.callback_groups import ReentrantCallbackGroup  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import HistoryPolicy, QoSProfile  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from spatial_scenes import small_memory  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from fsm_ros.configuration.table import settings_from  # noqa: E402
from fsm_ros.engine import MemoryEngine  # noqa: E402
from fsm_ros.node.answering import serve_always  # noqa: E402
from fsm_ros.node.ingest import Ingest  # noqa: E402
from fsm_ros.stream.ledger import FrameLedger, Refusal  # noqa: E402
from fsm_ros_msgs.srv import Recall, RenderView  # noqa: E402

BURST = 100
PATIENT = {"render.timeout": DEADLINE_S}


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    with active_node(tmp_path_factory.mktemp("crowd"), PATIENT) as robot:
        Camera(robot).stream(2)
        yield robot


@pytest.mark.slow
def test_a_burst_of_requests_is_answered_in_full(robot: Robot) -> None:
    """By ROS's default a service keeps the last ten requests of a burst, and the others wait for ever."""
    every = QoSProfile(history=HistoryPolicy.KEEP_ALL)
    client = robot.node.create_client(RenderView, f"{robot.name}/render", qos_profile=every)
    robot.wait_until(client.service_is_ready, "the service")
    small = camera_info(16, 12)
    asked = [
        client.call_async(RenderView.Request(pose=pose_in("map"), camera_info=small, method="memory"))
        for _ in range(BURST)
    ]
    answers = [robot.result(future) for future in asked]
    assert [answer.success for answer in answers] == [True] * BURST, answers[-1].message
    robot.node.destroy_client(client)


@pytest.mark.slow
def test_chunks_are_observed_while_a_crowd_asks_without_pause(robot: Robot) -> None:
    every = QoSProfile(history=HistoryPolicy.KEEP_ALL)
    clients = [robot.node.create_client(Recall, f"{robot.name}/recall", qos_profile=every) for _ in range(8)]
    for client in clients:
        robot.wait_until(client.service_is_ready, "the service")
    answered = [0] * len(clients)
    is_over = False

    def ask_again(number: int) -> None:
        if not is_over:
            future = clients[number].call_async(Recall.Request(pose=pose_in("map")))
            future.add_done_callback(lambda _: (answered.__setitem__(number, answered[number] + 1), ask_again(number)))

    for number in range(len(clients)):
        ask_again(number)
    camera = Camera(robot)
    for _ in range(5):
        camera.stream(1)
    robot.wait_until(lambda: min(answered) >= 3, "answers for everybody")
    is_over = True
    status = {entry.key: entry.value for entry in robot.status("memory").values}
    assert status["chunks_dropped"] == "0"


# --- faults -----------------------------------------------------------------------------------------------------------


class Intake:
    """An intake of frames whose look-ups of poses do as they are told."""

    def __init__(self) -> None:
        self.ledger = FrameLedger()
        self.fault: BaseException | None = None
        self._engine = MemoryEngine(small_memory(), 4)
        settings = settings_from({"chunk.views": 2, "input.info_timeout": 60.0})
        self.ingest = Ingest(self._engine, self._pose, lambda frame: None, lambda: 10**9, settings, self.ledger)
        self._shots = 0

    def _pose(self, frame_id: str, stamp_ns: int) -> NDArray[np.float64]:
        if self.fault is not None:
            raise self.fault
        pose = np.eye(4)
        pose[0, 3] = self._shots
        return pose

    def shoot(self, source: str = "") -> Image:
        self._shots += 1
        stamp_ns = 10**9 + self._shots
        image = raw_image(np.zeros((12, 16, 3), dtype=np.uint8), "camera", stamp_ns)
        self.ingest.offer_info(source, camera_info(16, 12, stamp_ns))
        self.ingest.offer_image(source, image)
        return image

    def wait_until_settled(self) -> None:
        def is_settled() -> bool:
            status = self.ingest.status()
            assert status.alive, "the thread has ended"
            return status.frames_waiting == 0 and self.ledger.snapshot().pending == 0

        wait_until(is_settled, "all frames settled")


@pytest.mark.parametrize(
    "fault",
    [
        RuntimeError("what nobody has thought of"),
        AttributeError("_ARRAY_API not found"),
        ImportError("numpy.core.multiarray failed to import"),
        OverflowError("a chain of links"),
        MemoryError(),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_whatever_a_frame_meets_in_the_intake_it_is_counted_and_the_next_one_is_taken(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    intake = Intake()
    intake.ingest.start()
    try:
        intake.fault = fault
        intake.shoot()
        intake.shoot()
        intake.wait_until_settled()
        assert intake.ledger.snapshot().refused[Refusal.INTERNAL_ERROR] == 2
        assert type(fault).__name__ in intake.ingest.status().last_refusal
        told = [record for record in caplog.records if record.exc_info]
        assert len(told) == 1, "its traceback is told once"
        intake.fault = None
        intake.shoot()
        intake.wait_until_settled()
        assert intake.ledger.snapshot().keyframes == 1
        assert intake.ingest.status().alive
    finally:
        intake.ingest.stop()


def test_a_calibration_from_far_ahead_keeps_no_image_from_waiting_for_its_own() -> None:
    intake = Intake()
    intake.ingest.start()
    try:
        intake.ingest.offer_info("", camera_info(16, 12, 3600 * 10**9))
        waits = raw_image(np.zeros((12, 16, 3), dtype=np.uint8), "camera", 10**9 + 100)
        intake.ingest.offer_image("", waits)
        # Of another camera, as a sign that both have been looked at.
        intake.shoot("other")
        wait_until(lambda: intake.ledger.snapshot().keyframes > 0, "a keyframe")
        wait_until(lambda: intake.ingest.status().frames_waiting == 1, "an image that waits")
        intake.ingest.offer_info("", camera_info(16, 12, 10**9 + 100))
        intake.wait_until_settled()
        assert intake.ledger.snapshot().received == 2 and intake.ingest.status().calibrations_carried_on == 0
    finally:
        intake.ingest.stop()


async def _later(fault: Exception) -> Trigger.Response:
    raise fault


@pytest.mark.parametrize("is_coroutine", [False, True], ids=["at once", "while it waits"])
def test_a_service_that_meets_a_fault_answers_with_it_and_goes_on(is_coroutine: bool) -> None:
    fault: Exception | None = RuntimeError("what nobody has thought of")

    def serve(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response | Awaitable[Trigger.Response]:
        if fault is None:
            response.success = True
            return response
        if is_coroutine:
            return _later(fault)
        raise fault

    context = Context()
    rclpy.init(context=context, domain_id=free_domain())
    node = Node("faulty", context=context, use_global_arguments=False, enable_rosout=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        serve_always(node, Trigger, "faulty", serve, ReentrantCallbackGroup())
        client = node.create_client(Trigger, "faulty")
        for expected in (False, True):
            future = client.call_async(Trigger.Request())
            executor.spin_until_future_complete(future, timeout_sec=DEADLINE_S)
            answer = future.result()
            assert answer is not None and answer.success is expected
            assert ("RuntimeError: what nobody has thought of" in answer.message) is not expected
            fault = None
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
