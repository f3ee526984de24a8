# SPDX-License-Identifier: Apache-2.0
"""Memories of held-out scenes, written chunk by chunk, and what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fsm_ros.memory.atlas import Atlas, observe, render_all
from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.base import WriteRule
from fsm_ros.memory.state import MemoryState
from fsm_ros.memory.views import Rendering, Views


@dataclass(frozen=True, eq=False)
class Remembered:
    """What a model remembers of ``B`` scenes; called, it renders views of them.

    Attributes:
        model: the weights.
        state: of all scenes together, where each has one submap.
        atlases: one a scene, where there may be several submaps.
    """

    model: FsmModel
    state: MemoryState | None = None
    atlases: tuple[Atlas, ...] = ()

    def __call__(self, cameras: Cameras, times: Tensor) -> Rendering:
        """Views ``[B, V, ...]`` at memory times ``[B, V]``."""
        if self.state is not None:
            return self.model.render_all(self.state, cameras, times)
        each = [render_all(self.model, a, cameras.scene(i), times[i : i + 1]) for i, a in enumerate(self.atlases)]
        return Rendering.joined(each, dim=0)

    @property
    def size_bytes(self) -> int:
        """Bytes of the fast weights of all scenes, and of what is kept about them."""
        return self.state.size_bytes if self.state is not None else sum(atlas.size_bytes for atlas in self.atlases)


def remembered(memory: FsmModel, chunks: Sequence[Views], rule: WriteRule, settings: AtlasSettings) -> Remembered:
    """Observe chunks of ``B`` scenes."""
    scenes = chunks[0].cameras.batch
    if settings.submaps == 1:
        state = memory.initial_state(scenes)
        for chunk in chunks:
            state = memory.observe(state, chunk, rule)
        return Remembered(memory, state)
    atlases = [Atlas(memory.initial_state(1)) for _ in range(scenes)]
    for chunk in chunks:
        for i, atlas in enumerate(atlases):
            one = Views(chunk.images[i : i + 1], chunk.cameras.scene(i), chunk.times[i : i + 1])
            atlases[i] = observe(memory, atlas, one, rule, settings)
    return Remembered(memory, atlases=tuple(atlases))
