# SPDX-License-Identifier: Apache-2.0
"""What all write rules share: the memory of a layer, and the one thing that a rule does to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fsm_ros.memory.fast_weights import FastWeights, WriteTokens

INITIAL_IMPORTANCE = 1e-6


@dataclass(frozen=True, eq=False)
class LayerMemory:
    """What one layer remembers.

    Attributes:
        weights: fast weights ``[B, H, ., .]``, float32.
        anchor: what they are pulled towards, same shapes.
        importance: how strongly each weight is pulled, same shapes, at least 0.
        evidence: what has been asked of the weights so far, summed over chunks, same shapes; ``None`` where the rule
            keeps none (:mod:`fsm_ros.memory.rules.consolidation`).
    """

    weights: FastWeights
    anchor: FastWeights
    importance: FastWeights
    evidence: FastWeights | None = None

    @classmethod
    def beginning_at(cls, weights: FastWeights) -> LayerMemory:
        """Anchored at these weights, nothing important yet, no evidence."""
        return cls(weights, weights, weights.map(lambda w: torch.full_like(w, INITIAL_IMPORTANCE)))


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """What the last chunk did to one layer; each ``[B]``, root mean squares per weight over all heads.

    Attributes:
        weight_rms: size of the fast weights.
        anchor_distance: weights minus anchor, after the anchor moved.
        update_rms: the Muon update that was added.
        pull_rms: what was pulled back of it and of the weights before; 0 under a rule that pulls nothing back.
        importance_mean: mean importance after the chunk.
        importance_max: largest importance after the chunk.
    """

    weight_rms: Tensor
    anchor_distance: Tensor
    update_rms: Tensor
    pull_rms: Tensor
    importance_mean: Tensor
    importance_max: Tensor

    @property
    def elastic_ratio(self) -> Tensor:
        """``|pull| / |update|``, ``[B]``: whether the elastic prior does anything at all."""
        return self.pull_rms / self.update_rms.clamp_min(torch.finfo(self.update_rms.dtype).tiny)


Muon = Callable[[FastWeights], FastWeights]
"""Turns a gradient into an update of a fixed size, matrix by matrix (Newton-Schulz)."""


class WriteRule(Protocol):
    """How a chunk is written into a layer. Rules are values without a state: all that changes is in the memory."""

    def write(
        self, memory: LayerMemory, tokens: WriteTokens, norms: FastWeights, muon: Muon
    ) -> tuple[LayerMemory, LayerStatistics]:
        """Write one chunk.

        Args:
            memory: the layer before; not changed.
            tokens: what the chunk asks to be remembered.
            norms: the column norms to restore: those of the slow weights, for the whole stream.
            muon: turns gradients into updates.

        Returns:
            The layer after, and what the chunk did to it.
        """


def statistics_of(memory: LayerMemory, update: FastWeights, pull: FastWeights) -> LayerStatistics:
    """What a chunk did: the layer after it, the update that was added, and what was pulled back."""

    def flat(weights: FastWeights) -> Tensor:
        return torch.cat([matrix.detach().float().flatten(1) for matrix in weights], dim=1)

    def rms(values: Tensor) -> Tensor:
        return values.square().mean(dim=1).sqrt()

    importance = flat(memory.importance)
    return LayerStatistics(
        weight_rms=rms(flat(memory.weights)),
        anchor_distance=rms(flat(memory.weights.map(torch.sub, memory.anchor))),
        update_rms=rms(flat(update)),
        pull_rms=rms(flat(pull)),
        importance_mean=importance.mean(dim=1),
        importance_max=importance.amax(dim=1),
    )
