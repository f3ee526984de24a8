"""Elastic test-time training: how one chunk is written without overwriting what matters.

The elastic prior (FSM, arXiv 2604.07350, section 3) pulls the fast weights towards an anchor, weighted by
Fisher importance. The order of operations is that of the released code, which differs from the paper's
equations 5 and 6: importance is updated before the pull. What goes beyond the paper (uniform importance, its
timing, its scale) is off by default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import torch
from torch import Tensor

from fsm_ros.memory.fast_weights import FastWeights, WriteTokens, ascent_direction, with_column_norms
from fsm_ros.parameter import Checked, parameter

INITIAL_IMPORTANCE = 1e-6


class Importance(Enum):
    """How important a weight is, read from its update ``U`` and its way from the anchor."""

    MAS = "mas"
    """``|U|`` (memory aware synapses)."""
    EWC = "ewc"
    """``U**2`` (elastic weight consolidation)."""
    SI = "si"
    """``|U * (weight + U - anchor)|`` (synaptic intelligence)."""
    UNIFORM = "uniform"
    """1: every weight counts the same. Not of the paper; says what weighting by importance adds."""


class ImportanceTiming(Enum):
    """Which importance weighs the pull."""

    AFTER = "after"
    """The one that this chunk's update has gone into, as released: what is being written is pulled back most."""
    BEFORE = "before"
    """The one from before the chunk: protects what is there, not what is being written. Not of the paper."""


class ImportanceScale(Enum):
    """In what units importance weighs the pull."""

    RAW = "raw"
    """As it is, as released. Muon fixes the size of the update and, with it, that of the importance."""
    PER_HEAD = "per_head"
    """Over its mean in each matrix of each head: strength is about the mean share that is pulled back, as no weight is
    pulled past its anchor. Not of the paper."""


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
class ElasticRule(Checked):
    """The elastic prior and its strength. ``None`` in its place means plain LaCT."""

    importance: Importance = parameter(
        Importance.SI,
        "elastic.importance",
        "With memory.rule elastic: Fisher importance estimate; uniform: every weight the same (ours, the others are "
        "published).",
        at_run_time=True,
    )
    anchor: AnchorPolicy = parameter(
        AnchorPolicy.STREAMING_EMA,
        "elastic.anchor",
        "With memory.rule elastic: what the fast weights are pulled towards.",
        at_run_time=True,
    )
    strength: float = parameter(
        0.5,
        "elastic.strength",
        "With memory.rule elastic: strength of the pull (lambda).",
        "",
        0.0,
        1000.0,
        at_run_time=True,
    )
    importance_decay: float = parameter(
        0.5,
        "elastic.importance_decay",
        "With memory.rule elastic: share of the old importance that a chunk keeps (alpha).",
        "",
        0.0,
        1.0,
        at_run_time=True,
    )
    anchor_decay: float = parameter(
        0.5,
        "elastic.anchor_decay",
        "With memory.rule elastic: share of the old anchor that a chunk keeps (beta), with streaming_ema.",
        "",
        0.0,
        1.0,
        at_run_time=True,
    )
    timing: ImportanceTiming = parameter(
        ImportanceTiming.AFTER,
        "elastic.timing",
        "With memory.rule elastic: which importance weighs the pull, after this chunk's update has gone into it "
        "(published) or from before (ours).",
        at_run_time=True,
    )
    scale: ImportanceScale = parameter(
        ImportanceScale.RAW,
        "elastic.scale",
        "With memory.rule elastic: importance as it is (raw: published), or over its mean in each matrix of each head "
        "(per_head: ours).",
        at_run_time=True,
    )

    def write(
        self, memory: LayerMemory, tokens: WriteTokens, norms: FastWeights, muon: Muon
    ) -> tuple[LayerMemory, LayerStatistics]:
        """Write a chunk; see :class:`WriteRule`."""
        return elastic_write(memory, muon(ascent_direction(memory.weights, tokens)), norms, self)


@dataclass(frozen=True, eq=False)
class LayerMemory:
    """What one layer remembers.

    Attributes:
        weights: fast weights ``[B, H, ., .]``, float32.
        anchor: what they are pulled towards, same shapes.
        importance: how strongly each weight is pulled, same shapes, at least 0.
        evidence: what has been asked of the weights so far, summed over chunks, same shapes; ``None`` where the rule
            keeps none (:mod:`fsm_ros.memory.consolidation`).
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


def write_chunk(
    memory: LayerMemory, tokens: WriteTokens, norms: FastWeights, muon: Muon, rule: WriteRule | None
) -> tuple[LayerMemory, LayerStatistics]:
    """Write one chunk under a rule; ``None`` is plain LaCT. See :meth:`WriteRule.write`."""
    if rule is None:
        return elastic_write(memory, muon(ascent_direction(memory.weights, tokens)), norms, None)
    return rule.write(memory, tokens, norms, muon)


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
        share = _share_pulled_back(memory.importance, importance, rule)
        pull = share.map(torch.mul, displacement)
        weights = with_column_norms(moved.map(torch.sub, pull), norms)
        anchor = _moved_anchor(anchor, weights, rule)
    after = LayerMemory(weights, anchor, importance)
    return after, statistics_of(after, update, pull)


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
        elif rule.importance is Importance.UNIFORM:
            sample = torch.ones_like(old)
        else:
            raise ValueError(f"unknown importance {rule.importance!r}")
        return alpha * old + (1 - alpha) * sample.to(old.dtype)

    return importance.map(one, update, displacement)


def _share_pulled_back(before: FastWeights, after: FastWeights, rule: ElasticRule) -> FastWeights:
    """Which share of its way from the anchor every weight is pulled back."""
    if rule.timing is ImportanceTiming.AFTER:
        importance = after
    elif rule.timing is ImportanceTiming.BEFORE:
        importance = before
    else:
        raise ValueError(f"unknown importance timing {rule.timing!r}")
    if rule.scale is ImportanceScale.RAW:
        return importance.map(lambda f: rule.strength * f)
    if rule.scale is ImportanceScale.PER_HEAD:
        tiny = torch.finfo(torch.float32).tiny
        # Importance has a long tail: without a limit the most important weights would be thrown past their anchors.
        return importance.map(
            lambda f: (rule.strength * f / f.mean(dim=(-2, -1), keepdim=True).clamp_min(tiny)).clamp_max(1.0)
        )
    raise ValueError(f"unknown importance scale {rule.scale!r}")


def _moved_anchor(anchor: FastWeights, weights: FastWeights, rule: ElasticRule) -> FastWeights:
    if rule.anchor is AnchorPolicy.GLOBAL:
        return anchor
    if rule.anchor is AnchorPolicy.STREAMING:
        return weights
    if rule.anchor is AnchorPolicy.STREAMING_EMA:
        beta = rule.anchor_decay
        return anchor.map(lambda old, new: beta * old + (1 - beta) * new, weights)
    raise ValueError(f"unknown anchor policy {rule.anchor!r}")


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
