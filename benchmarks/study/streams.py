# SPDX-License-Identifier: Apache-2.0
"""The streams of the study: long clips, what is observed of them, and what is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.views import Views
from fsm_ros.spatial.tensors import cameras_of, times_of
from fsm_ros.stream.world import MemoryFrame
from fsm_ros.training.episodes import Clip
from fsm_ros.training.evaluation.held_out import STRIDE, images_of, nearest_frames, spread, traced
from fsm_ros.training.scenes import SceneSettings, SceneSource, Split
from fsm_ros.training.supply import split_clips
from study.probes import Probe, ProbeSettings, draw_probes

_PROBES = 7
"""Keeps the randomness of the probes apart from that of the scenes."""


@dataclass(frozen=True)
class StreamSettings:
    """Which streams.

    Attributes:
        split: of the scenes.
        seed: of the scenes.
        count: how many.
        chunk_counts: after how many chunks the memory is looked at, ascending.
        chunk_views: views of a chunk.
        views: so many held-out and so many observed views are asked for each time, spread over what was seen.
        probe_chunks: after how many chunks what nobody saw is asked for; one of ``chunk_counts``.
        probes: how many of those, and how far.
        size: edge of the views, pixels.
        extent_m: metres of a memory unit.
        horizon_s: seconds of the time axis.
        difficulty: range of the scenes'.
    """

    split: Split = Split.CHOOSE
    seed: int = 0
    count: int = 32
    chunk_counts: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    chunk_views: int = 4
    views: int = 12
    probe_chunks: int = 16
    probes: ProbeSettings = ProbeSettings()
    size: int = 64
    extent_m: float = 4.0
    horizon_s: float = 60.0
    difficulty: tuple[float, float] = (0.0, 0.7)

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            ValueError: nothing to look at, or probes at a moment that is not looked at.
        """
        counts = self.chunk_counts
        if not counts or min(counts) < 1 or list(counts) != sorted(set(counts)):
            raise ValueError(f"chunk counts must be positive and ascending, got {list(counts)}")
        if self.probe_chunks not in counts:
            raise ValueError(f"probes are drawn after {self.probe_chunks} chunks, which is not one of {list(counts)}")
        if min(self.count, self.chunk_views, self.views) < 1 or self.chunk_views * counts[0] < 2:
            raise ValueError("a study needs scenes, and at least two observed views")

    @property
    def frames(self) -> int:
        """Frames of a clip."""
        return STRIDE * self.chunk_views * self.chunk_counts[-1]


@dataclass(frozen=True, eq=False)
class Wanted:
    """Views that are asked for after some number of chunks, all of one scene ``[1, V, ...]``.

    Attributes:
        held_out: not observed, but between views that were.
        observed: observed ones, of all chunks.
        first: the first chunk.
        newest: the newest chunk.
    """

    held_out: Views
    observed: Views
    first: Views
    newest: Views


@dataclass(frozen=True, eq=False)
class Stream:
    """One scene's stream.

    Attributes:
        number: of the scene.
        chunks: what is observed.
        wanted: by the number of chunks.
        probes: what nobody saw.
        probe_views: their truth.
        nearest_held_out: by the number of chunks, the observed view nearest to each held-out one, ``[1, V, 3, H, W]``.
        nearest_probes: likewise for the probes.
    """

    number: int
    chunks: tuple[Views, ...]
    wanted: dict[int, Wanted]
    probes: tuple[Probe, ...]
    probe_views: Views
    nearest_held_out: dict[int, Tensor]
    nearest_probes: Tensor


def streams(settings: StreamSettings, device: torch.device, batch: int = 4) -> Iterator[Stream]:
    """The streams, a few traced at a time."""
    scenes = SceneSettings(difficulty=settings.difficulty, frames=settings.frames, sensor=0.0)
    source = SceneSource(settings.seed, settings.split, scenes, device)
    for first in range(0, settings.count, batch):
        numbers = range(first, min(first + batch, settings.count))
        clips = split_clips(source.clips(numbers, settings.size, settings.size, samples=2))
        for number, clip in zip(numbers, clips, strict=True):
            yield _stream(settings, source, number, clip)


def _stream(settings: StreamSettings, source: SceneSource, number: int, clip: Clip) -> Stream:
    size = settings.chunk_views
    observed = STRIDE * np.arange(size * settings.chunk_counts[-1])
    frame = MemoryFrame.around(
        clip.world_from_camera[observed[:size]],
        start_ns=int(clip.stamps_ns[0]),
        extent_m=settings.extent_m,
        horizon_s=settings.horizon_s,
    )

    def views_at(numbers: NDArray[np.int64]) -> Views:
        return _views(frame, clip, numbers)

    chunks = tuple(views_at(part) for part in observed.reshape(-1, size))
    wanted, nearest = {}, {}
    for count in settings.chunk_counts:
        seen = observed[: size * count]
        held_out = spread(seen[:-1] + STRIDE // 2, settings.views)
        wanted[count] = Wanted(views_at(held_out), views_at(spread(seen, settings.views)), chunks[0], chunks[count - 1])
        nearest[count] = images_of(clip, nearest_frames(clip, seen, held_out))[None]
    seen = observed[: size * settings.probe_chunks]
    worlds = source.worlds([number])
    probes = draw_probes(
        worlds,
        0,
        clip.world_from_camera[seen],
        clip.stamps_ns[seen],
        clip.fxfycxcy[seen],
        settings.probes,
        np.random.default_rng(source.seed_sequence(number, _PROBES)),
    )
    poses = np.stack([probe.world_from_camera for probe in probes])
    lenses = np.stack([probe.fxfycxcy for probe in probes])
    stamps = np.array([probe.stamp_ns for probe in probes])
    truth, _ = traced(worlds, poses, lenses, stamps, (settings.size, settings.size))
    probed = _views(frame, Clip(truth, poses, lenses, stamps), np.arange(len(probes)))
    nearest_probes = images_of(clip, seen[[probe.nearest for probe in probes]])[None]
    return Stream(number, chunks, wanted, tuple(probes), probed, nearest, nearest_probes)


def _views(frame: MemoryFrame, clip: Clip, numbers: NDArray[np.int64]) -> Views:
    height, width = clip.images.shape[-2:]
    device = clip.images.device
    poses, lenses = clip.world_from_camera[numbers], clip.fxfycxcy[numbers]
    cameras: Cameras = cameras_of(frame, poses, lenses, height=height, width=width, device=device)
    times = times_of(frame, [int(stamp) for stamp in clip.stamps_ns[numbers]], device)
    return Views(images_of(clip, numbers)[None], cameras, times)
