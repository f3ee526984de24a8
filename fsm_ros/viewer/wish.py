# SPDX-License-Identifier: Apache-2.0
"""What a visitor wants to see, as a value: two that are equal look alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.spatial.settings import RenderMethod
from fsm_ros.stream.frame import Camera

LEAST_SIDE_PX = 16
WIDEST_RAD = 2.6
"""A pinhole that sees more shows little but its edges."""


def vertical_fov_rad(fy: float, height: int) -> float:
    """What a pinhole of that focal length and so many rows sees from top to bottom, radians."""
    return 2.0 * math.atan(0.5 * height / fy)


class Mode(Enum):
    """What of a view is shown; the value is what the visitor reads."""

    BOTH = "photographs and memory"
    PHOTOGRAPHS = "photographs alone"
    MEMORY = "memory alone"
    CONFIDENCE = "confidence"
    DEPTH = "depth"

    @property
    def method(self) -> RenderMethod:
        """What the view is made of."""
        alone = {Mode.PHOTOGRAPHS: RenderMethod.PHOTOGRAPHS, Mode.MEMORY: RenderMethod.MEMORY}
        return alone.get(self, RenderMethod.RECALL)


@dataclass(frozen=True)
class Look:
    """Where a visitor stands and looks.

    Attributes:
        position: in the world, metres.
        wxyz: unit quaternion, optical frame (x right, y down, z forward; REP-103) to the world.
        fov_rad: vertical field of view.
        aspect: width over height of what is seen.
    """

    position: tuple[float, float, float]
    wxyz: tuple[float, float, float, float]
    fov_rad: float
    aspect: float

    @classmethod
    def of(cls, world_from_camera: NDArray[np.float64], fov_rad: float, aspect: float) -> Look:
        """The look of a camera with a ``[4, 4]`` pose."""
        x, y, z, w = (float(v) for v in Rotation.from_matrix(world_from_camera[:3, :3]).as_quat())
        px, py, pz = (float(v) for v in world_from_camera[:3, 3])
        return cls((px, py, pz), (w, x, y, z), fov_rad, aspect)

    @property
    def world_from_camera(self) -> NDArray[np.float64]:
        """``[4, 4]`` rigid."""
        w, x, y, z = self.wxyz
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
        pose[:3, 3] = self.position
        return pose

    def camera(self, pixels: int) -> Camera:
        """A pinhole that sees just this, of so many pixels at most, but for `LEAST_SIDE_PX`."""
        aspect = min(max(self.aspect, 0.1), 10.0)
        height = max(LEAST_SIDE_PX, math.floor(math.sqrt(pixels / aspect)))
        width = max(LEAST_SIDE_PX, math.floor(height * aspect))
        focal = 0.5 * height / math.tan(0.5 * min(self.fov_rad, WIDEST_RAD))
        return Camera(width, height, focal, focal, width / 2, height / 2)


@dataclass(frozen=True)
class Wish:
    """What a visitor wants to see.

    Attributes:
        look: from where.
        stamp_ns: the moment; ``None``: the newest.
        mode: what of it.
        is_beside: whether the nearest kept photograph is shown beside it.
    """

    look: Look
    stamp_ns: int | None = None
    mode: Mode = Mode.BOTH
    is_beside: bool = False
