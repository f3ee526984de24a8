# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from training_runs import tiny_settings

from fsm_ros.sources.errors import SourceError
from fsm_ros.training.recordings import MixedClips, RecordedClips
from fsm_ros.training.settings import TrainSettings
from fsm_ros.training.supply import EpisodeSupply, Piece, SceneClips

CPU = torch.device("cpu")
FRAMES = 30


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of posed images of 40x20 pixels; the red channel of image i is 8 i."""
    folder = tmp_path_factory.mktemp("recording")
    frames = []
    for index in range(FRAMES):
        pixels = np.zeros((20, 40, 3), dtype=np.uint8)
        pixels[..., 2] = 8 * index  # OpenCV writes blue first
        assert cv2.imwrite(str(folder / f"{index:03d}.png"), pixels)
        pose = np.eye(4)
        pose[0, 3] = 0.1 * index
        frames.append({"file_path": f"{index:03d}.png", "transform_matrix": pose.tolist()})
    content = {"fl_x": 30.0, "fl_y": 30.0, "cx": 20.0, "cy": 10.0, "w": 40, "h": 20, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


def settings_with(recording: Path, share: float = 1.0) -> TrainSettings:
    return tiny_settings(
        data={"recordings": [str(recording)], "recorded_share": share, "scenes": {"photographs": False, "frames": 12}}
    )


def test_clips_are_stretches_of_a_recording_cut_to_the_models_size(recording: Path) -> None:
    for clip in RecordedClips(settings_with(recording), CPU).clips(Piece(0, 0, 6)):
        assert clip.images.shape == (12, 3, 16, 16)
        numbers = torch.round(clip.images[:, 0].mean(dim=(1, 2)) * 255 / 8).long().tolist()
        assert all(0 <= number < FRAMES for number in numbers)
        strides = set(np.diff(numbers))
        assert len(strides) == 1 and strides <= {1, 2}
        np.testing.assert_allclose(clip.world_from_camera[:, 0, 3], 0.1 * np.array(numbers), atol=1e-9)
        # 20 rows become 16 pixels: the focal length shrinks alike, the centre is that of the cut.
        np.testing.assert_allclose(clip.fxfycxcy, np.tile([24.0, 24.0, 8.0, 8.0], (12, 1)), atol=1e-6)
        assert (np.diff(clip.stamps_ns) > 0).all()


def test_a_step_takes_the_same_stretches_again_and_other_steps_take_others(recording: Path) -> None:
    clips = RecordedClips(settings_with(recording), CPU)
    first, again = clips.clips(Piece(3, 0, 4)), RecordedClips(settings_with(recording), CPU).clips(Piece(3, 2, 2))
    assert torch.equal(first[2].images, again[0].images) and torch.equal(first[3].images, again[1].images)
    others = [clip.images for step in range(8, 16, 2) for clip in clips.clips(Piece(step, 0, 4))]
    assert any(not torch.equal(first[0].images, other) for other in others)


def test_a_share_of_the_steps_learns_from_recordings(recording: Path) -> None:
    settings = settings_with(recording, 0.5)
    mixed = MixedClips(settings, SceneClips(settings, CPU), RecordedClips(settings, CPU))
    is_recorded = [bool((mixed.clips(Piece(step, 0, 1))[0].images[:, 1:] == 0).all()) for step in range(16)]
    assert 3 <= sum(is_recorded) <= 13
    episodes = EpisodeSupply(settings, mixed).episodes(Piece(is_recorded.index(True), 0, 4), 0.5)
    assert episodes.chunks[0].images.shape[0] == 4


def test_a_recording_that_is_too_short_is_named(recording: Path) -> None:
    settings = tiny_settings(
        data={"recordings": [str(recording)], "recorded_share": 1.0, "scenes": {"photographs": False, "frames": 60}},
        episodes={**{"size": 16, "chunk_views": {2: 1.0}, "chunk_counts": {1: 1.0}}, "max_views": 31},
    )
    with pytest.raises(SourceError, match=r"too short.*\(30\)"):
        RecordedClips(settings, CPU)
