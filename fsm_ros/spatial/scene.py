# SPDX-License-Identifier: Apache-2.0
"""Scene: all that has been observed, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from fsm_ros.memory.atlas import Atlas
from fsm_ros.memory.state import MemoryState
from fsm_ros.recall.keyframes import KeyframeStore
from fsm_ros.spatial.results import Failure, ObserveReport
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import Camera
from fsm_ros.stream.world import MemoryFrame


@dataclass(frozen=True)
class Scene:
    """All that has been observed, as a value.

    Attributes:
        atlas: the fast weights, submap by submap.
        frame: where and when they live.
        newest_ns: newest observed moment.
        camera: intrinsics of the newest observed view: the live camera at the memory's resolution.
        epoch: how often the frame was laid anew since the last reset.
        chunks_observed: since the last reset.
        views_observed: since the last reset.
        window: the last chunks (windowed mode).
        keyframes: photographs that are kept, in the world: a new epoch keeps them.
    """

    atlas: Atlas
    frame: MemoryFrame
    newest_ns: int
    camera: Camera
    epoch: int = 0
    chunks_observed: int = 0
    views_observed: int = 0
    window: tuple[Chunk, ...] = ()
    keyframes: KeyframeStore = KeyframeStore()

    @property
    def size_bytes(self) -> int:
        """Bytes of the fast weights of all submaps, and of the kept photographs."""
        return self.atlas.size_bytes + self.keyframes.size_bytes

    @property
    def state(self) -> MemoryState:
        """The fast weights of the submap that was written last."""
        return self.atlas.state


def failed_report(chunk: Chunk, scene: Scene | None, failure: Failure) -> ObserveReport:
    """The report on a chunk that could not be observed into a scene."""
    return ObserveReport(
        chunk=chunk,
        failure=failure,
        epoch=scene.epoch if scene else 0,
        epoch_began=None,
        chunks_observed=scene.chunks_observed if scene else 0,
        views_observed=scene.views_observed if scene else 0,
        submaps=len(scene.atlas.submaps) if scene else 0,
    )
