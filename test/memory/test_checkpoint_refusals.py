# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that are refused: damaged, foreign, dangerous or not quite this model; the message says why."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny_memory import CONFIG, elastic_buffers, release_file, tiny_model
from torch import Tensor

from fsm_ros.memory.checkpoint import CheckpointError, load_checkpoint
from fsm_ros.memory.model import FsmModel


@pytest.fixture(scope="module")
def model() -> FsmModel:
    return tiny_model()


def test_names_and_shapes_that_do_not_fit_are_listed(model: FsmModel, tmp_path: Path) -> None:
    weights = dict(model.state_dict())
    del weights["blocks.1.module_list.2.f.c_proj.weight"]
    del weights["image_token_decoder.0.weight"]
    weights["blocks.0.extra"] = torch.ones(1)
    weights["blocks.0.module_list.1.f.lr_fc.bias"] = torch.ones(5)
    save_file(weights, tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError) as refusal:
        load_checkpoint(str(tmp_path / "weights.safetensors")).build()
    for problem in (
        "missing blocks.1.module_list.2.f.c_proj.weight",
        "missing image_token_decoder.0.weight",
        "unexpected blocks.0.extra",
        "blocks.0.module_list.1.f.lr_fc.bias has shape (5,), expected (12,)",
    ):
        assert problem in str(refusal.value)


def test_a_long_list_of_problems_is_cut(model: FsmModel, tmp_path: Path) -> None:
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    deeper = replace(CONFIG, num_layers=5)
    with pytest.raises(CheckpointError, match="and 39 more"):
        load_checkpoint(str(tmp_path / "weights.safetensors"), deeper).build()


def test_weights_that_are_not_finite(model: FsmModel, tmp_path: Path) -> None:
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights["input_layernorm.weight"][3] = float("nan")
    save_file(weights, tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match="not finite: input_layernorm.weight"):
        load_checkpoint(str(tmp_path / "weights.safetensors")).build()


@pytest.mark.parametrize(
    "config",
    ["", "[]", "{", '{"dim": "32"}', '{"dim": 0}', '{"depth": 3}', '{"dim": 32.0}', '{"dim": null}'],
)
def test_a_stated_architecture_that_is_none(model: FsmModel, tmp_path: Path, config: str) -> None:
    save_file(model.state_dict(), tmp_path / "weights.safetensors", {"config": config})
    with pytest.raises(CheckpointError, match="does not look like a 4D-LVSM"):
        load_checkpoint(str(tmp_path / "weights.safetensors"))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    "weights",
    [
        {"weight": torch.ones(3)},
        {"input_linear.weight": torch.ones(3)},
        {"input_linear.weight": torch.ones(32, 208), "blocks.0.module_list.1.f.w0": torch.ones(4, 0, 0)},
    ],
)
def test_weights_of_something_else(tmp_path: Path, suffix: str, weights: dict[str, Tensor]) -> None:
    path = tmp_path / f"other{suffix}"
    if suffix == ".pt":
        torch.save({"model": weights}, path)
    else:
        save_file(weights, path)
    with pytest.raises(CheckpointError, match="does not look like a 4D-LVSM"):
        load_checkpoint(str(path))


def test_a_checkpoint_of_nothing_but_losses(tmp_path: Path) -> None:
    torch.save({"model": {"module.loss_mgr.a": torch.ones(1)}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="holds no tensors"):
        load_checkpoint(str(tmp_path / "other.pt"))


@pytest.mark.parametrize(
    "content", [[1], {"weights": {}}, {"model": 3}, {"model": {"a": 1}}, {"model": {1: torch.ones(1)}}]
)
def test_a_torch_file_in_another_layout(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no state dict under the key 'model'"):
        load_checkpoint(str(tmp_path / "other.pt"))


class Payload:
    """A pickle that writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_checkpoint_is_refused_and_not_run(model: FsmModel, tmp_path: Path, legacy: bool) -> None:
    marker, path = tmp_path / "was_run", tmp_path / "release.pt"
    content = {"model": model.state_dict(), "optimizer": Payload(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match="never unpickled"):
        load_checkpoint(str(path))
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # it was loaded, so to speak


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_plain_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "was_run", tmp_path / "release.pkl"
    path.write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(CheckpointError, match="never unpickled"):
        load_checkpoint(str(path))
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_checkpoint(model: FsmModel, tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        release_file(model, path)
    else:
        save_file(model.state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=f"{path} cannot be read"):
        load_checkpoint(str(path))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".pt", ".safetensors"]))
def test_noise_is_no_checkpoint(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="noise"):
        load_checkpoint(str(path))


@pytest.mark.parametrize("source", ["nowhere.safetensors", "nowhere", "", ".", "Shipped"])
def test_a_missing_checkpoint(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="there is no checkpoint .*'shipped'.*hf://owner/repository/file"):
        load_checkpoint(source)


@pytest.mark.parametrize(
    "source", ["hf://", "hf://owner", "hf://owner/repository", "hf://owner/repository/", "hf:///repository/file.pt"]
)
def test_a_hugging_face_name_that_is_none(source: str) -> None:
    with pytest.raises(CheckpointError, match="not of the form hf://owner/repository/file"):
        load_checkpoint(source)


# --- elastic buffers ------------------------------------------------------------


def _without_importance(entry: dict[str, Tensor]) -> None:
    del entry["F1"]


def _of_another_shape(entry: dict[str, Tensor]) -> None:
    entry["w2_star"] = entry["w2_star"][:1]


def _not_finite(entry: dict[str, Tensor]) -> None:
    entry["F2"] = torch.full_like(entry["F2"], float("inf"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_importance, "missing F1"),
        (_of_another_shape, r"w2_star has shape \(1, 8, 16\), expected \(4, 8, 16\)"),
        (_not_finite, "F2 is not finite"),
    ],
)
def test_elastic_buffers_that_do_not_fit(
    model: FsmModel, tmp_path: Path, change: Callable[[dict[str, Tensor]], None], message: str
) -> None:
    buffers = elastic_buffers(model, 2)
    change(list(buffers.values())[1])
    path = release_file(model, tmp_path / "release.pt", ewc_buffers=buffers)
    with pytest.raises(CheckpointError, match=rf"ewc_buffers of blocks\.1\.module_list\.1\.f.*{message}"):
        load_checkpoint(str(path))


@pytest.mark.parametrize("buffers", [[1], {"elsewhere": {}}, {3: {}}, {"blocks.0.module_list.1.f": torch.ones(3)}])
def test_elastic_buffers_that_are_something_else(model: FsmModel, tmp_path: Path, buffers: object) -> None:
    path = release_file(model, tmp_path / "release.pt", ewc_buffers=buffers)
    with pytest.raises(CheckpointError, match="ewc_buffers"):
        load_checkpoint(str(path))
