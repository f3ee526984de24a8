# SPDX-License-Identifier: Apache-2.0
"""The services that keep a memory: `~/reset`, `~/pause`, `~/save_memory`, `~/load_memory`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
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
from fsm_ros.spatial.results import Failure, FailureKind
from fsm_ros.spatial.scene import Scene
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros_msgs.srv import LoadMemory, SaveMemory

FILE_TIMEOUT_S = 120.0
T = TypeVar("T")


@dataclass(frozen=True)
class Saved:
    """What was written."""

    path: Path
    size: int
    holds: str

    def __str__(self) -> str:
        """In words."""
        return f"{self.path}: {self.size / 1e6:.1f} MB, {self.holds}"


@dataclass(frozen=True)
class Loaded:
    """What was read."""

    path: Path
    scene: Scene

    def __str__(self) -> str:
        """In words."""
        return f"{self.path}: {self.scene.size_bytes / 1e6:.1f} MB, {_holds(self.scene)}"


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

    # --- from any thread: begun at once, done by the worker ----------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """Whether frames are refused by request."""
        return self._ingest is not None and self._ingest.is_paused

    def pause(self, paused: bool) -> str | Failure:
        """Refuse frames, or take them again; what there is to say about it."""
        if self._ingest is None:
            return INACTIVE
        self._ingest.pause(paused)
        told = "frames are refused until resumed" if paused else "frames are taken"
        self._node.get_logger().info(f"{'paused' if paused else 'resumed'}: {told}")
        return told

    def reset(self) -> Future[str | Failure]:
        """Forget everything, what is on its way included; comes to what was forgotten, in words."""
        if self._ingest is not None:
            self._ingest.discard("the memory was reset")
        return self._replacing(_forgotten)

    def save(self, name: str) -> Future[Saved | Failure]:
        """Write the memory into a file below the storage folder."""
        try:
            path = confined_path(self._storage_dir, name)
        except ValueError as error:
            return _at_once(Failure(FailureKind.FILE, str(error)))
        if self._ingest is None:
            return _at_once(INACTIVE)
        return self._engine.ask(lambda memory: _saved(memory, path))

    def load(self, name: str) -> Future[Loaded | Failure]:
        """Put the memory of a file below the storage folder in the place of this one."""
        try:
            path = confined_path(self._storage_dir, name)
        except ValueError as error:
            return _at_once(Failure(FailureKind.FILE, str(error)))
        return self._replacing(lambda memory: _loaded(memory, path))

    # --- services ----------------------------------------------------------------------------------------------------

    async def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        done = await self._awaited(self.reset())
        if isinstance(done, str):
            response.success, response.message = True, "the memory is empty"
            self._node.get_logger().info(f"reset: {done} forgotten")
        else:
            response.message = self._refused("reset", done.message)
        return response

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        told = self.pause(request.data)
        if isinstance(told, Failure):
            response.message = self._refused("paused" if request.data else "resumed", told.message)
            return response
        response.success, response.message = True, told
        return response

    async def _save(self, request: SaveMemory.Request, response: SaveMemory.Response) -> SaveMemory.Response:
        saved = await self._bridge.wait(self.save(request.path), FILE_TIMEOUT_S)
        if isinstance(saved, Failure):
            response.message = self._refused("saved", saved.message)
            return response
        response.success = True
        response.path = str(saved.path)
        response.size = saved.size
        self._node.get_logger().info(f"saved {saved}")
        return response

    async def _load(self, request: LoadMemory.Request, response: LoadMemory.Response) -> LoadMemory.Response:
        loaded = await self._awaited(self.load(request.path))
        if isinstance(loaded, Failure):
            response.message = self._refused("loaded", loaded.message)
            return response
        response.success = True
        response.chunks_observed = loaded.scene.chunks_observed
        self._node.get_logger().info(f"loaded {loaded}")
        return response

    def _refused(self, what: str, why: str) -> str:
        """Tell the log why something was not done. Returns what to answer."""
        self._node.get_logger().warning(f"not {what}: {why}", throttle_duration_sec=5.0)
        return why

    def _replacing(self, job: Callable[[SpatialMemory], T]) -> Future[T | Failure]:
        """Have another memory put in the place of this one."""
        if self._ingest is None:
            return _at_once(INACTIVE)
        asked = self._engine.ask(job)
        asked.add_done_callback(self._note_replaced)
        return asked

    async def _awaited(self, replacing: Future[T | Failure]) -> T | Failure:
        """What putting another memory in the place of this one comes to, or why it was not waited for."""
        done = await self._bridge.wait(replacing, FILE_TIMEOUT_S)
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


def _saved(memory: SpatialMemory, path: Path) -> Saved:
    return Saved(path, memory.save(path), _holds(memory.scene))


def _loaded(memory: SpatialMemory, path: Path) -> Loaded:
    return Loaded(path, memory.load(path))


def _at_once(failure: Failure) -> Future[T | Failure]:
    done: Future[T | Failure] = Future()
    done.set_result(failure)
    return done


def _holds(scene: Scene | None) -> str:
    """How much a memory holds, in words."""
    chunks, photographs = (0, 0) if scene is None else (scene.chunks_observed, len(scene.keyframes))
    return f"{chunks} chunks and {photographs} photographs"
