# SPDX-License-Identifier: Apache-2.0
"""Which objects can be seen in which tiles of which frames.

An image is cut into tiles of 8 x 8 pixels; only the objects that may touch a tile are traced for its rays.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TILE = 8
"""Pixels along each side of a tile."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Objects and tiles that may meet.

    Attributes:
        frame, thing: ``[P]`` int64 the object: its frame and its slot.
        tile: ``[P]`` int64 flat index (frame, row, column) of the tile.
        rank: ``[P]`` int64 how many pairs of the same tile come before; tiles of one rank are all different.
        ranks: number of ranks.
    """

    frame: Tensor
    thing: Tensor
    tile: Tensor
    rank: Tensor
    ranks: int

    def __len__(self) -> int:
        """Number of pairs."""
        return int(self.tile.shape[0])

    def of_rank(self, rank: int) -> Tensor:
        """Indices of the pairs of that rank."""
        return (self.rank == rank).nonzero().squeeze(1)


def find_pairs(
    centre: Tensor, axes: Tensor, active: Tensor, columns: Tensor, rows: Tensor, *, is_ball: bool = False
) -> Pairs:
    """Objects whose bounding box may be seen in a tile.

    A tile lies between four planes through the camera's centre; a box is outside if it is wholly on the wrong
    side of one (conservative, so a pair may turn out to miss).

    Args:
        centre: ``[F, K, 3]`` of the objects in the camera's optical frame, metres.
        axes: ``[F, K, 3, 3]`` half axes of the objects as columns, in the optical frame; ``[F, K, 1, 1]`` radius if
            `is_ball`.
        active: ``[F, K]`` bool.
        columns: ``[F, columns + 1]`` x / z at the tiles' edges.
        rows: ``[F, rows + 1]`` y / z at the tiles' edges.
        is_ball: whether the objects are bounded by balls.
    """
    across = _within(centre, axes, columns, 0, is_ball)
    down = _within(centre, axes, rows, 1, is_ball)
    depth = axes[..., 0, 0] if is_ball else axes[:, :, 2].abs().sum(dim=-1)
    active = active & (centre[..., 2] + depth > 0.0)
    mask = (down & active[..., None])[..., :, None] & across[..., None, :]
    frames, _, high, wide = mask.shape
    per_frame = mask.permute(0, 2, 3, 1).reshape(frames * high * wide, -1)
    place = per_frame.nonzero()
    tile, thing = place[:, 0], place[:, 1]
    counts = per_frame.sum(dim=1)
    first = torch.cumsum(counts, 0) - counts
    rank = torch.arange(len(tile), device=tile.device) - first.index_select(0, tile)
    ranks = int(counts.max()) if counts.numel() else 0
    frame = torch.div(tile, high * wide, rounding_mode="floor")
    return Pairs(frame, thing, tile, rank, ranks)


def _within(centre: Tensor, axes: Tensor, edges: Tensor, axis: int, is_ball: bool) -> Tensor:
    """``[F, K, tiles]`` whether an object may lie between consecutive edges."""
    edges = edges[:, None]
    value = centre[..., axis, None] - edges * centre[..., 2, None]
    if is_ball:
        reach = axes[..., 0] * torch.sqrt(1.0 + edges * edges)
    else:
        reach = (axes[:, :, None, axis] - edges[..., None] * axes[:, :, None, 2]).abs().sum(dim=-1)
    return (value + reach >= 0.0)[..., :-1] & (value - reach <= 0.0)[..., 1:]
