# SPDX-License-Identifier: Apache-2.0
"""A lens in front of a scene that is rendered by perfect cameras.

A pinhole view twice as fine, which holds all that the lens sees, is resampled by the lens model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from fsm_ros.stream.frame import Camera
from fsm_ros.stream.lens import MAX_TANGENT, undistort

_FINENESS = 2
_SUBPIXELS = (np.arange(_FINENESS) + 0.5) / _FINENESS - 0.5
_MARGIN_PX = 2


@dataclass(frozen=True, eq=False)
class BehindLens:
    """How the image of a lens is made of that of a pinhole.

    Attributes:
        camera: the lens.
        pinhole: camera that sees all the lens does, `_FINENESS` times as fine.
        columns, rows: ``[_FINENESS * height, _FINENESS * width]`` float32, where in the pinhole's image the samples
            of the lens's image are, pixel centres at integers.
    """

    camera: Camera
    pinhole: Camera
    columns: NDArray[np.float32]
    rows: NDArray[np.float32]

    def seen(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[height, width, 3]`` through the lens, of the pinhole's image."""
        fine = cv2.remap(image, self.columns, self.rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        size = (self.camera.width, self.camera.height)
        return np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


@lru_cache(maxsize=2)  # the lens is solved by iteration, and it does not change from image to image
def behind_lens(camera: Camera) -> BehindLens:
    """Views behind a lens.

    Raises:
        ValueError: the lens has no ray for some of the pixels, or sees further to a side than a pinhole should.
    """
    across = (np.arange(camera.width)[:, None] + _SUBPIXELS).reshape(-1)
    down = (np.arange(camera.height)[:, None] + _SUBPIXELS).reshape(-1)
    grid = np.stack(np.meshgrid(across, down), axis=-1)
    rays = undistort(camera, grid.reshape(-1, 2))
    lens = f"the lens {camera.distortion.value} {camera.coefficients} of the {camera.width}x{camera.height} image"
    if not np.isfinite(rays).all():
        raise ValueError(f"{lens} has no ray for some pixels: take weaker coefficients")
    if np.abs(rays).max() > MAX_TANGENT:
        raise ValueError(f"{lens} sees more than 60 degrees to a side: take a longer focal length")
    places = _FINENESS * (rays * (camera.fx, camera.fy) + (camera.cx, camera.cy)) - 0.5
    corner = np.floor(places.min(axis=0)) - _MARGIN_PX
    width, height = np.ceil(places.max(axis=0) - corner).astype(int) + _MARGIN_PX
    left, top = corner.tolist()
    pinhole = Camera(
        width=int(width),
        height=int(height),
        fx=_FINENESS * camera.fx,
        fy=_FINENESS * camera.fy,
        cx=_FINENESS * camera.cx - left,
        cy=_FINENESS * camera.cy - top,
    )
    columns, rows = np.moveaxis((places - corner).astype(np.float32).reshape(grid.shape), -1, 0)
    return BehindLens(camera, pinhole, np.ascontiguousarray(columns), np.ascontiguousarray(rows))
