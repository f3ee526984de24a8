# SPDX-License-Identifier: Apache-2.0
"""Plain LaCT (arXiv 2505.23884): a Muon step, and nothing that holds on to what was written before."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fsm_ros.memory.fast_weights import FastWeights, WriteTokens, ascent_direction, with_column_norms
from fsm_ros.memory.rules.base import LayerMemory, LayerStatistics, Muon, statistics_of


@dataclass(frozen=True)
class Plastic:
    """A full step for every chunk. Leaves anchor and importance alone, and keeps no evidence."""

    def write(
        self, memory: LayerMemory, tokens: WriteTokens, norms: FastWeights, muon: Muon
    ) -> tuple[LayerMemory, LayerStatistics]:
        """Write a chunk; see :class:`fsm_ros.memory.rules.base.WriteRule`."""
        update = muon(ascent_direction(memory.weights, tokens))
        weights = with_column_norms(memory.weights.map(torch.add, update), norms)
        after = LayerMemory(weights, memory.anchor, memory.importance)
        return after, statistics_of(after, update, update.map(torch.zeros_like))
