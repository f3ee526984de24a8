# SPDX-License-Identifier: Apache-2.0
"""A tiny random model and random views, for tests of laws that hold for any weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.configuration import ModelConfig
from fsm_ros.memory.fast_weights import FastWeights, WriteTokens, newton_schulz
from fsm_ros.memory.layers import Block
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.precision import MuonPrecision, Precision
from fsm_ros.memory.rules.base import LayerMemory, WriteRule
from fsm_ros.memory.rules.consolidation import ChunkShare, Consolidation
from fsm_ros.memory.rules.elastic import AnchorPolicy, ElasticRule, Importance, ImportanceScale, ImportanceTiming
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.rules.steps import StepRule
from fsm_ros.memory.state import MemoryState
from fsm_ros.memory.views import Views

CONFIG = ModelConfig(patch_size=4, dim=32, num_layers=2, attention_head_dim=16, fast_head_dim=8, mlp_inter_multi=2)
ONE_LAYER = replace(CONFIG, num_layers=1)
SQUARE = (16, 16)
OBLONG = (8, 12)
ELASTIC_BUFFERS = ("w0_star", "w1_star", "w2_star", "F0", "F1", "F2")
EVERY_RULE = [ElasticRule(importance, anchor) for importance in Importance for anchor in AnchorPolicy]
EVERY_PUBLISHED_RULE: list[ElasticRule | Plastic] = [*EVERY_RULE, Plastic()]
WEIGHED_DIFFERENTLY = [
    ElasticRule(importance, timing=timing, scale=scale)
    for importance in (Importance.SI, Importance.UNIFORM)
    for timing in ImportanceTiming
    for scale in ImportanceScale
    if (timing, scale) != (ImportanceTiming.AFTER, ImportanceScale.RAW)
]
EVERY_CONSOLIDATION = [Consolidation(share, retention) for share in ChunkShare for retention in (1.0, 0.7)]
EVERY_STEP_RULE = [
    StepRule(),
    StepRule(size=0.3),
    StepRule(decline=1.0),
    StepRule(momentum=0.6),
    StepRule(size=0.7, decline=0.5, momentum=0.3),
]
BEYOND_THE_PAPER: list[WriteRule] = [*WEIGHED_DIFFERENTLY, *EVERY_CONSOLIDATION, *EVERY_STEP_RULE]
EVERY_WRITE_RULE: list[WriteRule] = [*EVERY_PUBLISHED_RULE, *BEYOND_THE_PAPER]


def rule_name(rule: WriteRule) -> str:
    """For the names of parametrised tests."""
    if isinstance(rule, Plastic):
        return "lact"
    if isinstance(rule, ElasticRule):
        policies = [rule.importance, rule.anchor, rule.timing, rule.scale]
        as_released = (ImportanceTiming.AFTER, ImportanceScale.RAW)
        return "-".join(policy.value for policy in policies if policy not in as_released)
    if isinstance(rule, Consolidation):
        return f"consolidation-{rule.share.value}-{rule.retention:g}"
    if isinstance(rule, StepRule):
        return f"steps-{rule.size:g}-{rule.decline:g}-{rule.momentum:g}"
    raise TypeError(f"a rule that has no name: {rule!r}")


def tiny_model(
    seed: int = 0,
    config: ModelConfig = CONFIG,
    *,
    precision: Precision = Precision.FP32,
    muon_precision: MuonPrecision = MuonPrecision.FP32,
) -> FsmModel:
    """Random weights, larger than a fresh model's, so that every path of it matters."""
    model = FsmModel(config, precision=precision, muon_precision=muon_precision)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("bias"):
                parameter.copy_(noise)
            elif parameter.ndim == 1:
                parameter.copy_(1 + 0.2 * noise)
            elif parameter.ndim == 2:
                parameter.copy_(noise / math.sqrt(parameter.shape[1]))
            else:
                parameter.copy_(noise / math.sqrt(parameter.shape[-2]))
    return model.eval().requires_grad_(False)


def blocks_of(model: FsmModel) -> list[Block]:
    """The blocks of a model."""
    return [block for block in model.blocks if isinstance(block, Block)]


def random_views(seed: int, views: int, size: tuple[int, int] = OBLONG, batch: int = 1) -> Views:
    """Views of nothing in particular from anywhere; ``size`` is (height, width)."""
    height, width = size
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    poses = torch.eye(4).repeat(batch, views, 1, 1)
    rotations, _ = torch.linalg.qr(torch.randn((batch, views, 3, 3), generator=generator))
    # An orthogonal matrix times the sign of its determinant is a rotation.
    poses[..., :3, :3] = rotations * torch.linalg.det(rotations)[..., None, None]
    poses[..., :3, 3] = 2 * uniform(batch, views, 3) - 1
    focal = width * (0.6 + uniform(batch, views, 2))
    centre = torch.tensor([width / 2, height / 2]) + uniform(batch, views, 2) - 0.5
    cameras = Cameras(torch.cat([focal, centre], dim=-1), poses, height, width)
    return Views(uniform(batch, views, 3, height, width), cameras, 2 * uniform(batch, views) - 1)


def random_chunks(seed: int, chunks: int, size: tuple[int, int] = OBLONG, batch: int = 1) -> list[Views]:
    """Chunks of two views."""
    everything = random_views(seed, 2 * chunks, size, batch)
    return [everything[2 * i : 2 * i + 2] for i in range(chunks)]


def one_scene(views: Views, scene: int) -> Views:
    """One scene of a batch."""
    one = slice(scene, scene + 1)
    return Views(views.images[one], views.cameras.scene(scene), views.times[one])


def scene_of(state: MemoryState, scene: int) -> MemoryState:
    """The memory of one scene of a batch."""
    return state.map(lambda t: t[scene : scene + 1])


def stream(model: FsmModel, state: MemoryState, chunks: list[Views], rule: WriteRule = Plastic()) -> MemoryState:
    """Observe chunk after chunk."""
    for chunk in chunks:
        state = model.observe(state, chunk, rule)
    return state


def observed_state(model: FsmModel, chunks: int = 2, rule: WriteRule = Plastic(), seed: int = 1) -> MemoryState:
    """A state with something in it."""
    return stream(model, model.initial_state(), random_chunks(seed, chunks), rule)


def tokens_of(views: Views, config: ModelConfig = CONFIG) -> int:
    """How many tokens views make."""
    camera = views.cameras
    return camera.views * camera.height * camera.width // config.patch_size**2


def snapshot(state: MemoryState) -> dict[str, Tensor]:
    """Copies of a state's tensors, to see later whether they changed."""
    return {name: tensor.clone() for name, tensor in state.tensors().items()}


def assert_untouched(state: MemoryState, before: dict[str, Tensor]) -> None:
    """The state's tensors are, bit for bit, what they were."""
    for name, tensor in state.tensors().items():
        assert torch.equal(tensor, before[name]), f"{name} was changed in place"


def assert_states_close(found: MemoryState, expected: MemoryState, atol: float) -> None:
    """The same memory, up to rounding."""
    wanted = expected.tensors()
    assert found.tensors().keys() == wanted.keys()
    for name, tensor in found.tensors().items():
        difference = float((tensor - wanted[name]).abs().max())
        assert difference <= atol, f"{name} differs by {difference}"


def largest_difference(one: MemoryState, other: MemoryState) -> float:
    """How far two memories are apart."""
    there = other.tensors()
    return max(float((t - there[name]).abs().max()) for name, t in one.tensors().items())


# --- one write, once more in float64 NumPy -----------------------------------------------------------------

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LayerCase:
    """A layer of two scenes and three heads, width 4, hidden 6, that has a past, and chunks to write into it.

    Attributes:
        memory: weights, anchor and importance that have nothing to do with one another; no evidence.
        norms: column norms that are none of theirs.
        chunks: of different lengths.
    """

    memory: LayerMemory
    norms: FastWeights
    chunks: list[WriteTokens]


def layer_case(seed: int, chunks: int = 3) -> LayerCase:
    """A random one."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def matrices() -> FastWeights:
        return FastWeights(normal(2, 3, 4, 6), normal(2, 3, 6, 4), normal(2, 3, 4, 6))

    def tokens(count: int) -> WriteTokens:
        keys = torch.nn.functional.normalize(normal(2, 3, count, 4), dim=-1)
        eta0, eta1, eta2 = (torch.nn.functional.softplus(normal(2, 3, count, 1)) for _ in range(3))
        return WriteTokens(keys, normal(2, 3, count, 4), (eta0, eta1, eta2))

    memory = LayerMemory(matrices(), matrices(), matrices().map(lambda t: 0.1 * t.abs()))
    norms = matrices().map(lambda t: 0.5 + t[:1, :, :1].abs())
    return LayerCase(memory, norms, [tokens(12 + 4 * i) for i in range(chunks)])


def muon(gradient: FastWeights) -> FastWeights:
    """The package's own, as a layer of the tiny model runs it."""
    return gradient.map(lambda g: newton_schulz(g, 5, torch.float32))


def written(memory: LayerMemory, update: FastWeights, norms: FastWeights, rule: WriteRule) -> LayerMemory:
    """A layer after one write whose update is known, whatever tokens asked for it."""
    batch, heads, width, _ = update.w0.shape
    nothing = torch.zeros(batch, heads, 1, width)
    eta = nothing[..., :1]
    after, _ = rule.write(memory, WriteTokens(nothing, nothing, (eta, eta, eta)), norms, lambda gradient: update)
    return after


def arrays_of(matrices: FastWeights) -> list[Array]:
    """The three matrices in float64."""
    return [array_of(matrix) for matrix in matrices]


def array_of(tensor: Tensor) -> Array:
    """A tensor in float64."""
    return np.asarray(tensor.double().numpy(), np.float64)


def reference_gradient(weights: list[Array], tokens: WriteTokens) -> list[Array]:
    """The derivative of ``sum_i eta_i <f(k_i), v_i>``, entry by entry in a complex step: exact, and no formula."""
    keys, values = array_of(tokens.keys), array_of(tokens.values)
    step = 1e-30
    gradients = [np.zeros_like(matrix) for matrix in weights]
    for which, eta in enumerate(tokens.step_sizes):
        for row, column in np.ndindex(*weights[which].shape[-2:]):
            w0, w1, w2 = (matrix.astype(np.complex128) for matrix in weights)
            (w0, w1, w2)[which][..., row, column] += 1j * step
            gate = keys @ w0
            answers = (gate / (1 + np.exp(-gate)) * (keys @ w2)) @ w1
            agreement = (array_of(eta) * answers * values).sum(axis=(-2, -1))
            gradients[which][..., row, column] = agreement.imag / step
    return gradients


def reference_muon(gradient: Array) -> Array:
    """Five quintic Newton-Schulz iterations."""
    x: Array = gradient / (np.linalg.norm(gradient, axis=(-2, -1), keepdims=True) + 1e-7)
    for _ in range(5):
        gram = x @ np.swapaxes(x, -2, -1)
        x = 3.4445 * x - 4.7750 * gram @ x + 2.0315 * gram @ gram @ x
    return x


def reference_norms_restored(weight: Array, norms: Array) -> Array:
    """Every column as long as it has to be."""
    restored: Array = weight / (np.linalg.norm(weight, axis=-2, keepdims=True) + 1e-5) * norms
    return restored


def assert_matrices_close(found: FastWeights | None, expected: list[Array], atol: float) -> None:
    """The same three matrices, up to rounding."""
    assert found is not None
    for name, mine, theirs in zip(("w0", "w1", "w2"), found, expected, strict=True):
        assert mine.dtype == torch.float32
        np.testing.assert_allclose(mine.numpy(), theirs, atol=atol, rtol=0, err_msg=name)


# --- files of the release ----------------------------------------------------------------------------------


def _wrapped(name: str) -> str:
    """A key as it looks under DDP, torch.compile and activation checkpointing."""
    parts = name.split(".")
    if parts[0] == "blocks":
        parts.insert(2, "_checkpoint_wrapped_module")
    return "module._orig_mod." + ".".join(parts)


def elastic_buffers(model: FsmModel, layers: int) -> dict[str, dict[str, Tensor]]:
    """Anchors and importance as the release's training writes them, keys with all their wrappers."""
    generator = torch.Generator().manual_seed(5)
    return {
        f"module.blocks.{i}._checkpoint_wrapped_module.module_list.1.f": {
            name: torch.rand(getattr(layer.weights, f"w{name.strip('w_starF')}").shape[1:], generator=generator)
            for name in ELASTIC_BUFFERS
        }
        for i, layer in enumerate(model.initial_state().layers[:layers])
    }


def release_file(model: FsmModel, path: Path, **changes: object) -> Path:
    """A checkpoint as the release's training writes it."""
    weights = {_wrapped(name): tensor for name, tensor in model.state_dict().items()}
    weights["module.loss_mgr.lpips_loss_module.net.0.weight"] = torch.full((3,), float("nan"))
    content = {
        "model": weights,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "lr_scheduler": None,
        "now_iters": 3,
        "epoch": 1,
        "format_version": 2,
    }
    torch.save(content | changes, path)
    return path
