# SPDX-License-Identifier: Apache-2.0
"""Observes held-out scenes in streaming order, and scores what is then answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.base import WriteRule
from fsm_ros.memory.views import Rendering, Views
from fsm_ros.recall.net import RecallNet
from fsm_ros.training.episodes import Clip, EpisodePlan, Episodes, Picks, joined, resized
from fsm_ros.training.evaluation.comparing import depth_errors, ms_ssim, psnr, sharpness, ssim
from fsm_ros.training.evaluation.held_out import (
    HeldOut,
    clip_frames,
    episodes_of,
    evaluation_picks,
    images_of,
    nearest_frames,
    trace_held_out,
)
from fsm_ros.training.evaluation.remembering import Remembered, remembered
from fsm_ros.training.evaluation.scores import Evaluation, Score, Shown
from fsm_ros.training.evaluation_settings import EvaluationSettings
from fsm_ros.training.recalling import RecalledViews, RecallTask, recalled_views


def evaluate(
    memory: FsmModel,
    settings: EvaluationSettings,
    rule: WriteRule,
    *,
    shown: int = 0,
    held_out: HeldOut | None = None,
    recall: RecallNet | None = None,
) -> Evaluation:
    """Observe held-out scenes in streaming order and render what was held out.

    Args:
        memory: the model.
        settings: which scenes, and how.
        rule: how it writes.
        shown: how many scenes to keep pictures of.
        held_out: what :func:`trace_held_out` gave for the same settings, where they are evaluated again and again.
        recall: recalls the views from what was observed; ``None``: the memory renders them.
    """
    if held_out is None:
        held_out = trace_held_out(settings, memory.device)
    scores: list[Score] = []
    pictures: list[Shown] = []
    for count in settings.chunk_counts:
        clips = held_out[clip_frames(settings, count)]
        parts: list[Mapping[str, NDArray[np.float64]]] = []
        for first in range(0, len(clips), settings.batch):
            asked = ask(memory, clips[first : first + settings.batch], count, settings, rule)
            rendered, columns = _scored(asked, recall, settings.photographs)
            parts.append(columns)
            if count == max(settings.chunk_counts):
                views = zip(asked.wanted.images, rendered, asked.nearest, strict=True)
                pictures += [Shown(*scene) for scene in views]
        scores.append(
            Score.over_scenes(count, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
        )
    return Evaluation(tuple(scores), tuple(pictures[:shown]))


@dataclass(frozen=True, eq=False)
class Asked:
    """``B`` scenes that a memory has observed, and ``T`` views of each that were held out.

    Attributes:
        episodes: what was observed and is asked for, at full size.
        chunks: what the memory observed, at its own size.
        remembered: renders views of the scenes.
        wanted: the views that are asked for, with the truth.
        answer: what the memory answers for them, at its own size.
        nearest: ``[B, T, 3, H, W]`` for each the observed view whose camera stood closest.
    """

    episodes: Episodes
    chunks: Sequence[Views]
    remembered: Remembered
    wanted: Views
    answer: Rendering
    nearest: Tensor

    @property
    def task(self) -> RecallTask:
        """The views, to be recalled from all that was observed."""
        return task_of(self.episodes, self.wanted, self.answer)

    @property
    def memory(self) -> Tensor:
        """``[B, T, 3, H, W]`` what the memory answers, at full size."""
        return enlarged(self.answer.images, self.wanted)


@torch.no_grad()
def ask(
    memory: FsmModel,
    clips: Sequence[Clip],
    chunk_count: int,
    settings: EvaluationSettings,
    rule: WriteRule,
    pick: Picks | None = None,
) -> Asked:
    """Observe scenes chunk by chunk, and ask the memory for what was held out.

    Args:
        memory: the model.
        clips: one a scene.
        chunk_count: chunks that are observed.
        settings: how.
        rule: how the memory writes.
        pick: which frames are observed and asked for; ``None``: those of :func:`evaluation_picks`.

    Raises:
        ValueError: nothing is asked for.
    """
    pick = evaluation_picks(settings, chunk_count) if pick is None else pick
    plan = EpisodePlan(settings.chunk_views, chunk_count)
    episodes = episodes_of(clips, [pick] * len(clips), plan, settings)
    chunks = [resized(chunk, settings.factor) for chunk in episodes.chunks]
    known = remembered(memory, chunks, rule, settings.atlas)
    wanted = episodes.wanted[-1]
    if wanted is None:
        raise ValueError("an evaluation asks for at least one view")
    small = resized(wanted, settings.factor)
    nearest = [images_of(clip, nearest_frames(clip, pick.observed, pick.wanted[-1])) for clip in clips]
    return Asked(episodes, chunks, known, wanted, known(small.cameras, small.times), torch.stack(nearest))


def task_of(episodes: Episodes, wanted: Views, answer: Rendering) -> RecallTask:
    """Views of an evaluation's scenes, asked for after the last chunk, to be recalled from all that was observed."""
    if episodes.extent_m is None or episodes.horizon_s is None:
        raise ValueError("the episodes of an evaluation say what a memory unit is")
    truth = episodes.log_inverse_depth[-1] if episodes.log_inverse_depth else None
    observed = joined(episodes.chunks)
    return RecallTask(wanted, truth, observed, answer, episodes.extent_m, episodes.horizon_s, episodes.sensed_m)


def enlarged(images: Tensor, wanted: Views) -> Tensor:
    """Images ``[B, V, 3, h, w]`` at the size of the views that are wanted, in [0, 1]."""
    size = (wanted.cameras.height, wanted.cameras.width)
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images.flatten(0, 1), size, mode="bicubic").view_as(wanted.images).clamp(0, 1)


@torch.no_grad()
def _scored(
    asked: Asked, recall: RecallNet | None, photographs: int
) -> tuple[Tensor, Mapping[str, NDArray[np.float64]]]:
    """What ships answers, ``[B, T, 3, H, W]``, and the columns of a score, ``[B]`` each."""
    truth, memory = asked.wanted.images, asked.memory
    first, newest = asked.chunks[0], asked.chunks[-1]
    observed = joined(asked.episodes.chunks).images
    colour = observed.mean(dim=(1, 3, 4))[:, None, :, None, None].expand_as(truth)
    rendered, recalled = _recalled(asked, recall, photographs)
    columns = {
        "rendered": psnr(rendered, truth),
        "nearest": psnr(asked.nearest, truth),
        "mean_colour": psnr(colour, truth),
        "first_chunk": psnr(asked.remembered(first.cameras, first.times).images, first.images),
        "newest_chunk": psnr(asked.remembered(newest.cameras, newest.times).images, newest.images),
        "memory": psnr(memory, truth),
        "ssim": ssim(rendered, truth),
        "ms_ssim": ms_ssim(rendered, truth),
        "blur": sharpness(rendered, truth),
        **recalled,
    }
    # Of a view of which no photograph saw anything there is no depth to tell; a colour that is no number is a fault.
    means = {name: c.nanmean(dim=1) if "depth" in name else c.mean(dim=1) for name, c in columns.items()}
    return rendered, {name: mean.double().cpu().numpy() for name, mean in means.items()}


def _recalled(asked: Asked, recall: RecallNet | None, photographs: int) -> tuple[Tensor, dict[str, Tensor]]:
    """What ships answers, and the columns ``[B, T]`` that there are with recall or without."""
    truth, task = asked.wanted.images, asked.task
    if recall is None:
        return asked.memory, _memory_depth(asked, torch.ones_like(truth[:, :, 0], dtype=torch.bool))
    both = recalled_views(recall, task, photographs)
    alone = recalled_views(recall, task, photographs, with_memory=False)
    seen = both.share[:, :, 0] > 0.5
    return both.images, {
        "alone": psnr(alone.images, truth),
        **_told_depth(both, task, seen),
        "sure_error": both.sure_error(truth),
        "recalled": both.share.mean(dim=(2, 3, 4)),
        **_memory_depth(asked, seen),
    }


def _told_depth(both: RecalledViews, task: RecallTask, seen: Tensor) -> dict[str, Tensor]:
    if task.log_inverse_depth is None:
        return {}
    metres = task.in_metres(task.log_inverse_depth)
    error, close = depth_errors(both.log_inverse_depth, metres, seen)
    # The surer half of what was seen in each view, by the error that is told.
    middle = torch.where(seen, both.log_depth_scale, torch.nan).flatten(2).nanmedian(dim=2).values
    sure = seen & (both.log_depth_scale <= middle[:, :, None, None])
    return {
        "depth_error": error,
        "depth_close": close,
        "sure_depth_error": depth_errors(both.log_inverse_depth, metres, sure)[0],
    }


def _memory_depth(asked: Asked, where: Tensor) -> dict[str, Tensor]:
    geometry, truth = asked.answer.geometry, asked.task.log_inverse_depth
    if geometry is None or truth is None:
        return {}
    return {"memory_depth_error": depth_errors(geometry.log_inverse_depth, truth, where)[0]}
