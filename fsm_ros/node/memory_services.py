"""The services that keep a memory: `~/reset`, `~/pause`, `~/save_memory`, `~/load_memory`."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode
from rclpy.service import Service
from std_srvs.srv import SetBool, Trigger

from fsm_ros.engine import MemoryEngine
from fsm_ros.node.ingest import Ingest
from fsm_ros.node.parameters import Values
from fsm_ros.node.requests import Bridge
from fsm_ros.node.storage import confined_path
from fsm_ros.spatial.results import Failure
from fsm_ros_msgs.srv import LoadMemory, SaveMemory

FILE_TIMEOUT_S = 120.0


class MemoryServices:
    """Serves what changes, stops, saves or restores the memory."""

    def __init__(
        self, node: LifecycleNode, engine: MemoryEngine, ingest: Ingest, bridge: Bridge, values: Values
    ) -> None:
        """Begin to serve.

        Args:
            node: where the services live.
            engine: who owns the memory.
            ingest: where frames wait.
            bridge: how to await the engine.
            values: the node's parameters.
        """
        self._node = node
        self._engine = engine
        self._ingest = ingest
        self._bridge = bridge
        self._storage_dir = values["storage_dir"]
        self._services: list[Service] = [
            node.create_service(Trigger, "~/reset", self._reset),
            node.create_service(SetBool, "~/pause", self._pause),
            node.create_service(SaveMemory, "~/save_memory", self._save),
            node.create_service(LoadMemory, "~/load_memory", self._load),
        ]

    def close(self) -> None:
        """Stop serving."""
        for service in self._services:
            self._node.destroy_service(service)
        self._services.clear()

    async def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._ingest.discard("the memory was reset")
        done = await self._bridge.wait(self._engine.ask(lambda memory: memory.reset()), FILE_TIMEOUT_S)
        response.success = not isinstance(done, Failure)
        response.message = done.message if isinstance(done, Failure) else "the memory is empty"
        return response

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
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
        saved = await self._bridge.wait(self._engine.ask(lambda memory: memory.save(path)), FILE_TIMEOUT_S)
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
        loaded = await self._bridge.wait(self._engine.ask(lambda memory: memory.load(path)), FILE_TIMEOUT_S)
        if isinstance(loaded, Failure):
            response.message = loaded.message
            return response
        response.success = True
        response.chunks_observed = loaded.chunks_observed
        return response
