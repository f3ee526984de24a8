# SPDX-License-Identifier: Apache-2.0
"""The endless supply of episodes of a run: what step n learns from follows from the seed and n alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol

import numpy as np
import torch

from fsm_ros.training.episodes import Clip, Episodes, assemble, draw_picks, draw_plan, lay_frame
from fsm_ros.training.scenes import Clips, SceneSource, Split
from fsm_ros.training.settings import TrainSettings


class Stream(IntEnum):
    """What a random generator is for; keeps their seeds apart."""

    PLAN = 1
    EPISODE = 2
    RECORDING = 3
    SHARE = 4
    RECALL = 5

    def rng(self, settings: TrainSettings, *numbers: int) -> np.random.Generator:
        """The generator of a run for this purpose, of a step, of an episode."""
        return np.random.default_rng([settings.seed, self, *numbers])


@dataclass(frozen=True)
class Piece:
    """The episodes of a step that one process observes at once.

    Attributes:
        step: number of the step.
        first: number of the first episode, of all of the step.
        count: how many.
    """

    step: int
    first: int
    count: int


class ClipSupply(Protocol):
    """Where clips come from."""

    def clips(self, piece: Piece) -> list[Clip]:
        """One clip for each episode of a piece; the same piece gets the same clips."""


class SceneClips:
    """Clips of procedural scenes; none is asked for twice."""

    def __init__(self, settings: TrainSettings, device: torch.device) -> None:
        """Args: the run's settings, and where the clips are traced."""
        self._source = SceneSource(settings.seed, Split.TRAIN, settings.data.scenes, device)
        self._batch = settings.optimizer.batch
        self._size = settings.episodes.size
        self._beside = settings.data.frames_beside

    def clips(self, piece: Piece) -> list[Clip]:
        """One clip for each episode of a piece."""
        first = piece.step * self._batch + piece.first
        numbers = range(first, first + piece.count)
        return split_clips(self._source.clips(numbers, self._size, self._size, beside=self._beside))


class RevisitedClips:
    """Another supply's clips, each for several steps in a row: making a clip costs time too."""

    def __init__(self, supply: ClipSupply, visits: int) -> None:
        """Args: where clips come from, and how many steps see each."""
        self._supply = supply
        self._visits = visits
        self._kept: dict[Piece, list[Clip]] = {}

    def clips(self, piece: Piece) -> list[Clip]:
        """One clip for each episode of a piece; the supply is asked by the number of the visit instead of the step."""
        asked = replace(piece, step=piece.step // self._visits)
        if asked not in self._kept:
            # Only the clips of this visit are ever asked for again.
            self._kept = {kept: clips for kept, clips in self._kept.items() if kept.step == asked.step}
            self._kept[asked] = self._supply.clips(asked)
        return self._kept[asked]


class EpisodeSupply:
    """Episodes by step and number."""

    def __init__(self, settings: TrainSettings, clips: ClipSupply) -> None:
        """Args: the run's settings, and where clips come from."""
        self._settings = settings
        self._clips = clips

    def episodes(self, piece: Piece, progress: float) -> Episodes:
        """The episodes of a piece.

        Args:
            piece: which.
            progress: of the run, in [0, 1]: a run begins with few chunks.
        """
        settings = self._settings.episodes
        plan = draw_plan(settings, progress, Stream.PLAN.rng(self._settings, piece.step))
        clips = self._clips.clips(piece)
        picks, frames = [], []
        for number, clip in enumerate(clips, piece.first):
            rng = Stream.EPISODE.rng(self._settings, piece.step, number)
            path = clip.path_frames
            beside_ns = (clip.stamps_ns[:path], clip.stamps_ns[path:]) if clip.beside else None
            pick = draw_picks(settings, plan, path, rng, beside_ns)
            used = np.concatenate([pick.observed, *pick.wanted])
            picks.append(pick)
            frames.append(
                lay_frame(settings, clip.world_from_camera[used], clip.stamps_ns[used], plan.chunk_views, rng)
            )
        episodes = assemble(clips, picks, frames, plan)
        return replace(episodes, seed=int(Stream.RECALL.rng(self._settings, piece.step, piece.first).integers(2**62)))


def split_clips(clips: Clips) -> list[Clip]:
    """A batch of clips, one by one."""
    return [
        Clip(images, poses, lenses, stamps, depth_m, len(stamps) - clips.path_frames)
        for images, poses, lenses, stamps, depth_m in zip(
            clips.images, clips.world_from_camera, clips.fxfycxcy, clips.stamps_ns, clips.depth_m, strict=True
        )
    ]
