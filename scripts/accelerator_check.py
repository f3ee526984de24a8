# SPDX-License-Identifier: Apache-2.0
"""Whether an accelerator computes what a CPU does, and how fast: a part of scripts/accelerator."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.memory.configuration import ModelConfig
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.precision import Precision
from fsm_ros.memory.rules.consolidation import Consolidation
from fsm_ros.memory.views import Views
from fsm_ros.recall.evidence import Prior
from fsm_ros.recall.net import RecallConfig, RecallNet
from fsm_ros.recall.planes import Photographs, Wanted
from fsm_ros.training.scenes import SceneSettings, SceneSource, Split

TOLERANCE = 2e-3
"""Largest difference that different kernels of the same arithmetic are allowed, colours in [0, 1]."""


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="JSON file for the figures")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    device = torch.device(options.device)
    figures: dict[str, object] = {"torch": torch.__version__, "device": options.device}
    if device.type == "cuda":
        figures["device"] = torch.cuda.get_device_name(device)
    failed = []
    for name, check in (("scenes", scenes), ("memory", memory), ("recall", recall), ("times", times)):
        began = time.perf_counter()
        try:
            figures[name] = check(device)
        except Exception as error:  # the other checks still tell something
            figures[name] = f"{type(error).__name__}: {error}"
            failed.append(name)
        print(f"{name}: {figures[name]} ({time.perf_counter() - began:.1f} s)", flush=True)
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 1 if failed else 0


def scenes(device: torch.device) -> dict[str, float]:
    """Difference of images and depth between the devices, and frames a second."""
    settings = SceneSettings(frames=16, sensor=0.0)
    clips = [
        SceneSource(0, Split.CHOOSE, settings, d).clips(range(4), 64, 64, beside=4)
        for d in (torch.device("cpu"), device)
    ]
    images = (clips[0].images - clips[1].images.cpu()).abs()
    depths = (clips[0].depth_m.log() - clips[1].depth_m.cpu().log()).abs()
    # A ray along an edge may fall on either side: most pixels agree, none has to.
    found = {"image_99_percent": _share(images, 0.99), "log_depth_99_percent": _share(depths, 0.99)}
    _check(found)
    source = SceneSource(0, Split.TRAIN, SceneSettings(frames=160), device)
    count = 16 if device.type == "cuda" else 1
    seconds = _timed(lambda: source.clips(range(count), 128, 128, beside=24), device, 3)
    return {**found, "frames_128_per_s": count * 184 / seconds}


def memory(device: torch.device) -> dict[str, float]:
    """Difference of rendered views between the devices, after two chunks."""
    views = [_rendered(load_checkpoint("shipped").build().to(d), d) for d in (torch.device("cpu"), device)]
    found = {"view": float((views[0] - views[1].cpu()).abs().max())}
    _check(found)
    return found


def recall(device: torch.device) -> dict[str, float]:
    """Difference of recalled views between the devices."""
    torch.manual_seed(0)
    net = RecallNet(RecallConfig()).eval()
    with torch.no_grad():
        on_cpu = net(*_recall_inputs(torch.device("cpu"), 64)).colour
        on_device = net.to(device)(*_recall_inputs(device, 64)).colour.cpu()
    found = {"view_99_percent": _share((on_cpu - on_device).abs(), 0.99)}
    _check(found)
    return found


def times(device: torch.device) -> dict[str, float]:
    """Milliseconds of a chunk of 4 views and of a view, shipped and released size, and of recall."""
    found = {}
    sizes = {"shipped": (load_checkpoint("shipped").config, 64)}
    if device.type == "cuda":
        sizes["released"] = (ModelConfig(), 256)
    for name, (config, size) in sizes.items():
        for precision in Precision:
            with torch.device(device):
                model = FsmModel(config, precision=precision).eval().requires_grad_(False)
            views = _views(device, size)
            with torch.no_grad():
                state = model.observe(model.initial_state(1), views, Consolidation())
                chunk = _timed(partial(model.observe, state, views, Consolidation()), device, 5)
                one = views.cameras[:1]
                view = _timed(partial(model.render, state, one, views.times[:, :1]), device, 10)
            found[f"{name}_{precision.value}_chunk_ms"] = 1e3 * chunk
            found[f"{name}_{precision.value}_view_ms"] = 1e3 * view
    net = RecallNet(RecallConfig()).eval().to(device)
    for size in (64, 256):
        inputs = _recall_inputs(device, size)
        with torch.no_grad():
            found[f"recall_{size}_ms"] = 1e3 * _timed(partial(net, *inputs), device, 10)
    return found


def _views(device: torch.device, size: int) -> Views:
    source = SceneSource(0, Split.CHOOSE, SceneSettings(frames=4, sensor=0.0), torch.device("cpu"))
    clips = source.clips([0], size, size)
    pose = torch.from_numpy(clips.world_from_camera).float()
    pose[..., :3, 3] = (pose[..., :3, 3] - pose[:, :1, :3, 3]) / 4.0
    lens = torch.from_numpy(clips.fxfycxcy).float()
    cameras = Cameras(lens.to(device), pose.to(device), size, size)
    return Views(clips.images.to(device), cameras, torch.linspace(-1, -0.8, 4, device=device)[None])


@torch.no_grad()
def _rendered(model: FsmModel, device: torch.device) -> Tensor:
    views = _views(device, 64)
    state = model.initial_state(1)
    for _ in range(2):
        state = model.observe(state, views, Consolidation())
    return model.render(state, views.cameras, views.times)


def _recall_inputs(device: torch.device, size: int) -> tuple[Wanted, Photographs, Prior]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(1, 4, 3, size, size, generator=generator)
    pose = torch.eye(4).repeat(1, 4, 1, 1)
    pose[..., :3, 3] = 0.2 * torch.randn(1, 4, 3, generator=generator)
    lens = torch.tensor([0.7 * size, 0.7 * size, size / 2, size / 2])
    photographs = Photographs(
        images.to(device),
        lens.expand(1, 4, 4).to(device),
        torch.full((1, 4, 2), float(size), device=device),
        pose.to(device),
        torch.zeros(1, 4, device=device),
        torch.ones(1, 4, dtype=torch.bool, device=device),
    )
    colour = torch.rand(1, 3, size, size, generator=generator)
    depth = torch.zeros(1, 1, size, size, device=device)
    return Wanted(lens[None].to(device), size, size), photographs, Prior(colour.to(device), depth, depth + 0.5)


def _share(differences: Tensor, share: float) -> float:
    ordered = differences.flatten().sort().values
    return float(ordered[int(share * (len(ordered) - 1))])


def _check(found: dict[str, float]) -> None:
    wrong = {name: value for name, value in found.items() if not value <= TOLERANCE}
    if wrong:
        raise ArithmeticError(f"differs from the CPU by more than {TOLERANCE}: {wrong}")


def _timed(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median seconds of some runs, after two that are not counted."""
    seconds = []
    for number in range(repeats + 2):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number >= 2:
            seconds.append(time.perf_counter() - began)
    return sorted(seconds)[len(seconds) // 2]


if __name__ == "__main__":
    sys.exit(main())
