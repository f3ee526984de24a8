# SPDX-License-Identifier: Apache-2.0
"""Spatial memory, files of several submaps: all of them come back to the bit, or none and the old ones stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from spatial_scenes import (
    a_chunk,
    a_turned_chunk,
    image_of,
    loaded,
    looking,
    observe_all,
    refusal,
    report_values,
    saved,
    scene_of,
    small_memory,
)
from tiny_memory import rule_name, tiny_model
from torch import Tensor

from fsm_ros.memory.atlas import Atlas
from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.memory.rules.consolidation import ChunkShare, Consolidation
from fsm_ros.memory.rules.elastic import AnchorPolicy, ElasticRule
from fsm_ros.memory.rules.naming import NamedRule
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.rules.steps import StepRule
from fsm_ros.memory.state import load_memory, save_memory
from fsm_ros.spatial.spatial_memory import SpatialMemory

THREE = AtlasSettings(submaps=3)
DIRECTIONS = (0.0, 1.5, 3.0, 0.1, 4.5, 1.4)
KINDS: list[NamedRule] = [
    Consolidation(),
    Consolidation(ChunkShare.BY_TOKENS, retention=0.5),
    ElasticRule(),
    ElasticRule(anchor=AnchorPolicy.GLOBAL),
    StepRule(size=0.5, decline=0.5, momentum=0.5),
    Plastic(),
]


def turning(rule: NamedRule = KINDS[0], chunks: int = 6, atlas: AtlasSettings = THREE) -> SpatialMemory:
    """A memory whose camera has looked around."""
    memory = small_memory(rule=rule, atlas=atlas, reservoir=20)
    observe_all(memory, [a_turned_chunk(i, yaw) for i, yaw in enumerate(DIRECTIONS[:chunks])])
    return memory


def assert_same_atlas(found: Atlas, expected: Atlas) -> None:
    """The same submaps to the bit, in the same order, sharing the same tensors."""
    assert len(found.submaps) == len(expected.submaps)
    assert found.newest == expected.newest
    assert found.size_bytes == expected.size_bytes
    for mine, theirs in zip(found.submaps, expected.submaps, strict=True):
        assert mine.state.equals(theirs.state)
        assert torch.equal(mine.address, theirs.address) and mine.address.dtype == theirs.address.dtype
        assert mine.views == theirs.views


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("rule", KINDS, ids=rule_name)
@pytest.mark.parametrize("chunks", [1, 2, 3, 6])
def test_loaded_places_are_the_saved_ones_to_the_bit_and_go_on_as_if_never_saved(
    rule: NamedRule, chunks: int, tmp_path: Path
) -> None:
    memory, other = turning(rule, chunks), small_memory(rule=rule, atlas=THREE, reservoir=20)
    loaded(other, saved(memory, tmp_path / "memory.safetensors"))
    assert_same_atlas(scene_of(other).atlas, scene_of(memory).atlas)
    for yaw in DIRECTIONS:
        views = [image_of(each, world_from_camera=looking(yaw)) for each in (memory, other)]
        assert np.array_equal(*views)
    for i, yaw in enumerate((3.1, 5.5, 0.2, 1.5), start=chunks):
        reports = [observe_all(each, [a_turned_chunk(i, yaw)])[0] for each in (memory, other)]
        assert str(report_values(reports[0])) == str(report_values(reports[1]))
        assert_same_atlas(scene_of(other).atlas, scene_of(memory).atlas)


@pytest.mark.parametrize("other_rule", KINDS, ids=rule_name)
def test_places_that_another_kind_of_rule_has_left_behind_come_back_too(other_rule: NamedRule, tmp_path: Path) -> None:
    """After a change in mid-stream some submaps have evidence and others have none yet."""
    memory = turning(chunks=3)
    memory.set_rule(other_rule)
    memory.set_rule(ElasticRule())
    memory.set_rule(Consolidation())
    observe_all(memory, [a_turned_chunk(3, 0.0)])
    evidence = [submap.state.layers[0].evidence is not None for submap in scene_of(memory).atlas.submaps]
    assert evidence == [True, False, False]
    other = small_memory(atlas=THREE, reservoir=20)
    loaded(other, saved(memory, tmp_path / "memory.safetensors"))
    assert_same_atlas(scene_of(other).atlas, scene_of(memory).atlas)


def test_what_places_share_is_in_the_file_once(tmp_path: Path) -> None:
    """Under consolidation anchors and importance are those that every submap began with."""
    path = saved(turning(), tmp_path / "memory.safetensors")
    with safe_open(path, framework="pt") as file:
        parts = {name.split(".")[-2] for name in file.keys() if name.startswith("attachments.places.")}
    assert parts == {"weights", "evidence"}


def test_places_observed_under_another_kind_of_rule_are_anchored_where_they_stand(tmp_path: Path) -> None:
    memory, elastic = turning(), small_memory(rule=ElasticRule(), atlas=THREE)
    loaded(elastic, saved(memory, tmp_path / "memory.safetensors"))
    assert len(scene_of(elastic).atlas.submaps) == 3
    for submap, written in zip(scene_of(elastic).atlas.submaps, scene_of(memory).atlas.submaps, strict=True):
        for layer, kept in zip(submap.state.layers, written.state.layers, strict=True):
            assert all(map(torch.equal, layer.weights, kept.weights))
            assert all(map(torch.equal, layer.anchor, kept.weights))
            assert layer.evidence is None
    assert np.array_equal(image_of(memory, stamp_ns=0), image_of(elastic, stamp_ns=0))


def test_other_numbers_of_the_same_kind_load_the_places_as_they_are(tmp_path: Path) -> None:
    memory, faster = turning(), small_memory(rule=Consolidation(retention=0.5), atlas=THREE)
    loaded(faster, saved(memory, tmp_path / "memory.safetensors"))
    assert_same_atlas(scene_of(faster).atlas, scene_of(memory).atlas)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> SpatialMemory:
    """A memory with something to lose."""
    return turning(chunks=2, atlas=AtlasSettings(submaps=4))


def test_more_places_than_are_kept_are_refused_and_as_many_are_not(memory: SpatialMemory, tmp_path: Path) -> None:
    path = saved(turning(), tmp_path / "memory.safetensors")
    small = small_memory(atlas=AtlasSettings(submaps=2))
    observe_all(small, [a_chunk(0)])
    message = refusal(small, path)
    assert "3 submaps" in message and "2 at most" in message and "set submaps to 3" in message
    assert loaded(memory, path).atlas.size_bytes > 0


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_bit_that_flipped_in_any_place_is_found(share: float, memory: SpatialMemory, tmp_path: Path) -> None:
    path = saved(turning(), tmp_path / "memory.safetensors")
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 0x10
    path.write_bytes(content)
    assert "damaged" in refusal(memory, path)


def test_a_file_of_the_version_before_places_is_called_so(memory: SpatialMemory, tmp_path: Path) -> None:
    def as_it_was(notes: dict[str, Any], _: dict[str, Tensor]) -> None:
        for name in ("version", "rule", "places", "newest_place"):
            del notes[name]
        notes["elastic"] = True

    message = refusal(memory, rewritten(tmp_path, as_it_was))
    assert "version 1, expected 2 or 3" in message and "observe the scene anew" in message


def test_a_file_from_before_plain_lact_was_a_rule_is_one_of_plain_lact(tmp_path: Path) -> None:
    def as_it_was(notes: dict[str, Any], _: dict[str, Tensor]) -> None:
        assert notes["rule"] == {"kind": "plastic"}
        notes["rule"] = None

    path = rewritten(tmp_path, as_it_was, Plastic())
    written = turning(Plastic(), chunks=3)
    for rule, atlas in (
        (Plastic(), scene_of(written).atlas),
        (ElasticRule(), scene_of(written).atlas.reanchored()),
    ):
        assert_same_atlas(loaded(small_memory(rule=rule, atlas=THREE), path).atlas, atlas)


Change = Callable[[dict[str, Any], dict[str, Tensor]], object]


def rewritten(folder: Path, change: Change, rule: NamedRule = KINDS[0]) -> Path:
    """A sound file of three submaps, the last one the newest, whose notes and attachments somebody has changed."""
    model, path = tiny_model(), folder / "rewritten.safetensors"
    content = load_memory(saved(turning(rule, chunks=3), path), model.initial_state(), model.fingerprint())
    notes, attachments = json.loads(json.dumps(content.notes)), dict(content.attachments)
    change(notes, attachments)
    save_memory(path, replace(content, notes=notes, attachments=attachments), model.fingerprint())
    return path


WEIGHTS = "places.0.layers.0.weights.w0"
WRONG: dict[str, tuple[Change, str]] = {
    "no submaps": (lambda notes, _: notes.update(places=[]), "newest submap"),
    "a submap too few": (
        lambda notes, _: notes.update(places=notes["places"][1:], newest_place=1),
        "no submap that",
    ),
    "a submap too many": (
        lambda notes, _: notes["places"].append(notes["places"][0]),
        "submap 3 does not fit this model: 6",
    ),
    "submaps that are no list": (lambda notes, _: notes.update(places={"0": 1}), "expected list, found dict"),
    "a submap that is no note": (lambda notes, _: notes["places"].__setitem__(1, "here"), "expected dict, found str"),
    "no newest": (lambda notes, _: notes.pop("newest_place"), "newest_place"),
    "a newest beyond": (lambda notes, _: notes.update(newest_place=3), "no newest submap 3 among 3"),
    "a newest before": (lambda notes, _: notes.update(newest_place=-1), "no newest submap -1 among 3"),
    "another newest": (lambda notes, _: notes.update(newest_place=0), "no submap that places.0"),
    "a short address": (lambda notes, _: notes["places"][0].update(address=[0.0] * 5), "6 finite numbers"),
    "an address of words": (lambda notes, _: notes["places"][0].update(address=["here"] * 6), "not a memory"),
    "an address that is nowhere": (
        lambda notes, _: notes["places"][0].update(address=[0.0] * 5 + [float("nan")]),
        "6 finite numbers",
    ),
    "a submap of no views": (lambda notes, _: notes["places"][0].update(views=0), "at least one view"),
    "views by word": (lambda notes, _: notes["places"][0].update(views="two"), "expected int, found str"),
    "less than no chunks": (lambda notes, _: notes["places"][2].update(chunks_observed=-1), "at least once"),
    "a missing tensor": (lambda _, tensors: tensors.pop(WEIGHTS), "submap 0 does not fit this model: 1 tensors"),
    "a missing layer of evidence": (
        lambda _, tensors: [tensors.pop(f"places.0.layers.1.evidence.w{i}") for i in range(3)],
        "does not fit this model: 3 tensors differ",
    ),
    "a tensor of another shape": (
        lambda _, tensors: tensors.update({WEIGHTS: tensors[WEIGHTS][..., 1:]}),
        "does not fit this model: 1 tensors differ",
    ),
    "a tensor of another type": (
        lambda _, tensors: tensors.update({WEIGHTS: tensors[WEIGHTS].double()}),
        "does not fit this model: 1 tensors differ",
    ),
    "a weight that is no number": (
        lambda _, tensors: tensors.update({WEIGHTS: tensors[WEIGHTS] / 0}),
        "not finite",
    ),
    "a tensor of nothing": (
        lambda _, tensors: tensors.update({"places.0.layers.9.weights.w0": torch.zeros(1)}),
        "does not fit this model: 1 tensors differ",
    ),
    "a tensor of a submap beyond": (
        lambda _, tensors: tensors.update({"places.7.layers.0.weights.w0": torch.zeros(1)}),
        "no submap that places.7",
    ),
    "a tensor of no submap": (
        lambda _, tensors: tensors.update({"places.x": torch.zeros(1)}),
        "no submap that places.x",
    ),
}


def test_a_file_that_was_only_written_anew_is_sound(memory: SpatialMemory, tmp_path: Path) -> None:
    """What the next test changes is what it refuses."""
    scene = loaded(memory, rewritten(tmp_path, lambda notes, tensors: None))
    assert_same_atlas(scene.atlas, scene_of(turning(chunks=3)).atlas)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONG)
def test_a_sound_file_whose_places_do_not_add_up_is_refused(wrong: str, memory: SpatialMemory, tmp_path: Path) -> None:
    change, words = WRONG[wrong]
    path = rewritten(tmp_path, change)
    message = refusal(memory, path)
    assert str(path) in message and words in message


def test_a_refused_file_leaves_a_memory_that_goes_on(memory: SpatialMemory, tmp_path: Path) -> None:
    refusal(memory, rewritten(tmp_path, WRONG["a missing tensor"][0]))
    untouched = turning(chunks=2)
    for each in (memory, untouched):
        observe_all(each, [a_turned_chunk(2, 3.0)])
    assert_same_atlas(scene_of(memory).atlas, scene_of(untouched).atlas)
