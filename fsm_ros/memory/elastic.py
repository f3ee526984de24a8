"""Elastic test-time training: how one chunk is written without overwriting what matters.

The elastic prior (FSM, arXiv 2604.07350, section 3) pulls the fast weights towards an anchor, weighted by
Fisher importance. The order of operations is that of the released code, which differs from the paper's
equations 5 and 6: importance is updated before the pull.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from fsm_ros.memory.fast_weights import FastWeights, with_column_norms

INITIAL_IMPORTANCE = 1e-6


class Importance(Enum):
    """How important a weight is, read from its update ``U`` and its way from the anchor."""

    MAS = "mas"
    """``|U|`` (memory aware synapses)."""
    EWC = "ewc"
    """``U**2`` (elastic weight consolidation)."""
    SI = "si"
    """``|U * (weight + U - anchor)|`` (synaptic intelligence)."""


class AnchorPolicy(Enum):
    """Where the anchor goes after a chunk."""

    GLOBAL = "global"
    """Nowhere: it stays the initial weights."""
    STREAMING = "streaming"
    """To the weights just written."""
    STREAMING_EMA = "streaming_ema"
    """An exponential moving average of the weights."""


class AnchorSharing(Enum):
    """Whether layers have anchors of their own."""

    PER_LAYER = "per_layer"
    """As the method describes it."""
    SHARED = "shared"
    """One set that is handed from layer to layer: how the released weights were trained. Batch order only."""


@dataclass(frozen=True)
class ElasticRule:
    """The elastic prior and its strength. ``None`` in its place means plain LaCT.

    Attributes:
        importance: which importance estimate.
        anchor: where the anchor goes.
        strength: lambda, at least 0.
        importance_decay: alpha in [0, 1], the share of the old importance that a chunk keeps.
        anchor_decay: beta in [0, 1], the share of the old anchor that a chunk keeps (``STREAMING_EMA``).
    """

    importance: Importance = Importance.SI
    anchor: AnchorPolicy = AnchorPolicy.STREAMING_EMA
    strength: float = 0.5
    importance_decay: float = 0.5
    anchor_decay: float = 0.5

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: an unknown policy, or a number outside its range.
        """
        if not isinstance(self.importance, Importance):
            raise ValueError(f"unknown importance {self.importance!r}: use a member of Importance")
        if not isinstance(self.anchor, AnchorPolicy):
            raise ValueError(f"unknown anchor policy {self.anchor!r}: use a member of AnchorPolicy")
        if not 0 <= self.strength < float("inf"):
            raise ValueError(f"elastic strength must be finite and at least 0, got {self.strength}")
        for name in ("importance_decay", "anchor_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class LayerMemory:
    """What one layer remembers.

    Attributes:
        weights: fast weights ``[B, H, ., .]``, float32.
        anchor: what they are pulled towards, same shapes.
        importance: how strongly each weight is pulled, same shapes, at least 0.
    """

    weights: FastWeights
    anchor: FastWeights
    importance: FastWeights


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """What the last chunk did to one layer; each ``[B]``, root mean squares per weight over all heads.

    Attributes:
        weight_rms: size of the fast weights.
        anchor_distance: weights minus anchor, after the anchor moved.
        update_rms: the Muon update that was added.
        pull_rms: the elastic pull that was applied; 0 without a rule.
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


def elastic_write(
    memory: LayerMemory, update: FastWeights, norms: FastWeights, rule: ElasticRule | None
) -> tuple[LayerMemory, LayerStatistics]:
    """Add one update to the fast weights of a layer, under the elastic prior.

    Args:
        memory: the layer before the chunk; not changed.
        update: the orthogonalised update ``U``.
        norms: the column norms to restore: those of the slow weights, for the whole stream.
        rule: the elastic prior; ``None`` leaves anchor and importance alone (plain LaCT).

    Returns:
        The layer after the chunk, and what the chunk did to it.
    """
    moved = memory.weights.map(torch.add, update)
    anchor, importance = memory.anchor, memory.importance
    if rule is None:
        pull = update.map(torch.zeros_like)
        weights = with_column_norms(moved, norms)
    else:
        displacement = moved.map(torch.sub, anchor)
        importance = _updated_importance(importance, update, displacement, rule)
        pull = importance.map(lambda f, way: rule.strength * f * way, displacement)
        weights = with_column_norms(moved.map(torch.sub, pull), norms)
        anchor = _moved_anchor(anchor, weights, rule)
    after = LayerMemory(weights, anchor, importance)
    return after, _statistics(after, update, pull)


def _updated_importance(
    importance: FastWeights, update: FastWeights, displacement: FastWeights, rule: ElasticRule
) -> FastWeights:
    alpha = rule.importance_decay

    def one(old: Tensor, step: Tensor, way: Tensor) -> Tensor:
        if rule.importance is Importance.MAS:
            sample = step.abs()
        elif rule.importance is Importance.EWC:
            # Squared in the update's own precision, like the release (bfloat16 if Newton-Schulz runs in it).
            sample = step * step
        elif rule.importance is Importance.SI:
            sample = (step * way).abs()
        else:
            raise ValueError(f"unknown importance {rule.importance!r}")
        return alpha * old + (1 - alpha) * sample.to(old.dtype)

    return importance.map(one, update, displacement)


def _moved_anchor(anchor: FastWeights, weights: FastWeights, rule: ElasticRule) -> FastWeights:
    if rule.anchor is AnchorPolicy.GLOBAL:
        return anchor
    if rule.anchor is AnchorPolicy.STREAMING:
        return weights
    if rule.anchor is AnchorPolicy.STREAMING_EMA:
        beta = rule.anchor_decay
        return anchor.map(lambda old, new: beta * old + (1 - beta) * new, weights)
    raise ValueError(f"unknown anchor policy {rule.anchor!r}")


def _statistics(memory: LayerMemory, update: FastWeights, pull: FastWeights) -> LayerStatistics:
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
