# SPDX-License-Identifier: Apache-2.0
"""The elastic write against its equations, written out once more in float64 NumPy.

Importance is updated first, the pull uses the updated one, then the column norms are restored, then the
anchor moves:

    F  <- alpha F + (1 - alpha) S        S = |U|  (mas),  U^2  (ewc),  |U (w + U - anchor)|  (si),  1  (uniform)
    P  =  F  (after)  or  F before it was updated  (before)
    P  <- lambda P  (raw),  min(lambda P / mean(P), 1), the mean of each matrix of each head  (per_head)
    w  <- w + U - P (w + U - anchor)
    w  <- w / (|w| + 1e-5) n             per column
    anchor <- anchor  (global),  w  (streaming),  beta anchor + (1 - beta) w  (streaming_ema)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_memory import EVERY_RULE, Array, array_of, rule_name, written

from fsm_ros.memory.fast_weights import FastWeights
from fsm_ros.memory.rules.base import LayerMemory
from fsm_ros.memory.rules.elastic import AnchorPolicy, ElasticRule, Importance, ImportanceScale, ImportanceTiming
from fsm_ros.memory.rules.plastic import Plastic

EVERY_VARIATION = [
    ElasticRule(importance, anchor, timing=timing, scale=scale)
    for importance, anchor, timing, scale in product(Importance, AnchorPolicy, ImportanceTiming, ImportanceScale)
]
few = settings(max_examples=10, deadline=None)
shares = st.floats(0.0, 1.0)
every_rule = pytest.mark.parametrize("rule", EVERY_RULE, ids=rule_name)
every_variation = pytest.mark.parametrize("rule", EVERY_VARIATION, ids=rule_name)


@dataclass
class Reference:
    """One matrix of every head of every scene, ``[B, H, rows, columns]``."""

    weight: Array
    anchor: Array
    importance: Array

    def write(self, update: Array, norms: Array, rule: ElasticRule | Plastic) -> None:
        """The equations above."""
        moved = self.weight + update
        if isinstance(rule, ElasticRule):
            way = moved - self.anchor
            sample = {
                Importance.MAS: np.abs(update),
                Importance.EWC: update**2,
                Importance.SI: np.abs(update * way),
                Importance.UNIFORM: np.ones_like(update),
            }[rule.importance]
            alpha, beta = rule.importance_decay, rule.anchor_decay
            before = self.importance
            self.importance = alpha * before + (1 - alpha) * sample
            weighs = {ImportanceTiming.AFTER: self.importance, ImportanceTiming.BEFORE: before}[rule.timing]
            share = {
                ImportanceScale.RAW: rule.strength * weighs,
                ImportanceScale.PER_HEAD: np.minimum(
                    rule.strength * weighs / weighs.mean(axis=(-2, -1), keepdims=True), 1.0
                ),
            }[rule.scale]
            moved = moved - share * way
        length = np.sqrt((moved**2).sum(axis=-2, keepdims=True))
        self.weight = moved / (length + 1e-5) * norms
        if isinstance(rule, ElasticRule):
            self.anchor = {
                AnchorPolicy.GLOBAL: self.anchor,
                AnchorPolicy.STREAMING: self.weight,
                AnchorPolicy.STREAMING_EMA: beta * self.anchor + (1 - beta) * self.weight,
            }[rule.anchor]


def _random(generator: torch.Generator) -> FastWeights:
    """Two scenes of three heads, width 4, hidden 6."""
    shapes = (2, 3, 4, 6), (2, 3, 6, 4), (2, 3, 4, 6)
    return FastWeights(*(torch.randn(shape, generator=generator) for shape in shapes))


def _case(seed: int, writes: int) -> tuple[LayerMemory, FastWeights, list[FastWeights]]:
    """A layer whose anchors are not its weights, norms that are neither's, and updates."""
    generator = torch.Generator().manual_seed(seed)
    importance = _random(generator).map(lambda t: 0.1 * t.abs())
    memory = LayerMemory(_random(generator), _random(generator), importance)
    norms = _random(generator).map(lambda t: 0.5 + t[:1, :, :1].abs())
    return memory, norms, [_random(generator) for _ in range(writes)]


def _assert_follows(
    memory: LayerMemory, norms: FastWeights, updates: list[FastWeights], rule: ElasticRule | Plastic
) -> None:
    references = [
        Reference(array_of(w), array_of(a), array_of(f))
        for w, a, f in zip(memory.weights, memory.anchor, memory.importance, strict=True)
    ]
    for update in updates:
        memory = written(memory, update, norms, rule)
        for reference, u, n in zip(references, update, norms, strict=True):
            reference.write(array_of(u), array_of(n), rule)
        found = zip(memory.weights, memory.anchor, memory.importance, strict=True)
        for (weight, anchor, importance), expected in zip(found, references, strict=True):
            np.testing.assert_allclose(weight.numpy(), expected.weight, atol=2e-5, rtol=2e-5)
            np.testing.assert_allclose(anchor.numpy(), expected.anchor, atol=2e-5, rtol=2e-5)
            np.testing.assert_allclose(importance.numpy(), expected.importance, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("rule", [*EVERY_VARIATION, Plastic()], ids=rule_name)
def test_three_writes_follow_the_equations(rule: ElasticRule | Plastic) -> None:
    if isinstance(rule, ElasticRule):
        rule = replace(rule, strength=0.3, importance_decay=0.7, anchor_decay=0.6)
    _assert_follows(*_case(0, 3), rule)


@few
@given(
    seed=st.integers(0, 2**31 - 1),
    rule=st.builds(
        ElasticRule,
        importance=st.sampled_from(Importance),
        anchor=st.sampled_from(AnchorPolicy),
        # Within strengths that pull towards the anchor, not past it by multiples.
        strength=st.floats(0.0, 0.5),
        importance_decay=shares,
        anchor_decay=shares,
        timing=st.sampled_from(ImportanceTiming),
        scale=st.sampled_from(ImportanceScale),
    ),
)
def test_one_write_follows_the_equations(seed: int, rule: ElasticRule) -> None:
    _assert_follows(*_case(seed, 1), rule)


@every_rule
def test_no_two_rules_write_the_same(rule: ElasticRule) -> None:
    memory, norms, updates = _case(1, 2)
    mine = _after(memory, norms, updates, rule)
    for other in EVERY_RULE:
        if other != rule:
            theirs = _after(memory, norms, updates, other)
            assert (mine.weights.w1 - theirs.weights.w1).abs().max() > 1e-2


def _after(
    memory: LayerMemory, norms: FastWeights, updates: list[FastWeights], rule: ElasticRule | Plastic
) -> LayerMemory:
    for update in updates:
        memory = written(memory, update, norms, rule)
    return memory


def _equal(one: FastWeights, other: FastWeights) -> bool:
    return all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


@pytest.mark.parametrize("importance", Importance)
def test_the_ends_of_the_decays(importance: Importance) -> None:
    memory, norms, updates = _case(2, 1)
    ema = ElasticRule(importance, AnchorPolicy.STREAMING_EMA)
    kept = _after(memory, norms, updates, replace(ema, importance_decay=1.0, anchor_decay=1.0))
    assert _equal(kept.importance, memory.importance)
    assert _equal(kept.anchor, memory.anchor)
    new = _after(memory, norms, updates, replace(ema, importance_decay=0.0, anchor_decay=0.0))
    forgotten = replace(memory, importance=memory.importance.map(lambda t: 7 + t))
    assert _equal(_after(forgotten, norms, updates, replace(ema, importance_decay=0.0)).importance, new.importance)
    assert _equal(new.anchor, new.weights)
    streaming = replace(ema, anchor=AnchorPolicy.STREAMING, importance_decay=0.0)
    assert _equal(_after(memory, norms, updates, streaming).anchor, new.anchor)


@every_variation
def test_without_strength_every_variation_is_plastic(rule: ElasticRule) -> None:
    memory, norms, updates = _case(7, 3)
    plastic = _after(memory, norms, updates, Plastic())
    assert _equal(_after(memory, norms, updates, replace(rule, strength=0.0)).weights, plastic.weights)
    assert not _equal(_after(memory, norms, updates, rule).weights, plastic.weights)


@pytest.mark.parametrize("anchor", AnchorPolicy)
def test_uniform_importance_pulls_back_one_share_of_every_weight(anchor: AnchorPolicy) -> None:
    memory, norms, updates = _case(8, 1)
    rule = ElasticRule(Importance.UNIFORM, anchor, strength=0.25, importance_decay=0.0)
    moved = memory.weights.map(torch.add, updates[0])
    mixed = moved.map(lambda w, a: 0.75 * w + 0.25 * a, memory.anchor)
    directions = mixed.map(lambda w: w / w.norm(dim=-2, keepdim=True))
    after = _after(memory, norms, updates, rule)
    for found, direction, norm in zip(after.weights, directions, norms, strict=True):
        torch.testing.assert_close(found, direction * norm, atol=1e-4, rtol=0)
    assert all((importance == 1).all() for importance in after.importance)


def test_at_full_strength_uniform_importance_stays_at_the_anchor() -> None:
    memory, _, updates = _case(9, 3)
    norms = memory.anchor.map(lambda a: a.norm(dim=-2, keepdim=True))
    rule = ElasticRule(Importance.UNIFORM, AnchorPolicy.GLOBAL, 1.0, importance_decay=0.0)
    for found, anchor in zip(_after(memory, norms, updates, rule).weights, memory.anchor, strict=True):
        torch.testing.assert_close(found, anchor, atol=1e-4, rtol=0)


@pytest.mark.parametrize("importance", Importance)
def test_importance_from_before_the_chunk_says_nothing_about_the_chunk(importance: Importance) -> None:
    """What was unimportant is written freely, however large its update, and becomes important for the next chunk."""
    memory, norms, updates = _case(10, 2)
    unimportant = replace(memory, importance=memory.importance.map(torch.zeros_like))
    rule = ElasticRule(importance, timing=ImportanceTiming.BEFORE)
    free = _after(unimportant, norms, updates[:1], Plastic())
    first = _after(unimportant, norms, updates[:1], rule)
    assert _equal(first.weights, free.weights)
    assert _equal(first.importance, _after(unimportant, norms, updates[:1], ElasticRule(importance)).importance)
    assert all((found > 0).any() for found in first.importance)
    plastic = _after(first, norms, updates[1:], Plastic())
    assert not _equal(_after(first, norms, updates[1:], rule).weights, plastic.weights)


@pytest.mark.parametrize("timing", ImportanceTiming)
def test_per_head_the_pull_does_not_depend_on_how_large_importance_is(timing: ImportanceTiming) -> None:
    memory, norms, updates = _case(11, 1)
    scale = torch.tensor([1e-3, 1.0, 50.0])[:, None, None]  # of each head
    scaled = replace(memory, importance=memory.importance.map(lambda t: scale * t))
    rule = ElasticRule(timing=timing, scale=ImportanceScale.PER_HEAD, importance_decay=1.0)
    expected = _after(memory, norms, updates, rule)
    for found, wanted in zip(_after(scaled, norms, updates, rule).weights, expected.weights, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    raw = replace(rule, scale=ImportanceScale.RAW)
    assert not _equal(_after(scaled, norms, updates, raw).weights, _after(memory, norms, updates, raw).weights)


def test_per_head_no_weight_is_pulled_past_its_anchor() -> None:
    memory, norms, updates = _case(13, 1)
    rule = ElasticRule(anchor=AnchorPolicy.GLOBAL, importance_decay=1.0, strength=1e3)
    held = _after(memory, norms, updates, replace(rule, scale=ImportanceScale.PER_HEAD))
    thrown = _after(memory, norms, updates, rule)
    for found, past, anchor, norm in zip(held.weights, thrown.weights, memory.anchor, norms, strict=True):
        expected = anchor / anchor.norm(dim=-2, keepdim=True) * norm
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
        assert (past - expected).abs().max() > 0.1


def test_where_nothing_is_important_per_head_nothing_is_pulled() -> None:
    memory, norms, updates = _case(12, 1)
    unimportant = replace(memory, importance=memory.importance.map(torch.zeros_like))
    rule = ElasticRule(timing=ImportanceTiming.BEFORE, scale=ImportanceScale.PER_HEAD)
    assert _equal(_after(unimportant, norms, updates, rule).weights, _after(memory, norms, updates, Plastic()).weights)


def test_the_pull_goes_towards_the_anchor_where_it_matters() -> None:
    memory, norms, updates = _case(3, 1)
    important = memory.importance.map(torch.zeros_like)
    important.w0[0, 1, 2, 3] = 1.0
    rule = ElasticRule(anchor=AnchorPolicy.GLOBAL, strength=1.0, importance_decay=1.0)
    moved = memory.weights.map(torch.add, updates[0])
    pulled = _after(replace(memory, importance=important), norms, updates, rule).weights.w0
    free = _after(memory, norms, updates, Plastic()).weights.w0
    column = torch.zeros_like(free, dtype=torch.bool)
    column[0, 1, :, 3] = True
    assert torch.equal(pulled[~column], free[~column])
    # Full importance at full strength: the weight is at its anchor, then the norm of its column is restored.
    expected = moved.w0[0, 1, :, 3].clone()
    expected[2] = memory.anchor.w0[0, 1, 2, 3]
    torch.testing.assert_close(
        pulled[0, 1, :, 3] / pulled[0, 1, :, 3].norm(), expected / expected.norm(), atol=1e-5, rtol=0
    )


@every_rule
def test_a_stronger_rule_stays_nearer_to_the_anchor(rule: ElasticRule) -> None:
    memory, _, updates = _case(4, 1)
    memory = replace(memory, anchor=memory.weights)
    norms = memory.weights.map(lambda w: w.norm(dim=-2, keepdim=True))
    small = [updates[0].map(lambda u: 0.1 * u)]
    distances = []
    for strength in (0.0, 0.5, 2.0):
        written = _after(memory, norms, small, replace(rule, strength=strength))
        distances.append(float((written.weights.w2 - memory.weights.w2).norm()))
    assert distances[0] > distances[1] > distances[2] > 0


def test_the_memory_before_is_not_changed() -> None:
    memory, norms, updates = _case(5, 1)
    parts = [*memory.weights, *memory.anchor, *memory.importance, *norms, *updates[0]]
    before = [tensor.clone() for tensor in parts]
    for rule in (*EVERY_VARIATION, Plastic()):
        written(memory, updates[0], norms, rule)
    assert all(torch.equal(now, then) for now, then in zip(parts, before, strict=True))


def test_importance_ewc_squares_in_the_precision_of_the_update() -> None:
    """Where Newton-Schulz runs in bfloat16 the release squares in it; the memory itself stays float32."""
    memory, norms, updates = _case(6, 1)
    rounded = updates[0].map(lambda u: u.bfloat16())
    rule = ElasticRule(Importance.EWC, importance_decay=0.0)
    after = written(memory, rounded, norms, rule)
    for found, update in zip(after.importance, rounded, strict=True):
        assert torch.equal(found, (update * update).float())
        assert not torch.equal(found, update.float() ** 2)
    assert all(t.dtype == torch.float32 for t in (*after.weights, *after.anchor, *after.importance))
