# SPDX-License-Identifier: Apache-2.0
"""A memory of the demo's room with nobody but a viewer to look at it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from deadline import DEADLINE_S
from numpy.typing import NDArray
from spatial_scenes import room_views, shipped_model

from fsm_ros.configuration.viewer import ViewerSettings
from fsm_ros.engine import MemoryEngine
from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.spatial.results import Failure, FailureKind, RequestFailedError
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import PosedImage
from fsm_ros.viewer.subject import Condition
from fsm_ros.viewer.viewer import Viewer

PIXELS = 96 * 72


@dataclass
class Room:
    """The subject of a viewer: a memory, and a note of what visitors asked for."""

    engine: MemoryEngine
    asked_for: list[str] = field(default_factory=list)
    trouble: str = ""
    is_paused: bool = False
    camera: PosedImage | None = None

    def condition(self) -> Condition:
        """As it was set."""
        return Condition(self.trouble, {"frames received": "12", "refused: not_moved": "3"}, self.is_paused, True)

    def live(self) -> PosedImage | None:
        """As it was set."""
        return self.camera

    def pause(self, paused: bool) -> None:
        """Noted."""
        self.is_paused = paused
        self.asked_for.append("pause" if paused else "resume")

    def reset(self) -> Future[str | Failure]:
        """Noted, and done."""
        self.asked_for.append("reset")
        return self.engine.ask(lambda memory: (memory.reset(), "the memory is empty")[1])

    def save(self, name: str) -> Future[str | Failure]:
        """Noted."""
        self.asked_for.append(f"save {name}")
        return self.engine.ask(lambda memory: f"saved {Path(name).name}")

    def load(self, name: str) -> Future[str | Failure]:
        """Noted, and refused."""
        self.asked_for.append(f"load {name}")
        return self.engine.ask(lambda memory: _no_file(name))


def _no_file(name: str) -> str:
    raise RequestFailedError(FailureKind.FILE, f"there is no file {name}")


@contextmanager
def a_room(chunks: int = 4, world_from_map: NDArray[np.float64] | None = None) -> Iterator[Room]:
    """A room whose worker runs, after so many chunks of four views, in a world that may be another than its map."""
    memory = SpatialMemory(shipped_model(), MemorySettings(extent_m=2.0), None, load_recall("shipped"))
    engine = MemoryEngine(memory, 8)
    engine.start()
    try:
        observe(engine, chunks, world_from_map)
        yield Room(engine)
    finally:
        engine.stop(DEADLINE_S)


def observe(engine: MemoryEngine, chunks: int, world_from_map: NDArray[np.float64] | None = None) -> None:
    """Observe so many chunks of the room, and wait for them."""
    turn = np.eye(4) if world_from_map is None else world_from_map
    views = [replace(v, world_from_camera=turn @ v.world_from_camera) for v in room_views(4 * max(chunks, 1))]
    done: list[Future[object | Failure]] = [
        engine.ask(lambda memory, i=i: memory.observe(Chunk(tuple(views[4 * i : 4 * i + 4]))))  # type: ignore[misc]
        for i in range(chunks)
    ]
    for each in done:
        assert not isinstance(each.result(DEADLINE_S), Failure)


@contextmanager
def served(room: Room, **settings: object) -> Iterator[Viewer]:
    """A viewer of it, on any port."""
    viewer = Viewer(room, ViewerSettings(**({"enabled": True, "port": 0, "pixels": PIXELS} | settings)))  # type: ignore[arg-type]
    try:
        yield viewer
    finally:
        viewer.stop()
