# SPDX-License-Identifier: Apache-2.0
"""Parity with the official implementation: every reference case, within its advised tolerance.

The reference numbers were made by running the official code (see the README beside them for the equations, the
meaning of every tensor and how the tolerances were chosen). They are looked for in the folder that FSM_GOLDEN_DIR
names, else in test/data/golden, else in ../shared/golden beside the checkout.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fsm_ros.memory.camera import Cameras, pixel_rays, pluecker_map
from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.memory.fast_weights import (
    FastWeights,
    WriteTokens,
    column_norms,
    newton_schulz,
    read,
)
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.precision import MuonPrecision
from fsm_ros.memory.rules.base import LayerMemory
from fsm_ros.memory.rules.elastic import AnchorPolicy, AnchorSharing, ElasticRule, Importance
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.state import MemoryState
from fsm_ros.memory.views import Views

REPOSITORY = Path(__file__).resolve().parents[2]


def _golden_dir() -> Path:
    chosen = os.environ.get("FSM_GOLDEN_DIR")
    if chosen:
        return Path(chosen).resolve()
    committed = REPOSITORY / "test" / "data" / "golden"
    return committed if (committed / "index.json").is_file() else REPOSITORY.parent / "shared" / "golden"


GOLDEN = _golden_dir()
if not (GOLDEN / "index.json").is_file():
    raise FileNotFoundError(f"no golden reference data in {GOLDEN}: set FSM_GOLDEN_DIR to the folder with index.json")
CASES: dict[str, dict[str, Any]] = {
    case["name"]: case for case in json.loads((GOLDEN / "index.json").read_text())["cases"]
}
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
MATRICES = ("w0", "w1", "w2")


def _names(kind: str) -> list[str]:
    return [name for name, case in CASES.items() if case["kind"] == kind]


def _tensors(case: dict[str, Any]) -> dict[str, Tensor]:
    return load_file(GOLDEN / case["file"])


def _close(actual: Tensor, expected: Tensor, atol: float) -> None:
    torch.testing.assert_close(actual.float(), expected, atol=atol, rtol=0)


def test_every_kind_of_case_is_known() -> None:
    """A new kind of reference case must not pass unnoticed."""
    known = {
        *(
            "newton_schulz",
            "kernel_inputs",
            "kernel",
            "camera_rays",
            "camera_resize_crop",
            "camera_normalize",
        ),
        *("model_inputs", "model"),
    }
    assert {case["kind"] for case in CASES.values()} <= known


# --- Newton-Schulz -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", _names("newton_schulz"))
def test_newton_schulz(name: str, precision: str) -> None:
    case = CASES[name]
    tensors = _tensors(case)
    checked = 0
    for steps in case["params"]["steps"]:
        for key in [k for k in tensors if k.startswith("in.")]:
            result = newton_schulz(tensors[key], steps, PRECISIONS[precision])
            expected = tensors[f"{precision}.steps{steps}.{key.removeprefix('in.')}"]
            assert result.dtype == PRECISIONS[precision]
            if precision == "fp32":
                _close(result, expected, atol=1e-4)
            else:
                _close_in_bfloat16(result, expected)
            checked += 1
    assert checked == 5 * len(case["params"]["steps"])


def _close_in_bfloat16(result: Tensor, expected: Tensor) -> None:
    """Equality on the reference machine; elsewhere rounding noise is amplified, and this is what is allowed."""
    difference = result.float() - expected
    assert difference.abs().max() <= 0.25
    assert difference.square().mean().sqrt() <= 0.03


# --- the fast-weight kernel ----------------------------------------------------------------------------------------


def _kernel(case: dict[str, Any], dtype: torch.dtype) -> tuple[Tensor, LayerMemory]:
    """The official schedule of writes and reads, from the primitives (golden README, section 4.4)."""
    inputs = load_file(GOLDEN / case["inputs_file"])
    given = {name: inputs[source][None] for name, source in case["inputs"].items() if source is not None}
    params = case["params"]
    weights = FastWeights(*(given[name] for name in MATRICES))
    elastic = params["ewc_enabled"]
    anchor = FastWeights(*(given[f"{name}_star"] for name in MATRICES)) if elastic else weights
    importance = FastWeights(*(given[f"F{i}"] for i in range(3))) if elastic else weights.map(torch.zeros_like)
    rule = (
        ElasticRule(
            importance=(Importance.MAS, Importance.EWC, Importance.SI)[params["fisher_mode"]],
            anchor=(AnchorPolicy.GLOBAL, AnchorPolicy.STREAMING, AnchorPolicy.STREAMING_EMA)[params["anchor_mode"]],
            strength=params["lambda_ewc"],
            importance_decay=params["fisher_alpha"],
            anchor_decay=params["anchor_beta"],
        )
        if elastic
        else Plastic()
    )
    memory = LayerMemory(weights, anchor, importance)
    norms = column_norms(weights)
    all_tokens = WriteTokens(given["k"], given["v"], (given["lr0"], given["lr1"], given["lr2"]))

    def muon(gradient: FastWeights) -> FastWeights:
        return gradient.map(lambda g: newton_schulz(g, params["muon_update_steps"], dtype))

    outputs: list[Tensor] = []
    for start, end, update, apply in case["ttt_ua_order"]:
        size = params["chunk_size"] or end - start
        for first in range(start, end, size):
            piece = slice(first, min(first + size, end))
            queries = given["q"][:, :, piece]
            before = update and params["apply_before_update"]
            if apply and before:
                outputs.append(read(memory.weights, queries))
            if update and not (params["skip_update_on_last_subchunk"] and piece.stop == end):
                tokens = WriteTokens(
                    all_tokens.keys[:, :, piece],
                    all_tokens.values[:, :, piece],
                    tuple(eta[:, :, piece] for eta in all_tokens.step_sizes),  # type: ignore[arg-type]
                )
                memory, _ = rule.write(memory, tokens, norms, muon)
            if apply and not before:
                outputs.append(read(memory.weights, queries))
    return torch.cat(outputs, dim=2)[0], memory


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", _names("kernel"))
def test_kernel(name: str, precision: str) -> None:
    case = CASES[name]
    expected = _tensors(case)
    output, memory = _kernel(case, PRECISIONS[precision])
    found = {"output": output}
    for i, matrix in enumerate(MATRICES):
        found[matrix] = getattr(memory.weights, matrix)[0]
        found[f"{matrix}_star"] = getattr(memory.anchor, matrix)[0]
        found[f"F{i}"] = getattr(memory.importance, matrix)[0]
    wanted = {key.removeprefix(f"{precision}."): t for key, t in expected.items() if key.startswith(f"{precision}.")}
    assert wanted.keys() >= {"output", *MATRICES}
    for key, reference in wanted.items():
        if precision == "fp32":
            _close(found[key], reference, atol=1e-4)
        else:
            _close_in_bfloat16(found[key], reference)


# --- cameras -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", _names("camera_rays"))
def test_camera_rays(name: str) -> None:
    tensors = _tensors(CASES[name])
    prefixes = sorted({key.split("in.")[0] for key in tensors if "in." in key})
    assert prefixes == ["", "identity."]
    for prefix in prefixes:
        expected = {k.removeprefix(f"{prefix}out."): t for k, t in tensors.items() if k.startswith(f"{prefix}out.")}
        height, width = expected["ray_d"].shape[-2:]
        cameras = Cameras(tensors[f"{prefix}in.fxfycxcy"], tensors[f"{prefix}in.c2w"], height, width)
        origin, direction = pixel_rays(cameras)
        found = {"ray_o": origin, "ray_d": direction, "o_cross_d": pluecker_map(cameras)[:, :, 6:]}
        assert expected.keys() <= found.keys()
        for part, reference in expected.items():
            _close(found[part], reference, atol=2e-5)


@pytest.mark.parametrize("name", _names("camera_resize_crop"))
def test_camera_resize_and_crop(name: str) -> None:
    from fsm_ros.stream.rectify import resize_and_crop

    tensors = {key: t.numpy() for key, t in _tensors(CASES[name]).items()}
    for (width, height), (rows, columns), before, after in zip(
        tensors["in.size_wh"],
        tensors["in.target_hw"],
        tensors["in.fxfycxcy"],
        tensors["out.fxfycxcy"],
        strict=True,
    ):
        blank = np.zeros((height, width, 3), np.uint8)
        image, intrinsics = resize_and_crop(blank, before.astype(np.float64), int(rows), int(columns))
        assert image.shape == (rows, columns, 3)
        np.testing.assert_allclose(intrinsics, after, atol=1e-3, rtol=0)
    images = sorted({key.rsplit(".", 1)[0] for key in tensors if key.startswith("image_")})
    assert images
    for prefix in images:
        expected = tensors[f"{prefix}.out"]
        image, intrinsics = resize_and_crop(
            tensors[f"{prefix}.in"], tensors[f"{prefix}.in_fxfycxcy"].astype(np.float64), *expected.shape[:2]
        )
        np.testing.assert_array_equal(image, expected)
        np.testing.assert_allclose(intrinsics, tensors[f"{prefix}.out_fxfycxcy"], atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", _names("camera_normalize"))
def test_camera_normalisation(name: str) -> None:
    from fsm_ros.stream.rigid import relative_poses
    from fsm_ros.stream.world import mean_pose

    tensors = _tensors(CASES[name])
    trajectories = sorted({key.split(".")[0] for key in tensors})
    assert trajectories
    for prefix in trajectories:
        poses = tensors[f"{prefix}.in.c2w"].double().numpy()
        found = relative_poses(mean_pose(poses), poses)
        found[:, :3, 3] /= np.abs(found[:, :3, 3]).max()  # as the release does
        np.testing.assert_allclose(found, tensors[f"{prefix}.out.c2w"].numpy(), atol=1e-5, rtol=0)


# --- the whole model -----------------------------------------------------------------------------------------------


class _Scene:
    """A tiny model of the release, its inputs, and what it should give."""

    def __init__(self, inputs_file: str, muon: MuonPrecision, tmp_path: Path) -> None:
        inputs = load_file(GOLDEN / inputs_file)
        owner = next(c for c in CASES.values() if c["kind"] == "model_inputs" and c["file"] == inputs_file)
        self.inputs = inputs
        self.settings = owner["config"]["model"]
        buffers: dict[str, dict[str, Tensor]] = {}
        for key, tensor in inputs.items():
            if key.startswith("ckpt_ewc_buffers."):
                block, buffer = key.removeprefix("ckpt_ewc_buffers.").rsplit(".", 1)
                buffers.setdefault(block, {})[buffer] = tensor
        # Through a file in the release's own layout, wrapper prefixes and all.
        path = tmp_path / "release.pt"
        state = {f"module._orig_mod.{k.removeprefix('state.')}": t for k, t in inputs.items() if k.startswith("state.")}
        state["loss_mgr.lpips_loss_module.net.weight"] = torch.zeros(2)
        torch.save({"model": state, "ewc_buffers": buffers, "now_iters": 3, "format_version": 2}, path)
        self.checkpoint = load_checkpoint(str(path))
        self.model: FsmModel = self.checkpoint.build(muon_precision=muon)

    def cameras(self, which: str) -> Cameras:
        height, width = self.inputs[f"in.{which}.image"].shape[-2:]
        return Cameras(self.inputs[f"in.{which}.fxfycxcy"], self.inputs[f"in.{which}.c2w"], height, width)

    def times(self, which: str) -> Tensor:
        return 2 * self.inputs[f"in.{which}.frame_time"] / (self.settings["max_frames"] - 1) - 1.0

    @property
    def observed(self) -> Views:
        return Views(self.inputs["in.input.image"], self.cameras("input"), self.times("input"))

    def render(self, state: MemoryState) -> Tensor:
        return self.model.render(state, self.cameras("target"), self.times("target"))


def _rule(case: dict[str, Any]) -> ElasticRule | Plastic:
    given = case["ewc"]
    if given is None:
        return Plastic()
    return ElasticRule(
        importance=Importance(given["mode"]),
        anchor=(AnchorPolicy.GLOBAL, AnchorPolicy.STREAMING, AnchorPolicy.STREAMING_EMA)[given["anchor_mode"]],
        strength=given["lambda"],
        importance_decay=given["fisher_alpha"],
        anchor_decay=given["anchor_beta"],
    )


def _observe(scene: _Scene, case: dict[str, Any]) -> MemoryState:
    variant, model = case["variant"], scene.model
    rule = _rule(case)
    if variant.startswith("streaming"):
        state = model.initial_state()
        tokens_per_view = scene.observed.images[0, 0, 0].numel() // model.config.patch_size**2
        views = case["chunk_size"] // tokens_per_view
        for start in range(0, scene.observed.cameras.views, views):
            state = model.observe(state, scene.observed[start : start + views], rule)
        return state
    prior = scene.checkpoint.elastic_prior if variant == "ewc_shared_ckptbuf" else None
    sharing = AnchorSharing.SHARED if variant.startswith("ewc_shared") else AnchorSharing.PER_LAYER
    chunk_tokens = scene.settings["block_config"][1]["params"]["chunk_size"]
    return model.observe_batch(model.initial_state(prior=prior), scene.observed, chunk_tokens, rule, sharing)


@pytest.mark.parametrize("name", _names("model_inputs"))
def test_model_tokens(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    scene = _Scene(case["file"], MuonPrecision.FP32, tmp_path)
    model, seen = scene.model, scene.observed
    raw = torch.cat(
        [
            model.patch_features(seen.cameras, seen.times, seen.images).flatten(1, 2),
            model.patch_features(scene.cameras("target"), scene.times("target"), None).flatten(1, 2),
        ],
        dim=1,
    )
    _close(raw[:, scene.inputs["pre.raw_tokens_index"]], scene.inputs["pre.raw_tokens_sample"], atol=2e-5)
    _close(model.input_layernorm(model.input_linear(raw)), scene.inputs["pre.embed"], atol=2e-5)


@pytest.mark.parametrize("name", _names("model"))
def test_model_fp32(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    expected = _tensors(case)
    scene = _Scene(case["inputs_file"], MuonPrecision.FP32, tmp_path)
    state = _observe(scene, case)
    _close(scene.render(state), expected["fp32.rendering"], atol=5e-5)
    for key, reference in expected.items():
        if key.startswith("fp32.layer"):
            layer, tensor = key.removeprefix("fp32.layer").split(".")
            _close(_layer_tensor(state.layers[int(layer)], tensor), reference, atol=2e-4)
    # In batch order the observed views' tokens read the final weights too; in streaming order see the next test.
    streams = [_residual_streams(scene, state, which) for which in ("input", "target")]
    streaming = case["variant"].startswith("streaming")
    blocks = [key for key in expected if key.startswith("fp32.block")]
    assert blocks or case["variant"] == "ewc_shared_ckptbuf"
    for key in blocks:
        block = int(key.removeprefix("fp32.block").split(".")[0])
        seen, asked = (stream[block] for stream in streams)
        _close(asked, expected[key][:, -asked.shape[1] :], atol=1e-3)
        if not streaming:
            _close(seen, expected[key][:, : seen.shape[1]], atol=1e-3)


@pytest.mark.parametrize("name", [n for n in _names("model") if CASES[n]["variant"].startswith("streaming")])
def test_streamed_tokens_fp32(name: str, tmp_path: Path) -> None:
    """What the observed views' own tokens become, block by block, spelled out from the layers."""
    case = CASES[name]
    expected = _tensors(case)
    scene = _Scene(case["inputs_file"], MuonPrecision.FP32, tmp_path)
    model = scene.model
    layers = list(model.initial_state().layers)
    streams: list[list[Tensor]] = [[] for _ in layers]
    for start in range(0, scene.observed.cameras.views, 2):
        chunk = scene.observed[start : start + 2]
        x = model.input_layernorm(model.input_linear(model.patch_features(chunk.cameras, chunk.times, chunk.images)))
        for i, block in enumerate(model.blocks):
            attended = block.attend(x)
            layers[i], _ = block.write(attended, layers[i], _rule(case), torch.float32)
            x = block.respond(attended, layers[i].weights)
            streams[i].append(x.flatten(1, 2))
    keys = [key for key in expected if key.startswith("fp32.block")]
    assert keys
    for key in keys:
        stream = torch.cat(streams[int(key.removeprefix("fp32.block").split(".")[0])], dim=1)
        _close(stream, expected[key][:, : stream.shape[1]], atol=1e-3)
    spelled_out = MemoryState(tuple(layers), 3, 6)
    assert spelled_out.equals(_observe(scene, case))


@pytest.mark.parametrize("name", _names("model"))
def test_model_bf16(name: str, tmp_path: Path) -> None:
    """Bfloat16 Newton-Schulz amplifies rounding, so only the size of the difference means anything."""
    case = CASES[name]
    scene = _Scene(case["inputs_file"], MuonPrecision.BF16, tmp_path)
    difference = scene.render(_observe(scene, case)) - _tensors(case)["bf16.rendering"]
    assert difference.square().mean().sqrt() < 0.08


def _layer_tensor(layer: LayerMemory, name: str) -> Tensor:
    if name.startswith("fast_"):
        found = getattr(layer.weights, name.removeprefix("fast_"))
    elif name.endswith("_star"):
        found = getattr(layer.anchor, name.removesuffix("_star"))
    else:
        found = getattr(layer.importance, f"w{name.removeprefix('F')}")
    return found[0]  # type: ignore[no-any-return]


def _residual_streams(scene: _Scene, state: MemoryState, which: str) -> list[Tensor]:
    """The tokens of the observed or the wanted views after every block, reading the final weights."""
    model = scene.model
    images = scene.inputs["in.input.image"] if which == "input" else None
    x = model.input_layernorm(
        model.input_linear(model.patch_features(scene.cameras(which), scene.times(which), images))
    )
    streams = []
    for block, layer in zip(model.blocks, state.layers, strict=True):
        x = block.respond(block.attend(x), layer.weights)
        streams.append(x.flatten(1, 2))
    return streams
