# SPDX-License-Identifier: Apache-2.0
"""Image files, as they lie on the disk: no rotation by EXIF, which structure-from-motion does not follow either."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fsm_ros.sources.errors import SourceError

if TYPE_CHECKING:
    from PIL.Image import Image

_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_ALPHA_MODES = ("LA", "PA", "RGBA")


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels; only the header is read.

    Raises:
        SourceError: it is no image, or Pillow is not installed.
    """
    with _open(path) as opened:
        width, height = opened.size
        return int(width), int(height)


def read_image(path: Path) -> NDArray[np.uint8]:
    """``[height, width, 3]`` uint8 RGB; what is transparent is laid over white.

    Raises:
        SourceError: it cannot be decoded, has more than 8 bits a channel, or Pillow is not installed.
    """
    with _open(path) as opened:
        if opened.mode not in _EIGHT_BIT_MODES:
            raise SourceError(
                f"{path} has pixels of mode {opened.mode}, and only 8 bits a channel are read: convert it to 8-bit RGB"
            )
        try:
            if opened.mode in _ALPHA_MODES or "transparency" in opened.info:
                rgba = np.asarray(opened.convert("RGBA"), dtype=np.float64)
                alpha = rgba[..., 3:] / 255.0
                on_white: NDArray[np.uint8] = np.round(alpha * rgba[..., :3] + (1.0 - alpha) * 255.0).astype(np.uint8)
                return on_white
            return np.array(opened.convert("RGB"), dtype=np.uint8)
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders make of damaged bytes
            raise SourceError(f"{path} cannot be decoded ({error}): export or copy it again") from error


def _open(path: Path) -> Image:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise SourceError(f"reading image files needs Pillow ({error}): pip install pillow") from error
    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise SourceError(f"{path} is no image that can be read: export it again, as PNG or JPEG") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error}): copy it again") from error
