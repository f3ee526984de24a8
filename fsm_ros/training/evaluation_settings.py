# SPDX-License-Identifier: Apache-2.0
"""What is evaluated. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.training.scene_settings import DepthInput, SceneSettings, Split


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated.

    Attributes:
        seed: of the scenes.
        split: of the scenes; `Split.CHOOSE` for decisions, `Split.REPORT` for what is told.
        scenes: which scenes; ``frames`` is replaced by what a number of chunks needs, and ``sensor`` by a clean one.
        count: how many scenes.
        size: edge of the views, pixels.
        chunk_views: views of a chunk.
        chunk_counts: numbers of chunks after which all views so far are asked for.
        targets: held-out views of a scene and chunk count, spread over what was observed.
        horizon_s: seconds of the memory's time axis.
        extent_m: metres of a memory unit, 0: read from the first chunk, as a node does by default.
        batch: scenes at once.
        atlas: how many submaps a memory has.
        memory_size: edge of the views that the memory observes and renders, a whole part of ``size``; 0: the same.
        photographs: keyframes that a view is recalled from, at most.
        depth: what a depth camera measures of the observed views, for recall.
    """

    seed: int = 0
    split: Split = Split.CHOOSE
    scenes: SceneSettings = SceneSettings()
    count: int = 16
    size: int = 64
    chunk_views: int = 4
    chunk_counts: tuple[int, ...] = (1, 2, 4)
    targets: int = 8
    horizon_s: float = 60.0
    extent_m: float = 4.0
    batch: int = 8
    atlas: AtlasSettings = AtlasSettings()
    memory_size: int = 0
    photographs: int = 4
    depth: DepthInput = DepthInput.NONE

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: nothing to evaluate, or a memory whose views are no whole part of the others.
        """
        counts = (self.count, self.size, self.chunk_views, self.targets, self.batch)
        if min(counts) < 1 or not self.chunk_counts or min(self.chunk_counts) < 1:
            raise ValueError("an evaluation needs at least one scene, pixel, view, target and chunk")
        if min(self.chunk_counts) * self.chunk_views < 2:
            raise ValueError("between the views of an evaluation something is held out: observe at least two")
        if self.memory_size < 0 or self.size % (self.memory_size or self.size):
            raise ValueError(
                f"the edge of the memory's views must go into that of all views, {self.size}, got {self.memory_size}"
            )

    @property
    def factor(self) -> int:
        """Pixels of a view along one of the memory's."""
        return self.size // (self.memory_size or self.size)
