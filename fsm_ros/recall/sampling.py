# SPDX-License-Identifier: Apache-2.0
"""Looking images up, and making them smaller."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor


def sampled(values: Tensor, grid: Tensor, mode: str, *, from_corner_to_corner: bool = False) -> Tensor:
    """``[B, K, C, h, w]`` at ``[B, K, N, H, W, 2]``: ``[B, K, N, C, H, W]``.

    Args:
        values: to look up.
        grid: where, from -1 to 1.
        mode: how to interpolate.
        from_corner_to_corner: the outermost values lie at -1 and 1, not half a pixel inside.
    """
    batch, views, count, height, width, _ = grid.shape
    flat = F.grid_sample(
        values.flatten(0, 1).float(),
        grid.reshape(batch * views, count * height, width, 2).float(),
        mode=mode,
        padding_mode="border",
        align_corners=from_corner_to_corner,
    )
    return flat.view(batch, views, -1, count, height, width).transpose(2, 3)


def pooled(x: Tensor, factor: int) -> Tensor:
    """``[B, C, H, W]`` with pixels ``factor`` times as large; those at the edges are means of fewer."""
    pooled: Tensor = F.avg_pool2d(x, factor, ceil_mode=True, count_include_pad=False)
    return pooled


def grouped(x: Tensor, *sizes: int) -> Tensor:
    """A first dimension that is several: ``[A * B, ...]`` to ``[A, B, ...]``."""
    return x.reshape(*sizes, *x.shape[1:])


def added(x: Tensor, change: Tensor) -> Tensor:
    """``x + relu(change)``; where no gradient is wanted, written over `change`, which nobody else may hold."""
    if change.requires_grad:
        return x + F.relu(change)
    return change.relu_().add_(x)


def strongest(x: Tensor) -> Tensor:
    """The largest of each channel over depths, ``[B, N, C, H, W]`` to ``[B, C, H, W]``."""
    # On a CPU several times as fast as amax, whatever the layout; halves first, as planes are many.
    while x.shape[1] > 2 and x.shape[1] % 2 == 0:
        x = torch.maximum(*x.chunk(2, dim=1))
    return functools.reduce(torch.maximum, x.unbind(dim=1))
