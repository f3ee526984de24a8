# SPDX-License-Identifier: Apache-2.0
"""The release's scenes: a video whose pictures spell their numbers, and the pose of every frame in JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

WIDTH, HEIGHT, RATE_HZ = 96, 64, 24.0
BITS = 9


def numbered(index: int) -> NDArray[np.uint8]:
    """A picture whose columns of blocks spell its number, black and white."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for bit in range(BITS):
        if index >> bit & 1:
            image[:, 10 * bit : 10 * bit + 10] = 255
    return image


def write_video(path: Path, images: list[NDArray[np.uint8]]) -> Path:
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), RATE_HZ, (width, height))
    assert writer.isOpened()
    for image in images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def w2c(number: int) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec([0.02 * number, 0.01, -0.03 * number]).as_matrix()
    pose[:3, 3] = (0.1 * number, -0.2, 0.05 * number)
    return pose


def frame_of(number: int, **more: object) -> dict[str, Any]:
    intrinsics = {"fx": 80.0, "fy": 82.0, "cx": 47.0, "cy": 33.0, "w": WIDTH, "h": HEIGHT}
    return {"frame_idx": number, "w2c": w2c(number).tolist(), **intrinsics, **more}


def scene_of(*numbers: int, **more: object) -> dict[str, Any]:
    frames = [frame_of(number) for number in numbers or range(5)]
    return {"scene_name": "a walk", "video_path": "clip.mp4", "frames": frames, **more}


def write_scene(folder: Path, video: Path, *scenes: dict[str, Any]) -> Path:
    """Beside its video; one scene over many lines as the release has it, several with a line each."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(video, folder / "clip.mp4")
    path = folder / "clip.jsonl"
    path.write_text("\n".join(json.dumps(scene, indent=None if len(scenes) > 1 else 2) for scene in scenes))
    return path


def a_scene(folder: Path) -> Path:
    video = write_video(folder / "clip.mp4", [numbered(n) for n in range(9)])
    return write_scene(folder / "scene", video, scene_of(0, 1, 3, 4, 6, 8))
