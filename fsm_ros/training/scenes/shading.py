# SPDX-License-Identifier: Apache-2.0
"""Colour of surfaces: mip-mapped, bilinear texture lookup, recoloured."""

from __future__ import annotations

import torch
from torch import Tensor

from fsm_ros.training.scenes.bank import LEVELS, TEXTURE_SIZE, TextureBank, level_offsets
from fsm_ros.training.scenes.spec import Surface

_COARSEST = LEVELS - 2
_LOG2_SIZE = TEXTURE_SIZE.bit_length() - 1


class SurfaceTable:
    """The looks of many surfaces, on a device.

    Attributes:
        texels: the bank's table.
        first_texel: ``[surfaces]`` int32 where the surface's texture begins in it.
        columns: ``[18, surfaces]`` texels a metre, their log2, offset (2), blur, and the mix (12, row by row).
    """

    def __init__(self, surfaces: list[Surface], bank: TextureBank, texels: Tensor) -> None:
        """Packs the surfaces; `texels` is the bank's table on the device."""
        device = texels.device
        stride = level_offsets()[-1]
        numbers = [[s.texels_per_m, 0.0, *s.offset, s.blur, *s.mix.reshape(-1)] for s in surfaces]
        columns = torch.tensor(numbers, dtype=torch.float32).T.contiguous()
        columns[1] = columns[0].log2()
        self.texels = texels
        self.columns = columns.to(device)
        self.first_texel = torch.tensor([s.texture * stride for s in surfaces], dtype=torch.int32).to(device)
        self._offsets = torch.tensor(level_offsets()[:LEVELS], dtype=torch.int32).to(device)

    def colour(self, surface: Tensor, u: Tensor, v: Tensor, log2_footprint: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Albedo at places on surfaces.

        Args:
            surface: ``[N]`` int32 which surface.
            u: ``[N]`` place on it, metres.
            v: ``[N]`` place on it across u, metres.
            log2_footprint: ``[N]`` log2 of a pixel's size on it, metres.

        Returns:
            Red, green and blue ``[N]``, not yet bounded.
        """
        columns = self.columns
        scale = columns[0].index_select(0, surface)
        u = (u * scale).add_(columns[2].index_select(0, surface))
        v = (v * scale).add_(columns[3].index_select(0, surface))
        lod = columns[1].index_select(0, surface).add_(log2_footprint)
        lod = torch.maximum(lod, columns[4].index_select(0, surface), out=lod)
        level = lod.add_(0.5).clamp_(0.0, _COARSEST + 0.5).to(torch.int32)
        shrink = torch.exp2(-level.to(torch.float32))
        u, v = u.mul_(shrink).sub_(0.5), v.mul_(shrink).sub_(0.5)
        left, top = u.floor(), v.floor()
        right_share, bottom_share = u.sub_(left), v.sub_(top)
        wrap = torch.bitwise_right_shift(torch.full_like(level, TEXTURE_SIZE), level).sub_(1)
        column, row = left.to(torch.int32).bitwise_and_(wrap), top.to(torch.int32).bitwise_and_(wrap)
        next_column, next_row = (column + 1).bitwise_and_(wrap), (row + 1).bitwise_and_(wrap)
        width_bits = _LOG2_SIZE - level
        base = self.first_texel.index_select(0, surface).add_(self._offsets.index_select(0, level))
        row = row.bitwise_left_shift_(width_bits).add_(base)
        next_row = next_row.bitwise_left_shift_(width_bits).add_(base)
        bottom_right = right_share * bottom_share
        weights = (
            1.0 - right_share - bottom_share + bottom_right,
            right_share - bottom_right,
            bottom_share - bottom_right,
            bottom_right,
        )
        places = (row + column, row.add_(next_column), next_row + column, next_row.add_(next_column))
        red, green, blue = torch.zeros_like(u), torch.zeros_like(u), torch.zeros_like(u)
        for place, weight in zip(places, weights, strict=True):
            texel = self.texels.index_select(0, place)
            red.addcmul_((texel & 255).to(torch.float32), weight)
            green.addcmul_((texel >> 8).bitwise_and_(255).to(torch.float32), weight)
            blue.addcmul_((texel >> 16).to(torch.float32), weight)
        mixed = []
        for channel in range(3):
            r, g, b, constant = (columns[5 + 4 * channel + i].index_select(0, surface) for i in range(4))
            mixed.append(constant.addcmul_(r, red, value=1 / 255).addcmul_(g, green, value=1 / 255))
            mixed[-1].addcmul_(b, blue, value=1 / 255)
        return mixed[0], mixed[1], mixed[2]
