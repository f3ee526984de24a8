# SPDX-License-Identifier: Apache-2.0
"""COLMAP text models, as small as they may be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from recordings_folders import HEIGHT, WIDTH, picture
from scipy.spatial.transform import Rotation

CAMERAS = f"""# Camera list with one line of data per camera:
#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]
# Number of cameras: 1
1 PINHOLE {WIDTH} {HEIGHT} 36.0 38.0 21.0 14.0
"""
HEAD = """# Image list with two lines of data per image:
#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME
#   POINTS2D[] as (X, Y, POINT3D_ID)
"""
POINT = np.array([0.4, -0.7, 2.0])
"""In the world of the model."""

CAMERA_FROM_WORLD = [
    (Rotation.from_rotvec(turn), np.array(move))
    for turn, move in (
        ((0.1, 0.2, 0.3), (0.1, 0.5, 0.2)),
        ((-0.3, 0.2, 0.0), (-0.2, 0.3, 1.0)),
        ((0.0, 0.4, 1.0), (0.3, 0.1, 2.0)),
    )
]


def image_line(number: int, name: str, pose: int = 0, camera: int = 1) -> str:
    rotation, move = CAMERA_FROM_WORLD[pose % 3]
    x, y, z, w = rotation.as_quat().tolist()
    return " ".join(map(str, (number, w, x, y, z, *move.tolist(), camera, name)))


def listed(names: Sequence[str]) -> str:
    """Entries, of which every second one has points."""
    points = ["", "10.5 20.25 7 3.0 4.0 -1"]
    lines = [f"{image_line(n + 1, name, n)}\n{points[n % 2]}" for n, name in enumerate(names)]
    return f"{HEAD}# Number of images: {len(names)}, mean observations per image: 1.0\n" + "\n".join(lines) + "\n"


def pointless(names: Sequence[str]) -> str:
    """Entries without points, which a model of its own has to name."""
    return HEAD + "".join(f"{image_line(n + 1, name, n)}\n\n" for n, name in enumerate(names))


def write(
    root: Path,
    names: Sequence[str] = ("a.png", "b.png", "c.png"),
    *,
    cameras: str = CAMERAS,
    images: str | None = None,
    model: str = "sparse/0",
) -> Path:
    """A model with an image for every name."""
    (root / model).mkdir(parents=True)
    (root / model / "cameras.txt").write_text(cameras)
    (root / model / "images.txt").write_text(listed(names) if images is None else images)
    for index, name in enumerate(names):
        file = root / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(index)).save(file)
    return root
