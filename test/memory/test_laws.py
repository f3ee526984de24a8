# SPDX-License-Identifier: Apache-2.0
"""Laws of the memory that hold for any weights and any views."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_memory import (
    BEYOND_THE_PAPER,
    CONFIG,
    EVERY_RULE,
    EVERY_WRITE_RULE,
    OBLONG,
    ONE_LAYER,
    SQUARE,
    WEIGHED_DIFFERENTLY,
    assert_states_close,
    assert_untouched,
    blocks_of,
    largest_difference,
    observed_state,
    one_scene,
    random_chunks,
    random_views,
    rule_name,
    scene_of,
    snapshot,
    stream,
    tiny_model,
    tokens_of,
)

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.fast_weights import WriteTokens, ascent_direction, column_norms, newton_schulz
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.base import WriteRule
from fsm_ros.memory.rules.elastic import AnchorSharing, ElasticRule
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.views import Views

few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 2**31 - 1)
rules = st.sampled_from(EVERY_WRITE_RULE)
sizes = st.sampled_from([SQUARE, OBLONG])
every_rule = pytest.mark.parametrize("rule", EVERY_WRITE_RULE, ids=rule_name)
every_elastic_rule = pytest.mark.parametrize("rule", [*EVERY_RULE, *WEIGHED_DIFFERENTLY], ids=rule_name)


@pytest.fixture
def model() -> FsmModel:
    return tiny_model()


def _chosen(views: Views, order: list[int]) -> Views:
    cameras = views.cameras
    chosen = Cameras(cameras.fxfycxcy[:, order], cameras.memory_from_camera[:, order], cameras.height, cameras.width)
    return Views(views.images[:, order], chosen, views.times[:, order])


# --- a state is all there is -------------------------------------------------------------------------------


@few
@given(seed=seeds, first=st.integers(0, 3), rule=rules, size=sizes)
def test_a_stream_may_be_cut_anywhere_and_carried_on_elsewhere(
    seed: int, first: int, rule: WriteRule, size: tuple[int, int]
) -> None:
    chunks = random_chunks(seed, 3, size)
    here, elsewhere = tiny_model(), tiny_model()
    whole = stream(here, here.initial_state(), chunks, rule)
    begun = stream(here, here.initial_state(), chunks[:first], rule)
    carried = begun.map(torch.clone)
    assert stream(elsewhere, carried, chunks[first:], rule).equals(whole)
    assert (whole.chunks_observed, whole.views_observed) == (3, 6)


@few
@given(seed=seeds, rule=rules)
def test_old_states_stay_as_they_were_and_can_be_used_again(seed: int, rule: WriteRule) -> None:
    model = tiny_model()
    old, views = observed_state(model, 2, rule, seed), random_views(seed + 1, 2)
    before = snapshot(old)
    first = model.observe(old, views, rule)
    other = model.observe(old, random_views(seed + 2, 3), rule)
    model.observe_batch(old, views, 5, rule)
    if isinstance(rule, ElasticRule):
        model.observe_batch(old, views, 5, rule, AnchorSharing.SHARED)
    model.render(old, views.cameras, views.times)
    assert_untouched(old, before)
    assert largest_difference(first, other) > 0.01
    assert model.observe(old, views, rule).equals(first)


def test_a_state_does_not_follow_the_parameters(model: FsmModel) -> None:
    state = model.initial_state()
    before = snapshot(state)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert_untouched(state, before)


@few
@given(seed=seeds, rule=rules, size=sizes)
def test_one_chunk_is_the_same_in_streaming_and_in_batch_order(
    seed: int, rule: WriteRule, size: tuple[int, int]
) -> None:
    model, views = tiny_model(), random_views(seed, 3, size)
    state = observed_state(model, 1, rule, seed + 1)
    in_batch = model.observe_batch(state, views, tokens_of(views), rule)
    assert in_batch.equals(model.observe(state, views, rule))


def test_several_chunks_are_not_the_same_in_streaming_and_in_batch_order(model: FsmModel) -> None:
    chunks, views = random_chunks(3, 2), random_views(3, 4)
    streamed = stream(model, model.initial_state(), chunks)
    in_batch = model.observe_batch(model.initial_state(), views, tokens_of(chunks[0]))
    assert (in_batch.chunks_observed, in_batch.views_observed) == (2, 4)
    # The first layer reads nothing before it writes; the second reads what the first answered.
    torch.testing.assert_close(in_batch.layers[0].weights.w0, streamed.layers[0].weights.w0, atol=1e-4, rtol=0)
    assert (in_batch.layers[1].weights.w0 - streamed.layers[1].weights.w0).abs().max() > 0.01


@few
@given(seed=seeds, order=st.permutations(range(4)), rule=rules)
def test_the_order_of_views_inside_a_chunk_does_not_matter(seed: int, order: list[int], rule: WriteRule) -> None:
    model, views = tiny_model(), random_views(seed, 4)
    state = observed_state(model, 1, rule, seed + 1)
    expected = model.observe(state, views, rule)
    assert_states_close(model.observe(state, _chosen(views, order), rule), expected, atol=2e-3)
    assert largest_difference(expected, state) > 0.1


# --- rendering only reads ----------------------------------------------------------------------------------


@few
@given(seed=seeds, rule=rules, size=sizes)
def test_rendering_twice_gives_the_same_and_leaves_the_state(seed: int, rule: WriteRule, size: tuple[int, int]) -> None:
    model, views = tiny_model(), random_views(seed, 3, size)
    state = observed_state(model, 2, rule, seed)
    before = snapshot(state)
    first = model.render(state, views.cameras, views.times)
    second = model.render(state, views.cameras, views.times)
    assert torch.equal(first, second)
    assert_untouched(state, before)
    assert first.shape == views.images.shape
    assert first.dtype == torch.float32
    assert ((first > 0) & (first < 1)).all()


@few
@given(seed=seeds, size=sizes)
def test_views_rendered_one_by_one_equal_views_rendered_together(seed: int, size: tuple[int, int]) -> None:
    model, views = tiny_model(), random_views(seed, 3, size)
    state = observed_state(model, 2, seed=seed)
    together = model.render(state, views.cameras, views.times)
    alone = [model.render(state, views.cameras[i : i + 1], views.times[:, i : i + 1]) for i in range(3)]
    torch.testing.assert_close(torch.cat(alone, dim=1), together, atol=1e-5, rtol=0)


def test_what_is_rendered_depends_on_memory_pose_and_time(model: FsmModel) -> None:
    views = random_views(4, 1)
    image = model.render(observed_state(model, 2, seed=5), views.cameras, views.times)
    forgotten = model.render(observed_state(model, 2, seed=6), views.cameras, views.times)
    elsewhere = model.render(observed_state(model, 2, seed=5), random_views(7, 1).cameras, views.times)
    later = model.render(observed_state(model, 2, seed=5), views.cameras, views.times + 0.5)
    for other in (forgotten, elsewhere, later):
        assert (other - image).abs().max() > 0.01


@few
@given(rows=st.integers(1, 5), columns=st.integers(1, 5))
def test_any_resolution_of_whole_patches_is_taken(rows: int, columns: int) -> None:
    model, size = tiny_model(), (rows * CONFIG.patch_size, columns * CONFIG.patch_size)
    state = model.observe(observed_state(model, 1), random_views(1, 2, size))
    wanted = random_views(2, 1, size)
    assert model.render(state, wanted.cameras, wanted.times).shape == (1, 1, 3, *size)


# --- a memory of a fixed size ------------------------------------------------------------------------------


@pytest.mark.slow
@every_rule
def test_size_and_column_norms_stay_however_long_the_stream(rule: WriteRule) -> None:
    model = tiny_model(config=ONE_LAYER)
    views = random_views(22, 50, (4, 8))
    state = model.observe(model.initial_state(), views[:1], rule)
    size, shapes = state.size_bytes, {name: tensor.shape for name, tensor in state.tensors().items()}
    for i in range(1, 50):
        state = model.observe(state, views[i : i + 1], rule)
        assert state.size_bytes == size
    assert {name: tensor.shape for name, tensor in state.tensors().items()} == shapes
    assert (state.chunks_observed, state.views_observed) == (50, 50)
    slow = column_norms(model.memory_layers[0].slow_weights(1))
    for found, expected in zip(column_norms(state.layers[0].weights), slow, strict=True):
        torch.testing.assert_close(found, expected, atol=0, rtol=1e-4)


# --- scenes of a batch -------------------------------------------------------------------------------------


@pytest.mark.slow
@every_rule
def test_a_batch_of_scenes_equals_the_scenes_one_by_one(model: FsmModel, rule: WriteRule) -> None:
    scenes = 3
    chunks, wanted = random_chunks(8, 3, batch=scenes), random_views(9, 2, batch=scenes)
    together = stream(model, model.initial_state(scenes), chunks, rule)
    images = model.render(together, wanted.cameras, wanted.times)
    in_batch = model.observe_batch(model.initial_state(scenes), chunks[0], 5, rule)
    for i in range(scenes):
        alone = stream(model, model.initial_state(), [one_scene(chunk, i) for chunk in chunks], rule)
        mine = scene_of(together, i)
        assert_states_close(mine, alone, atol=2e-3)
        assert largest_difference(mine, scene_of(together, (i + 1) % scenes)) > 0.1
        view = one_scene(wanted, i)
        torch.testing.assert_close(images[i : i + 1], model.render(alone, view.cameras, view.times), atol=2e-3, rtol=0)
        in_batch_alone = model.observe_batch(model.initial_state(), one_scene(chunks[0], i), 5, rule)
        assert_states_close(scene_of(in_batch, i), in_batch_alone, atol=2e-3)


# --- when nothing is to be written, or nothing held -----------------------------------------------------


@pytest.mark.slow
@every_elastic_rule
def test_strength_zero_is_lact(model: FsmModel, rule: ElasticRule) -> None:
    chunks = random_chunks(10, 3)
    lact = stream(model, model.initial_state(), chunks)
    without = stream(model, model.initial_state(), chunks, replace(rule, strength=0.0))
    held = stream(model, model.initial_state(), chunks, replace(rule, strength=5.0))
    for i, layer in enumerate(lact.layers):
        for name in ("w0", "w1", "w2"):
            assert torch.equal(getattr(without.layers[i].weights, name), getattr(layer.weights, name))
            assert not torch.equal(getattr(held.layers[i].weights, name), getattr(layer.weights, name))


def test_lact_leaves_anchor_and_importance_alone(model: FsmModel) -> None:
    initial = model.initial_state()
    streamed = stream(model, initial, random_chunks(10, 2))
    shared = model.observe_batch(initial, random_views(10, 4), 6, Plastic(), AnchorSharing.SHARED)
    for state in (streamed, shared):
        for before, after in zip(initial.layers, state.layers, strict=True):
            for part in ("anchor", "importance"):
                for old, new in zip(getattr(before, part), getattr(after, part), strict=True):
                    assert torch.equal(old, new)


def test_step_size_zero_has_no_direction_and_no_update(model: FsmModel) -> None:
    weights = observed_state(model).layers[0].weights
    keys, values = torch.randn(1, 4, 6, 8), torch.randn(1, 4, 6, 8)
    nothing = torch.zeros(1, 4, 6, 1)
    direction = ascent_direction(weights, WriteTokens(keys, values, (nothing, nothing, nothing)))
    for gradient in direction:
        assert not gradient.any()
        for dtype in (torch.float32, torch.bfloat16):
            assert not newton_schulz(gradient, 5, dtype).any()


@every_rule
def test_step_size_zero_changes_nothing(model: FsmModel, rule: WriteRule) -> None:
    chunk = random_views(11, 2)
    initial = model.initial_state()
    moved = model.observe(initial, chunk, rule)
    for block in blocks_of(model):
        block.memory.lr_fc.weight.zero_()
        block.memory.lr_fc.bias.fill_(-1000.0)  # softplus gives exactly 0
    still = model.observe(initial, chunk, rule)
    for before, after, written in zip(initial.layers, still.layers, moved.layers, strict=True):
        for old, new, other in zip(before.weights, after.weights, written.weights, strict=True):
            # Restoring the norms divides by norm + 1e-5, which is all that may remain.
            allowed = 2 * old.abs() * 1e-5 / old.norm(dim=-2, keepdim=True) + 1e-6
            assert ((new - old).abs() <= allowed).all()
            assert (other - old).abs().max() > 0.1
    assert all(not layer.update_rms.any() for layer in still.statistics)


# --- learning ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("rule", BEYOND_THE_PAPER, ids=rule_name)
def test_gradients_reach_every_parameter_through_several_writes(model: FsmModel, rule: WriteRule) -> None:
    model.requires_grad_(True)
    wanted = random_views(24, 2)
    state = stream(model, model.initial_state(), random_chunks(25, 3), rule)
    loss = (model.render(state, wanted.cameras, wanted.times) - wanted.images).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    assert not any(tensor.requires_grad for tensor in state.detach().tensors().values())
