# SPDX-License-Identifier: Apache-2.0
"""Weights in: the shipped ones, safetensors, the release's layout, Hugging Face names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from deadline import DEADLINE_S
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_memory import (
    CONFIG,
    ELASTIC_BUFFERS,
    elastic_buffers,
    observed_state,
    random_views,
    release_file,
    stream,
    tiny_model,
)

from fsm_ros.memory.checkpoint import load_checkpoint, strip_wrappers
from fsm_ros.memory.configuration import ModelConfig
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.precision import MuonPrecision
from fsm_ros.memory.rules.elastic import AnchorSharing, ElasticRule

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model() -> FsmModel:
    return tiny_model()


def _same_weights(one: FsmModel, other: FsmModel) -> bool:
    theirs = other.state_dict()
    mine = one.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


# --- the shipped weights -----------------------------------------------------------------------------------


def test_the_shipped_weights_are_what_their_file_says() -> None:
    (path,) = (REPOSITORY / "fsm_ros" / "weights").glob("small_*.safetensors")
    with safe_open(path, framework="pt") as file:
        stated = json.loads(file.metadata()["config"])
    shipped = load_checkpoint("shipped")
    assert shipped.config.as_mapping() == stated
    assert shipped.config == ModelConfig(
        patch_size=8,
        dim=128,
        num_layers=4,
        attention_head_dim=32,
        fast_head_dim=64,
        fast_inter_multi=2,
        mlp_inter_multi=4,
        base_lr=0.01,
        muon_update_steps=5,
        geometry=True,
    )
    model = shipped.build()
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_398_296
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    views = random_views(0, 4, (64, 64))
    state = stream(model, model.initial_state(), [views[:2], views[2:]], ElasticRule())
    assert model.render(state, views.cameras, views.times).isfinite().all()


# --- files ---------------------------------------------------------------------------------------------


def test_a_safetensors_file_keeps_its_architecture_in_its_metadata(model: FsmModel, tmp_path: Path) -> None:
    config = replace(CONFIG, base_lr=0.02, muon_update_steps=3)
    stated, plain = tmp_path / "stated.safetensors", tmp_path / "plain.safetensors"
    save_file(model.state_dict(), stated, {"config": json.dumps(asdict(config))})
    save_file(model.state_dict(), plain)
    assert load_checkpoint(str(stated)).config == config
    assert load_checkpoint(str(stated), CONFIG).config == CONFIG
    # What the shapes do not show is the release's.
    assert load_checkpoint(str(plain)).config == CONFIG
    for path in (stated, plain):
        built = load_checkpoint(str(path)).build(muon_precision=MuonPrecision.BF16)
        assert _same_weights(built, model)
        assert built.muon_precision is MuonPrecision.BF16


@pytest.mark.parametrize(
    "change",
    [{}, {"num_layers": 3}, {"dim": 64}, {"fast_inter_multi": 3, "mlp_inter_multi": 4, "fast_head_dim": 32}],
)
def test_the_architecture_is_read_off_the_shapes(tmp_path: Path, change: dict[str, int]) -> None:
    config = ModelConfig(**(asdict(CONFIG) | change))
    model = tiny_model(config=config)
    checkpoint = load_checkpoint(str(release_file(model, tmp_path / "release.pt")))
    assert checkpoint.config == config
    assert checkpoint.elastic_prior is None
    assert _same_weights(checkpoint.build(), model)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_of_the_release_loads_by_name(model: FsmModel, tmp_path: Path, legacy: bool) -> None:
    path = release_file(model, tmp_path / "model_0003.pt")
    if legacy:
        torch.save(torch.load(path, weights_only=True), path, _use_new_zipfile_serialization=False)
    checkpoint = load_checkpoint(str(path))
    assert checkpoint.name == str(path)
    assert not any("loss_mgr" in name for name in checkpoint.weights)
    built = checkpoint.build()
    assert _same_weights(built, model)
    assert observed_state(built).equals(observed_state(model))


def test_a_home_folder_is_found(model: FsmModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    release_file(model, tmp_path / "release.pt")
    assert load_checkpoint("~/release.pt").config == CONFIG


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("blocks.0.module_list.1.f.w0", "blocks.0.module_list.1.f.w0"),
        ("module.module.input_linear.weight", "input_linear.weight"),
        ("_orig_mod.module.input_linear.weight", "input_linear.weight"),
        ("module._orig_mod.blocks.1._checkpoint_wrapped_module.module_list.1.f", "blocks.1.module_list.1.f"),
        ("blocks.1._orig_mod._checkpoint_wrapped_module.module_list.2.ln", "blocks.1.module_list.2.ln"),
        ("a.module.b", "a.module.b"),
    ],
)
def test_wrappers_are_stripped_from_names(raw: str, name: str) -> None:
    assert strip_wrappers(raw) == name


def test_weights_in_half_precision_become_float32(model: FsmModel, tmp_path: Path) -> None:
    half = {name: tensor.bfloat16() for name, tensor in model.state_dict().items()}
    save_file(half, tmp_path / "half.safetensors")
    built = load_checkpoint(str(tmp_path / "half.safetensors")).build()
    for name, tensor in built.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, half[name].float())


def test_two_models_of_one_checkpoint_share_nothing(model: FsmModel, tmp_path: Path) -> None:
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    for path in (tmp_path / "weights.safetensors", release_file(model, tmp_path / "release.pt")):
        checkpoint = load_checkpoint(str(path))
        one, other = checkpoint.build(), checkpoint.build()
        with torch.no_grad():
            for parameter in one.parameters():
                parameter.fill_(7.0)
        assert _same_weights(other, model)
        assert _same_weights(checkpoint.build(), model)


# --- elastic buffers ---------------------------------------------------------------------------------------


def test_elastic_buffers_become_the_prior(model: FsmModel, tmp_path: Path) -> None:
    buffers = elastic_buffers(model, CONFIG.num_layers)
    checkpoint = load_checkpoint(str(release_file(model, tmp_path / "release.pt", ewc_buffers=buffers)))
    assert checkpoint.elastic_prior is not None
    assert len(checkpoint.elastic_prior) == CONFIG.num_layers
    for layer, stored in zip(checkpoint.elastic_prior, buffers.values(), strict=True):
        found = (*layer.anchor, *layer.importance)
        for tensor, name in zip(found, ELASTIC_BUFFERS, strict=True):
            assert torch.equal(tensor, stored[name][None])
    built = checkpoint.build()
    state, plain = built.initial_state(1, checkpoint.elastic_prior), built.initial_state()
    views = random_views(1, 4)
    with_prior, without = (
        built.observe_batch(start, views, 6, ElasticRule(), AnchorSharing.SHARED) for start in (state, plain)
    )
    assert (with_prior.layers[1].weights.w0 - without.layers[1].weights.w0).abs().max() > 1e-3


def test_the_first_buffers_stand_for_all_where_there_are_no_others(model: FsmModel, tmp_path: Path) -> None:
    buffers = elastic_buffers(model, 1)
    checkpoint = load_checkpoint(str(release_file(model, tmp_path / "release.pt", ewc_buffers=buffers)))
    assert checkpoint.elastic_prior is not None
    (stored,) = buffers.values()
    for layer in checkpoint.elastic_prior:
        assert torch.equal(layer.anchor.w1[0], stored["w1_star"])


def test_no_elastic_buffers_are_no_prior(model: FsmModel, tmp_path: Path) -> None:
    nothing: tuple[object, ...] = (None, {})
    for none in nothing:
        path = release_file(model, tmp_path / "release.pt", ewc_buffers=none)
        assert load_checkpoint(str(path)).elastic_prior is None


# --- Hugging Face ------------------------------------------------------------------------------------------


FROM_CACHE = """
import json, sys
from fsm_ros.memory.checkpoint import CheckpointError, load_checkpoint

answers = {}
for source in json.loads(sys.argv[1]):
    try:
        checkpoint = load_checkpoint(source)
        answers[source] = [checkpoint.name, checkpoint.config.dim, checkpoint.build().fingerprint()]
    except CheckpointError as error:
        answers[source] = str(error)
print(json.dumps(answers))
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="needs the huggingface_hub package")
def test_hugging_face_names_are_answered_from_the_cache(tmp_path: Path) -> None:
    old, new = tiny_model(seed=1), tiny_model(seed=2)
    repository = tmp_path / "hub" / "models--somebody--scenes"
    (repository / "refs").mkdir(parents=True)
    for revision, model, folder in (("v1", old, "1" * 40), ("main", new, "2" * 40)):
        snapshot = repository / "snapshots" / folder
        (snapshot / "weights").mkdir(parents=True)
        (repository / "refs" / revision).write_text(folder)
        release_file(model, snapshot / "weights" / "model.pt")
        save_file(model.state_dict(), snapshot / "model.safetensors")
    sources = {
        "hf://somebody/scenes/weights/model.pt": new,
        "hf://somebody/scenes/model.safetensors": new,
        "hf://somebody/scenes/model.safetensors@main": new,
        "hf://somebody/scenes/model.safetensors@v1": old,
        "hf://somebody/scenes/absent.safetensors": None,
        "hf://nobody/scenes/model.safetensors": None,
    }
    environment = os.environ | {
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path]),
    }
    # The library reads its environment when it is imported, hence a process of its own.
    done = subprocess.run(
        [sys.executable, "-c", FROM_CACHE, json.dumps(list(sources))],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    for source, expected in sources.items():
        if expected is None:
            assert "could not be fetched and is not in the cache" in answers[source]
            assert source in answers[source]
        else:
            assert answers[source] == [source, CONFIG.dim, expected.fingerprint()]
