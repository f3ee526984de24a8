# SPDX-License-Identifier: Apache-2.0
"""The gate through which requests about a view come to the memory: open while the node is active."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CameraInfo

from fsm_ros.engine import MemoryEngine
from fsm_ros.node.requests import INACTIVE, Bridge, PoseLookup, ViewRequest, parse_view
from fsm_ros.spatial.results import NOTHING_OBSERVED, Failure
from fsm_ros.spatial.scene import Scene
from fsm_ros.spatial.spatial_memory import SpatialMemory

T = TypeVar("T")


class ViewGate:
    """Brings requests about a view to the memory, while it is open.

    It is there from configure to cleanup: a request that is under way when the node is deactivated is still answered.

    Attributes:
        memory_frame: the frame the memory lives in.
        bridge: how requests await the memory.
    """

    def __init__(self, engine: MemoryEngine, bridge: Bridge, memory_frame: str) -> None:
        """Refuse requests, until opened.

        Args:
            engine: who owns the memory.
            bridge: how to await it.
            memory_frame: the frame the memory lives in.
        """
        self.memory_frame = memory_frame
        self.bridge = bridge
        self._engine = engine
        self._lookup: PoseLookup | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests come through."""
        return self._lookup is not None

    @property
    def scene(self) -> Scene | None:
        """What has been observed; ``None`` before the first chunk."""
        return self._engine.memory.scene

    def open(self, lookup: PoseLookup) -> None:
        """Let requests through, with poses from there."""
        self._lookup = lookup

    def close(self) -> None:
        """Refuse requests from now on."""
        self._lookup = None

    def begin(self, job: Callable[[SpatialMemory], T]) -> Future[T | Failure]:
        """Have the memory's worker do something that nobody waits for."""
        return self._engine.ask(job)

    async def done(self, job: Callable[[SpatialMemory], T], timeout_s: float) -> T | Failure:
        """What a job of the memory's worker comes to, or why it was not begun or waited for."""
        return await self.bridge.wait(self._engine.ask(job), timeout_s) if self.is_open else INACTIVE

    async def ask(
        self,
        pose: PoseStamped,
        scene_time: Time,
        info: CameraInfo,
        question: Callable[[SpatialMemory, ViewRequest], T],
    ) -> tuple[ViewRequest, T] | Failure:
        """Have the memory's worker answer a question about a view.

        Args:
            pose: see :func:`fsm_ros.node.requests.parse_view`.
            scene_time: the moment to look at; zero: the newest observed.
            info: intrinsics; width 0: those of the live camera.
            question: what to ask; runs on the worker.

        Returns:
            The view in numbers and the answer, or why there is none.
        """
        if self._lookup is None:
            return INACTIVE
        if self.scene is None:
            return NOTHING_OBSERVED
        wanted = parse_view(pose, scene_time, info, self._lookup, self.memory_frame)
        if isinstance(wanted, Failure):
            return wanted
        answer = await self.bridge.wait(self._engine.ask(lambda memory: question(memory, wanted)))
        return answer if isinstance(answer, Failure) else (wanted, answer)
