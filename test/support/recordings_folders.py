# SPDX-License-Identifier: Apache-2.0
"""Folders of images with a transforms.json, as small as they may be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

WIDTH, HEIGHT = 40, 30
INTRINSICS = {"fl_x": 36.0, "fl_y": 38.0, "cx": 21.0, "cy": 14.0, "w": WIDTH, "h": HEIGHT}
POINT = np.array([0.4, -0.7, 2.0])
"""In the world of the file."""


def opengl_pose(rotation_vector: tuple[float, float, float], distance: float) -> NDArray[np.float64]:
    """A camera of OpenGL's axes that sees `POINT`, not in its middle."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(rotation_vector).as_matrix()
    # In the camera, the point lies in front (negative z), to the right and above.
    pose[:3, 3] = POINT - pose[:3, :3] @ np.array([0.2, 0.1, -distance])
    return pose


POSES = [opengl_pose((0.1, 0.2, 0.3), 1.5), opengl_pose((-1.0, 0.7, 0.0), 2.0), opengl_pose((0.0, 2.5, 1.0), 1.0)]


def picture(index: int = 0, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    v, u = np.mgrid[0:height, 0:width]
    return np.stack([3 * u, 4 * v, 40 * index + 0 * u], axis=-1).astype(np.uint8)


def frame_of(index: int, **more: object) -> dict[str, Any]:
    return {"file_path": f"images/{index}.png", "transform_matrix": POSES[index % 3].tolist(), **more}


def write(folder: Path, frames: list[dict[str, Any]], top: Mapping[str, Any] = INTRINSICS) -> Path:
    """The file, and an image for every frame that has none."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(frames):
        image = folder / str(frame.get("file_path", "none.png"))
        if not image.exists() and image.suffix == ".png":
            Image.fromarray(picture(index)).save(image)
    (folder / "transforms.json").write_text(json.dumps({**top, "frames": frames}))
    return folder


def a_folder(folder: Path) -> Path:
    return write(folder / "folder", [frame_of(n, timestamp=n / 10) for n in range(6)])
