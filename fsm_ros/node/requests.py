# SPDX-License-Identifier: Apache-2.0
"""Requests about views: from messages to numbers, off to the worker, and back, without ever waiting in a callback."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future as WorkerFuture
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo

from fsm_ros.messages.calibrations import Calibration
from fsm_ros.messages.stamps import stamp_to_ns
from fsm_ros.node.conversions import pose_to_matrix
from fsm_ros.spatial.results import Failure, FailureKind
from fsm_ros.stream.frame import Camera
from fsm_ros.stream.transforms import TransformError

T = TypeVar("T")
PoseLookup = Callable[[str, str, int | None], NDArray[np.float64]]
"""``target_from_source`` at a stamp or the latest; raises ``TransformError``."""


@dataclass(frozen=True)
class ViewRequest:
    """A wanted view, in numbers.

    Attributes:
        world_from_camera: ``[4, 4]`` rigid, optical frame to the memory's frame.
        stamp_ns: the moment; ``None``: the newest observed.
        camera: intrinsics; ``None``: those of the live camera.
    """

    world_from_camera: NDArray[np.float64]
    stamp_ns: int | None
    camera: Camera | None


def parse_view(
    pose: PoseStamped, scene_time: Time, info: CameraInfo, lookup: PoseLookup, memory_frame: str
) -> ViewRequest | Failure:
    """Check a request and bring its pose into the memory's frame.

    Args:
        pose: optical frame of the wanted camera, in any TF frame; a zero stamp means the latest transform.
        scene_time: the moment to look at; zero: the newest observed.
        info: intrinsics; width 0: those of the live camera.
        lookup: where transforms come from.
        memory_frame: the frame the memory lives in.
    """
    frame_id = pose.header.frame_id
    if not frame_id:
        return Failure(
            FailureKind.BAD_REQUEST,
            f"pose.header.frame_id is empty: name the frame of the pose, {memory_frame!r} say",
        )
    try:
        frame_from_camera = pose_to_matrix(pose.pose)
    except ValueError as error:
        return Failure(FailureKind.BAD_REQUEST, f"the wanted pose cannot be used: {error}")
    camera = None
    if info.width or info.height:
        try:
            calibration = Calibration.of(info)
            camera = calibration.camera(*calibration.delivered_size)
        except ValueError as error:
            return Failure(FailureKind.BAD_REQUEST, f"the wanted camera cannot be used: {error}")
    stamp = stamp_to_ns(pose.header.stamp)
    try:
        world_from_frame = lookup(memory_frame, frame_id, stamp or None)
    except TransformError as error:
        return Failure(
            FailureKind.BAD_REQUEST,
            f"there is no transform from {frame_id!r} to the memory's frame {memory_frame!r} at that time: {error}",
        )
    return ViewRequest(world_from_frame @ frame_from_camera, stamp_to_ns(scene_time) or None, camera)


INACTIVE = Failure(
    FailureKind.STOPPED, "the node is not active: activate it (ros2 lifecycle set NODE activate) and ask again"
)


class _Unanswered(Enum):
    """In the place of an answer, which may be anything, ``None`` too."""

    GIVEN_UP = "given_up"


class Bridge:
    """Lets coroutines of the executor await the worker, with a deadline.

    The worker's thread only wakes the executor; results are set on the executor's own thread.

    Attributes:
        group: for the services that wait here. In the node's own group, where one callback excludes the others, a
            request that waits would keep images, TF and the timer that ends its waiting from being heard.
    """

    def __init__(self, node: Node, timeout_s: float) -> None:
        """Args: the node whose executor runs the coroutines; how long to wait."""
        self.group = ReentrantCallbackGroup()
        self._node = node
        self._timeout_s = timeout_s
        self._waiting: dict[Future, float] = {}

    async def wait(self, worker: WorkerFuture[T | Failure], timeout_s: float | None = None) -> T | Failure:
        """The worker's answer, or a failure once the deadline has passed."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        executor = self._node.executor
        if executor is None:
            return Failure(FailureKind.INTERNAL, "the node is not being spun")
        future = Future(executor=executor)
        self._waiting[future] = time.monotonic() + limit_s

        def answered(done: WorkerFuture[T | Failure]) -> None:
            executor.create_task(self._settle, future, _Unanswered.GIVEN_UP if done.cancelled() else done.result())

        worker.add_done_callback(answered)
        try:
            answer: T | Failure | _Unanswered = await future
        finally:
            self._waiting.pop(future, None)
            worker.cancel()  # work that has not begun by now is for nobody
        if isinstance(answer, _Unanswered):
            return Failure(
                FailureKind.INTERNAL,
                f"the device did not get to the request within {limit_s:g} s: "
                "it is busy, ask again or raise render.timeout",
            )
        return answer

    def expire(self) -> None:
        """Give up on requests past their deadline; to be called from a timer."""
        now = time.monotonic()
        for future in [future for future, deadline in self._waiting.items() if now > deadline]:
            self._settle(future, _Unanswered.GIVEN_UP)

    def answer_all(self, failure: Failure) -> None:
        """Answer all requests that wait, whatever the worker will say."""
        for future in list(self._waiting):
            self._settle(future, failure)

    @staticmethod
    def _settle(future: Future, answer: object) -> None:
        if not future.done():
            future.set_result(answer)
