"""The services that keep a memory: `~/reset`, `~/pause`, `~/save_memory`, `~/load_memory`."""

from __future__ import annotations

from collections.abc import Callable
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
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros_msgs.srv import LoadMemory, SaveMemory

FILE_TIMEOUT_S = 120.0
T = TypeVar("T")


class MemoryServices:
    """Serves what changes, stops, saves or restores the memory; there from configure to cleanup, open while active."""

    def __init__(self, node: LifecycleNode, engine: MemoryEngine, bridge: Bridge, storage_dir: str) -> None:
        """Refuse requests, until opened.

        Args:
            node: where the services live.
            engine: who owns the memory.
            bridge: how to await the engine.
            storage_dir: where files are saved to and loaded from.
        """
        self._node = node
        self._engine = engine
        self._ingest: Ingest | None = None
        self._bridge = bridge
        self._storage_dir = storage_dir
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

    async def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._ingest is not None:
            self._ingest.discard("the memory was reset")
        done = await self._done(lambda memory: memory.reset())
        response.success = not isinstance(done, Failure)
        response.message = done.message if isinstance(done, Failure) else "the memory is empty"
        return response

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._ingest is None:
            response.message = INACTIVE.message
            return response
        self._ingest.pause(request.data)
        response.success = True
        response.message = "frames are refused until resumed" if request.data else "frames are taken"
        return response

    async def _save(self, request: SaveMemory.Request, response: SaveMemory.Response) -> SaveMemory.Response:
        try:
            path = confined_path(self._storage_dir, request.path)
        except ValueError as error:
            response.message = str(error)
            return response
        saved = await self._done(lambda memory: memory.save(path))
        if isinstance(saved, Failure):
            response.message = saved.message
            return response
        response.success = True
        response.path = str(path)
        response.size = saved
        return response

    async def _load(self, request: LoadMemory.Request, response: LoadMemory.Response) -> LoadMemory.Response:
        try:
            path = confined_path(self._storage_dir, request.path)
        except ValueError as error:
            response.message = str(error)
            return response
        loaded = await self._done(lambda memory: memory.load(path))
        if isinstance(loaded, Failure):
            response.message = loaded.message
            return response
        response.success = True
        response.chunks_observed = loaded.chunks_observed
        return response

    async def _done(self, job: Callable[[SpatialMemory], T | Failure]) -> T | Failure:
        """What a job of the engine comes to, or why it was not begun or waited for."""
        if self._ingest is None:
            return INACTIVE
        return await self._bridge.wait(self._engine.ask(job), FILE_TIMEOUT_S)
