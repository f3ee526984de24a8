# SPDX-License-Identifier: Apache-2.0
"""Clips of recorded streams: rosbags, posed image folders, the release's videos."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.opening import open_cameras
from fsm_ros.sources.recorded import RecordedCamera
from fsm_ros.spatial.tensors import images_of
from fsm_ros.stream.rectify import Rectifier
from fsm_ros.training.episodes import Clip
from fsm_ros.training.settings import TrainSettings
from fsm_ros.training.supply import ClipSupply, Piece, Stream

LARGEST_STRIDE = 8
"""A video moves little from frame to frame: up to so many of its frames lie between two of a clip."""

_logger = logging.getLogger(__name__)


class RecordedClips:
    """Stretches of recordings, undistorted and cut to the size of the model as a node does it."""

    def __init__(self, settings: TrainSettings, device: torch.device) -> None:
        """Open the recordings.

        Args:
            settings: the run's.
            device: where images go.

        Raises:
            SourceError: one cannot be read, or is too short for the episodes.
        """
        self._settings = settings
        self._device = device
        size = settings.episodes.size
        self._rectifier = Rectifier(size, size)
        self._sources = [
            source
            for recording in settings.data.recordings
            for source in open_cameras(
                Path(recording.path),
                world_frame=recording.world_frame,
                image_topic=recording.image_topic,
                frame_rate_hz=recording.frame_rate_hz,
                duration_s=recording.duration_s,
            )
        ]
        for note in (f"{source.name}: {note}" for source in self._sources for note in source.notes):
            _logger.warning(note)
        need = settings.episodes.max_views
        short = [f"{source.name} ({len(source)})" for source in self._sources if len(source) < need]
        if short:
            raise SourceError(
                f"episodes of up to {need} views need recordings of at least as many frames; too short: "
                f"{', '.join(short)}. Lower episodes.max_views or leave them out"
            )

    def clips(self, piece: Piece) -> list[Clip]:
        """One stretch of a recording for each episode."""
        return [self._clip(piece.step, number) for number in range(piece.first, piece.first + piece.count)]

    def _clip(self, step: int, number: int) -> Clip:
        rng = Stream.RECORDING.rng(self._settings, step, number)
        source = self._sources[int(rng.integers(len(self._sources)))]
        frames = min(self._settings.data.scenes.frames, len(source))
        stride = int(rng.integers(1, min(LARGEST_STRIDE, max(1, (len(source) - 1) // max(frames - 1, 1))) + 1))
        first = int(rng.integers(0, len(source) - stride * (frames - 1)))
        return self._read(source, range(first, first + stride * frames, stride)[:frames])

    def _read(self, source: RecordedCamera, numbers: Sequence[int]) -> Clip:
        seen = [self._rectifier.rectify(source.read(number)) for number in numbers]
        source.close()  # there may be more recordings than files that may be open
        return Clip(
            images_of(seen, self._device),
            np.stack([posed.world_from_camera for posed in seen]),
            np.stack([posed.camera.fxfycxcy for posed in seen]),
            np.array([posed.stamp_ns for posed in seen], dtype=np.int64),
        )


class MixedClips:
    """A share of the steps learns from recordings, the rest from scenes."""

    def __init__(self, settings: TrainSettings, scenes: ClipSupply, recordings: ClipSupply) -> None:
        """Args: the run's settings, and both supplies."""
        self._settings = settings
        self._scenes = scenes
        self._recordings = recordings

    def clips(self, piece: Piece) -> list[Clip]:
        """Clips of the kind that the step has drawn; the same kind on every process."""
        rng = Stream.SHARE.rng(self._settings, piece.step)
        recorded = rng.random() < self._settings.data.recorded_share
        return (self._recordings if recorded else self._scenes).clips(piece)
