# SPDX-License-Identifier: Apache-2.0
"""What one write does to a layer: its direction, its norms, its anchors, its statistics, its gradients."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_memory import (
    EVERY_PUBLISHED_RULE,
    assert_untouched,
    blocks_of,
    observed_state,
    one_scene,
    random_chunks,
    random_views,
    rule_name,
    snapshot,
    stream,
    tiny_model,
)
from torch import Tensor

from fsm_ros.memory.fast_weights import (
    FastWeights,
    WriteTokens,
    ascent_direction,
    column_norms,
    newton_schulz,
    read,
)
from fsm_ros.memory.layers import PreNorm
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.base import INITIAL_IMPORTANCE
from fsm_ros.memory.rules.elastic import AnchorPolicy, AnchorSharing, ElasticRule, Importance
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.state import MemoryState

few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 2**31 - 1)
every_published_rule = pytest.mark.parametrize("rule", EVERY_PUBLISHED_RULE, ids=rule_name)


@pytest.fixture
def model() -> FsmModel:
    return tiny_model()


@few
@given(seed=seeds)
def test_the_ascent_direction_is_the_gradient_of_the_agreement(seed: int) -> None:
    """``sum_i eta_i <f(k_i), v_i>`` for each weight with its own step sizes, differentiated by autograd."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    weights = FastWeights(normal(2, 3, 4, 8), normal(2, 3, 8, 4), normal(2, 3, 4, 8))
    etas = normal(2, 3, 5, 1).abs(), normal(2, 3, 5, 1).abs(), normal(2, 3, 5, 1).abs()
    tokens = WriteTokens(normal(2, 3, 5, 4), normal(2, 3, 5, 4), etas)
    found = ascent_direction(weights, tokens)
    for name, eta in zip(("w0", "w1", "w2"), etas, strict=True):
        variable = getattr(weights, name).clone().requires_grad_()
        agreement = (eta * read(replace(weights, **{name: variable}), tokens.keys) * tokens.values).sum()
        (expected,) = torch.autograd.grad(agreement, variable)
        torch.testing.assert_close(getattr(found, name), expected, atol=1e-10, rtol=1e-10)


@few
@given(seed=seeds, rows=st.integers(2, 12), columns=st.integers(2, 12), scale=st.sampled_from([1e-4, 1.0, 1e4]))
def test_newton_schulz_keeps_only_the_direction_of_a_matrix(seed: int, rows: int, columns: int, scale: float) -> None:
    matrix = torch.randn(3, rows, columns, generator=torch.Generator().manual_seed(seed))
    found = newton_schulz(matrix, 5, torch.float32)
    torch.testing.assert_close(newton_schulz(scale * matrix, 5, torch.float32), found, atol=2e-2, rtol=0)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    well_conditioned = values[:, -1:] > 0.05 * values[:, :1]
    pushed = torch.linalg.svdvals(found)
    assert ((pushed > 0.5) & (pushed < 1.3) | ~well_conditioned).all()
    # The singular vectors stay: found = left diag(.) right.
    middle = left.mT @ found @ right.mT
    off_diagonal = middle - torch.diag_embed(middle.diagonal(dim1=-2, dim2=-1))
    assert off_diagonal.abs().max() < 1e-2


@every_published_rule
def test_column_norms_stay_those_of_the_slow_weights(model: FsmModel, rule: ElasticRule | Plastic) -> None:
    state = stream(model, model.initial_state(), random_chunks(12, 5), rule)
    for block, layer in zip(blocks_of(model), state.layers, strict=True):
        slow = column_norms(block.memory.slow_weights(1))
        for found, expected in zip(column_norms(layer.weights), slow, strict=True):
            torch.testing.assert_close(found, expected, atol=0, rtol=1e-4)


@every_published_rule
def test_statistics_tell_what_the_last_chunk_did(model: FsmModel, rule: ElasticRule | Plastic) -> None:
    before = observed_state(model, 2, rule).layers[0]
    views = random_views(13, 2)
    x = model.input_layernorm(model.input_linear(model.patch_features(views.cameras, views.times, views.images)))
    block = blocks_of(model)[0]
    attended = block.attend(x)
    after, found = block.write(attended, before, rule, torch.float32)

    layer = block.module_list[1]
    assert isinstance(layer, PreNorm)
    tokens = block.memory.write_tokens(layer.ln(attended))
    update = [newton_schulz(g, 5, torch.float32) for g in ascent_direction(before.weights, tokens)]
    strength = rule.strength if isinstance(rule, ElasticRule) else 0.0
    pulls = [
        strength * f * (w + u - a)
        for f, w, u, a in zip(after.importance, before.weights, update, before.anchor, strict=True)
    ]
    distances = [w - a for w, a in zip(after.weights, after.anchor, strict=True)]
    importances = _flat(list(after.importance))
    expected = {
        "weight_rms": _rms(list(after.weights)),
        "anchor_distance": _rms(distances),
        "update_rms": _rms(update),
        "pull_rms": _rms(pulls),
        "importance_mean": importances.mean(),
        "importance_max": importances.max(),
    }
    assert expected.keys() == {field.name for field in fields(found)}
    for name, value in expected.items():
        torch.testing.assert_close(getattr(found, name), value[None], atol=1e-7, rtol=1e-4)
    torch.testing.assert_close(
        found.elastic_ratio, (expected["pull_rms"] / expected["update_rms"])[None], atol=1e-7, rtol=1e-4
    )
    assert (found.pull_rms > 0).all() == isinstance(rule, ElasticRule)


def _flat(matrices: list[Tensor]) -> Tensor:
    return torch.cat([matrix.reshape(-1) for matrix in matrices])


def _rms(matrices: list[Tensor]) -> Tensor:
    return _flat(matrices).square().mean().sqrt()


def test_statistics_are_of_each_scene(model: FsmModel) -> None:
    chunk = random_views(14, 2, batch=3)
    together = model.observe(model.initial_state(3), chunk, ElasticRule()).statistics
    for i in range(3):
        alone = model.observe(model.initial_state(), one_scene(chunk, i), ElasticRule()).statistics
        for mine, expected in zip(together, alone, strict=True):
            for field in fields(mine):
                found, value = getattr(mine, field.name), getattr(expected, field.name)
                assert found.shape == (3,)
                torch.testing.assert_close(found[i : i + 1], value, atol=1e-6, rtol=1e-2)


# --- anchors -----------------------------------------------------------------------------------------------


def test_shared_anchors_are_handed_from_layer_to_layer(model: FsmModel) -> None:
    views, rule = random_views(15, 4), ElasticRule(strength=2.0)
    own = model.observe_batch(model.initial_state(), views, 6, rule)
    shared = model.observe_batch(model.initial_state(), views, 6, rule, AnchorSharing.SHARED)
    for part in ("weights", "anchor", "importance"):
        first = zip(getattr(own.layers[0], part), getattr(shared.layers[0], part), strict=True)
        second = zip(getattr(own.layers[1], part), getattr(shared.layers[1], part), strict=True)
        assert all(torch.equal(mine, theirs) for mine, theirs in first)
        assert all((mine - theirs).abs().max() > 1e-3 for mine, theirs in second)


def test_what_is_shared_and_stays_is_that_of_the_first_layer(model: FsmModel) -> None:
    start = observed_state(model, 2, ElasticRule())
    rule = ElasticRule(anchor=AnchorPolicy.GLOBAL, importance_decay=1.0)
    state = model.observe_batch(start, random_views(16, 4), 6, rule, AnchorSharing.SHARED)
    for layer in state.layers:
        for part in ("anchor", "importance"):
            for found, first in zip(getattr(layer, part), getattr(start.layers[0], part), strict=True):
                assert torch.equal(found, first)


def test_sharing_exists_in_batch_order_only() -> None:
    assert "sharing" in inspect.signature(FsmModel.observe_batch).parameters
    assert "sharing" not in inspect.signature(FsmModel.observe).parameters


def test_a_reanchored_state_is_anchored_where_it_stands(model: FsmModel) -> None:
    state = observed_state(model, 3)
    before = snapshot(state)
    anchored = state.reanchored()
    assert_untouched(state, before)
    assert anchored.chunks_observed == 3
    for old, new in zip(state.layers, anchored.layers, strict=True):
        assert new.weights is old.weights
        # What one rule kept as importance would mean something else to another.
        assert all(bool((f == INITIAL_IMPORTANCE).all()) for f in new.importance)
        for weight, anchor, former in zip(old.weights, new.anchor, old.anchor, strict=True):
            assert torch.equal(weight, anchor)
            assert (weight - former).abs().max() > 0.1
    # A strong rule then holds the weights near where they were, not near where the stream began.
    rule = ElasticRule(Importance.MAS, AnchorPolicy.GLOBAL, strength=5.0)
    held = model.observe(anchored, random_views(17, 2), rule)
    free = model.observe(state, random_views(17, 2), rule)
    assert _distance(held, state) < 0.7 * _distance(free, state)


def _distance(one: MemoryState, other: MemoryState) -> float:
    squares = [
        (mine - theirs).square().sum()
        for a, b in zip(one.layers, other.layers, strict=True)
        for mine, theirs in zip(a.weights, b.weights, strict=True)
    ]
    return float(torch.stack(squares).sum().sqrt())


def test_a_prior_sets_anchor_and_importance_but_not_the_weights(model: FsmModel) -> None:
    donor = observed_state(model, 2, ElasticRule())
    state = model.initial_state(2, donor.layers)
    plain = model.initial_state(2)
    for layer, fresh, donated in zip(state.layers, plain.layers, donor.layers, strict=True):
        for part, source in (("weights", fresh.weights), ("anchor", donated.anchor)):
            for found, expected in zip(getattr(layer, part), source, strict=True):
                assert torch.equal(found, expected.expand_as(found))
        for found, expected in zip(layer.importance, donated.importance, strict=True):
            assert torch.equal(found, expected.expand_as(found))


# --- learning ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@every_published_rule
def test_gradients_reach_every_parameter_through_several_writes(model: FsmModel, rule: ElasticRule | Plastic) -> None:
    model.requires_grad_(True)
    wanted = random_views(18, 2)
    state = stream(model, model.initial_state(), random_chunks(19, 3), rule)
    loss = (model.render(state, wanted.cameras, wanted.times) - wanted.images).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_a_few_training_steps_lower_the_loss(model: FsmModel) -> None:
    model.requires_grad_(True)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    chunks, wanted = random_chunks(20, 2), random_views(21, 2)
    losses = []
    for _ in range(8):
        state = stream(model, model.initial_state(), chunks, ElasticRule())
        loss = (model.render(state, wanted.cameras, wanted.times) - wanted.images).square().mean()
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert losses[-1] < 0.8 * losses[0]
    assert not any(tensor.requires_grad for tensor in state.detach().tensors().values())
