# SPDX-License-Identifier: Apache-2.0
"""What is recorded and how, with all defaults. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from fsm_ros.training.scene_settings import DepthInput, Family

DEFAULT_JPEG_QUALITY = 95
"""What image_transport compresses with unless told otherwise."""

CAMERA_NAME = "camera"
"""What the only camera of a recording is called."""

WORLD_FRAME = "map"
"""TF frame of the poses of what is converted."""

METRES_PER_UNIT = 1.0
"""Length of a unit of a world that is converted, where nobody knows better."""


class Codec(Enum):
    """How a compressed image is stored; the value is its name in the message."""

    JPEG = "jpeg"
    PNG = "png"
    """Lossless."""


@dataclass(frozen=True)
class SceneBagSettings:
    """Which drive is recorded, and how.

    Attributes:
        family: what kind of place.
        seed: of the scene and the way.
        duration_s: time between the first image and the end, seconds.
        rate_hz: images a second, of each camera.
        width: of the images, pixels.
        height: of the images, pixels.
        difficulty: of the scene, in [0, 1]: how crowded, restless and finely textured it is.
        cameras: 1 (``camera``) or 2 (``front`` and ``side``).
        lens: whether they are distorted, by `scene_bag.LENS`.
        codec: how images are compressed; None stores them raw.
        quality: of JPEG, 1 to 100.
        depth: what a depth camera beside each camera measures.
    """

    family: Family = Family.ROOM
    seed: int = 0
    duration_s: float = 60.0
    rate_hz: float = 10.0
    width: int = 160
    height: int = 120
    difficulty: float = 0.3
    cameras: int = 1
    lens: bool = False
    codec: Codec | None = None
    quality: int = DEFAULT_JPEG_QUALITY
    depth: DepthInput = DepthInput.NONE

    def __post_init__(self) -> None:
        """Refuse what cannot be recorded.

        Raises:
            ValueError: no image fits, a size that is not positive, or another number of cameras.
        """
        image_times_ns(self.duration_s, self.rate_hz)
        if self.width < 1 or self.height < 1:
            raise ValueError(f"images need a positive size, got {self.width}x{self.height} pixels")
        if self.cameras not in (1, 2):
            raise ValueError(f"a drive is recorded by 1 or 2 cameras, got {self.cameras}")


def image_times_ns(duration_s: float, rate_hz: float) -> list[int]:
    """Moments of the images of a drive, counted from the first, nanoseconds.

    Raises:
        ValueError: no image fits.
    """
    if not (
        math.isfinite(duration_s)
        and math.isfinite(rate_hz)
        and duration_s > 0
        and rate_hz > 0
        and duration_s * rate_hz >= 1
    ):
        raise ValueError(f"a recording needs at least one image, got {duration_s} s at {rate_hz} Hz: record longer")
    return [round(index * 1e9 / rate_hz) for index in range(math.floor(duration_s * rate_hz + 1e-9))]
