# SPDX-License-Identifier: Apache-2.0
"""Consolidation: every chunk is written together with all that came before it, into the weights the memory began with.

Plastic fast weights take one Muon step for each chunk, all of one size, and restore their column norms after each:
with every step the earlier ones shrink. Here the gradients are kept instead of the steps: what every chunk asks of
the weights *at the anchor* is summed, and one Muon step is made with the sum,

    evidence <- retention * evidence + G(anchor; chunk)
    weights  <- norms * (anchor + Muon(evidence)) / |anchor + Muon(evidence)|        per column

so no chunk outweighs another for having come later. As the elastic prior it is the strongest pull there is, all the
way back to a global anchor, and it costs what a plastic write costs. In a single layer, streaming order then equals
one large chunk (LaCT's own setting) up to rounding; in several it is that setting made causal. The state is of a fixed
size: one sum, whatever the length of the stream. Not of the paper; docs/science.md has what it does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from fsm_ros.memory.fast_weights import FastWeights, WriteTokens, ascent_direction, with_column_norms
from fsm_ros.memory.rules.base import LayerMemory, LayerStatistics, Muon, statistics_of
from fsm_ros.parameter import Checked, parameter


class ChunkShare(Enum):
    """What a chunk counts in the sum."""

    BY_TOKENS = "by_tokens"
    """What its tokens ask for, so that the learned step sizes can say "write less" across chunks, too."""
    EQUAL = "equal"
    """The same as every other chunk, in each matrix of each head."""


@dataclass(frozen=True)
class Consolidation(Checked):
    """A write that no later write wears away."""

    share: ChunkShare = parameter(
        ChunkShare.EQUAL,
        "consolidation.share",
        "With memory.rule consolidation (ours): what a chunk counts. equal: as much as any other; by_tokens: what its "
        "tokens ask for.",
        at_run_time=True,
    )
    retention: float = parameter(
        1.0,
        "consolidation.retention",
        "With memory.rule consolidation (ours): share of what earlier chunks count that a chunk keeps; 1: none fades.",
        "",
        0.0,
        1.0,
        at_run_time=True,
    )

    def write(
        self, memory: LayerMemory, tokens: WriteTokens, norms: FastWeights, muon: Muon
    ) -> tuple[LayerMemory, LayerStatistics]:
        """Write a chunk; see :class:`fsm_ros.memory.rules.base.WriteRule`.

        Weights that another rule wrote (no evidence) become the anchor: what they hold stays.
        """
        anchor = memory.weights if memory.evidence is None else memory.anchor
        asked = ascent_direction(anchor, tokens).map(Tensor.float)
        if self.share is ChunkShare.EQUAL:
            asked = asked.map(_unit)
        if memory.evidence is not None:
            asked = memory.evidence.map(lambda old, new: self.retention * old + new, asked)
        update = muon(asked)
        after = LayerMemory(_written(anchor, update, norms), anchor, memory.importance, asked)
        # weights + U - pull = anchor + U: whatever earlier steps had written is pulled back, and written anew.
        return after, statistics_of(after, update, memory.weights.map(torch.sub, anchor))

    def merge(self, one: LayerMemory, other: LayerMemory, norms: FastWeights, muon: Muon) -> LayerMemory | None:
        """What a layer would hold that had been written both.

        Args:
            one: a layer.
            other: the same layer of another memory.
            norms: as in :meth:`write`.
            muon: as in :meth:`write`.

        Returns:
            ``None`` where the two have no evidence, or did not begin from the same weights.
        """
        if one.evidence is None or other.evidence is None:
            return None
        if not all(torch.equal(mine, theirs) for mine, theirs in zip(one.anchor, other.anchor, strict=True)):
            return None
        evidence = one.evidence.map(torch.add, other.evidence)
        return LayerMemory(_written(one.anchor, muon(evidence), norms), one.anchor, one.importance, evidence)


def _written(anchor: FastWeights, update: FastWeights, norms: FastWeights) -> FastWeights:
    return with_column_norms(anchor.map(torch.add, update), norms)


def _unit(gradient: Tensor) -> Tensor:
    length = gradient.norm(dim=(-2, -1), keepdim=True)
    unit: Tensor = gradient / length.clamp_min(math.sqrt(torch.finfo(torch.float32).tiny))
    return unit
