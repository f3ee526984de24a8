# SPDX-License-Identifier: Apache-2.0
"""The services that keep a memory: `~/reset`, `~/pause`, `~/save_memory`, `~/load_memory`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from rclpy.lifecycle import LifecycleNode
from rclpy.service import Service
from std_srvs.srv import SetBool, Trigger

from fsm_ros.engine import MemoryEngine
from fsm_ros.node.answering import serve_always
from fsm_ros.node.ingest import Ingest
from fsm_ros.node.requests import INACTIVE, Bridge
from fsm_ros.node.storage import confined_path
from fsm_ros.spatial.results import Failure
from fsm_ros.spatial.scene import Scene
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros_msgs.srv import LoadMemory, SaveMemory

FILE_TIMEOUT_S = 120.0
T = TypeVar("T")


class MemoryServices:
    """Serves what changes, stops, saves or restores the memory; there from configure to cleanup, open while active."""

    def __init__(
        self,
        node: LifecycleNode,
        engine: MemoryEngine,
        bridge: Bridge,
        storage_dir: str,
        on_replaced: Callable[[], None],
    ) -> None:
        """Refuse requests, until opened.

        Args:
            node: where the services live.
            engine: who owns the memory.
            bridge: how to await the engine.
            storage_dir: where files are saved to and loaded from.
            on_replaced: called on the executor's thread after the memory was reset or loaded.
        """
        self._node = node
        self._engine = engine
        self._ingest: Ingest | None = None
        self._bridge = bridge
        self._storage_dir = storage_dir
        self._on_replaced = on_replaced
        self._is_replaced = threading.Event()
        self._services: list[Service] = [
            serve_always(node, kind, name, serve, bridge.group)
            for kind, name, serve in (
                (Trigger, "~/reset", self._reset),
                (SetBool, "~/pause", self._pause),
                (SaveMemory, "~/save_memory", self._save),
                (LoadMemory, "~/load_memory", self._load),
            )
        ]

    def open(self, ingest: Ingest) -> None:
        """Serve; frames wait there."""
        self._ingest = ingest

    def close(self) -> None:
        """Refuse requests from now on."""
        self._ingest = None

    def destroy(self) -> None:
        """Take the services away."""
        for service in self._services:
            self._node.destroy_service(service)
        self._services.clear()

    def tell_replaced(self) -> None:
        """Call ``on_replaced`` where the memory was replaced since the last call, and be it for nobody who waited."""
        if self._is_replaced.is_set():
            self._is_replaced.clear()
            self._on_replaced()

    async def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._ingest is not None:
            self._ingest.discard("the memory was reset")
        done = await self._replaced(_forgotten)
        if isinstance(done, str):
            response.success, response.message = True, "the memory is empty"
            self._node.get_logger().info(f"reset: {done} forgotten")
        else:
            response.message = self._refused("reset", done.message)
        return response

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._ingest is None:
            response.message = self._refused("paused" if request.data else "resumed", INACTIVE.message)
            return response
        self._ingest.pause(request.data)
        response.success = True
        response.message = "frames are refused until resumed" if request.data else "frames are taken"
        self._node.get_logger().info(f"{'paused' if request.data else 'resumed'}: {response.message}")
        return response

    async def _save(self, request: SaveMemory.Request, response: SaveMemory.Response) -> SaveMemory.Response:
        try:
            path = confined_path(self._storage_dir, request.path)
        except ValueError as error:
            response.message = self._refused("saved", str(error))
            return response
        if self._ingest is None:
            response.message = self._refused("saved", INACTIVE.message)
            return response
        saved = await self._bridge.wait(self._engine.ask(lambda memory: _saved(memory, path)), FILE_TIMEOUT_S)
        if isinstance(saved, Failure):
            response.message = self._refused("saved", saved.message)
            return response
        size, holds = saved
        response.success = True
        response.path = str(path)
        response.size = size
        self._node.get_logger().info(f"saved {path}: {size / 1e6:.1f} MB, {holds}")
        return response

    async def _load(self, request: LoadMemory.Request, response: LoadMemory.Response) -> LoadMemory.Response:
        try:
            path = confined_path(self._storage_dir, request.path)
        except ValueError as error:
            response.message = self._refused("loaded", str(error))
            return response
        loaded = await self._replaced(lambda memory: memory.load(path))
        if isinstance(loaded, Failure):
            response.message = self._refused("loaded", loaded.message)
            return response
        response.success = True
        response.chunks_observed = loaded.chunks_observed
        self._node.get_logger().info(f"loaded {path}: {loaded.size_bytes / 1e6:.1f} MB, {_holds(loaded)}")
        return response

    def _refused(self, what: str, why: str) -> str:
        """Tell the log why something was not done. Returns what to answer."""
        self._node.get_logger().warning(f"not {what}: {why}", throttle_duration_sec=5.0)
        return why

    async def _replaced(self, job: Callable[[SpatialMemory], T]) -> T | Failure:
        """What a job comes to that puts another memory in the place of this one, or why it was not waited for."""
        if self._ingest is None:
            return INACTIVE
        asked = self._engine.ask(job)
        asked.add_done_callback(self._note_replaced)
        done = await self._bridge.wait(asked, FILE_TIMEOUT_S)
        self.tell_replaced()
        return done

    def _note_replaced(self, done: Future[T | Failure]) -> None:
        # Also where nobody waits for the answer any more; on the worker's thread, which publishes nothing.
        if not done.cancelled() and not isinstance(done.result(), Failure):
            self._is_replaced.set()


def _forgotten(memory: SpatialMemory) -> str:
    holds = _holds(memory.scene)
    memory.reset()
    return holds


def _saved(memory: SpatialMemory, path: Path) -> tuple[int, str]:
    return memory.save(path), _holds(memory.scene)


def _holds(scene: Scene | None) -> str:
    """How much a memory holds, in words."""
    chunks, photographs = (0, 0) if scene is None else (scene.chunks_observed, len(scene.keyframes))
    return f"{chunks} chunks and {photographs} photographs"
