# SPDX-License-Identifier: Apache-2.0
"""Elastic test-time training: how one chunk is written without overwriting what matters.

The elastic prior (FSM, arXiv 2604.07350, section 3) pulls the fast weights towards an anchor, weighted by
Fisher importance. The order of operations is that of the released code, which differs from the paper's
equations 5 and 6: importance is updated before the pull. What goes beyond the paper (uniform importance, its
timing, its scale) is off by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from fsm_ros.memory.fast_weights import FastWeights, WriteTokens, ascent_direction, with_column_norms
from fsm_ros.memory.rules.base import LayerMemory, LayerStatistics, Muon, statistics_of
from fsm_ros.parameter import Checked, parameter


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
    """The elastic prior and its strength."""

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
        """Write a chunk; see :class:`fsm_ros.memory.rules.base.WriteRule`."""
        update = muon(ascent_direction(memory.weights, tokens))
        moved = memory.weights.map(torch.add, update)
        displacement = moved.map(torch.sub, memory.anchor)
        importance = _updated_importance(memory.importance, update, displacement, self)
        pull = _share_pulled_back(memory.importance, importance, self).map(torch.mul, displacement)
        weights = with_column_norms(moved.map(torch.sub, pull), norms)
        after = LayerMemory(weights, _moved_anchor(memory.anchor, weights, self), importance)
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
        else:
            sample = torch.ones_like(old)
        return alpha * old + (1 - alpha) * sample.to(old.dtype)

    return importance.map(one, update, displacement)


def _share_pulled_back(before: FastWeights, after: FastWeights, rule: ElasticRule) -> FastWeights:
    """Which share of its way from the anchor every weight is pulled back."""
    importance = after if rule.timing is ImportanceTiming.AFTER else before
    if rule.scale is ImportanceScale.RAW:
        return importance.map(lambda f: rule.strength * f)
    tiny = torch.finfo(torch.float32).tiny
    # Importance has a long tail: without a limit the most important weights would be thrown past their anchors.
    return importance.map(
        lambda f: (rule.strength * f / f.mean(dim=(-2, -1), keepdim=True).clamp_min(tiny)).clamp_max(1.0)
    )


def _moved_anchor(anchor: FastWeights, weights: FastWeights, rule: ElasticRule) -> FastWeights:
    if rule.anchor is AnchorPolicy.GLOBAL:
        return anchor
    if rule.anchor is AnchorPolicy.STREAMING:
        return weights
    beta = rule.anchor_decay
    return anchor.map(lambda old, new: beta * old + (1 - beta) * new, weights)
