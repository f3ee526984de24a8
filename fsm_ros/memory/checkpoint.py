# SPDX-License-Identifier: Apache-2.0
"""Weights in: the shipped ones, a local file, the official release's layout, or a Hugging Face repository.

Only tensors are ever read: safetensors, or torch's weights-only unpickler.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fsm_ros.errors import FsmError
from fsm_ros.memory.configuration import ModelConfig
from fsm_ros.memory.fast_weights import FastWeights
from fsm_ros.memory.model import PIXEL_CHANNELS, FsmModel
from fsm_ros.memory.precision import MuonPrecision, Precision
from fsm_ros.memory.rules.base import LayerMemory

SHIPPED = "shipped"
HUGGING_FACE = "hf://"
_MEMORY_LAYER = "module_list.1.f"
_BUFFERS = ("w0_star", "w1_star", "w2_star", "F0", "F1", "F2")


class CheckpointError(FsmError):
    """Weights that cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights, and what is needed to use them.

    Attributes:
        name: where they came from.
        config: the architecture, as stated in the file or read off the shapes.
        weights: the state dict, wrapper prefixes removed.
        elastic_prior: anchors and importance that a training run stored, one entry per layer, or ``None``.
    """

    name: str
    config: ModelConfig
    weights: Mapping[str, Tensor]
    elastic_prior: tuple[LayerMemory, ...] | None = None

    def build(
        self,
        *,
        precision: Precision = Precision.FP32,
        muon_precision: MuonPrecision = MuonPrecision.FP32,
    ) -> FsmModel:
        """The model with these weights, in evaluation mode.

        Raises:
            CheckpointError: names or shapes that do not fit, or values that are not finite; the message lists
                them.
        """
        with torch.device("meta"):
            model = FsmModel(self.config, precision=precision, muon_precision=muon_precision)
        expected = model.state_dict()
        problems = [
            *(f"missing {name}" for name in sorted(expected.keys() - self.weights.keys())),
            *(f"unexpected {name}" for name in sorted(self.weights.keys() - expected.keys())),
            *(
                f"{name} has shape {tuple(self.weights[name].shape)}, expected {tuple(expected[name].shape)}"
                for name in sorted(expected.keys() & self.weights.keys())
                if self.weights[name].shape != expected[name].shape
            ),
        ]
        if problems:
            raise CheckpointError(f"{self.name} does not fit a 4D-LVSM of {self.config}: {_listed(problems)}")
        # Own copies: two models of one checkpoint never share memory.
        weights = {name: t.float().clone() for name, t in self.weights.items()}
        broken = [name for name, t in sorted(weights.items()) if not t.isfinite().all()]
        if broken:
            raise CheckpointError(f"{self.name} holds values that are not finite: {_listed(broken)}")
        model.load_state_dict(weights, assign=True)
        return model.eval().requires_grad_(False)


def load_checkpoint(source: str, config: ModelConfig | None = None) -> Checkpoint:
    """Read weights.

    Args:
        source: ``shipped``; a ``.safetensors`` file; any other file is taken for a ``torch.save`` of the
            release; or ``hf://owner/repository/file[@revision]``, which goes through the Hugging Face cache.
        config: the architecture; ``None`` takes it from the file's metadata, else from the shapes of its
            tensors (what leaves no trace in them, ``base_lr`` and ``muon_update_steps``, is the release's).

    Raises:
        CheckpointError: missing, unreadable, or not weights of this model.
    """
    path = locate_checkpoint(source)
    if path.suffix == ".safetensors":
        tensors, metadata = _read_safetensors(path)
        buffers: Mapping[str, Any] = {}
    else:
        tensors, buffers, metadata = *_read_torch(path), {}
    weights = {
        stripped: tensor
        for name, tensor in tensors.items()
        if not (stripped := strip_wrappers(name)).startswith("loss_mgr.")
    }
    if not weights:
        raise CheckpointError(f"{path} holds no tensors")
    try:
        if config is None:
            config = _stated_config(metadata) or _config_from_shapes(weights)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path} does not look like a 4D-LVSM: {error}") from error
    prior = _elastic_prior(buffers, weights, config.num_layers, path) if buffers else None
    return Checkpoint(source, config, weights, prior)


def stated_config(source: str) -> ModelConfig | None:
    """The architecture that a checkpoint's file states in its header; nothing else is read, and nothing is fetched.

    ``None`` where no such file is on this machine, or it states none: loading it tells.
    """
    if source.startswith(HUGGING_FACE):
        return None
    try:
        path = locate_checkpoint(source)
        if path.suffix != ".safetensors":
            return None
        with safe_open(path, framework="pt") as file:
            return _stated_config(file.metadata() or {})
    except (CheckpointError, SafetensorError, OSError, TypeError, ValueError):
        return None


def strip_wrappers(name: str) -> str:
    """A state-dict key without the prefixes of DDP, torch.compile and activation checkpointing."""
    name = name.replace("_orig_mod.", "").replace("_checkpoint_wrapped_module.", "")
    return re.sub(r"^(module\.)+", "", name)


def locate_checkpoint(source: str) -> Path:
    """The file that a checkpoint's name stands for; see `load_checkpoint`.

    Raises:
        CheckpointError: there is none.
    """
    if source == SHIPPED:
        folder = Path(str(resources.files("fsm_ros") / "weights"))
        shipped = sorted(path for path in folder.glob("*.safetensors") if path.name != "recall.safetensors")
        if len(shipped) != 1:
            raise CheckpointError(
                f"expected one shipped checkpoint, found {[p.name for p in shipped]}: reinstall fsm_ros"
            )
        return shipped[0]
    if source.startswith(HUGGING_FACE):
        return _from_hugging_face(source)
    path = Path(source).expanduser()
    if not path.is_file():
        raise CheckpointError(
            f"there is no checkpoint {source}: give {SHIPPED!r}, a .safetensors or .pt file, or "
            f"{HUGGING_FACE}owner/repository/file"
        )
    return path


def _from_hugging_face(source: str) -> Path:
    match = re.fullmatch(r"hf://(?P<repo>[^/@]+/[^/@]+)/(?P<file>[^@]+)(@(?P<revision>.+))?", source)
    if match is None:
        raise CheckpointError(f"{source} is not of the form hf://owner/repository/file[@revision]")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise CheckpointError(f"{source} needs the huggingface_hub package: pip install huggingface_hub") from error
    try:
        return Path(hf_hub_download(match["repo"], match["file"], revision=match["revision"]))
    except Exception as error:  # the library raises errors of several other libraries
        raise CheckpointError(f"{source} could not be fetched and is not in the cache: {error}") from error


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error


def _read_torch(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make the unpickler fail in any way
        raise CheckpointError(
            f"{path} cannot be read: it is damaged, or holds more than tensors, which is never unpickled: {error}"
        ) from error
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in model.items()
    ):
        raise CheckpointError(f"{path} has no state dict under the key 'model', as checkpoints of the release do")
    buffers = content.get("ewc_buffers")
    if buffers is not None and not (isinstance(buffers, dict) and all(isinstance(name, str) for name in buffers)):
        raise CheckpointError(f"{path}: ewc_buffers is not a mapping from the names of layers to their buffers")
    return model, buffers or {}


def _stated_config(metadata: Mapping[str, str]) -> ModelConfig | None:
    if "config" not in metadata:
        return None
    values = json.loads(metadata["config"])
    if not isinstance(values, dict):
        raise ValueError(f"the configuration in its metadata is not a JSON object: {metadata['config']}")
    return ModelConfig.from_mapping(values)


def _config_from_shapes(weights: Mapping[str, Tensor]) -> ModelConfig:
    def shape(name: str) -> torch.Size:
        if name not in weights:
            raise ValueError(f"it has no tensor {name}")
        return weights[name].shape

    dim, token = shape("input_linear.weight")
    patch = round((token / PIXEL_CHANNELS) ** 0.5)
    layers = {int(m[1]) for name in weights if (m := re.match(r"blocks\.(\d+)\.", name))}
    _, fast_head, fast_hidden = shape(f"blocks.0.{_MEMORY_LAYER}.w0")
    return ModelConfig(
        patch_size=patch,
        dim=dim,
        num_layers=max(layers) + 1,
        attention_head_dim=shape("blocks.0.module_list.0.f.q_norm.weight")[0],
        fast_head_dim=fast_head,
        fast_inter_multi=fast_hidden // fast_head,
        mlp_inter_multi=shape("blocks.0.module_list.2.f.c_fc.weight")[0] // dim,
    )


def _elastic_prior(
    buffers: Mapping[str, Any], weights: Mapping[str, Tensor], layers: int, path: Path
) -> tuple[LayerMemory, ...]:
    """One entry per layer from ``ewc_buffers``; batch order with shared anchors reads the first.

    The release only ever reads the first, so a file may hold no other: it then stands for all layers.
    """
    by_layer = {strip_wrappers(name): entry for name, entry in buffers.items()}
    first = by_layer.get(f"blocks.0.{_MEMORY_LAYER}")
    entries = []
    for layer in range(layers):
        name = f"blocks.{layer}.{_MEMORY_LAYER}"
        entry = by_layer.get(name, first)
        if not isinstance(entry, dict):
            raise CheckpointError(f"{path}: ewc_buffers have no entry for {name}, only for {_listed(sorted(by_layer))}")
        problems = []
        for buffer, matrix in zip(_BUFFERS, ("w0", "w1", "w2") * 2, strict=True):
            given, slow = entry.get(buffer), weights.get(f"{name}.{matrix}")
            if not isinstance(given, Tensor):
                problems.append(f"missing {buffer}")
            elif slow is not None and given.shape != slow.shape:
                problems.append(f"{buffer} has shape {tuple(given.shape)}, expected {tuple(slow.shape)}")
            elif not given.isfinite().all():
                problems.append(f"{buffer} is not finite")
        if problems:
            raise CheckpointError(f"{path}: ewc_buffers of {name} do not fit: {_listed(problems)}")
        anchor = FastWeights(*(entry[buffer].float()[None] for buffer in _BUFFERS[:3]))
        importance = FastWeights(*(entry[buffer].float()[None] for buffer in _BUFFERS[3:]))
        entries.append(LayerMemory(weights=anchor, anchor=anchor, importance=importance))
    return tuple(entries)


def _listed(problems: list[str], most: int = 12) -> str:
    more = f" and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problems[:most]) + more
