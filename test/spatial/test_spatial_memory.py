# SPDX-License-Identifier: Apache-2.0
"""Spatial memory, writing: counts, modes, measurements, and that a failure changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from spatial_scenes import (
    CAMERA,
    SIZE,
    SMALL,
    START_NS,
    S,
    a_chunk,
    at,
    image_of,
    observe_all,
    refused,
    scene_of,
    small_memory,
    views_of,
)
from tiny_memory import CONFIG, assert_states_close, assert_untouched, rule_name, snapshot, tiny_model

from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.memory.model import FsmModel, NonFiniteUpdateError
from fsm_ros.memory.rules.consolidation import Consolidation
from fsm_ros.memory.rules.elastic import AnchorSharing, ElasticRule
from fsm_ros.memory.rules.naming import NamedRule
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.state import MemoryState
from fsm_ros.spatial.results import FailureKind
from fsm_ros.spatial.settings import MemoryMode, MemorySettings
from fsm_ros.stream.frame import Camera

RULE = ElasticRule()
EVERY_KIND = pytest.mark.parametrize("rule", [RULE, Consolidation(), Plastic()], ids=rule_name)
CHUNK_TOKENS = 2 * (SIZE // CONFIG.patch_size) ** 2


def assert_same_weights(found: MemoryState, expected: MemoryState) -> None:
    """Bit for bit, counters aside."""
    assert_untouched(found, expected.tensors())


# --- counting ---------------------------------------------------------------------------------------------------------


def test_a_new_memory_has_nothing_to_show_or_to_keep() -> None:
    memory = small_memory()
    assert memory.scene is None
    with refused(FailureKind.NOTHING_OBSERVED):
        memory.render(at())


def test_every_chunk_is_counted_and_reported() -> None:
    memory = small_memory()
    first, second = memory.observe(a_chunk(0)), memory.observe(a_chunk(1, views=3))
    assert (first.chunks_observed, first.views_observed, first.epoch) == (1, 2, 0)
    assert (second.chunks_observed, second.views_observed, second.epoch) == (2, 5, 0)
    assert first.epoch_began is None
    assert len(second.layers) == CONFIG.num_layers
    assert all(layer.update_rms > 0 and math.isfinite(layer.elastic_ratio) for layer in second.layers)
    assert second.state_bytes == scene_of(memory).size_bytes > scene_of(memory).atlas.size_bytes > 0
    assert (first.submaps, second.submaps) == (1, 1)
    assert second.observe_s > 0
    scene = scene_of(memory)
    assert (scene.chunks_observed, scene.views_observed) == (2, 5)
    assert scene.newest_ns == second.chunk.newest_stamp_ns
    assert scene.camera == CAMERA


def test_an_observed_scene_is_a_value_that_later_chunks_leave_alone() -> None:
    memory = small_memory()
    memory.observe(a_chunk(0))
    first = scene_of(memory)
    before = snapshot(first.state)
    memory.observe(a_chunk(1))
    assert memory.scene is not first
    assert first.chunks_observed == 1
    assert_untouched(first.state, before)


def test_the_newest_moment_stays_the_newest_when_an_older_chunk_comes_late() -> None:
    memory = small_memory()
    observe_all(memory, [a_chunk(0), a_chunk(1, time_s=9.0), a_chunk(2, time_s=3.0)])
    assert scene_of(memory).newest_ns == START_NS + 9 * S


def test_a_reset_forgets_everything() -> None:
    memory = small_memory()
    observe_all(memory, [a_chunk(i) for i in range(3)])
    memory.reset()
    assert memory.scene is None
    again, fresh = memory.observe(a_chunk(7)), small_memory().observe(a_chunk(7))
    assert (again.chunks_observed, again.epoch, again.keyframes) == (1, 0, ()) == (fresh.chunks_observed, 0, ())


def test_views_that_cannot_be_cut_into_patches_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        small_memory(width=18)
    with pytest.raises(ValueError, match="multiples of 4"):
        small_memory(height=10)


def test_a_chunk_of_another_size_is_refused_and_changes_nothing() -> None:
    memory = small_memory()
    memory.observe(a_chunk(0))
    before = memory.scene
    with refused(FailureKind.BAD_REQUEST) as told:
        memory.observe(a_chunk(1, camera=Camera(32, 16, 20.0, 20.0, 16.0, 8.0)))
    assert "32x16" in str(told.value) and "16x16" in str(told.value)
    assert memory.scene is before


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"chunk_views": 0},
        {"window_chunks": 0},
        {"reservoir": 0},
        {"max_pixels": 0},
        {"retention_views": -1},
        {"extent_m": -1.0},
        {"extent_m": float("nan")},
        {"extent_margin": 0.5},
        {"extent_margin": float("inf")},
        {"horizon_s": 0.0},
        {"horizon_s": float("nan")},
        {"sharing": AnchorSharing.SHARED, "mode": MemoryMode.STREAMING},
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)) if "mode" not in wrong else "windowed"):
        replace(MemorySettings(), **wrong)


def test_shared_anchors_belong_to_the_elastic_prior() -> None:
    windowed = MemorySettings(mode=MemoryMode.WINDOWED, rule=RULE, sharing=AnchorSharing.SHARED)
    assert replace(windowed, rule=Plastic()).sharing is AnchorSharing.SHARED, "plain LaCT has no anchors to share"
    with pytest.raises(ValueError, match="elastic prior, the rule is consolidation: set the memory rule to elastic"):
        replace(windowed, rule=Consolidation())


# --- failures -----------------------------------------------------------------------------------------------------


def test_a_chunk_that_would_leave_weights_that_are_not_finite_is_refused_and_changes_nothing() -> None:
    memory = small_memory()
    observe_all(memory, [a_chunk(0), a_chunk(1)])
    before = scene_of(memory)
    weights = snapshot(before.state)
    # A focal length that vanishes in the model's float32: its rays point nowhere.
    blind = a_chunk(2, camera=replace(CAMERA, fx=1e-60))
    with refused(FailureKind.NON_FINITE):
        memory.observe(blind)
    assert memory.scene is before
    assert_untouched(before.state, weights)
    assert [view.stamp_ns for view in memory.observe(a_chunk(3)).keyframes] == [
        frame.stamp_ns for i in range(2) for frame in a_chunk(i).frames
    ], "a view that was not observed is not remembered"


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (NonFiniteUpdateError("not finite"), FailureKind.NON_FINITE),
        (torch.OutOfMemoryError("full"), FailureKind.OUT_OF_MEMORY),
    ],
    ids=["non_finite", "out_of_memory"],
)
def test_a_first_chunk_that_fails_leaves_the_memory_empty(
    raised: Exception, kind: FailureKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise raised

    memory = small_memory()
    monkeypatch.setattr(FsmModel, "observe", fail)
    with refused(kind):
        memory.observe(a_chunk(0))
    assert memory.scene is None
    monkeypatch.undo()
    assert memory.observe(a_chunk(0)).chunks_observed == 1


def test_a_failure_at_the_start_of_an_epoch_leaves_the_old_one() -> None:
    memory = small_memory()
    observe_all(memory, [a_chunk(0), a_chunk(1)])
    before = memory.scene
    with refused(FailureKind.NON_FINITE):
        memory.observe(a_chunk(2, x=50.0, camera=replace(CAMERA, fx=1e-60)))
    assert memory.scene is before


# --- the elastic prior ------------------------------------------------------------------------------------------------


def test_a_rule_that_is_switched_on_in_mid_stream_starts_anchored_where_the_weights_are() -> None:
    memory = small_memory(rule=Plastic())
    observe_all(memory, [a_chunk(0), a_chunk(1)])
    plastic = scene_of(memory).state
    assert not torch.equal(plastic.layers[0].anchor.w0, plastic.layers[0].weights.w0)
    memory.set_rule(RULE)
    anchored = scene_of(memory).state
    for layer, old in zip(anchored.layers, plastic.layers, strict=True):
        for anchor, weights in zip(layer.anchor, old.weights, strict=True):
            assert torch.equal(anchor, weights)
        for new, kept in zip(layer.weights, old.weights, strict=True):
            assert torch.equal(new, kept)
    assert memory.settings.rule == RULE
    report = memory.observe(a_chunk(2))
    assert all(layer.pull_rms > 0 for layer in report.layers)


def test_a_rule_that_only_changes_keeps_its_anchors() -> None:
    memory = small_memory(rule=RULE)
    observe_all(memory, [a_chunk(0), a_chunk(1)])
    before = scene_of(memory).state
    memory.set_rule(replace(RULE, strength=2.0))
    assert scene_of(memory).state is before


def test_without_a_rule_nothing_is_pulled() -> None:
    memory = small_memory(rule=RULE)
    memory.observe(a_chunk(0))
    memory.set_rule(Plastic())
    report = memory.observe(a_chunk(1))
    assert all(layer.pull_rms == 0 and layer.elastic_ratio == 0 for layer in report.layers)


# --- the windowed mode ------------------------------------------------------------------------------------------------


@EVERY_KIND
def test_the_windowed_memory_is_a_fresh_batch_encoding_of_the_last_chunks(rule: NamedRule) -> None:
    memory = small_memory(mode=MemoryMode.WINDOWED, window_chunks=3, rule=rule)
    chunks = [a_chunk(i) for i in range(5)]
    observe_all(memory, chunks)
    scene = scene_of(memory)
    assert scene.window == tuple(chunks[-3:])
    frames = [frame for chunk in chunks[-3:] for frame in chunk.frames]
    model = tiny_model()
    expected = model.observe_batch(
        model.initial_state(), views_of(frames, scene.frame), CHUNK_TOKENS, rule, AnchorSharing.PER_LAYER
    )
    assert_same_weights(scene.state, expected)


@EVERY_KIND
def test_windowed_and_streaming_are_one_function_of_one_chunk_and_two_of_more(rule: NamedRule) -> None:
    windowed, streaming = small_memory(mode=MemoryMode.WINDOWED, rule=rule), small_memory(rule=rule)
    windowed.observe(a_chunk(0))
    streaming.observe(a_chunk(0))
    assert_states_close(scene_of(windowed).state, scene_of(streaming).state, atol=1e-6)
    windowed.observe(a_chunk(1))
    streaming.observe(a_chunk(1))
    difference = scene_of(windowed).state.layers[-1].weights.w0 - scene_of(streaming).state.layers[-1].weights.w0
    assert float(difference.abs().max()) > 1e-3


def test_shared_anchors_are_handed_from_layer_to_layer() -> None:
    shared = small_memory(mode=MemoryMode.WINDOWED, rule=RULE, sharing=AnchorSharing.SHARED)
    own = small_memory(mode=MemoryMode.WINDOWED, rule=RULE)
    shared.observe(a_chunk(0))
    own.observe(a_chunk(0))
    first, last = (scene_of(shared).state.layers[i].anchor.w0 for i in (0, -1))
    assert not torch.equal(last, scene_of(own).state.layers[-1].anchor.w0)
    assert torch.equal(first, scene_of(own).state.layers[0].anchor.w0)


# --- measuring --------------------------------------------------------------------------------------------------------


def test_the_first_chunk_is_not_predicted_and_the_later_ones_by_a_figure() -> None:
    first, second = observe_all(small_memory(), [a_chunk(0), a_chunk(1)])
    assert math.isnan(first.prediction_psnr)
    assert math.isfinite(second.prediction_psnr)


def test_prediction_is_measured_before_the_chunk_is_observed() -> None:
    memory = small_memory()
    memory.observe(a_chunk(0))
    views = a_chunk(1).frames
    # Through uint8, which renders are rounded to.
    renders = [
        image_of(memory, world_from_camera=view.world_from_camera, stamp_ns=view.stamp_ns, camera=CAMERA)
        for view in views
    ]
    errors = [np.square((a.astype(float) - b.image) / 255).mean() for a, b in zip(renders, views, strict=True)]
    expected = float(np.mean(-10 * np.log10(errors)))
    assert memory.observe(a_chunk(1)).prediction_psnr == pytest.approx(expected, abs=0.05)


def test_nothing_is_measured_that_is_switched_off() -> None:
    reports = observe_all(small_memory(measure_prediction=False, retention_views=0), [a_chunk(i) for i in range(3)])
    assert all(math.isnan(report.prediction_psnr) for report in reports)
    assert all(math.isnan(report.retention_psnr) and report.retention_views == 0 for report in reports)


def test_retention_is_the_mean_over_remembered_views_of_older_chunks() -> None:
    reports = observe_all(small_memory(retention_views=3), [a_chunk(i) for i in range(4)])
    assert [report.retention_views for report in reports] == [0, 2, 3, 3]
    assert math.isnan(reports[0].retention_psnr)
    assert all(math.isfinite(report.retention_psnr) for report in reports[1:])


def test_a_report_names_the_old_keyframes_and_not_its_own() -> None:
    reports = observe_all(small_memory(), [a_chunk(0), a_chunk(1)])
    assert reports[0].keyframes == ()
    assert reports[1].keyframes == reports[0].chunk.frames


@pytest.mark.slow
@pytest.mark.parametrize("mode", MemoryMode, ids=lambda mode: mode.value)
def test_a_long_stream_does_not_let_anything_grow(mode: MemoryMode) -> None:
    camera = Camera(8, 8, 7.0, 7.0, 4.0, 4.0)
    one_submap = AtlasSettings(submaps=1)
    memory = small_memory(
        width=8, height=8, chunk_views=1, mode=mode, atlas=one_submap, retention_views=1, horizon_s=1000.0
    )
    reports = observe_all(memory, [a_chunk(i, views=1, camera=camera) for i in range(200)])
    assert {report.state_bytes for report in reports} == {reports[0].state_bytes}
    assert [len(report.keyframes) for report in reports] == [min(i, SMALL.reservoir) for i in range(200)]
    scene = scene_of(memory)
    assert (scene.chunks_observed, scene.epoch) == (200, 0)
    assert len(scene.window) == (SMALL.window_chunks if mode is MemoryMode.WINDOWED else 0)
    assert scene.state.is_finite()
