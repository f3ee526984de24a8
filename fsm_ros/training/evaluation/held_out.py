# SPDX-License-Identifier: Apache-2.0
"""Scenes that are held out, and which of their frames are observed and asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.stream.rigid import nearest_camera
from fsm_ros.stream.world import MemoryFrame
from fsm_ros.training.episodes import Clip, EpisodePlan, Episodes, Picks, assemble
from fsm_ros.training.evaluation_settings import EvaluationSettings
from fsm_ros.training.scene_settings import DepthInput
from fsm_ros.training.scenes import Clips, SceneSource
from fsm_ros.training.scenes.depth_sensor import measured
from fsm_ros.training.scenes.worlds import Worlds
from fsm_ros.training.supply import split_clips

SHORTEST_CHUNKS = 4
"""Clips are long enough for so many chunks at least."""
STRIDE = 4
"""Every fourth frame is observed, which is about as far apart as keyframes are; what lies halfway is asked for."""
SAMPLES = 2
"""Rays along each side of a pixel."""

HeldOut = Mapping[int, Sequence[Clip]]
"""Held-out clips by their number of frames."""


def trace_held_out(settings: EvaluationSettings, device: torch.device) -> HeldOut:
    """The clips of an evaluation, all kept: for settings that are evaluated again and again."""
    lengths = {clip_frames(settings, count) for count in settings.chunk_counts}
    return {frames: held_out_clips(settings, frames, device) for frames in lengths}


def clip_frames(settings: EvaluationSettings, chunk_count: int) -> int:
    """Frames of the clips that a number of chunks is evaluated on, whatever else is evaluated with it.

    A clip's way and time are planned for all its frames: in a longer clip the same few chunks would be an easier task.
    """
    return STRIDE * settings.chunk_views * max(chunk_count, SHORTEST_CHUNKS)


def scene_source(settings: EvaluationSettings, frames: int, device: torch.device) -> SceneSource:
    """Where the clips of an evaluation come from, numbered from 0."""
    scenes = replace(settings.scenes, frames=frames, sensor=0.0)
    return SceneSource(settings.seed, settings.split, scenes, device)


def held_out_clips(settings: EvaluationSettings, frames: int, device: torch.device, *, beside: int = 0) -> list[Clip]:
    """The clips of an evaluation, of so many frames on the path, and so many beside it."""
    source = scene_source(settings, frames, device)
    clips: list[Clip] = []
    for first in range(0, settings.count, settings.batch):
        numbers = range(first, min(first + settings.batch, settings.count))
        batch: Clips = source.clips(numbers, settings.size, settings.size, samples=SAMPLES, beside=beside)
        clips += split_clips(batch)
    return clips


def evaluation_picks(settings: EvaluationSettings, chunk_count: int) -> Picks:
    """Every `STRIDE`-th frame observed, and held-out frames spread over the stretch, each halfway between two."""
    views = settings.chunk_views * chunk_count
    observed = STRIDE * np.arange(views)
    unseen = observed[:-1] + STRIDE // 2
    return Picks(observed, asked_at_the_end(spread(unseen, settings.targets), chunk_count))


def spread(numbers: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most so many of them, evenly."""
    places = np.linspace(0, len(numbers) - 1, min(count, len(numbers))).round().astype(np.int64)
    return numbers[np.unique(places)]


def asked_at_the_end(frames: NDArray[np.int64], chunk_count: int) -> tuple[NDArray[np.int64], ...]:
    """Frames that are asked for after the last of so many chunks, as `Picks` takes them."""
    nothing = np.empty(0, dtype=np.int64)
    return (*[nothing] * (chunk_count - 1), frames)


def episodes_of(
    clips: Sequence[Clip], picks: Sequence[Picks], plan: EpisodePlan, settings: EvaluationSettings
) -> Episodes:
    """Episodes with the memory's frame laid around the first chunk, as a node does."""
    frames = [
        MemoryFrame.around(
            clip.world_from_camera[pick.observed[: plan.chunk_views]],
            start_ns=int(clip.stamps_ns[pick.observed[0]]),
            extent_m=settings.extent_m,
            horizon_s=settings.horizon_s,
        )
        for clip, pick in zip(clips, picks, strict=True)
    ]
    episodes = assemble(clips, picks, frames, plan)
    if settings.depth is DepthInput.NONE:
        return episodes
    rng = torch.Generator().manual_seed(settings.seed)
    sensed = [_sensed(clip, pick, settings.depth, rng) for clip, pick in zip(clips, picks, strict=True)]
    return replace(episodes, sensed_m=torch.stack(sensed))


def _sensed(clip: Clip, pick: Picks, depth: DepthInput, rng: torch.Generator) -> Tensor:
    """``[N, H, W]`` what a depth camera measures with the observed frames of a clip, metres."""
    if clip.depth_m is None:
        raise ValueError("a depth camera measures nothing in a clip without depth")
    observed = torch.from_numpy(pick.observed)
    return measured(
        depth, clip.depth_m[observed.to(clip.depth_m.device)], torch.from_numpy(clip.fxfycxcy)[observed], rng
    )


def nearest_frames(clip: Clip, observed: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every wanted frame the observed one whose camera stood closest, a radian counting like a metre."""
    poses = clip.world_from_camera
    return observed[[nearest_camera(poses[observed], poses[number]) for number in wanted]]


def images_of(clip: Clip, frames: NDArray[np.int64]) -> Tensor:
    """``[V, 3, H, W]`` of some frames of a clip."""
    return clip.images[torch.from_numpy(frames).to(clip.images.device)]


def traced(
    worlds: Worlds,
    world_from_camera: NDArray[np.float64],
    fxfycxcy: NDArray[np.float64],
    stamps_ns: NDArray[np.int64],
    size: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Further views of the only scene of some worlds, as the clips of an evaluation are traced.

    Args:
        worlds: of one scene.
        world_from_camera: ``[V, 4, 4]`` rigid, optical frames.
        fxfycxcy: ``[V, 4]`` pixels.
        stamps_ns: ``[V]``.
        size: rows and columns.

    Returns:
        Images ``[V, 3, H, W]`` and depth ``[V, H, W]``, see `Worlds.render_with_depth`.
    """
    return worlds.render_with_depth(
        torch.zeros(len(stamps_ns), dtype=torch.long),
        torch.from_numpy(world_from_camera),
        torch.from_numpy(fxfycxcy),
        torch.from_numpy(stamps_ns * 1e-9),
        *size,
        SAMPLES,
    )
