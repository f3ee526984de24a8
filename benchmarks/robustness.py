# SPDX-License-Identifier: Apache-2.0
"""What bad input does to the memory: noisy poses, dropped frames, blur, wrong intrinsics.

    python benchmarks/robustness.py [--weights shipped] [--count 64] [--json FILE]

The same held-out scenes and the same held-out views for every row; what is asked for keeps its true pose. The last
column is the paired difference to clean input, with its standard error over scenes.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.consolidation import Consolidation
from fsm_ros.memory.views import Views
from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.recall.net import RecallNet
from fsm_ros.training.episodes import Clip, EpisodePlan, Picks
from fsm_ros.training.evaluation import (
    EvaluationSettings,
    clip_frames,
    conditions,
    episodes_of,
    evaluation_picks,
    held_out_clips,
    psnr,
    remembered,
)
from fsm_ros.training.evaluation.held_out import asked_at_the_end
from fsm_ros.training.evaluation.run import task_of
from fsm_ros.training.recalling import recalled_views
from fsm_ros.training.scenes import SceneSettings, Split

CHUNKS = 4
RULE = Consolidation()


@dataclass(frozen=True)
class Condition:
    """One way in which input is bad.

    Attributes:
        name: for the table.
        pose_noise: metres and degrees, standard deviation along and about each axis, of every observed pose.
        keep: share of the observed views that arrive, evenly spread.
        blur_px: standard deviation of a Gaussian over every observed image.
        focal: what the focal length is taken for, of its truth; observed and asked alike.
    """

    name: str
    pose_noise: tuple[float, float] = (0.0, 0.0)
    keep: float = 1.0
    blur_px: float = 0.0
    focal: float = 1.0


CONDITIONS = (
    Condition("clean"),
    Condition("poses off by 1 cm, 1 degree", pose_noise=(0.01, 1.0)),
    Condition("poses off by 5 cm, 3 degrees", pose_noise=(0.05, 3.0)),
    Condition("every other frame dropped", keep=0.5),
    Condition("sparse: every fourth view", keep=0.25),
    Condition("blur of 1 pixel", blur_px=1.0),
    Condition("blur of 2 pixels", blur_px=2.0),
    Condition("focal length 5 % too long", focal=1.05),
    Condition("focal length 5 % too short", focal=0.95),
)


def main() -> int:
    """Run all conditions and print the table."""
    options = _parse()
    torch.set_num_threads(options.threads)
    memory = load_checkpoint(options.weights).build()
    recall = None if options.recall == "none" else load_recall(options.recall)
    settings = EvaluationSettings(
        split=Split.REPORT,
        scenes=SceneSettings(difficulty=(0.0, 0.7)),
        count=options.count,
        size=options.size,
        chunk_counts=(CHUNKS,),
        atlas=AtlasSettings(submaps=8),
    )
    clips = held_out_clips(settings, clip_frames(settings, CHUNKS), memory.device)
    rows = {condition.name: _scores(memory, recall, clips, settings, condition) for condition in CONDITIONS}
    clean = rows["clean"]
    print("| input | PSNR | against clean |\n|---|---|---|")
    for name, scores in rows.items():
        difference = scores - clean
        error = difference.std() / np.sqrt(max(len(scores) - 1, 1))
        print(f"| {name} | {scores.mean():.2f} | {difference.mean():+.2f} ± {error:.2f} |")
    print(f"\n{conditions(settings, RULE)}")
    if options.json is not None:
        options.json.write_text(json.dumps({name: scores.tolist() for name, scores in rows.items()}, indent=1) + "\n")
    return 0


@torch.no_grad()
def _scores(
    memory: FsmModel,
    recall: RecallNet | None,
    clips: list[Clip],
    settings: EvaluationSettings,
    condition: Condition,
) -> NDArray[np.float64]:
    """Mean PSNR of the held-out views, one number a scene."""
    full = evaluation_picks(settings, CHUNKS)
    step = round(1 / condition.keep)
    observed = full.observed[::step]
    chunk_count = len(observed) // settings.chunk_views
    plan = EpisodePlan(settings.chunk_views, chunk_count)
    pick = Picks(observed, asked_at_the_end(full.wanted[-1], chunk_count))
    spoilt = [_with_noise(clip, pick, condition, seed) for seed, clip in enumerate(clips)]
    scores = []
    for first in range(0, len(clips), settings.batch):
        some = spoilt[first : first + settings.batch]
        episodes = episodes_of(some, [pick] * len(some), plan, settings)
        seen = [_blurred(_with_focal(chunk, condition.focal), condition.blur_px) for chunk in episodes.chunks]
        rendering = remembered(memory, seen, RULE, settings.atlas)
        wanted = episodes.wanted[-1]
        if wanted is None:
            raise ValueError("nothing is asked for")
        told = _with_focal(wanted, condition.focal)
        answer = rendering(told.cameras, told.times)
        images = answer.images
        if recall is not None:
            task = task_of(replace(episodes, chunks=tuple(seen)), told, answer)
            images = recalled_views(recall, task, settings.photographs).images
        scores.append(psnr(images, wanted.images).mean(dim=1))
    return torch.cat(scores).double().numpy()


def _with_noise(clip: Clip, pick: Picks, condition: Condition, seed: int) -> Clip:
    metres, degrees = condition.pose_noise
    rng = np.random.default_rng(seed)
    poses = clip.world_from_camera.copy()
    for number in pick.observed:
        poses[number, :3, 3] += rng.normal(0.0, metres, 3) if metres else 0.0
        turn = Rotation.from_rotvec(np.deg2rad(rng.normal(0.0, degrees, 3))).as_matrix()
        poses[number, :3, :3] = turn @ poses[number, :3, :3]
    return replace(clip, world_from_camera=poses)


def _with_focal(views: Views, focal: float) -> Views:
    scale = views.cameras.fxfycxcy.new_tensor([focal, focal, 1.0, 1.0])
    return replace(views, cameras=replace(views.cameras, fxfycxcy=views.cameras.fxfycxcy * scale))


def _blurred(views: Views, sigma_px: float) -> Views:
    if sigma_px == 0:
        return views
    radius = int(np.ceil(3 * sigma_px))
    across = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (across / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    flat = views.images.flatten(0, 2)[:, None]
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), kernel.view(1, 1, -1, 1))
    return replace(views, images=flat[:, 0].view_as(views.images))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="shipped")
    parser.add_argument("--recall", default="shipped", help="weights of recall; none: the fast weights alone")
    parser.add_argument("--count", type=int, default=64, help="scenes")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
