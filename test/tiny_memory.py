"""A tiny random model and random views, for tests of laws that hold for any weights."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.elastic import AnchorPolicy, ElasticRule, Importance
from fsm_ros.memory.layers import Block
from fsm_ros.memory.model import FastSpatialMemory, ModelConfig, MuonPrecision, Precision, Views
from fsm_ros.memory.state import MemoryState

CONFIG = ModelConfig(patch_size=4, dim=32, num_layers=2, attention_head_dim=16, fast_head_dim=8, mlp_inter_multi=2)
SQUARE = (16, 16)
OBLONG = (8, 12)
ELASTIC_BUFFERS = ("w0_star", "w1_star", "w2_star", "F0", "F1", "F2")
EVERY_RULE = [ElasticRule(importance, anchor) for importance in Importance for anchor in AnchorPolicy]
EVERY_RULE_OR_NONE = [*EVERY_RULE, None]


def rule_name(rule: ElasticRule | None) -> str:
    """For the names of parametrised tests."""
    return "lact" if rule is None else f"{rule.importance.value}-{rule.anchor.value}"


def tiny_model(
    seed: int = 0,
    config: ModelConfig = CONFIG,
    *,
    precision: Precision = Precision.FP32,
    muon_precision: MuonPrecision = MuonPrecision.FP32,
) -> FastSpatialMemory:
    """Random weights, larger than a fresh model's, so that every path of it matters."""
    model = FastSpatialMemory(config, precision=precision, muon_precision=muon_precision)
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


def blocks_of(model: FastSpatialMemory) -> list[Block]:
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
    one, cameras = slice(scene, scene + 1), views.cameras
    chosen = Cameras(cameras.fxfycxcy[one], cameras.memory_from_camera[one], cameras.height, cameras.width)
    return Views(views.images[one], chosen, views.times[one])


def scene_of(state: MemoryState, scene: int) -> MemoryState:
    """The memory of one scene of a batch."""
    return state.map(lambda t: t[scene : scene + 1])


def stream(
    model: FastSpatialMemory, state: MemoryState, chunks: list[Views], rule: ElasticRule | None = None
) -> MemoryState:
    """Observe chunk after chunk."""
    for chunk in chunks:
        state = model.observe(state, chunk, rule)
    return state


def observed_state(
    model: FastSpatialMemory, chunks: int = 2, rule: ElasticRule | None = None, seed: int = 1
) -> MemoryState:
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


def _wrapped(name: str) -> str:
    """A key as it looks under DDP, torch.compile and activation checkpointing."""
    parts = name.split(".")
    if parts[0] == "blocks":
        parts.insert(2, "_checkpoint_wrapped_module")
    return "module._orig_mod." + ".".join(parts)


def elastic_buffers(model: FastSpatialMemory, layers: int) -> dict[str, dict[str, Tensor]]:
    """Anchors and importance as the release's training writes them, keys with all their wrappers."""
    generator = torch.Generator().manual_seed(5)
    return {
        f"module.blocks.{i}._checkpoint_wrapped_module.module_list.1.f": {
            name: torch.rand(getattr(layer.weights, f"w{name.strip('w_starF')}").shape[1:], generator=generator)
            for name in ELASTIC_BUFFERS
        }
        for i, layer in enumerate(model.initial_state().layers[:layers])
    }


def release_file(model: FastSpatialMemory, path: Path, **changes: object) -> Path:
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
