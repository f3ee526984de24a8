# SPDX-License-Identifier: Apache-2.0
"""Reads images that are files, each with the camera that another file says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.images import read_image
from fsm_ros.stream.frame import Camera


@dataclass(frozen=True)
class ImageFile:
    """One image.

    Attributes:
        path: of the file.
        camera: its intrinsics and lens.
    """

    path: Path
    camera: Camera


@dataclass(frozen=True)
class ImageFiles:
    """Images that are files; see `recorded.FrameReader`. They may differ in size and camera.

    Attributes:
        files: by the number of the image.
        said_by: what gives the cameras, for messages: "FILE says w, h =".
        remedy: what to do where an image has another size than its camera.
    """

    files: Sequence[ImageFile]
    said_by: str
    remedy: str

    def camera(self, index: int) -> Camera:
        """Intrinsics and lens; nothing is decoded."""
        return self.files[index].camera

    def decode(self, index: int) -> tuple[NDArray[np.uint8], Camera]:
        """``[height, width, 3]`` uint8 RGB, and its camera.

        Raises:
            SourceError: the image cannot be decoded, or has another size than its camera.
        """
        path, camera = self.files[index].path, self.files[index].camera
        image = read_image(path)
        height, width = image.shape[:2]
        if (width, height) != (camera.width, camera.height):
            raise SourceError(
                f"{path} has {width}x{height} pixels, but {self.said_by} {camera.width}x{camera.height}: {self.remedy}"
            )
        return image, camera

    def close(self) -> None:
        """Nothing stays open."""
