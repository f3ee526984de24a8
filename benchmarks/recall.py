"""What the fast weights add to the photographs, and the photographs to them: ``python benchmarks/recall.py --help``.

Held-out procedural scenes, observed in chunks as a node observes them; held-out views are recalled with and without the
memory, with fewer photographs, with true depth, and after the photographs of their place are gone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fsm_ros.memory.atlas import AtlasSettings
from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.memory.consolidation import Consolidation
from fsm_ros.memory.model import FastSpatialMemory, Geometry, Rendering
from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.recall.net import RecallNet
from fsm_ros.recall.planes import Photographs, Wanted, landings, step_of_depth
from fsm_ros.training.episodes import EpisodePlan, Episodes, joined, resized
from fsm_ros.training.evaluation import (
    EvaluationSettings,
    clip_frames,
    episodes_of,
    evaluation_picks,
    gradient_energy,
    held_out_clips,
    remembered,
)
from fsm_ros.training.recalling import RecallTask, posed, recalled_views
from fsm_ros.training.scenes import SceneSettings, Split

SURE = 0.02
"""Scale of the Laplace distribution around a depth that is known."""


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="shipped")
    parser.add_argument("--recall", default="shipped")
    parser.add_argument("--split", default="report", choices=[split.value for split in Split])
    parser.add_argument("--count", type=int, default=16, help="scenes (%(default)s)")
    parser.add_argument("--chunks", type=int, default=4, help="chunks of 4 views (%(default)s)")
    parser.add_argument("--size", type=int, default=64, help="edge of the views and photographs, pixels (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures")
    options = parser.parse_args()
    model, net = load_checkpoint(options.weights).build(), load_recall(options.recall)
    settings = EvaluationSettings(
        split=Split(options.split),
        count=options.count,
        size=options.size,
        memory_size=64,
        scenes=SceneSettings(difficulty=(0.0, 0.7)),
        atlas=AtlasSettings(places=8),
    )
    clips = held_out_clips(settings, clip_frames(settings, options.chunks), model.device)
    plan, pick = EpisodePlan(settings.chunk_views, options.chunks), evaluation_picks(settings, options.chunks)
    rows: list[Mapping[str, float]] = []
    with torch.no_grad():
        for clip in clips:
            rows.append(_scene(model, net, episodes_of([clip], [pick], plan, settings), settings))
    names = list(rows[0])
    means = {name: float(np.nanmean([row[name] for row in rows])) for name in names}
    errors = {name: float(np.nanstd([row[name] for row in rows]) / np.sqrt(max(1, len(rows) - 1))) for name in names}
    print("| | PSNR, dB (or as said) |\n|---|---|")
    for name in names:
        print(f"| {name} | {means[name]:.2f} ± {errors[name]:.2f} |")
    print(f"\n{len(rows)} scenes of the split {options.split}, {options.chunks} chunks, {options.size} pixels")
    if options.json is not None:
        options.json.write_text(json.dumps({"mean": means, "error": errors}, indent=1) + "\n", encoding="utf-8")
    return 0


def _scene(
    model: FastSpatialMemory, net: RecallNet, episodes: Episodes, settings: EvaluationSettings
) -> dict[str, float]:
    factor = settings.size // settings.memory_size
    chunks = [resized(chunk, factor) for chunk in episodes.chunks]
    rendering = remembered(model, chunks, Consolidation(), settings.atlas)
    wanted = episodes.wanted[-1]
    asked = resized(wanted, factor)
    answer = rendering(asked.cameras, asked.times)
    task = RecallTask(
        wanted, episodes.log_inverse_depth[-1], joined(episodes.chunks), answer, episodes.extent_m, episodes.horizon_s
    )
    truth = wanted.images
    large = torch.nn.functional.interpolate(answer.images.flatten(0, 1), truth.shape[-2:], mode="bicubic")
    memory = large.view_as(truth).clamp(0, 1)
    both, alone = recalled_views(net, task, 4), recalled_views(net, task, 4, with_memory=False)
    knowing = replace(task, memory=Rendering(answer.images, _true_geometry(task, answer)))
    seen = _seen(task)
    halves = _evicted(task)
    found = {
        "memory": _psnr(memory, truth),
        "nearest keyframe": _psnr(_nearest(task), truth),
        **{
            f"recall without the memory, {count} photographs": _psnr(
                recalled_views(net, task, count, with_memory=False).images, truth
            )
            for count in (1, 2)
        },
        "recall without the memory, 4 photographs": _psnr(alone.images, truth),
        "both": _psnr(both.images, truth),
        "both, with true depth": _psnr(recalled_views(net, knowing, 4).images, truth),
        "share of pixels that no photograph saw (1)": float((~seen).float().mean()),
        "both, where no photograph saw": _psnr(both.images, truth, ~seen),
        "without the memory, where no photograph saw": _psnr(alone.images, truth, ~seen),
        "memory, where no photograph saw": _psnr(memory, truth, ~seen),
        "sharpness of both (1)": float((gradient_energy(both.images) / gradient_energy(truth)).mean()),
        "sharpness of the memory (1)": float((gradient_energy(memory) / gradient_energy(truth)).mean()),
    }
    if halves is not None:
        late, views = halves
        found |= {
            "after eviction: both": _psnr(recalled_views(net, late, 4).images, late.wanted.images),
            "after eviction: without the memory": _psnr(
                recalled_views(net, late, 4, with_memory=False).images, late.wanted.images
            ),
            "after eviction: memory": _psnr(memory[:, views], late.wanted.images),
            "after eviction: nearest kept keyframe": _psnr(_nearest(late), late.wanted.images),
        }
    return found


def _true_geometry(task: RecallTask, answer: Rendering) -> Geometry:
    step = task.log_inverse_depth.shape[-1] // answer.images.shape[-1]
    known = task.log_inverse_depth[..., step // 2 :: step, step // 2 :: step]
    return Geometry(known, torch.full_like(known, SURE))


def _evicted(task: RecallTask) -> tuple[RecallTask, Tensor] | None:
    """The views of the first half of the stream, with the photographs of that half gone; the memory saw all."""
    count = task.observed.cameras.views
    middle = float(task.observed.times[0, count // 2])
    views = (task.wanted.times[0] < middle).nonzero()[:, 0]
    if count < 8 or not len(views):
        return None
    late = replace(
        task,
        wanted=task.wanted[views],
        log_inverse_depth=task.log_inverse_depth[:, views],
        observed=task.observed[slice(count // 2, None)],
        memory=task.memory[views],
    )
    return late, views


def _nearest(task: RecallTask) -> Tensor:
    """For every view the photograph whose camera stood closest, a radian counting like a metre."""
    wanted, seen = task.wanted.cameras.memory_from_camera[0], task.observed.cameras.memory_from_camera[0]
    away = float(task.extent_m[0]) * torch.cdist(wanted[:, :3, 3], seen[:, :3, 3])
    turn = torch.einsum("tij,nij->tn", wanted[:, :3, :3], seen[:, :3, :3])
    angle = torch.acos(((turn - 1) / 2).clamp(-1, 1))
    return task.observed.images[:, (away + angle).argmin(dim=1)]


def _seen(task: RecallTask) -> Tensor:
    """``[1, T, H, W]`` whether any photograph's frame holds the point, at its true depth; occlusion left aside."""
    cameras, seen = task.wanted.cameras, task.observed.cameras
    from_where, of_seen = (posed(each, task.extent_m).world_from_camera[0] for each in (cameras, seen))
    parts = []
    for view in range(cameras.views):
        pose = torch.linalg.inv(of_seen) @ from_where[view]
        photographs = Photographs(
            task.observed.images,
            seen.fxfycxcy,
            torch.tensor([float(seen.width), float(seen.height)]).expand(1, seen.views, 2),
            pose[None],
            torch.zeros(1, seen.views),
            torch.ones(1, seen.views, dtype=torch.bool),
        )
        depth = task.log_inverse_depth[:, view, None] - task.extent_m.log()
        step = step_of_depth(depth, photographs.baseline_m)
        view_of = Wanted(cameras.fxfycxcy[:, view], cameras.height, cameras.width)
        parts.append(landings(view_of, photographs, step, photographs.baseline_m, 0).seen.any(dim=1)[:, 0])
    return torch.stack(parts, dim=1)


def _psnr(images: Tensor, truth: Tensor, where: Tensor | None = None) -> float:
    """Mean over views; where only some pixels count, over all of them together, as views may have none."""
    squared = (images.clamp(0, 1) - truth).square().mean(dim=2)
    if where is None:
        return float((-10 * squared.mean(dim=(2, 3)).clamp_min(1e-10).log10()).mean())
    return float(-10 * squared[where].mean().clamp_min(1e-10).log10()) if bool(where.any()) else float("nan")


if __name__ == "__main__":
    sys.exit(main())
