# SPDX-License-Identifier: Apache-2.0
"""The frames of a block and their rays.

Rays are kept in the order (pixel within its tile, tile): tensors are ``[64, T]``, what belongs to a frame or tile is
a vector ``[T]``, and memory is read in long runs. Depth t is along the optical axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fsm_ros.training.scenes.intersect import Components
from fsm_ros.training.scenes.shading import SurfaceTable
from fsm_ros.training.scenes.tiles import TILE

PIXELS = TILE * TILE
"""Pixels of a tile."""


@dataclass(frozen=True, eq=False)
class FrameBlock:
    """What is to be seen in F frames; poses and places are float64, the rest float32.

    Attributes:
        surfaces: looks of all surfaces.
        first_surface: ``[F]`` int32, where those of the frame's scene begin: six faces, then the objects.
        pose: ``[F, 4, 4]`` world_from_camera.
        fxfycxcy: ``[F, 4]``.
        kind, there, occludes: ``[F, K]`` shape, presence and shadow strength of the objects.
        half, place: ``[F, K, 3]`` half extents and centres of the objects.
        rotation: ``[F, K, 3, 3]`` of the objects.
        low, high, lamp: ``[F, 3]`` corners of the box around the scene, and its light.
        ambient, haze_per_m: ``[F]``.
        haze: ``[F, 3]``.
        terrain: ``[F, waves, 4]``.
        outdoors, hilly: whether all frames have a sky, and rolling ground.
    """

    surfaces: SurfaceTable
    first_surface: Tensor
    pose: Tensor
    fxfycxcy: Tensor
    kind: Tensor
    half: Tensor
    place: Tensor
    rotation: Tensor
    there: Tensor
    occludes: Tensor
    low: Tensor
    high: Tensor
    lamp: Tensor
    ambient: Tensor
    haze: Tensor
    haze_per_m: Tensor
    terrain: Tensor
    outdoors: bool
    hilly: bool


class Rays:
    """The rays of a block.

    Attributes:
        origin: components ``[T]``, metres from the middle of the box around the scene (x, y) and its floor (z).
        direction: components ``[64, T]`` in the world, of unit length along the optical axis.
        column, row: ``[8, T]`` x / z of the pixels of a tile's columns, y / z of its rows.
    """

    def __init__(self, block: FrameBlock, high: int, wide: int) -> None:
        """The rays of images of `high` times `wide` tiles."""
        frames, device = len(block.pose), block.pose.device
        self.per_frame = high * wide
        fx, fy, cx, cy = block.fxfycxcy.unbind(-1)
        self.column_edges = ((torch.arange(wide + 1, device=device) * TILE - cx[:, None]) / fx[:, None]).float()
        self.row_edges = ((torch.arange(high + 1, device=device) * TILE - cy[:, None]) / fy[:, None]).float()
        across = ((torch.arange(wide * TILE, device=device) + 0.5 - cx[:, None]) / fx[:, None]).float()
        down = ((torch.arange(high * TILE, device=device) + 0.5 - cy[:, None]) / fy[:, None]).float()
        turn = block.pose[:, :3, :3].float()
        columns = across.view(frames, 1, wide, TILE).permute(3, 0, 1, 2).expand(TILE, frames, high, wide)
        rows = down.view(frames, high, 1, TILE).permute(3, 0, 1, 2).expand(TILE, frames, high, wide)
        self.column = columns.reshape(TILE, -1)
        self.row = rows.reshape(TILE, -1)
        self.frame = torch.arange(frames, device=device).repeat_interleave(self.per_frame)
        self.origin = self.components(block.pose[:, :3, 3].float())
        x, y, z = (self.components(turn[:, :, i]) for i in range(3))
        self.direction = span(self.column, self.row, x, y, z)

    def spread(self, per_frame: Tensor) -> Tensor:
        """``[T]`` from ``[F]``."""
        return per_frame.repeat_interleave(self.per_frame)

    def components(self, per_frame: Tensor) -> Components:
        """Three ``[T]`` from ``[F, 3]``."""
        return self.spread(per_frame[:, 0]), self.spread(per_frame[:, 1]), self.spread(per_frame[:, 2])


def span(column: Tensor, row: Tensor, x: Components, y: Components, z: Components) -> Components:
    """Directions ``x * column + y * row + z`` of all 64 pixels of tiles, components ``[64, N]``."""
    parts = []
    for i in range(3):
        down = (y[i] * row).add_(z[i])
        parts.append((down[:, None] + (x[i] * column)[None]).view(PIXELS, -1))
    return parts[0], parts[1], parts[2]


@dataclass(eq=False)
class Hits:
    """What every ray meets.

    Attributes:
        surface: ``[64 * T]`` int32 which of the block's surfaces.
        u, v: ``[64 * T]`` place on it, metres.
        normal: components ``[64, T]``, unit length, towards the camera.
    """

    surface: Tensor
    u: Tensor
    v: Tensor
    normal: Components
