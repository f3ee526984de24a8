# SPDX-License-Identifier: Apache-2.0
"""Memory files: bit-equal there and back, never half written, and nothing else is taken for one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from deadline import DEADLINE_S
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import save_file
from tiny_memory import (
    CONFIG,
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

from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.base import INITIAL_IMPORTANCE, WriteRule
from fsm_ros.memory.rules.consolidation import Consolidation
from fsm_ros.memory.rules.elastic import AnchorPolicy, ElasticRule, Importance
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.rules.steps import StepRule
from fsm_ros.memory.state import (
    MemoryFileError,
    MemoryState,
    SavedMemory,
    load_memory,
    save_memory,
    size_bytes,
    state_from_tensors,
)

FINGERPRINT = "0123456789abcdef"
THAT_KEEP_DIFFERENT_THINGS: list[WriteRule] = [
    Plastic(),
    ElasticRule(),
    ElasticRule(Importance.UNIFORM, AnchorPolicy.STREAMING),
    Consolidation(),
    StepRule(decline=1.0),
    StepRule(momentum=0.5),
]


@pytest.fixture(scope="module")
def model() -> FsmModel:
    return tiny_model()


@pytest.fixture
def saved(model: FsmModel, tmp_path: Path) -> Path:
    """A sound file."""
    path = tmp_path / "kitchen.fsm"
    save_memory(path, SavedMemory(observed_state(model, 2, ElasticRule())), FINGERPRINT)
    return path


# --- there and back ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("rule", THAT_KEEP_DIFFERENT_THINGS, ids=rule_name)
@pytest.mark.parametrize("scenes", [1, 3])
@pytest.mark.parametrize("chunks", [0, 3])
def test_a_loaded_memory_is_the_saved_one_and_goes_on_like_it(
    model: FsmModel, tmp_path: Path, chunks: int, scenes: int, rule: WriteRule
) -> None:
    seen = random_chunks(1, chunks + 1, batch=scenes)
    state = stream(model, model.initial_state(scenes), seen[:chunks], rule)
    before, path = snapshot(state), tmp_path / "kitchen.fsm"
    size = save_memory(path, SavedMemory(state), model.fingerprint())
    loaded = load_memory(path, model.initial_state(scenes), model.fingerprint()).state
    assert size == path.stat().st_size >= state.size_bytes
    assert_untouched(state, before)
    assert loaded.equals(state)
    assert (loaded.chunks_observed, loaded.views_observed) == (chunks, 2 * chunks)
    views = seen[chunks]
    assert torch.equal(
        model.render(loaded, views.cameras, views.times), model.render(state, views.cameras, views.times)
    )
    assert model.observe(loaded, views, rule).equals(model.observe(state, views, rule))


@pytest.mark.parametrize("rule", [Plastic(), Consolidation(), StepRule(momentum=0.5)], ids=rule_name)
def test_whether_there_is_evidence_is_up_to_the_file_not_to_the_memory_before_it(
    model: FsmModel, tmp_path: Path, rule: WriteRule
) -> None:
    state, path = observed_state(model, 2, rule), tmp_path / "kitchen.fsm"
    save_memory(path, SavedMemory(state), FINGERPRINT)
    for like in (model.initial_state(), observed_state(model, 3), observed_state(model, 3, Consolidation())):
        loaded = load_memory(path, like, FINGERPRINT).state
        assert loaded.equals(state)
        assert all((layer.evidence is None) == isinstance(rule, Plastic) for layer in loaded.layers)


def test_the_fingerprint_is_that_of_the_weights(model: FsmModel) -> None:
    assert tiny_model().fingerprint() == model.fingerprint()
    assert tiny_model(seed=1).fingerprint() != model.fingerprint()
    other = replace(CONFIG, base_lr=0.02)
    assert tiny_model(config=other).fingerprint() != model.fingerprint()


def test_notes_and_attachments_come_back(model: FsmModel, tmp_path: Path) -> None:
    notes = {
        "frame": {"extent_m": 2.5, "origin": [0.1, -2.0, 1e-300]},
        "name": "Küche 厨房",
        "none": None,
        "n": 2**60,
    }
    images = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)
    attachments = {
        "images": images,
        "left": images[:, :, :2],  # shares memory with the one above
        "poses": torch.eye(4, dtype=torch.float64, requires_grad=True),
        "stamps": torch.tensor([2**62, -1]),
        "mask": torch.tensor([True, False]),
        "half": torch.randn(3).bfloat16(),
        "scalar": torch.tensor(1.5),
        "nothing": torch.zeros(0, 3),
    }
    path, state = tmp_path / "kitchen.fsm", observed_state(model)
    save_memory(path, SavedMemory(state, notes, attachments), FINGERPRINT)
    found = load_memory(path, state, FINGERPRINT)
    assert found.notes == notes
    assert found.attachments.keys() == attachments.keys()
    for name, tensor in attachments.items():
        assert found.attachments[name].dtype == tensor.dtype
        assert torch.equal(found.attachments[name], tensor)


def test_a_file_without_notes_has_none(model: FsmModel, saved: Path) -> None:
    found = load_memory(saved, model.initial_state(), FINGERPRINT)
    assert found.notes == {}
    assert found.attachments == {}


def test_a_loaded_memory_does_not_follow_its_file(model: FsmModel, saved: Path) -> None:
    loaded = load_memory(saved, model.initial_state(), FINGERPRINT).state
    before = snapshot(loaded)
    with saved.open("r+b") as file:
        file.write(bytes(saved.stat().st_size))
    assert_untouched(loaded, before)


def test_tensors_with_gradients_are_saved_by_value(tmp_path: Path) -> None:
    model = tiny_model().requires_grad_(True)
    state = model.observe(model.initial_state(), random_views(2, 2), ElasticRule())
    assert state.layers[0].weights.w0.requires_grad
    save_memory(tmp_path / "kitchen.fsm", SavedMemory(state), FINGERPRINT)
    loaded = load_memory(tmp_path / "kitchen.fsm", state, FINGERPRINT).state
    assert loaded.equals(state)
    assert not loaded.layers[0].weights.w0.requires_grad


# --- a crash on the way ------------------------------------------------------------------------------------


def _crash_when_replacing(monkeypatch: pytest.MonkeyPatch) -> None:
    def replace_file(_source: str, _target: Path) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", replace_file)


def _crash_when_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    def half_a_file(_tensors: dict[str, Tensor], path: str, _metadata: dict[str, str]) -> NoReturn:
        Path(path).write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("fsm_ros.memory.state.save_file", half_a_file)


def _crash_when_syncing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_file: int) -> NoReturn:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", fsync)


@pytest.mark.parametrize("crash", [_crash_when_replacing, _crash_when_writing, _crash_when_syncing])
@pytest.mark.parametrize("there_was_one", [True, False])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    model: FsmModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    crash: object,
    there_was_one: bool,
) -> None:
    path, state = tmp_path / "kitchen.fsm", observed_state(model)
    if there_was_one:
        save_memory(path, SavedMemory(state), FINGERPRINT)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert callable(crash)
    crash(monkeypatch)
    newer = model.observe(state, random_views(3, 2))
    with pytest.raises(OSError, match="No space left on device|Input/output error"):
        save_memory(path, SavedMemory(newer), FINGERPRINT)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    monkeypatch.undo()
    save_memory(path, SavedMemory(newer), FINGERPRINT)
    assert load_memory(path, state, FINGERPRINT).state.equals(newer)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_missing_folder_is_an_os_error(model: FsmModel, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save_memory(tmp_path / "nowhere" / "kitchen.fsm", SavedMemory(model.initial_state()), FINGERPRINT)


KILLED = """
import os, random, signal, sys, time
from dataclasses import replace
from pathlib import Path
import torch
from fsm_ros.memory.configuration import ModelConfig
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.state import SavedMemory, load_memory, save_memory

torch.manual_seed(0)
like = FsmModel(ModelConfig(4, 64, 2, 16, 64)).initial_state()
path = Path(sys.argv[1])

def save(count):
    # Every weight tells which write it is of.
    state = like.map(lambda t: torch.full_like(t, count))
    save_memory(path, SavedMemory(replace(state, chunks_observed=count), {"count": count}), "model")

def stamp():
    file = path.stat()
    return file.st_ino, file.st_mtime_ns

save(1)
random.seed(0)
counts = []
for kill in range(12):
    start, before = load_memory(path, like, "model").state.chunks_observed, stamp()
    child = os.fork()
    if child == 0:
        while True:
            start += 1
            save(start)
    while stamp() == before:  # until it has saved once
        time.sleep(0.001)
    time.sleep(random.uniform(0.0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found = load_memory(path, like, "model")
    count = found.state.chunks_observed
    assert found.notes == {"count": count}, found.notes
    assert all((t == count).all() for t in found.state.tensors().values()), count
    counts.append(count)
print(*counts)
"""


@pytest.mark.slow
def test_a_process_killed_while_it_saves_leaves_a_whole_file(tmp_path: Path) -> None:
    """``kill -9`` at random moments of an endless loop of writes, again and again."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "kitchen.fsm")],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0, done.stderr
    counts = [int(word) for word in done.stdout.split()]
    assert len(counts) == 12
    assert counts == sorted(set(counts))  # each of the killed processes had saved something newer


# --- files that are no memory of this model ----------------------------------------------------------------


def _refused(path: Path, like: MemoryState, message: str, fingerprint: str = FINGERPRINT) -> None:
    before = snapshot(like)
    with pytest.raises(MemoryFileError, match=message) as refusal:
        load_memory(path, like, fingerprint)
    assert str(path) in str(refusal.value)
    assert_untouched(like, before)


def test_a_missing_file(model: FsmModel, tmp_path: Path) -> None:
    _refused(tmp_path / "nowhere.fsm", model.initial_state(), "there is no memory file")
    _refused(tmp_path, model.initial_state(), "cannot be read as a memory")


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.5, 0.999])
def test_a_truncated_file(model: FsmModel, saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    _refused(saved, model.initial_state(), "damaged or cut short")


def test_a_file_with_something_after_it(model: FsmModel, saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    _refused(saved, model.initial_state(), "damaged or cut short")


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), header=st.booleans())
def test_a_single_flipped_bit_is_noticed_wherever_it_is(
    model: FsmModel, saved: Path, where: float, bit: int, header: bool
) -> None:
    sound = saved.read_bytes()
    end = 8 + int.from_bytes(sound[:8], "little") if header else len(sound)
    broken = bytearray(sound)
    broken[int(where * end)] ^= 1 << bit
    saved.with_suffix(".broken").write_bytes(bytes(broken))
    _refused(saved.with_suffix(".broken"), model.initial_state(), "damaged|another model|not a memory file")
    assert load_memory(saved, model.initial_state(), FINGERPRINT).state.chunks_observed == 2


def test_a_memory_of_another_model(model: FsmModel, saved: Path) -> None:
    _refused(saved, model.initial_state(), f"another model .*{FINGERPRINT}.*fedcba", "fedcba")
    deeper = FsmModel(replace(CONFIG, num_layers=3)).initial_state()
    _refused(saved, deeper, r"does not fit this model: 9 tensors differ, the first is layers\.2\.anchor\.w0")
    _refused(saved, model.initial_state(2), "does not fit this model: 18 tensors differ")
    save_memory(saved, SavedMemory(observed_state(model, 2, Consolidation())), FINGERPRINT)
    _refused(saved, deeper, r"12 tensors differ, the first is layers\.2\.anchor\.w0")
    _refused(saved, model.initial_state(2), "does not fit this model: 24 tensors differ")


@pytest.mark.parametrize("forgetful", [0, 1])
def test_evidence_in_some_of_the_layers_only(model: FsmModel, tmp_path: Path, forgetful: int) -> None:
    state, path = observed_state(model, 2, Consolidation()), tmp_path / "kitchen.fsm"
    layers = list(state.layers)
    layers[forgetful] = replace(layers[forgetful], evidence=None)
    save_memory(path, SavedMemory(replace(state, layers=tuple(layers))), FINGERPRINT)
    message = rf"3 tensors differ, the first is layers\.{forgetful}\.evidence\.w0 \(found None"
    _refused(path, model.initial_state(), message)
    _refused(path, state, message)


def test_evidence_of_another_shape(model: FsmModel, tmp_path: Path) -> None:
    state, path = observed_state(model, 2, Consolidation()), tmp_path / "kitchen.fsm"
    layer = state.layers[1]
    assert layer.evidence is not None
    turned = replace(layer, evidence=replace(layer.evidence, w1=layer.evidence.w1.mT))
    save_memory(path, SavedMemory(replace(state, layers=(state.layers[0], turned))), FINGERPRINT)
    _refused(path, model.initial_state(), r"1 tensors differ, the first is layers\.1\.evidence\.w1")


def test_a_foreign_safetensors_file(model: FsmModel, tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.ones(3)}, path)
    _refused(path, model.initial_state(), "not a memory file of this version")
    save_file(model.state_dict(), path, {"config": json.dumps({"dim": 32})})
    _refused(path, model.initial_state(), "not a memory file of this version")
    save_file({"weight": torch.ones(3)}, path, {"format": "fsm_ros.memory/1", "fingerprint": FINGERPRINT})
    _refused(path, model.initial_state(), "damaged")
    path.write_bytes(b"PK\x03\x04 something else")
    _refused(path, model.initial_state(), "damaged or cut short")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["weights", "anchor", "importance", "evidence"])
def test_a_memory_that_is_not_finite(model: FsmModel, tmp_path: Path, part: str, value: float) -> None:
    state = observed_state(model, 2, Consolidation()).map(torch.clone)
    getattr(state.layers[1], part).w1[0, 2, 1, 3] = value
    save_memory(tmp_path / "kitchen.fsm", SavedMemory(state), FINGERPRINT)
    _refused(tmp_path / "kitchen.fsm", model.initial_state(), "not finite")


# --- the value itself --------------------------------------------------------------------------------------


def test_the_size_of_a_state_does_not_grow(model: FsmModel) -> None:
    one, many = observed_state(model, 1, ElasticRule()), observed_state(model, 6, ElasticRule())
    assert one.size_bytes == many.size_bytes == 2 * 3 * 3 * 4 * 8 * 16 * 4


PART_BYTES = 2 * 3 * 4 * 8 * 16 * 4
"""Of one value for each fast weight: two layers of three matrices of four heads, float32."""


def test_tensors_that_are_shared_count_once(model: FsmModel) -> None:
    initial = model.initial_state()
    assert initial.size_bytes == 2 * PART_BYTES  # a fresh memory is anchored where it starts
    lact = observed_state(model, 2)
    assert lact.size_bytes == 3 * PART_BYTES
    assert lact.reanchored().size_bytes == 2 * PART_BYTES
    assert observed_state(model, 2, ElasticRule(anchor=AnchorPolicy.STREAMING)).size_bytes == 2 * PART_BYTES
    assert observed_state(model, 2, Consolidation()).size_bytes == 4 * PART_BYTES
    assert observed_state(model, 2, StepRule(momentum=0.5)).size_bytes == 4 * PART_BYTES
    assert observed_state(model, 2, StepRule()).size_bytes == 3 * PART_BYTES


def test_states_that_share_tensors_share_their_bytes(model: FsmModel) -> None:
    initial, chunks = model.initial_state(), random_chunks(4, 2)
    one, other = (model.observe(initial, chunk, Consolidation()) for chunk in chunks)
    assert size_bytes() == 0
    assert size_bytes(one, one) == one.size_bytes == 4 * PART_BYTES
    # Weights and evidence of their own; the anchor and the importance that both began with.
    assert size_bytes(one, other) == 6 * PART_BYTES
    assert size_bytes(one, other.map(torch.clone)) == 8 * PART_BYTES


def test_there_are_names_for_evidence_where_there_is_any(model: FsmModel) -> None:
    parts = {name.split(".")[2] for name in observed_state(model, 2, Consolidation()).tensors()}
    assert parts == {"weights", "anchor", "importance", "evidence"}
    assert len(observed_state(model, 2, Consolidation()).tensors()) == 24
    for rule in (Plastic(), ElasticRule(Importance.UNIFORM), StepRule()):
        assert not any("evidence" in name for name in observed_state(model, 2, rule).tensors())


@pytest.mark.parametrize("rule", [Plastic(), Consolidation()], ids=rule_name)
def test_a_state_is_its_tensors(model: FsmModel, rule: WriteRule) -> None:
    state, like = observed_state(model, 2, rule), observed_state(model, 3, ElasticRule())
    rebuilt = state_from_tensors(state.tensors(), like)
    assert all(rebuilt.tensors()[name] is tensor for name, tensor in state.tensors().items())
    assert rebuilt.tensors().keys() == state.tensors().keys()
    assert (rebuilt.chunks_observed, rebuilt.views_observed) == (like.chunks_observed, like.views_observed) == (3, 6)
    assert rebuilt.statistics == ()


def test_tensors_that_make_no_state(model: FsmModel) -> None:
    like = model.initial_state()
    tensors = observed_state(model, 2, Consolidation()).tensors()
    weight = tensors["layers.0.weights.w0"]
    without = {name: tensor for name, tensor in tensors.items() if name != "layers.1.evidence.w2"}
    for wrong, message in (
        ({}, r"does not fit this model: 18 tensors differ, the first is layers\.0\.anchor\.w0 \(found None"),
        (without, r"1 tensors differ, the first is layers\.1\.evidence\.w2 \(found None"),
        (tensors | {"layers.2.weights.w0": weight}, r"1 tensors differ, the first is layers\.2\.weights\.w0"),
        (tensors | {"layers.0.weights.w0": weight.mT}, r"1 tensors differ, the first is layers\.0\.weights\.w0"),
        (tensors | {"layers.0.weights.w0": weight.double()}, r"1 tensors differ, .* \(found .*torch\.float64"),
        (tensors | {"layers.0.evidence.w0": weight / 0}, "holds weights that are not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            state_from_tensors(wrong, like)


def test_a_reanchored_state_has_no_evidence(model: FsmModel) -> None:
    state = observed_state(model, 3, Consolidation())
    before = snapshot(state)
    anchored = state.reanchored()
    assert_untouched(state, before)
    assert (anchored.chunks_observed, anchored.views_observed) == (3, 6)
    for old, new in zip(state.layers, anchored.layers, strict=True):
        assert new.evidence is None
        assert new.weights is new.anchor is old.weights
        assert all(bool((f == INITIAL_IMPORTANCE).all()) for f in new.importance)


def test_what_is_done_to_a_state_is_done_to_its_evidence(model: FsmModel) -> None:
    state = observed_state(model, 2, Consolidation())
    doubled = state.map(lambda t: 2 * t)
    for old, new in zip(state.layers, doubled.layers, strict=True):
        assert old.evidence is not None
        assert new.evidence is not None
        for mine, theirs in zip(new.evidence, old.evidence, strict=True):
            assert torch.equal(mine, 2 * theirs)
    assert state.to("cpu").equals(state)
    broken = state.map(torch.clone)
    assert broken.is_finite()
    evidence = broken.layers[0].evidence
    assert evidence is not None
    evidence.w2[0, 0, 0, 0] = float("nan")
    assert not broken.is_finite()


def test_states_are_compared_by_equals(model: FsmModel) -> None:
    state = observed_state(model, 2)
    assert state.equals(state.map(torch.clone))
    assert not state.equals(model.initial_state())
    assert not state.equals(replace(state, views_observed=5))
    assert not state.equals(FsmModel(replace(CONFIG, num_layers=3)).initial_state())
    tensors = list(state.map(torch.clone).tensors())
    assert len(tensors) == 18
    nudged = state.map(torch.clone)
    nudged.layers[1].importance.w2[0, 0, 0, 0] += 1e-9
    assert not state.equals(nudged)
    assert (state == nudged) is False
    consolidated = observed_state(model, 2, Consolidation())
    without = replace(consolidated, layers=tuple(replace(layer, evidence=None) for layer in consolidated.layers))
    assert consolidated.equals(consolidated.map(torch.clone))
    assert not consolidated.equals(without)
    assert not without.equals(consolidated)
