# SPDX-License-Identifier: Apache-2.0
"""Spatial memory, submaps: a camera that turns away writes elsewhere, what it saw stays, and the size is bounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from spatial_scenes import (
    START_NS,
    a_chunk,
    a_turned_chunk,
    image_of,
    looking,
    observe_all,
    scene_of,
    small_memory,
    views_of,
)
from tiny_memory import assert_untouched, rule_name, snapshot, tiny_model

from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.memory.rules.base import INITIAL_IMPORTANCE
from fsm_ros.memory.rules.consolidation import ChunkShare, Consolidation
from fsm_ros.memory.rules.elastic import AnchorPolicy, AnchorSharing, ElasticRule, Importance
from fsm_ros.memory.rules.naming import NamedRule
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.rules.steps import StepRule
from fsm_ros.spatial.settings import MemoryMode, MemorySettings
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.world import FrameExit

AHEAD, RIGHT, BEHIND = 0.0, 1.5, 3.0
KINDS: list[NamedRule] = [Consolidation(), ElasticRule(), StepRule(size=0.5), Plastic()]
EVERY_KIND = pytest.mark.parametrize("rule", KINDS, ids=rule_name)
CIRCLE = [a_turned_chunk(i, yaw) for i, yaw in enumerate(np.linspace(0.0, 5.5, 12))]


def view_of(memory: SpatialMemory, yaw_rad: float) -> np.ndarray:
    """What is seen in a direction, at the beginning."""
    return image_of(memory, world_from_camera=looking(yaw_rad), stamp_ns=START_NS)


# --- which submap -----------------------------------------------------------------------------------------------------


@EVERY_KIND
def test_a_camera_that_turns_away_opens_a_place_and_one_that_comes_back_finds_it(rule: NamedRule) -> None:
    memory = small_memory(rule=rule)
    directions = [AHEAD, AHEAD, RIGHT, AHEAD, BEHIND, RIGHT]
    reports = observe_all(memory, [a_turned_chunk(i, yaw) for i, yaw in enumerate(directions)])
    assert [report.submaps for report in reports] == [1, 1, 2, 2, 3, 3]
    atlas = scene_of(memory).atlas
    assert [submap.state.chunks_observed for submap in atlas.submaps] == [3, 2, 1]
    assert atlas.newest == 1
    assert scene_of(memory).state is atlas.submaps[1].state
    assert all(layer.update_rms > 0 for layer in reports[-1].layers)
    assert reports[-1].state_bytes - reports[-1].kept_bytes == atlas.size_bytes > reports[0].state_bytes


def test_a_camera_that_moves_away_opens_a_place_at_the_distance_that_is_set() -> None:
    """The extent is 2 m: 0.3 m are 0.15 units."""
    for apart, submaps in ((0.1, 2), (0.14, 2), (0.16, 1)):
        memory = small_memory(atlas=AtlasSettings(submaps=8, apart=apart))
        reports = observe_all(memory, [a_chunk(0, x=0.0), a_chunk(1, x=0.3)])
        assert reports[-1].submaps == submaps, apart


@EVERY_KIND
def test_what_one_place_holds_is_what_the_model_alone_would_hold_of_its_chunks(rule: NamedRule) -> None:
    memory, model = small_memory(rule=rule), tiny_model()
    directions = [AHEAD, RIGHT, AHEAD, RIGHT, RIGHT]
    chunks = [a_turned_chunk(i, yaw) for i, yaw in enumerate(directions)]
    observe_all(memory, chunks)
    scene = scene_of(memory)
    for submap, direction in zip(scene.atlas.submaps, (AHEAD, RIGHT), strict=True):
        alone = model.initial_state()
        for chunk, yaw in zip(chunks, directions, strict=True):
            if yaw == direction:
                alone = model.observe(alone, views_of(chunk.frames, scene.frame), rule)
        assert submap.state.equals(alone)
        assert submap.views == alone.views_observed


def test_a_view_is_rendered_from_the_place_nearest_to_its_camera() -> None:
    memory = small_memory()
    observe_all(memory, [a_turned_chunk(0, AHEAD), a_turned_chunk(1, RIGHT)])
    frame = replace(a_chunk(0).frames[0], stamp_ns=START_NS)
    scene = scene_of(memory)
    for yaw, submap in ((AHEAD + 0.3, 0), (RIGHT - 0.3, 1)):
        wanted = views_of([replace(frame, world_from_camera=looking(yaw))], scene.frame)
        truth = tiny_model().render(scene.atlas.submaps[submap].state, wanted.cameras, wanted.times)[0, 0]
        expected = (truth.permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
        assert np.array_equal(view_of(memory, yaw), expected)


# --- what stays -------------------------------------------------------------------------------------------------------


@EVERY_KIND
def test_what_was_seen_elsewhere_is_not_touched_by_what_is_seen_here(rule: NamedRule) -> None:
    bank, one = small_memory(rule=rule), small_memory(rule=rule, atlas=AtlasSettings(submaps=1))
    for memory in (bank, one):
        observe_all(memory, [a_turned_chunk(0, AHEAD)])
    before = view_of(bank, AHEAD)
    assert np.array_equal(before, view_of(one, AHEAD))
    for memory in (bank, one):
        observe_all(memory, [a_turned_chunk(i, BEHIND) for i in range(1, 4)])
    assert np.array_equal(view_of(bank, AHEAD), before)
    assert not np.array_equal(view_of(one, AHEAD), before), "a single submap is written over"


def test_retention_is_measured_in_the_place_where_the_view_was_seen() -> None:
    """The two remembered views are those of the first chunk, and nothing has come to their submap since."""
    memory = small_memory(retention_views=2)
    first = a_turned_chunk(0, AHEAD)
    observe_all(memory, [first])
    wanted = views_of(first.frames, scene_of(memory).frame)
    renders = tiny_model().render(scene_of(memory).state, wanted.cameras, wanted.times)
    errors = (renders - wanted.images).square().mean(dim=(2, 3, 4))
    (report,) = observe_all(memory, [a_turned_chunk(1, BEHIND)])
    assert report.retention_views == 2
    assert report.retention_psnr == pytest.approx(float((-10 * errors.log10()).mean()), abs=1e-4)


def test_an_observed_atlas_is_a_value_that_later_chunks_leave_alone() -> None:
    memory = small_memory(atlas=AtlasSettings(submaps=2))
    observe_all(memory, CIRCLE[:2])
    atlas = scene_of(memory).atlas
    before = [snapshot(submap.state) for submap in atlas.submaps]
    observe_all(memory, CIRCLE[2:8])
    for submap, kept in zip(atlas.submaps, before, strict=True):
        assert_untouched(submap.state, kept)


# --- how much ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@EVERY_KIND
def test_there_are_never_more_places_than_are_allowed_and_every_view_is_in_one_of_them(rule: NamedRule) -> None:
    memory = small_memory(rule=rule, atlas=AtlasSettings(submaps=3))
    reports = observe_all(memory, [*CIRCLE, *CIRCLE[::-1]])
    assert [report.submaps for report in reports] == [min(i + 1, 3) for i in range(24)]
    sizes = {report.state_bytes - report.kept_bytes for report in reports[2:]}
    assert len(sizes) == 1, "full, it does not grow any more"
    scene = scene_of(memory)
    assert sum(submap.views for submap in scene.atlas.submaps) == scene.views_observed == 48
    assert all(submap.state.is_finite() for submap in scene.atlas.submaps)


def test_the_windowed_memory_has_one_place_that_is_made_anew_with_every_chunk() -> None:
    memory = small_memory(mode=MemoryMode.WINDOWED, window_chunks=2)
    reports = observe_all(memory, CIRCLE[:4])
    assert [report.submaps for report in reports] == [1, 1, 1, 1]
    scene = scene_of(memory)
    (submap,) = scene.atlas.submaps
    assert (submap.views, submap.state.views_observed) == (4, 4), "two chunks of two views"
    poses = [frame.world_from_camera for chunk in CIRCLE[2:4] for frame in chunk.frames]
    in_memory = [scene.frame.normalise_poses(pose) for pose in poses]
    address = np.mean([np.concatenate([pose[:3, 3], pose[:3, 2]]) for pose in in_memory], axis=0)
    np.testing.assert_allclose(submap.address.numpy(), address, atol=1e-6)


# --- epochs -----------------------------------------------------------------------------------------------------------


def test_a_new_epoch_far_away_begins_with_no_submaps() -> None:
    memory = small_memory()
    observe_all(memory, CIRCLE[:5])
    far = a_chunk(5, x=1000.0)
    (report,) = observe_all(memory, [far])
    assert (report.epoch_began, report.submaps) == (FrameExit.EXTENT, 1)
    scene, model = scene_of(memory), tiny_model()
    alone = model.observe(model.initial_state(), views_of(far.frames, scene.frame), MemorySettings().rule)
    assert scene.state.equals(alone)


def test_a_new_epoch_lays_the_places_of_the_remembered_views_anew() -> None:
    memory = small_memory(reservoir=20)
    times = {AHEAD: 0.0, RIGHT: 80.0, BEHIND: 90.0}
    observe_all(memory, [a_turned_chunk(i, yaw, time_s=at_s) for i, (yaw, at_s) in enumerate(times.items())])
    (report,) = observe_all(memory, [a_turned_chunk(3, AHEAD, time_s=103.0)])
    assert report.epoch_began is FrameExit.HORIZON_END
    assert report.submaps == 3, "the two directions whose views lie in the new frame, and its own"
    assert [submap.views for submap in scene_of(memory).atlas.submaps] == [2, 2, 2]


# --- other rules in mid-stream ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(a, b) for a in KINDS for b in KINDS if a != b], ids=rule_name)
def test_another_kind_of_rule_in_mid_stream_changes_no_view_and_forgets_nothing(
    first: NamedRule, second: NamedRule
) -> None:
    memory = small_memory(rule=first)
    observe_all(memory, [a_turned_chunk(i, yaw) for i, yaw in enumerate((AHEAD, RIGHT, AHEAD, BEHIND))])
    before, old = [view_of(memory, yaw) for yaw in (AHEAD, RIGHT, BEHIND)], scene_of(memory).atlas
    memory.set_rule(second)
    assert memory.settings.rule == second
    for seen, yaw in zip(before, (AHEAD, RIGHT, BEHIND), strict=True):
        assert np.array_equal(view_of(memory, yaw), seen)
    atlas = scene_of(memory).atlas
    for submap, earlier in zip(atlas.submaps, old.submaps, strict=True):
        assert torch.equal(submap.address, earlier.address) and submap.views == earlier.views
        for layer, kept in zip(submap.state.layers, earlier.state.layers, strict=True):
            assert all(map(torch.equal, layer.weights, kept.weights))
            assert all(map(torch.equal, layer.anchor, kept.weights)), "anchored where it stands"
            assert layer.evidence is None
    observe_all(memory, [a_turned_chunk(4, RIGHT)])
    assert np.array_equal(view_of(memory, AHEAD), before[0]), "what was not written stays"
    assert not np.array_equal(view_of(memory, RIGHT), before[1]), "and what is written goes on"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Consolidation(), Consolidation(retention=0.5)),
        (ElasticRule(), ElasticRule(anchor=AnchorPolicy.GLOBAL, strength=3.0)),
        (Plastic(), Plastic()),
    ],
    ids=["consolidation", "elastic", "plastic"],
)
def test_other_numbers_of_the_same_kind_leave_anchors_and_evidence(first: NamedRule, second: NamedRule) -> None:
    memory = small_memory(rule=first)
    observe_all(memory, CIRCLE[:3])
    before = scene_of(memory).atlas
    memory.set_rule(second)
    assert memory.settings.rule == second
    assert scene_of(memory).atlas is before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Consolidation(), Consolidation(ChunkShare.BY_TOKENS)),
        (ElasticRule(Importance.UNIFORM), ElasticRule(Importance.SI, strength=50.0)),
    ],
    ids=["share", "importance"],
)
def test_what_is_kept_in_other_units_begins_anew(first: NamedRule, second: NamedRule) -> None:
    memory = small_memory(rule=first)
    observe_all(memory, CIRCLE[:3])
    before = [view_of(memory, yaw) for yaw in (AHEAD, RIGHT)]
    memory.set_rule(second)
    for submap in scene_of(memory).atlas.submaps:
        for layer in submap.state.layers:
            assert layer.evidence is None
            assert all(map(torch.equal, layer.anchor, layer.weights))
            assert all(bool((f == INITIAL_IMPORTANCE).all()) for f in layer.importance)
    for seen, yaw in zip(before, (AHEAD, RIGHT), strict=True):
        assert np.array_equal(view_of(memory, yaw), seen)


def test_a_rule_that_does_not_go_with_the_settings_changes_nothing() -> None:
    memory = small_memory(rule=ElasticRule(), mode=MemoryMode.WINDOWED, sharing=AnchorSharing.SHARED)
    observe_all(memory, CIRCLE[:2])
    before = scene_of(memory)
    with pytest.raises(ValueError, match="belong to the elastic prior"):
        memory.set_rule(Consolidation())
    assert scene_of(memory) is before
    assert memory.settings.rule == ElasticRule()


def test_a_rule_can_be_changed_before_anything_was_observed() -> None:
    memory, fresh = small_memory(rule=Plastic()), small_memory(rule=ElasticRule())
    memory.set_rule(ElasticRule())
    for each in (memory, fresh):
        observe_all(each, CIRCLE[:2])
    assert scene_of(memory).state.equals(scene_of(fresh).state)


def test_after_a_change_of_rule_the_bank_stays_as_small_as_it_is_allowed_to_be() -> None:
    """Submaps that began from different weights cannot be merged: the nearest one is written instead."""
    memory = small_memory(rule=ElasticRule(), atlas=AtlasSettings(submaps=3))
    observe_all(memory, CIRCLE[:6])
    memory.set_rule(Consolidation())
    reports = observe_all(memory, CIRCLE[6:])
    assert {report.submaps for report in reports} == {3}
    scene = scene_of(memory)
    assert sum(submap.views for submap in scene.atlas.submaps) == scene.views_observed == 24
