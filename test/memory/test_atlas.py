# SPDX-License-Identifier: Apache-2.0
"""An atlas: where a chunk is written, where a view is rendered from, what a full bank does, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_memory import (
    EVERY_PUBLISHED_RULE,
    EVERY_WRITE_RULE,
    OBLONG,
    ONE_LAYER,
    assert_states_close,
    assert_untouched,
    observed_state,
    random_chunks,
    random_views,
    rule_name,
    snapshot,
    stream,
    tiny_model,
)
from torch import Tensor

from fsm_ros.memory.atlas import Atlas, Submap, addresses_of, observe, render
from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.memory.model import FsmModel, NonFiniteUpdateError
from fsm_ros.memory.rules.base import WriteRule
from fsm_ros.memory.rules.consolidation import ChunkShare, Consolidation
from fsm_ros.memory.rules.elastic import AnchorPolicy, ElasticRule
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.rules.steps import StepRule
from fsm_ros.memory.views import Views

few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 2**31 - 1)
A_RULE_OF_EVERY_KIND: list[WriteRule] = [
    Plastic(),
    ElasticRule(),
    Consolidation(),
    Consolidation(ChunkShare.BY_TOKENS, 0.9),
    StepRule(0.7, momentum=0.5),
]
THAT_CANNOT_MERGE: list[WriteRule] = [*EVERY_PUBLISHED_RULE, StepRule(), StepRule(momentum=0.5)]
THREE_SUBMAPS = AtlasSettings(submaps=3, apart=0.1)
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def model() -> FsmModel:
    return tiny_model()


def _seen_from(views: Views, *positions: float, yaw: float = 0.0) -> Views:
    """The same views from elsewhere: each from a submap on the x axis, or all from the same, turned about y."""
    poses = torch.eye(4).repeat(1, views.cameras.views, 1, 1)
    poses[..., 0, 3] = torch.tensor(positions)
    cosine, sine = math.cos(yaw), math.sin(yaw)
    poses[..., :3, :3] = torch.tensor([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])
    return replace(views, cameras=replace(views.cameras, memory_from_camera=poses))


def _chunk(seed: int, *positions: float, yaw: float = 0.0, views: int = 2) -> Views:
    return _seen_from(random_views(seed, views), *positions, yaw=yaw)


def _explored(
    model: FsmModel,
    positions: list[float],
    rule: WriteRule,
    bank: AtlasSettings = THREE_SUBMAPS,
    atlas: Atlas | None = None,
) -> Atlas:
    """An atlas that has seen one chunk after another."""
    atlas = Atlas(model.initial_state()) if atlas is None else atlas
    for seed, position in enumerate(positions):
        atlas = observe(model, atlas, _chunk(seed, position), rule, bank)
    return atlas


def _positions(atlas: Atlas) -> list[float]:
    return [round(float(submap.address[0]), 6) for submap in atlas.submaps]


# --- one submap is the plain memory -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("rule", EVERY_WRITE_RULE, ids=rule_name)
def test_one_place_is_the_plain_memory_bit_for_bit(model: FsmModel, rule: WriteRule) -> None:
    chunks, wanted = random_chunks(1, 4), random_views(2, 3)
    atlas = Atlas(model.initial_state())
    for chunk in chunks:
        atlas = observe(model, atlas, chunk, rule, AtlasSettings())
    plain = stream(model, model.initial_state(), chunks, rule)
    assert len(atlas.submaps) == 1
    assert atlas.state.equals(plain)
    assert len(atlas.state.statistics) == len(plain.statistics) == 2
    assert atlas.size_bytes == plain.size_bytes
    image = model.render(plain, wanted.cameras, wanted.times)
    assert torch.equal(render(model, atlas, wanted.cameras, wanted.times), image)


def test_before_the_first_chunk_there_is_a_blank_memory_and_no_submap(model: FsmModel) -> None:
    blank, wanted = model.initial_state(), random_views(3, 2)
    atlas = Atlas(blank)
    assert atlas.submaps == ()
    assert atlas.state is blank
    assert atlas.states == (blank,)
    assert atlas.size_bytes == blank.size_bytes
    image = model.render(blank, wanted.cameras, wanted.times)
    assert torch.equal(render(model, atlas, wanted.cameras, wanted.times), image)


# --- where a chunk is written ------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", A_RULE_OF_EVERY_KIND, ids=rule_name)
def test_a_chunk_from_elsewhere_opens_a_place_and_leaves_the_others_alone(model: FsmModel, rule: WriteRule) -> None:
    before = _explored(model, [0.0, 0.5], rule)
    kept = [snapshot(submap.state) for submap in before.submaps]
    chunk = _chunk(7, 1.0)
    after = observe(model, before, chunk, rule, THREE_SUBMAPS)
    assert _positions(after) == [0.0, 0.5, 1.0]
    assert after.newest == 2
    for old, new, tensors in zip(before.submaps, after.submaps, kept, strict=False):
        assert new is old
        assert_untouched(new.state, tensors)
    assert after.state.equals(model.observe(model.initial_state(), chunk, rule))
    assert after.blank is before.blank
    # The value before is what it was.
    assert _positions(before) == [0.0, 0.5]
    assert before.newest == 1


@pytest.mark.parametrize("rule", A_RULE_OF_EVERY_KIND, ids=rule_name)
def test_a_chunk_from_near_goes_to_its_submap(model: FsmModel, rule: WriteRule) -> None:
    before = _explored(model, [0.0, 0.5, 1.0], rule)
    chunk = _chunk(7, 0.56, 0.62, views=2)
    after = observe(model, before, chunk, rule, THREE_SUBMAPS)
    assert after.newest == 1
    assert after.submaps[0] is before.submaps[0]
    assert after.submaps[2] is before.submaps[2]
    assert after.submaps[1].views == 4
    # The mean of all views that were seen there: two at 0.5, and the new ones.
    assert _positions(after) == [0.0, 0.545, 1.0]
    assert after.state.equals(model.observe(before.submaps[1].state, chunk, rule))
    assert (after.state.chunks_observed, after.state.views_observed) == (2, 4)


def test_a_chunk_is_near_up_to_and_including_the_distance_between_submaps(model: FsmModel) -> None:
    for position, submaps in ((0.25, 1), (0.2500001, 2)):
        assert len(_explored(model, [0.0, position], Plastic(), AtlasSettings(3, apart=0.25)).submaps) == submaps
    # With no distance at all only the very same submap is near.
    assert len(_explored(model, [0.5, 0.5], Plastic(), AtlasSettings(3, apart=0.0)).submaps) == 1
    assert len(_explored(model, [0.5, 0.5000001], Plastic(), AtlasSettings(3, apart=0.0)).submaps) == 2


def test_looking_elsewhere_is_being_elsewhere(model: FsmModel) -> None:
    atlas = Atlas(model.initial_state())
    # Optical axes that are ``2 sin(yaw / 2)`` apart.
    for yaw, submaps in ((0.0, 1), (0.09, 1), (0.5, 2), (math.pi, 3)):
        atlas = observe(model, atlas, _chunk(1, 0.3, yaw=yaw), Plastic(), THREE_SUBMAPS)
        assert len(atlas.submaps) == submaps


def test_rolling_about_the_optical_axis_is_not_being_elsewhere(model: FsmModel) -> None:
    upright = _chunk(1, 0.3)
    poses = upright.cameras.memory_from_camera.clone()
    poses[..., :2, :2] *= -1
    rolled = replace(upright, cameras=replace(upright.cameras, memory_from_camera=poses))
    atlas = observe(model, Atlas(model.initial_state()), upright, Plastic(), THREE_SUBMAPS)
    assert len(observe(model, atlas, rolled, Plastic(), THREE_SUBMAPS).submaps) == 1


def test_an_address_is_position_and_optical_axis(model: FsmModel) -> None:
    views = _chunk(1, 0.25, -0.5, yaw=math.pi / 2)
    found = addresses_of(views.cameras)
    expected = torch.tensor([[0.25, 0, 0, 1, 0, 0], [-0.5, 0, 0, 1, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    # Kept on the CPU in float64, without a history of gradients.
    poses = views.cameras.memory_from_camera.clone().requires_grad_()
    assert not addresses_of(replace(views.cameras, memory_from_camera=poses)).requires_grad


def test_going_back_goes_on_with_the_place_that_is_there(model: FsmModel) -> None:
    there_and_back = _explored(model, [0.0, 1.0, 0.0, 1.0, 0.0], Plastic())
    assert [submap.state.chunks_observed for submap in there_and_back.submaps] == [3, 2]
    alone = stream(model, model.initial_state(), [_chunk(seed, 0.0) for seed in (0, 2, 4)])
    assert there_and_back.submaps[0].state.equals(alone)
    assert there_and_back.newest == 0


# --- where the bank is full --------------------------------------------------------------------------------


@pytest.mark.parametrize("share", ChunkShare)
def test_under_consolidation_the_two_nearest_places_are_merged_for_a_new_one(share: ChunkShare) -> None:
    model, rule = tiny_model(config=ONE_LAYER), Consolidation(share)
    before = _explored(model, [0.0, 1.0, 1.3, 1.0], rule)
    kept = [snapshot(submap.state) for submap in before.submaps]
    chunk = _chunk(7, 3.0)
    after = observe(model, before, chunk, rule, THREE_SUBMAPS)
    first, merged, newest = after.submaps
    assert first is before.submaps[0]
    # Four views at 1, two at 1.3.
    assert _positions(after) == [0.0, 1.1, 3.0]
    assert (merged.views, merged.state.views_observed, merged.state.chunks_observed) == (6, 6, 3)
    both = stream(model, model.initial_state(), [_chunk(1, 1.0), _chunk(3, 1.0), _chunk(2, 1.3)], rule)
    assert_states_close(merged.state, both, atol=5e-3)
    assert after.newest == 2
    assert newest.state.equals(model.observe(model.initial_state(), chunk, rule))
    for submap, tensors in zip(before.submaps, kept, strict=True):
        assert_untouched(submap.state, tensors)


def test_in_a_model_of_several_layers_merging_adds_up_the_evidence_of_each(model: FsmModel) -> None:
    before = _explored(model, [0.0, 1.0, 1.3], Consolidation())
    merged = observe(model, before, _chunk(7, 3.0), Consolidation(), THREE_SUBMAPS).submaps[1]
    _, one, other = before.submaps
    for found, mine, theirs in zip(merged.state.layers, one.state.layers, other.state.layers, strict=True):
        assert found.evidence is not None
        assert mine.evidence is not None
        assert theirs.evidence is not None
        for whole, first, second in zip(found.evidence, mine.evidence, theirs.evidence, strict=True):
            assert torch.equal(whole, first + second)
        assert found.anchor is mine.anchor


def test_a_chunk_that_is_nearer_than_the_two_nearest_are_to_each_other_goes_to_its_nearest() -> None:
    model, rule = tiny_model(config=ONE_LAYER), Consolidation()
    before = _explored(model, [0.0, 1.0, 2.0], rule)
    after = observe(model, before, _chunk(7, 2.9), rule, THREE_SUBMAPS)
    assert _positions(after) == [0.0, 1.0, 2.45]
    assert after.newest == 2
    assert [new is old for new, old in zip(after.submaps, before.submaps, strict=True)] == [True, True, False]


@pytest.mark.parametrize("rule", THAT_CANNOT_MERGE, ids=rule_name)
def test_under_other_rules_the_nearest_place_is_written(rule: WriteRule) -> None:
    model = tiny_model(config=ONE_LAYER)
    before = _explored(model, [0.0, 1.0, 1.3], rule)
    chunk = _chunk(7, 3.3)
    after = observe(model, before, chunk, rule, THREE_SUBMAPS)
    assert _positions(after) == [0.0, 1.0, 2.3]
    assert after.newest == 2
    assert after.submaps[:2] == before.submaps[:2]
    assert after.state.equals(model.observe(before.submaps[2].state, chunk, rule))


@pytest.mark.parametrize("other", [Plastic(), ElasticRule(), StepRule()], ids=rule_name)
def test_places_that_cannot_be_added_up_are_not_merged(other: WriteRule) -> None:
    """Written by another rule, or anchored elsewhere: the nearest submap is written instead."""
    model, rule = tiny_model(config=ONE_LAYER), Consolidation()
    written = _explored(model, [0.0, 1.0, 1.3], other)
    # Each submap anchored in weights of its own.
    apart = _explored(model, [0.0, 1.0, 1.3], rule, atlas=written)
    for before in (written, apart, _explored(model, [0.0, 1.0, 1.3], rule).reanchored()):
        after = observe(model, before, _chunk(7, 3.3), rule, THREE_SUBMAPS)
        assert after.newest == 2
        assert after.submaps[:2] == before.submaps[:2]
        assert after.submaps[2].views == before.submaps[2].views + 2


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    seed=seeds,
    submaps=st.integers(1, 5),
    apart=st.sampled_from([0.0, 0.1, 0.5]),
    rule=st.sampled_from(A_RULE_OF_EVERY_KIND),
    walk=st.lists(
        st.tuples(st.floats(-2, 2, width=32), st.floats(-math.pi, math.pi), st.integers(1, 3)),
        min_size=20,
        max_size=50,
    ),
)
def test_there_are_never_more_places_than_there_may_be_and_nothing_is_lost(
    seed: int, submaps: int, apart: float, rule: WriteRule, walk: list[tuple[float, float, int]]
) -> None:
    model, bank = tiny_model(config=ONE_LAYER), AtlasSettings(submaps, apart)
    views = _random_small_views(seed)
    atlas = Atlas(model.initial_state())
    chunks_seen, views_seen = 0, 0
    sizes, seen = [], []
    for position, yaw, count in walk:
        chunk = _seen_from(views[:count], position, yaw=yaw)
        atlas = observe(model, atlas, chunk, rule, bank)
        chunks_seen, views_seen = chunks_seen + 1, views_seen + count
        seen.append(addresses_of(chunk.cameras))
        sizes.append(atlas.size_bytes)
        assert 1 <= len(atlas.submaps) <= submaps
        assert sum(submap.state.chunks_observed for submap in atlas.submaps) == chunks_seen
        assert sum(submap.state.views_observed for submap in atlas.submaps) == views_seen
        assert all(submap.views == submap.state.views_observed for submap in atlas.submaps)
    total = torch.stack([submap.views * submap.address for submap in atlas.submaps]).sum(dim=0)
    torch.testing.assert_close(total, torch.cat(seen).sum(dim=0), atol=1e-9, rtol=1e-9)
    assert all(submap.state.is_finite() for submap in atlas.submaps)
    assert max(sizes) <= submaps * sizes[0]


def _random_small_views(seed: int) -> Views:
    return random_views(seed, 3, (4, 8))


# --- where a view is rendered from -------------------------------------------------------------------------


@few
@given(
    seed=seeds,
    rule=st.sampled_from(A_RULE_OF_EVERY_KIND),
    where=st.lists(st.sampled_from([-0.4, 0.0, 0.2, 0.9, 1.1, 2.0, 5.0]), min_size=1, max_size=6),
)
def test_every_view_is_rendered_from_the_place_nearest_to_its_camera(
    seed: int, rule: WriteRule, where: list[float]
) -> None:
    model = tiny_model()
    atlas = _explored(model, [2.0, 0.0, 1.0], rule)
    views = _seen_from(random_views(seed, len(where)), *where)
    found = render(model, atlas, views.cameras, views.times)
    assert found.shape == views.images.shape
    assert found.dtype == torch.float32
    positions = _positions(atlas)
    for i, position in enumerate(where):
        nearest = min(range(3), key=lambda number, here=position: abs(positions[number] - here))  # type: ignore[misc]
        expected = _rendered_by(model, atlas.submaps[nearest], views, i)
        torch.testing.assert_close(found[:, i : i + 1], expected, atol=1e-5, rtol=0)
        for other in {0, 1, 2} - {nearest}:
            assert (found[:, i : i + 1] - _rendered_by(model, atlas.submaps[other], views, i)).abs().max() > 1e-3


def _rendered_by(model: FsmModel, submap: Submap, views: Views, i: int) -> Tensor:
    return model.render(submap.state, views.cameras[i : i + 1], views.times[:, i : i + 1])


@few
@given(seed=seeds, order=st.permutations(range(5)))
def test_the_order_of_rendered_views_does_not_matter(seed: int, order: list[int]) -> None:
    model = tiny_model()
    atlas = _explored(model, [2.0, 0.0, 1.0], Consolidation())
    views = _seen_from(random_views(seed, 5), 1.9, 0.1, 1.2, 0.0, 2.5)
    cameras = Cameras(
        views.cameras.fxfycxcy[:, order], views.cameras.memory_from_camera[:, order], OBLONG[0], OBLONG[1]
    )
    in_order = render(model, atlas, views.cameras, views.times)
    torch.testing.assert_close(
        render(model, atlas, cameras, views.times[:, order]), in_order[:, order], atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("rule", A_RULE_OF_EVERY_KIND, ids=rule_name)
def test_rendering_changes_nothing(model: FsmModel, rule: WriteRule) -> None:
    atlas = _explored(model, [0.0, 1.0, 0.0], rule)
    kept = [(submap, snapshot(submap.state), submap.address.clone()) for submap in atlas.submaps]
    views = _chunk(8, 0.1, 0.9)
    first = render(model, atlas, views.cameras, views.times)
    assert torch.equal(render(model, atlas, views.cameras, views.times), first)
    for now, (then, tensors, address) in zip(atlas.submaps, kept, strict=True):
        assert now is then
        assert_untouched(now.state, tensors)
        assert torch.equal(now.address, address)
    assert atlas.newest == 0


def test_gradients_go_through_the_places_that_are_rendered() -> None:
    model = tiny_model().requires_grad_(True)
    atlas = _explored(model, [0.0, 1.0, 2.0, 4.0], Consolidation())
    views = _chunk(9, 0.0, 1.5, 4.0, views=3)
    loss = (render(model, atlas, views.cameras, views.times) - views.images).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


# --- as a value --------------------------------------------------------------------------------------------


def test_the_size_is_that_of_all_places_what_they_share_once(model: FsmModel) -> None:
    one = _explored(model, [0.0], Consolidation())
    three = _explored(model, [0.0, 1.0, 2.0], Consolidation())
    # Weights and evidence of each; the anchor and the importance are those all began with.
    assert three.size_bytes == 2 * one.size_bytes
    assert one.size_bytes == one.state.size_bytes
    apart = _explored(model, [0.0, 1.0, 2.0], ElasticRule(anchor=AnchorPolicy.STREAMING_EMA))
    assert apart.size_bytes == sum(submap.state.size_bytes for submap in apart.submaps)


def test_a_reanchored_atlas_is_anchored_where_its_places_stand(model: FsmModel) -> None:
    atlas = _explored(model, [0.0, 1.0, 0.0], Consolidation())
    anchored = atlas.reanchored()
    assert anchored.newest == atlas.newest == 0
    assert anchored.blank is atlas.blank
    for old, new in zip(atlas.submaps, anchored.submaps, strict=True):
        assert new.address is old.address
        assert new.views == old.views
        assert new.state.equals(old.state.reanchored())
        assert all(layer.evidence is not None for layer in old.state.layers)
    assert Atlas(atlas.blank).reanchored().submaps == ()


def test_distances_are_over_position_and_direction(model: FsmModel) -> None:
    blank = model.initial_state()
    addresses = torch.tensor(
        [[0, 0, 0, 0, 0, 1], [3, 0, 0, 0, 0, 1], [3, 0.5, 0, 0, 0, 1], [0, 0, 0, 0, 0, -1]], dtype=torch.float64
    )
    atlas = Atlas(blank, tuple(Submap(blank, address, 1) for address in addresses))
    assert atlas.closest_pair() == (1, 2, 0.5)
    assert atlas.distance_to(torch.tensor([3, 4, 0, 0, 0, 1], dtype=torch.float64)) == (2, 3.5)
    assert atlas.distance_to(torch.tensor([0, 0, 0, 0, 0, -0.5], dtype=torch.float64)) == (3, 0.5)
    assert atlas.nearest(addresses.flip(0)).tolist() == [3, 2, 1, 0]
    # However far apart the only two are.
    far = tuple(Submap(blank, scale * addresses[1], 1) for scale in (1.0, 1e6))
    one, other, gap = Atlas(blank, far).closest_pair()
    assert (one, other) == (0, 1)
    assert gap > 1e6


# --- what is refused ---------------------------------------------------------------------------------------


def _nan_pixel(views: Views) -> Views:
    images = views.images.clone()
    images[0, 1, 2, 3, 4] = NAN
    return replace(views, images=images)


def _pose_with(value: float) -> Callable[[Views], Views]:
    def broken(views: Views) -> Views:
        poses = views.cameras.memory_from_camera.clone()
        poses[0, 0, 1, 3] = value
        return replace(views, cameras=replace(views.cameras, memory_from_camera=poses))

    return broken


@pytest.mark.slow
@pytest.mark.parametrize("rule", A_RULE_OF_EVERY_KIND, ids=rule_name)
@pytest.mark.parametrize(
    "broken", [_nan_pixel, _pose_with(NAN), _pose_with(INF), _pose_with(-INF)], ids=["pixel", "nan", "inf", "-inf"]
)
@pytest.mark.parametrize("positions", [[], [0.0], [0.0, 1.0, 1.3]], ids=["empty", "one", "full"])
def test_a_chunk_that_would_poison_the_memory_leaves_the_old_one_whole(
    model: FsmModel, positions: list[float], broken: Callable[[Views], Views], rule: WriteRule
) -> None:
    before = _explored(model, positions, rule)
    submaps = before.submaps
    kept = [snapshot(submap.state) for submap in submaps]
    for position in (0.05, 5.0):  # near, and elsewhere
        good = _chunk(7, position)
        with pytest.raises(NonFiniteUpdateError, match="not finite"):
            observe(model, before, broken(good), rule, THREE_SUBMAPS)
        assert before.submaps is submaps
        for submap, tensors in zip(submaps, kept, strict=True):
            assert_untouched(submap.state, tensors)
            assert submap.address.isfinite().all()
        assert observe(model, before, good, rule, THREE_SUBMAPS).state.is_finite()


def test_several_scenes(model: FsmModel) -> None:
    with pytest.raises(ValueError, match="an atlas is of one scene, got a memory of 2"):
        Atlas(model.initial_state(2))
    scenes = random_views(1, 2, batch=2)
    with pytest.raises(ValueError, match="an atlas is of one scene, the cameras are of 2"):
        addresses_of(scenes.cameras)
    for positions in ([], [0.0], [0.0, 1.0]):
        atlas = _explored(model, positions, Plastic())
        with pytest.raises(ValueError, match="an atlas is of one scene, the cameras are of 2"):
            observe(model, atlas, scenes, Plastic(), THREE_SUBMAPS)
        with pytest.raises(ValueError, match="of 2"):
            render(model, atlas, scenes.cameras, scenes.times)


@pytest.mark.parametrize("positions", [[], [0.0], [0.0, 1.0]], ids=["empty", "one", "two"])
def test_times_that_do_not_belong_to_their_cameras(model: FsmModel, positions: list[float]) -> None:
    atlas, views = _explored(model, positions, Plastic()), _chunk(1, 0.0, 1.0)
    for times in (views.times[:, :1], views.times[0], views.times.repeat(2, 1)):
        with pytest.raises(ValueError, match=r"times must be \(1, 2\) like their cameras"):
            render(model, atlas, views.cameras, times)


@pytest.mark.parametrize("positions", [[0.0], [0.0, 1.0]], ids=["one", "two"])
def test_a_memory_of_another_model(model: FsmModel, positions: list[float]) -> None:
    atlas, views = _explored(tiny_model(config=ONE_LAYER), positions, Plastic()), _chunk(1, 0.0)
    with pytest.raises(ValueError, match="the memory is of another model"):
        observe(model, atlas, views, Plastic(), THREE_SUBMAPS)
    with pytest.raises(ValueError, match="the memory is of another model"):
        render(model, atlas, views.cameras, views.times)


def test_views_that_are_not_of_whole_patches(model: FsmModel) -> None:
    atlas, views = _explored(model, [0.0, 1.0], Plastic()), _seen_from(random_views(1, 2, (8, 10)), 0.0)
    with pytest.raises(ValueError, match="10x8 pixels"):
        observe(model, atlas, views, Plastic(), THREE_SUBMAPS)
    with pytest.raises(ValueError, match="10x8 pixels"):
        render(model, atlas, views.cameras, views.times)


@pytest.mark.parametrize("newest", [-1, 1, 2])
def test_a_newest_place_that_is_not_there(model: FsmModel, newest: int) -> None:
    submap = _explored(model, [0.0], Plastic()).submaps[0]
    for submaps in ((), (submap,)):
        with pytest.raises(ValueError, match=rf"there is no submap {newest} among {len(submaps)}"):
            Atlas(model.initial_state(), submaps, newest)
    assert Atlas(model.initial_state(), (submap, submap), 1).newest == 1


@pytest.mark.parametrize("submaps", [0, -1, 1.5, NAN, True])
def test_no_submap(submaps: float) -> None:
    with pytest.raises(ValueError, match=rf"memory.submaps must be (from 1 to 64|of type int), got {submaps}"):
        AtlasSettings(submaps=submaps)  # type: ignore[arg-type]


def test_a_blank_memory_has_seen_nothing(model: FsmModel) -> None:
    with pytest.raises(ValueError, match="submaps begin blank"):
        Atlas(observed_state(model, 1))


@pytest.mark.parametrize("apart", [-1e-9, NAN, INF])
def test_a_distance_that_is_none(apart: float) -> None:
    with pytest.raises(ValueError, match=rf"memory.submap_distance .apart. must be from 0 to 10, got {apart}"):
        AtlasSettings(apart=apart)
    assert AtlasSettings(apart=0.0).apart == 0.0
