# SPDX-License-Identifier: Apache-2.0
"""Pinhole rays and Pluecker maps: how a camera enters the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Cameras:
    """Where views are seen from, in the memory's normalised frame.

    Attributes:
        fxfycxcy: ``[B, V, 4]`` focal lengths and principal point in pixels, pixel centres at half-integers.
        memory_from_camera: ``[B, V, 4, 4]`` camera-to-memory, optical axes (x right, y down, z forward;
            REP-103), translations in about [-1, 1].
        height: rows of each view.
        width: columns of each view.
    """

    fxfycxcy: Tensor
    memory_from_camera: Tensor
    height: int
    width: int

    def __post_init__(self) -> None:
        """Check shapes.

        Raises:
            ValueError: shapes that do not belong together, or nothing to look at.
        """
        if self.fxfycxcy.ndim != 3 or self.fxfycxcy.shape[-1] != 4:
            raise ValueError(f"fxfycxcy must be [B, V, 4], got {tuple(self.fxfycxcy.shape)}")
        if self.memory_from_camera.shape != (*self.fxfycxcy.shape[:2], 4, 4):
            raise ValueError(
                f"memory_from_camera must be [B, V, 4, 4] like fxfycxcy {tuple(self.fxfycxcy.shape)}, "
                f"got {tuple(self.memory_from_camera.shape)}"
            )
        if min(self.batch, self.views, self.height, self.width) < 1:
            raise ValueError(
                f"cameras need at least one scene, view, row and column, got {self.batch} scenes of "
                f"{self.views} views of {self.width}x{self.height} pixels"
            )

    @property
    def batch(self) -> int:
        """Number of scenes, ``B``."""
        return self.fxfycxcy.shape[0]

    @property
    def views(self) -> int:
        """Number of views, ``V``."""
        return self.fxfycxcy.shape[1]

    def __getitem__(self, views: slice | Tensor) -> Cameras:
        """Cameras of some of the views: a slice, or a tensor of their numbers."""
        return Cameras(self.fxfycxcy[:, views], self.memory_from_camera[:, views], self.height, self.width)

    def scene(self, number: int) -> Cameras:
        """Cameras of one of the scenes, still a batch."""
        one = slice(number, number + 1)
        return Cameras(self.fxfycxcy[one], self.memory_from_camera[one], self.height, self.width)


def pixel_rays(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Ray of every pixel.

    Returns:
        Origins and unit directions, each ``[B, V, 3, H, W]``, in the memory's frame.
    """
    intrinsics = cameras.fxfycxcy
    device, dtype = intrinsics.device, intrinsics.dtype
    column = torch.arange(cameras.width, device=device, dtype=dtype) + 0.5
    row = torch.arange(cameras.height, device=device, dtype=dtype) + 0.5
    fx, fy, cx, cy = (intrinsics[..., i, None] for i in range(4))
    x = ((column - cx) / fx)[:, :, None, None, :]
    y = ((row - cy) / fy)[:, :, None, :, None]
    # No matrix product: autocast and TF32 would round it, which turns a ray by up to a tenth of a degree.
    right, down, forward = (cameras.memory_from_camera[..., :3, i, None, None] for i in range(3))
    direction = right * x + down * y + forward
    # Written out: PyTorch's norm takes many times as long over a dimension that is not the last.
    a, b, c = direction.unbind(dim=2)
    direction = direction / (a * a + b * b + c * c).sqrt()[:, :, None]
    origin = cameras.memory_from_camera[..., :3, 3, None, None].expand_as(direction)
    return origin, direction


def pluecker_map(cameras: Cameras) -> Tensor:
    """Ray origin, direction and moment of every pixel, ``[B, V, 9, H, W]``.

    The three are redundant as line coordinates, but it is what the released model was trained on (the paper's
    text names fewer channels than its code).
    """
    origin, direction = pixel_rays(cameras)
    return torch.cat([origin, direction, torch.cross(origin, direction, dim=2)], dim=2)
