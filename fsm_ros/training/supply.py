"""The endless supply of episodes of a run: what step n learns from follows from the seed and n alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
import torch

from fsm_ros.training.episodes import Clip, Episodes, assemble, draw_picks, draw_plan, lay_frame
from fsm_ros.training.scenes import Clips, SceneSource, Split
from fsm_ros.training.settings import TrainSettings


class _Stream(IntEnum):
    """What a random generator is for; keeps their seeds apart."""

    PLAN = 1
    EPISODE = 2


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
    """Clips of procedural scenes. They are traced once for several steps in a row."""

    def __init__(self, settings: TrainSettings, device: torch.device) -> None:
        """Args: the run's settings, and where the clips are traced."""
        self._source = SceneSource(settings.seed, Split.TRAIN, settings.data.scenes, device)
        self._visits = settings.data.visits
        self._batch = settings.optimizer.batch
        self._size = settings.episodes.size
        self._traced: dict[tuple[int, int, int], list[Clip]] = {}

    def clips(self, piece: Piece) -> list[Clip]:
        """One clip for each episode of a piece."""
        group = piece.step // self._visits
        # Only the clips of this group of steps are ever asked for again.
        self._traced = {key: clips for key, clips in self._traced.items() if key[0] == group}
        key = (group, piece.first, piece.count)
        if key not in self._traced:
            first = group * self._batch + piece.first
            numbers = range(first, first + piece.count)
            self._traced[key] = split_clips(self._source.clips(numbers, self._size, self._size))
        return self._traced[key]


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
        plan = draw_plan(settings, progress, self._rng(_Stream.PLAN, piece.step))
        clips = self._clips.clips(piece)
        picks, frames = [], []
        for number, clip in enumerate(clips, piece.first):
            rng = self._rng(_Stream.EPISODE, piece.step, number)
            pick = draw_picks(settings, plan, len(clip.stamps_ns), rng)
            used = np.concatenate([pick.observed, *pick.wanted])
            picks.append(pick)
            frames.append(
                lay_frame(settings, clip.world_from_camera[used], clip.stamps_ns[used], plan.chunk_views, rng)
            )
        return assemble(clips, picks, frames, plan)

    def _rng(self, stream: _Stream, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self._settings.seed, stream, *numbers])


def split_clips(clips: Clips) -> list[Clip]:
    """A batch of clips, one by one."""
    return [
        Clip(images, poses, lenses, stamps)
        for images, poses, lenses, stamps in zip(
            clips.images, clips.world_from_camera, clips.fxfycxcy, clips.stamps_ns, strict=True
        )
    ]
