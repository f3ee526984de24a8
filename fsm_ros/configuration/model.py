# SPDX-License-Identifier: Apache-2.0
"""From parameters to a model on a device, warmed up."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from fsm_ros.configuration.settings import Settings
from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.precision import Precision
from fsm_ros.memory.rules.base import LayerMemory
from fsm_ros.memory.rules.elastic import AnchorSharing
from fsm_ros.memory.views import Views
from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.recall.evidence import Prior
from fsm_ros.recall.net import RecallNet
from fsm_ros.recall.planes import Photographs, Wanted
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.spatial.spatial_memory import SpatialMemory


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to run.

    Attributes:
        model: on its device.
        prior: anchors and importance of the checkpoint, where the settings ask for them.
        recall: recalls views from kept photographs, where the settings keep any.
        warm_up_s: seconds that the first observation and view took.
    """

    model: FsmModel
    prior: tuple[LayerMemory, ...] | None
    recall: RecallNet | None
    warm_up_s: float

    def new_memory(self, settings: MemorySettings) -> SpatialMemory:
        """A memory of this model that has seen nothing yet.

        Raises:
            ValueError: views that cannot be cut into the model's patches.
        """
        return SpatialMemory(self.model, settings, self.prior, self.recall)


def choose_device(name: str) -> torch.device:
    """The device of ``model.device``.

    Raises:
        ValueError: unknown, or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"model.device {name!r} is unknown: use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"model.device {name!r} is not supported: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"model.device is {name!r}, but PyTorch sees {torch.cuda.device_count()} CUDA devices: use auto"
        )
    return device


def load_model(settings: Settings) -> LoadedModel:
    """Load, move and warm up the model that the settings name.

    Raises:
        fsm_ros.memory.checkpoint.CheckpointError: weights that cannot be used.
        fsm_ros.recall.checkpoint.RecallWeightsError: likewise, of recall.
        ValueError: an unknown device.
    """
    wanted, memory = settings.model, settings.memory
    if wanted.threads > 0:
        torch.set_num_threads(wanted.threads)
    device = choose_device(wanted.device)
    checkpoint = load_checkpoint(wanted.checkpoint)
    model = checkpoint.build(
        # Most CPUs are slower in bfloat16, and none is asked to be a little wrong for nothing.
        precision=Precision.FP32 if device.type == "cpu" else wanted.precision,
        muon_precision=wanted.muon_precision,
    ).to(device)
    shared = memory.sharing is AnchorSharing.SHARED
    started = time.perf_counter()
    _warm_up(model, memory.width, memory.height, memory.chunk_views)
    recall = load_recall(wanted.recall_checkpoint).to(device) if memory.keyframes.count else None
    if recall is not None:
        _warm_up_recall(recall, memory.width, memory.height, device)
    return LoadedModel(model, checkpoint.elastic_prior if shared else None, recall, time.perf_counter() - started)


@torch.no_grad()
def _warm_up_recall(net: RecallNet, width: int, height: int, device: torch.device) -> None:
    """Recall a view once, for the same reason."""
    lens = torch.tensor([width, width, width / 2, height / 2], device=device).float()
    photographs = Photographs(
        images=torch.full((1, 2, 3, height, width), 0.5, device=device),
        fxfycxcy=lens.expand(1, 2, 4),
        size=torch.tensor([[[width, height]] * 2], device=device).float(),
        photograph_from_view=torch.eye(4, device=device).expand(1, 2, 4, 4),
        seconds=torch.zeros(1, 2, device=device),
        present=torch.ones(1, 2, dtype=torch.bool, device=device),
    )
    net(Wanted(lens[None], height, width), photographs, Prior(torch.full((1, 3, height, width), 0.5, device=device)))


@torch.no_grad()
def _warm_up(model: FsmModel, width: int, height: int, views: int) -> None:
    """Observe and render once, so that the first real frame does not pay for allocations and kernel selection."""
    device = model.device
    cameras = Cameras(
        torch.tensor([width, width, width / 2, height / 2], device=device).float().expand(1, views, 4),
        torch.eye(4, device=device).expand(1, views, 4, 4),
        height,
        width,
    )
    times = torch.zeros(1, views, device=device)
    images = torch.rand(1, views, 3, height, width, generator=torch.Generator().manual_seed(0)).to(device)
    state = model.observe(model.initial_state(), Views(images, cameras, times))
    model.render(state, cameras[:1], times[:, :1])
    if device.type == "cuda":
        torch.cuda.synchronize(device)
