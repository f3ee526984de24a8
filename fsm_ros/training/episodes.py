# SPDX-License-Identifier: Apache-2.0
"""From clips to episodes: which frames are observed in which chunk, and which are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.views import Views
from fsm_ros.spatial.tensors import cameras_of, times_of
from fsm_ros.stream.world import REACH, MemoryFrame
from fsm_ros.training.settings import EpisodeSettings

NEAREST_M, FARTHEST_M = 1e-2, 1e4
"""Depths that are learned from lie in this range, metres."""
MIN_AUTOMATIC_EXTENT_M = 0.25
"""A camera that hardly moves in its first chunk tells no scale: below this the extent is drawn instead."""


@dataclass(frozen=True)
class EpisodePlan:
    """What all episodes of a step have in common, so that they can be observed together.

    Attributes:
        chunk_views: views of a chunk.
        chunk_count: chunks.
        batch_order: observed in batch order instead of streaming order.
    """

    chunk_views: int
    chunk_count: int
    batch_order: bool = False

    @property
    def views(self) -> int:
        """All views that are observed."""
        return self.chunk_views * self.chunk_count


@dataclass(frozen=True, eq=False)
class Picks:
    """The frames of one clip that an episode is made of.

    Attributes:
        observed: ``[V]`` frame numbers, ascending.
        wanted: for each chunk, the frames that are to be rendered after it.
    """

    observed: NDArray[np.int64]
    wanted: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, eq=False)
class Clip:
    """One posed, stamped image sequence.

    Attributes:
        images: ``[F, 3, H, W]`` RGB in [0, 1], on the device that trains.
        world_from_camera: ``[F, 4, 4]`` float64, rigid, metres.
        fxfycxcy: ``[F, 4]`` float64, pixels, pixel centres at half-integers.
        stamps_ns: ``[F]`` int64; of the frames on the camera's way strictly increasing.
        depth_m: ``[F, H, W]`` along the optical axis, metres, where it is known.
        beside: how many of the frames, the last ones, were not seen on the camera's way but from beside it; they are
            asked for and never observed.
    """

    images: Tensor
    world_from_camera: NDArray[np.float64]
    fxfycxcy: NDArray[np.float64]
    stamps_ns: NDArray[np.int64]
    depth_m: Tensor | None = None
    beside: int = 0

    @property
    def path_frames(self) -> int:
        """Frames on the camera's way."""
        return len(self.stamps_ns) - self.beside


@dataclass(frozen=True, eq=False)
class Episodes:
    """Streams to observe and views to render, ``B`` scenes of one shape.

    Attributes:
        chunks: what is observed, chunk by chunk.
        wanted: for each chunk, what is to be rendered after it; ``None`` for nothing.
        batch_order: observed in batch order, and rendered at the end only.
        log_inverse_depth: for each chunk, that of what is to be rendered after it, ``[B, V, H, W]`` in memory units
            along the optical axis; ``None`` where it is not known.
        extent_m: ``[B]`` metres of a memory unit.
        horizon_s: ``[B]`` seconds from memory time -1 to +1.
        sensed_m: ``[B, N, H, W]`` what a depth camera measured with all observed views, metres, NaN where it did not;
            ``None``: there was none.
        seed: of whatever is done at random with them.
    """

    chunks: tuple[Views, ...]
    wanted: tuple[Views | None, ...]
    batch_order: bool = False
    log_inverse_depth: tuple[Tensor | None, ...] = ()
    extent_m: Tensor | None = None
    horizon_s: Tensor | None = None
    sensed_m: Tensor | None = None
    seed: int = 0

    @property
    def views(self) -> int:
        """Views that are observed and rendered, over all scenes."""
        batch = self.chunks[0].cameras.batch
        observed = sum(chunk.cameras.views for chunk in self.chunks)
        return batch * (observed + sum(views.cameras.views for views in self.wanted if views is not None))


def draw_plan(settings: EpisodeSettings, progress: float, rng: np.random.Generator) -> EpisodePlan:
    """What the episodes of a step look like.

    Args:
        settings: what to draw from.
        progress: of the run, in [0, 1].
        rng: of the step.
    """
    counts = settings.first_chunk_counts if progress < settings.first_share else settings.chunk_counts
    views = _draw(settings.chunk_views, settings.max_views, rng)
    count = _draw(counts, settings.max_views // views, rng)
    return EpisodePlan(views, count, bool(rng.random() < settings.batch_order))


def draw_picks(
    settings: EpisodeSettings,
    plan: EpisodePlan,
    frames: int,
    rng: np.random.Generator,
    beside_ns: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Picks:
    """Which frames of a clip are observed and which are asked for.

    The observed ones are spread over a stretch of the clip, one in each of its equal parts. Asked for is what lies
    between them, up to the chunk that was observed last.

    Args:
        settings: how far apart, how many.
        plan: of the step.
        frames: of the clip.
        rng: of the episode.
        beside_ns: the stamps of the frames on the path, and of those beside it, where there are any: after the last
            chunk, ``targets_beside`` of them are asked for too, of the time that was observed.

    Raises:
        ValueError: the clip has fewer frames than the episode observes.
    """
    views = plan.views
    if frames < views:
        raise ValueError(f"an episode of {views} views does not fit a clip of {frames} frames")
    span = int(np.clip(round(views * rng.uniform(*settings.stride)), views, frames))
    start = int(rng.integers(0, frames - span + 1))
    edges = start + np.ceil(np.arange(views + 1) * span / views).astype(np.int64)
    observed = np.array([rng.integers(low, high) for low, high in zip(edges[:-1], edges[1:], strict=True)])
    unseen = np.setdiff1d(np.arange(start, start + span), observed)
    wanted = []
    for chunk in range(plan.chunk_count):
        is_last = chunk == plan.chunk_count - 1
        count = settings.targets if is_last else settings.targets_per_chunk
        newest = start + span - 1 if is_last else observed[(chunk + 1) * plan.chunk_views - 1]
        asked = unseen[unseen <= newest]
        # So short a stretch may have nothing between its views: then what was observed is asked for.
        asked = asked if len(asked) else observed[: (chunk + 1) * plan.chunk_views]
        wanted.append(np.sort(rng.choice(asked, count, replace=len(asked) < count)))
    if beside_ns is not None and settings.targets_beside:
        path_ns, own_ns = beside_ns
        gap = np.abs(own_ns[:, None] - path_ns[observed]).min(axis=1)
        inside = (own_ns >= path_ns[observed[0]]) & (own_ns <= path_ns[observed[-1]])
        # Those of the observed time first; where there are too few of them, those that are nearest to it.
        order = np.lexsort((rng.random(len(own_ns)), np.where(inside, 0, gap)))
        wanted[-1] = np.concatenate([wanted[-1], frames + order[: settings.targets_beside]])
    return Picks(observed, tuple(wanted))


def lay_frame(
    settings: EpisodeSettings,
    world_from_camera: NDArray[np.float64],
    stamps_ns: NDArray[np.int64],
    first_chunk: int,
    rng: np.random.Generator,
) -> MemoryFrame:
    """The memory's frame of one episode, laid around its first chunk as a node lays it.

    Args:
        settings: how extent and horizon are drawn.
        world_from_camera: ``[V, 4, 4]`` of the observed views and of those asked for; the first chunk comes first.
        stamps_ns: ``[V]`` of the same.
        first_chunk: views of the first chunk.
        rng: of the episode.
    """
    start_ns = int(stamps_ns.min())
    lasts_s = float(stamps_ns.max() - start_ns) * 1e-9
    horizon_s = max(_log_uniform(settings.horizon_s, rng), lasts_s, 1e-3)
    extent_m = _log_uniform(settings.extent_m, rng)
    automatic = rng.random() < settings.automatic_extent
    around = world_from_camera[:first_chunk]
    if automatic:
        least_m = MIN_AUTOMATIC_EXTENT_M
        frame = MemoryFrame.around(around, start_ns=start_ns, extent_m=0.0, horizon_s=horizon_s, least_m=least_m)
        if frame.extent_m > least_m and _reach(frame, world_from_camera) <= REACH:
            return frame
    frame = MemoryFrame.around(around, start_ns=start_ns, extent_m=extent_m, horizon_s=horizon_s)
    return replace(frame, extent_m=extent_m * max(1.0, _reach(frame, world_from_camera) / REACH))


def assemble(
    clips: Sequence[Clip], picks: Sequence[Picks], frames: Sequence[MemoryFrame], plan: EpisodePlan
) -> Episodes:
    """Episodes of one shape as the model takes them.

    Args:
        clips: one for each scene, images of one size.
        picks: for each, made for this plan.
        frames: for each, the memory's frame.
        plan: chunks and their order.
    """

    def views_at(numbers: Sequence[NDArray[np.int64]]) -> Views:
        height, width = clips[0].images.shape[-2:]
        device, host = clips[0].images.device, torch.device("cpu")
        cameras = [
            cameras_of(frame, clip.world_from_camera[n], clip.fxfycxcy[n], height=height, width=width, device=host)
            for clip, frame, n in zip(clips, frames, numbers, strict=True)
        ]
        times = [
            times_of(frame, [int(stamp) for stamp in clip.stamps_ns[n]], host)
            for clip, frame, n in zip(clips, frames, numbers, strict=True)
        ]
        images = [clip.images[torch.from_numpy(n).to(device)] for clip, n in zip(clips, numbers, strict=True)]
        return Views(
            torch.stack(images),
            Cameras(
                # Gathered on the host: an accelerator gets few large pieces, not many small ones.
                torch.cat([c.fxfycxcy for c in cameras]).to(device),
                torch.cat([c.memory_from_camera for c in cameras]).to(device),
                height,
                width,
            ),
            torch.cat(times).to(device),
        )

    size = plan.chunk_views
    extent_m = torch.tensor([frame.extent_m for frame in frames], device=clips[0].images.device)
    chunks = tuple(views_at([p.observed[i * size : (i + 1) * size] for p in picks]) for i in range(plan.chunk_count))
    wanted = tuple(
        views_at([p.wanted[i] for p in picks]) if len(picks[0].wanted[i]) else None for i in range(plan.chunk_count)
    )
    known = all(clip.depth_m is not None for clip in clips)
    return Episodes(
        chunks,
        wanted,
        plan.batch_order,
        tuple(
            _log_inverse_depth(clips, [p.wanted[i] for p in picks], extent_m)
            if known and len(picks[0].wanted[i])
            else None
            for i in range(plan.chunk_count)
        ),
        extent_m,
        torch.tensor([frame.horizon_s for frame in frames], device=clips[0].images.device),
    )


def _log_inverse_depth(clips: Sequence[Clip], numbers: Sequence[NDArray[np.int64]], extent_m: Tensor) -> Tensor:
    """Of some frames of every clip, ``[B, V, H, W]``, memory units."""
    depths = [
        clip.depth_m[torch.from_numpy(n).to(clip.depth_m.device)]
        for clip, n in zip(clips, numbers, strict=True)
        if clip.depth_m is not None
    ]
    return extent_m.log()[:, None, None, None] - torch.stack(depths).clamp(NEAREST_M, FARTHEST_M).log()


def joined(chunks: Sequence[Views]) -> Views:
    """All chunks as one."""
    first = chunks[0].cameras
    cameras = Cameras(
        torch.cat([chunk.cameras.fxfycxcy for chunk in chunks], dim=1),
        torch.cat([chunk.cameras.memory_from_camera for chunk in chunks], dim=1),
        first.height,
        first.width,
    )
    images = torch.cat([chunk.images for chunk in chunks], dim=1)
    return Views(images, cameras, torch.cat([chunk.times for chunk in chunks], dim=1))


def resized(views: Views, factor: int) -> Views:
    """Views with pixels so many times as large."""
    if factor == 1:
        return views
    cameras = views.cameras
    pooled = F.avg_pool2d(views.images.flatten(0, 1), factor)
    images = pooled.view(*views.images.shape[:2], *pooled.shape[1:])
    height, width = cameras.height // factor, cameras.width // factor
    return Views(images, Cameras(cameras.fxfycxcy / factor, cameras.memory_from_camera, height, width), views.times)


def _draw(weights: Mapping[int, float], most: int, rng: np.random.Generator) -> int:
    numbers, shares = zip(*((n, weight) for n, weight in weights.items() if n <= most and weight > 0), strict=True)
    return int(rng.choice(numbers, p=np.array(shares) / sum(shares)))


def _log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    low, high = limits
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _reach(frame: MemoryFrame, world_from_camera: NDArray[np.float64]) -> float:
    return float(np.abs(frame.normalise_poses(world_from_camera)[:, :3, 3]).max())
