# SPDX-License-Identifier: Apache-2.0
"""Where rays meet rolling ground: a height field that is a sum of a few plane waves."""

from __future__ import annotations

import torch
from torch import Tensor

_STEPS = 7
_SECANTS = 2
_LONGEST_M = 80.0


class Terrain:
    """The ground under every tile.

    Attributes:
        waves: ``[waves, 4, T]`` amplitude (m), angular wave numbers in x and y (1/m) and phase.
        highest: ``[T]`` bound on the height, metres.
    """

    def __init__(self, waves: Tensor) -> None:
        """Takes the waves of each tile, ``[T, waves, 4]``."""
        self.waves = waves.permute(1, 2, 0).contiguous()
        self.highest = self.waves[:, 0].abs().sum(dim=0) + 1e-4

    def of(self, tile: Tensor) -> Terrain:
        """The ground under some of the tiles."""
        return Terrain(self.waves.index_select(2, tile).permute(2, 0, 1))

    def height(self, x: Tensor, y: Tensor) -> Tensor:
        """Metres above zero at places ``[..., T]``."""
        total = torch.zeros_like(x)
        for amplitude, kx, ky, phase in self.waves.unbind(0):
            total.add_(torch.sin(x * kx + y * ky + phase).mul_(amplitude))
        return total

    def normal(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit normal of the ground at places ``[..., T]``."""
        slope_x, slope_y = torch.zeros_like(x), torch.zeros_like(x)
        for amplitude, kx, ky, phase in self.waves.unbind(0):
            wave = torch.cos(x * kx + y * ky + phase).mul_(amplitude)
            slope_x.addcmul_(wave, kx.expand_as(wave))
            slope_y.addcmul_(wave, ky.expand_as(wave))
        up = torch.rsqrt(slope_x * slope_x + slope_y * slope_y + 1.0)
        return -slope_x * up, -slope_y * up, up

    def hit(self, origin: tuple[Tensor, Tensor, Tensor], direction: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """T of the first crossing, infinity where the ray stays above the ground.

        The ray is followed in a few steps of growing length between the heights that bound the ground, and the
        crossing is refined by secants. Far crests that a step jumps over are missed; they lie in the haze.

        Args:
            origin: components ``[T]``, above the ground.
            direction: components ``[64, T]``.
        """
        (ox, oy, oz), (dx, dy, dz) = origin, direction
        inv = torch.reciprocal(dz).clamp_(-1e6, 1e6)
        to_top, to_bottom = inv * (self.highest - oz), inv * (-self.highest - oz)
        start = torch.where(oz > self.highest, to_top, torch.zeros_like(to_top))
        end = torch.where(dz < 0.0, to_bottom, to_top).clamp_max_(_LONGEST_M)
        possible = (start >= 0.0) & (end > start)
        length = end - start
        before, above = start, oz + start * dz - self.height(ox + start * dx, oy + start * dy)
        low, high = before, end
        gap_low, gap_high = above, torch.full_like(above, -1e-3)
        found = torch.zeros_like(possible)
        for step in range(1, _STEPS + 1):
            t = start + length * (step / _STEPS) ** 2
            gap = oz + t * dz - self.height(ox + t * dx, oy + t * dy)
            crosses = (gap < 0.0) & ~found
            low, high = torch.where(crosses, before, low), torch.where(crosses, t, high)
            gap_low, gap_high = torch.where(crosses, above, gap_low), torch.where(crosses, gap, gap_high)
            found |= crosses
            before, above = t, gap
        for _ in range(_SECANTS):
            t = low + (high - low) * (gap_low / (gap_low - gap_high)).clamp_(0.0, 1.0)
            gap = oz + t * dz - self.height(ox + t * dx, oy + t * dy)
            under = gap < 0.0
            low, high = torch.where(under, low, t), torch.where(under, t, high)
            gap_low, gap_high = torch.where(under, gap_low, gap), torch.where(under, gap, gap_high)
        t = low + (high - low) * (gap_low / (gap_low - gap_high)).clamp_(0.0, 1.0)
        return t.masked_fill_(~(possible & found), torch.inf)
