# SPDX-License-Identifier: Apache-2.0
"""Plain steps of another size: the simple answers that an elastic prior has to beat.

Not of the paper. docs/science.md compares them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fsm_ros.memory.fast_weights import FastWeights, WriteTokens, ascent_direction, with_column_norms
from fsm_ros.memory.rules.base import LayerMemory, LayerStatistics, Muon, statistics_of


@dataclass(frozen=True)
class StepRule:
    """LaCT with steps that may be smaller, may shrink from chunk to chunk, and may have momentum.

    Chunk ``k`` (from 1) is written as ``weights + size / k**decline * Muon(m)`` with ``m <- momentum * m + G``. The
    number of chunks is kept as importance (how often every weight was written), ``m`` as evidence.

    Attributes:
        size: of the first step in steps of plain LaCT, in (0, 1].
        decline: how fast steps shrink, at least 0; 1 is the running mean.
        momentum: share of the old direction that a chunk keeps, in [0, 1).
    """

    size: float = 1.0
    decline: float = 0.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: a number outside its range.
        """
        if not 0 < self.size <= 1:
            raise ValueError(f"size must lie in (0, 1], got {self.size}")
        if not 0 <= self.decline < float("inf"):
            raise ValueError(f"decline must be finite and at least 0, got {self.decline}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")

    def write(
        self, memory: LayerMemory, tokens: WriteTokens, norms: FastWeights, muon: Muon
    ) -> tuple[LayerMemory, LayerStatistics]:
        """Write a chunk; see :class:`fsm_ros.memory.rules.base.WriteRule`."""
        direction = ascent_direction(memory.weights, tokens).map(torch.Tensor.float)
        if memory.evidence is not None:
            direction = memory.evidence.map(lambda old, new: self.momentum * old + new, direction)
        # What a memory starts with is next to nothing, so the count of the first chunk is 1.
        count = memory.importance.map(lambda written: written.floor() + 1)
        full = muon(direction)
        update = full.map(lambda u, k: self.size * k**-self.decline * u, count)
        weights = with_column_norms(memory.weights.map(torch.add, update), norms)
        after = LayerMemory(weights, memory.anchor, count, direction if self.momentum > 0 else None)
        return after, statistics_of(after, full, full.map(torch.sub, update))
