# SPDX-License-Identifier: Apache-2.0
"""What the memory refuses, and that a refusal costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiny_memory import (
    CONFIG,
    OBLONG,
    assert_untouched,
    observed_state,
    random_views,
    rule_name,
    snapshot,
    tiny_model,
)

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.configuration import ModelConfig
from fsm_ros.memory.model import FsmModel, NonFiniteUpdateError
from fsm_ros.memory.precision import MuonPrecision, Precision
from fsm_ros.memory.rules.base import WriteRule
from fsm_ros.memory.rules.consolidation import ChunkShare, Consolidation
from fsm_ros.memory.rules.elastic import (
    AnchorPolicy,
    AnchorSharing,
    ElasticRule,
    Importance,
    ImportanceScale,
    ImportanceTiming,
)
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.rules.steps import StepRule
from fsm_ros.memory.views import Views

A_RULE_OF_EVERY_KIND: list[WriteRule] = [
    Plastic(),
    ElasticRule(),
    # Nothing of this chunk is in the pull, and nothing is pulled towards the anchor: still it is noticed.
    ElasticRule(strength=0.0, timing=ImportanceTiming.BEFORE, scale=ImportanceScale.PER_HEAD),
    Consolidation(),
    Consolidation(ChunkShare.BY_TOKENS),
    StepRule(0.5, momentum=0.5),
]


@pytest.fixture
def model() -> FsmModel:
    return tiny_model()


# --- values that are not numbers ---------------------------------------------------------------------------


def _nan_pixel(views: Views) -> Views:
    images = views.images.clone()
    images[0, 1, 2, 3, 4] = float("nan")
    return replace(views, images=images)


def _infinite_pixel(views: Views) -> Views:
    images = views.images.clone()
    images[0, 0, 0, 0, 0] = float("inf")
    return replace(views, images=images)


def _infinite_pose(views: Views) -> Views:
    poses = views.cameras.memory_from_camera.clone()
    poses[0, 1, 0, 3] = float("inf")
    return replace(views, cameras=replace(views.cameras, memory_from_camera=poses))


def _nan_pose(views: Views) -> Views:
    poses = views.cameras.memory_from_camera.clone()
    poses[0, 0, 1, 1] = float("nan")
    return replace(views, cameras=replace(views.cameras, memory_from_camera=poses))


def _no_focal_length(views: Views) -> Views:
    intrinsics = views.cameras.fxfycxcy.clone()
    intrinsics[0, 1, :2] = 0
    return replace(views, cameras=replace(views.cameras, fxfycxcy=intrinsics))


def _nan_time(views: Views) -> Views:
    return replace(views, times=torch.full_like(views.times, float("nan")))


@pytest.mark.slow
@pytest.mark.parametrize("rule", A_RULE_OF_EVERY_KIND, ids=rule_name)
@pytest.mark.parametrize("muon", MuonPrecision)
@pytest.mark.parametrize(
    "broken", [_nan_pixel, _infinite_pixel, _infinite_pose, _nan_pose, _no_focal_length, _nan_time]
)
def test_a_chunk_that_would_poison_the_memory_is_refused(
    broken: Callable[[Views], Views], muon: MuonPrecision, rule: WriteRule
) -> None:
    model = tiny_model(muon_precision=muon)
    good = random_views(2, 2)
    state = observed_state(model, 2, rule)
    before, expected = snapshot(state), model.observe(state, good, rule)
    bad = broken(good)
    with pytest.raises(NonFiniteUpdateError, match="not finite"):
        model.observe(state, bad, rule)
    with pytest.raises(NonFiniteUpdateError, match="not finite"):
        model.observe_batch(state, bad, 5, rule)
    assert_untouched(state, before)
    assert model.observe(state, good, rule).equals(expected)
    assert model.render(state, good.cameras, good.times).isfinite().all()


@pytest.mark.parametrize("rule", A_RULE_OF_EVERY_KIND, ids=rule_name)
def test_a_broken_scene_does_not_hide_in_a_batch(model: FsmModel, rule: WriteRule) -> None:
    views = random_views(3, 2, batch=2)
    images = views.images.clone()
    images[1, 0, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteUpdateError):
        model.observe(model.initial_state(2), replace(views, images=images), rule)


# --- shapes ------------------------------------------------------------------------------------------------


@settings(max_examples=8, deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20))
def test_a_resolution_that_is_not_of_whole_patches_names_the_patch(height: int, width: int) -> None:
    assume(height % CONFIG.patch_size or width % CONFIG.patch_size)
    model, views = tiny_model(), random_views(1, 2, (height, width))
    state = model.initial_state()
    message = f"{width}x{height} pixels .* patches of {CONFIG.patch_size}: .* multiples of {CONFIG.patch_size}"
    with pytest.raises(ValueError, match=message):
        model.observe(state, views)
    with pytest.raises(ValueError, match=message):
        model.observe_batch(state, views, 4)
    with pytest.raises(ValueError, match=message):
        model.render(state, views.cameras, views.times)


def test_cameras_that_do_not_belong_together() -> None:
    intrinsics, poses = torch.ones(1, 2, 4), torch.eye(4).repeat(1, 2, 1, 1)
    with pytest.raises(ValueError, match=r"fxfycxcy must be \[B, V, 4\]"):
        Cameras(intrinsics[0], poses, 8, 8)
    with pytest.raises(ValueError, match=r"memory_from_camera must be \[B, V, 4, 4\]"):
        Cameras(intrinsics, poses[:, :1], 8, 8)
    for height, width in ((0, 8), (8, -1)):
        with pytest.raises(ValueError, match="at least one"):
            Cameras(intrinsics, poses, height, width)
    for nothing in (slice(0, 0), slice(2, 3)):
        with pytest.raises(ValueError, match="at least one scene, view"):
            Cameras(intrinsics, poses, 8, 8)[nothing]


def test_views_that_do_not_belong_together(model: FsmModel) -> None:
    views = random_views(4, 2)
    with pytest.raises(ValueError, match="images must be"):
        Views(views.images[:, :1], views.cameras, views.times)
    with pytest.raises(ValueError, match="images must be"):
        Views(views.images.mT, views.cameras, views.times)
    with pytest.raises(ValueError, match="times must be"):
        Views(views.images, views.cameras, views.times[0])
    with pytest.raises(ValueError, match="times must be"):
        model.render(model.initial_state(), views.cameras, views.times[:, :1])


def test_a_memory_of_other_scenes_or_another_model(model: FsmModel) -> None:
    views = random_views(5, 2)
    with pytest.raises(ValueError, match="holds 3 scenes, the cameras are of 1"):
        model.observe(model.initial_state(3), views)
    with pytest.raises(ValueError, match="at least one scene"):
        model.initial_state(0)
    for change in ({"num_layers": 3}, {"fast_head_dim": 16}, {"fast_inter_multi": 4}):
        other = FsmModel(ModelConfig(**(asdict(CONFIG) | change))).initial_state()
        for act in (
            lambda state: model.observe(state, views),
            lambda state: model.observe_batch(state, views, 4),
            lambda state: model.render(state, views.cameras, views.times),
        ):
            with pytest.raises(ValueError, match="the memory is of another model"):
                act(other)
        with pytest.raises(ValueError, match="elastic prior"):
            model.initial_state(1, other.layers)
    with pytest.raises(ValueError, match="elastic prior is of another model"):
        model.initial_state(2, model.initial_state(2).layers)


def test_a_chunk_of_no_tokens(model: FsmModel) -> None:
    for tokens in (0, -4):
        with pytest.raises(ValueError, match="chunk_tokens must be positive"):
            model.observe_batch(model.initial_state(), random_views(6, 2), tokens)


# --- settings ----------------------------------------------------------------------------------------------


def test_unknown_choices_raise(model: FsmModel) -> None:
    for enum in (
        Importance,
        ImportanceTiming,
        ImportanceScale,
        AnchorPolicy,
        AnchorSharing,
        ChunkShare,
        Precision,
        MuonPrecision,
    ):
        with pytest.raises(ValueError, match="nonsense"):
            enum("nonsense")
    for name, policies in (
        ("importance", Importance),
        ("anchor", AnchorPolicy),
        ("timing", ImportanceTiming),
        ("scale", ImportanceScale),
    ):
        # A name is not the policy, nor is a policy of another kind.
        for wrong in ("nonsense", next(iter(policies)).value, ChunkShare.EQUAL, None):
            with pytest.raises(ValueError, match=f"elastic.{name} must be of type {policies.__name__}, got {wrong!r}"):
                replace(ElasticRule(), **{name: wrong})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="half"):
        FsmModel(CONFIG, precision="half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="half"):
        FsmModel(CONFIG, muon_precision="half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="both"):
        model.observe_batch(
            model.initial_state(),
            random_views(7, 2),
            4,
            ElasticRule(),
            "both",  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("name", ["strength", "importance_decay", "anchor_decay"])
@pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf")])
def test_elastic_numbers_outside_their_range(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"elastic\.{name} must be from 0 to 10*, got"):
        replace(ElasticRule(), **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["importance_decay", "anchor_decay"])
def test_a_share_is_at_most_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be from 0 to 1, got 1.01"):
        replace(ElasticRule(), **{name: 1.01})  # type: ignore[arg-type]
    assert getattr(replace(ElasticRule(), **{name: 1.0}), name) == 1.0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 0}, "dim must be positive"),
        ({"num_layers": -1}, "num_layers must be positive"),
        ({"muon_update_steps": -1}, "muon_update_steps must be positive"),
        ({"patch_size": 4.0}, "patch_size must be a whole number"),
        ({"base_lr": float("nan")}, "base_lr must be positive"),
        ({"attention_head_dim": 5}, "attention_head_dim 5 must divide dim 32"),
        ({"fast_head_dim": 12}, "fast_head_dim 12 must divide dim 32"),
        ({"depth": 3}, "unknown depth"),
    ],
)
def test_an_impossible_architecture(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_mapping(asdict(CONFIG) | change)


def test_no_newton_schulz_iterations_are_an_architecture_too() -> None:
    model = tiny_model(config=replace(CONFIG, muon_update_steps=0))
    state = model.observe(model.initial_state(), random_views(8, 2, OBLONG))
    assert (state.statistics[0].update_rms > 0).all()


@pytest.mark.parametrize("rule", [Consolidation(), StepRule()], ids=rule_name)
def test_anchors_are_shared_under_the_elastic_rule_only(model: FsmModel, rule: WriteRule) -> None:
    with pytest.raises(ValueError, match="under the elastic rule only: use per_layer"):
        model.observe_batch(model.initial_state(), random_views(1, 2), 5, rule, AnchorSharing.SHARED)
