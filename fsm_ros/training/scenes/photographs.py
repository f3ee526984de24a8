# SPDX-License-Identifier: Apache-2.0
"""The photographs that ship inside scikit-image, as square texture tiles."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TRAIN_PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "grass.png",
    "motorcycle_left.png",
    "hubble_deep_field.jpg",
    "moon.png",
    "ihc.png",
    "page.png",
)
HELD_OUT_PHOTOGRAPHS = ("brick.png", "gravel.png", "camera.png", "coins.png", "retina.jpg", "text.png", "cell.png")
_REMEDY = "install it (pip install scikit-image), or do without photographs (photographs: false)"


def load_photographs(names: tuple[str, ...], size: int) -> list[NDArray[np.uint8]]:
    """Square crops of the named photographs.

    Args:
        names: files of ``skimage/data``.
        size: side of a tile in texels.

    Returns:
        ``[size, size, 3]`` uint8 RGB each; a wide picture gives two tiles, its two ends.

    Raises:
        ImportError: scikit-image or Pillow, which reads the files, is not installed.
        FileNotFoundError: this scikit-image came without one of the files.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"scenes with photographs need scikit-image, which is not installed: {_REMEDY}")
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            f"reading photographs needs Pillow ({error}): pip install pillow, or photographs: false"
        ) from error
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    tiles = []
    for name in names:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing from this scikit-image: {_REMEDY} (0.25 has it)")
        with Image.open(folder / name) as picture:
            whole = picture.convert("RGB")
        side = min(whole.size)
        corners = {(0, 0), (whole.width - side, whole.height - side)} if max(whole.size) > 1.25 * side else {(0, 0)}
        for left, top in sorted(corners):
            crop = whole.crop((left, top, left + side, top + side))
            tiles.append(np.asarray(crop.resize((size, size), Image.Resampling.BOX), dtype=np.uint8))
    return tiles
