# SPDX-License-Identifier: Apache-2.0
"""Light, contact shadows and haze."""

from __future__ import annotations

import torch
from torch import Tensor

from fsm_ros.training.scenes.intersect import Components, dot
from fsm_ros.training.scenes.rays import PIXELS, FrameBlock, Hits, Rays
from fsm_ros.training.scenes.tiles import find_pairs

_SHADOW_REACH = 2.6
"""Objects darken what is nearer than so many of their radii."""
_DARKEST = 0.8
_STEEPEST_COSINE = 0.05


def shade(
    block: FrameBlock, rays: Rays, hits: Hits, points: Components, depth: Tensor, sky: Tensor, centre: Tensor
) -> Components:
    """Red, green and blue ``[64, T]`` of all rays: albedo, light, contact shadows and haze.

    Args:
        block: the frames.
        rays: their rays.
        hits: what they meet.
        points: where, in the world.
        depth: ``[64, T]`` how far along the optical axis.
        sky: ``[64, T]`` bool, which rays see nothing but the sky; ignored indoors.
        centre: ``[F, K, 3]`` of the objects in the optical frame.
    """
    facing = dot(hits.normal, rays.direction).abs_().clamp_min_(_STEEPEST_COSINE)
    pixel = rays.spread((1.0 / block.fxfycxcy[:, 0]).float())
    footprint = (depth * pixel).square_().div_(facing).log2_().mul_(0.5)
    colour = block.surfaces.colour(hits.surface, hits.u, hits.v, footprint.view(-1))
    red, green, blue = (c.view_as(depth) for c in colour)
    light = _lambert(block, rays, hits.normal, points)
    _contact_shadows(block, rays, points, hits.normal, centre, light)
    if not block.outdoors:
        return red.mul_(light), green.mul_(light), blue.mul_(light)
    light.masked_fill_(sky, 1.0)
    length = dot(rays.direction, rays.direction).sqrt_()
    clear = length.mul_(depth).mul_(-rays.spread(block.haze_per_m)).exp_()
    haze = rays.components(block.haze)
    red, green, blue = (
        c.mul_(light).sub_(h).mul_(clear).add_(h) for c, h in zip((red, green, blue), haze, strict=True)
    )
    return red, green, blue


def _lambert(block: FrameBlock, rays: Rays, normal: Components, points: Components) -> Tensor:
    """Lambert's law for one lamp, on top of light from everywhere."""
    x, y, z = (light - p for light, p in zip(rays.components(block.lamp.float()), points, strict=True))
    ambient = rays.spread(block.ambient)
    nearness = torch.rsqrt(dot((x, y, z), (x, y, z)))
    lit = dot(normal, (x, y, z)).clamp_min_(0.0).mul_(nearness)
    return lit.mul_(1.0 - ambient).add_(ambient)


def _contact_shadows(
    block: FrameBlock, rays: Rays, points: Components, normal: Components, centre: Tensor, light: Tensor
) -> None:
    """Darkens `light` in place near objects: the ambient occlusion by a ball, as Quilez derives it, cut off."""
    half = block.half.float()
    radius = half.amin(dim=-1)
    sunk = (half[..., 2] - radius)[..., None]  # the ball lies at the bottom of what it stands for
    down = -block.pose[:, None, 2, :3].float()
    casts = block.there & (block.occludes > 0.0)
    pairs = find_pairs(
        centre + sunk * down,
        (radius * _SHADOW_REACH)[..., None, None],
        casts,
        rays.column_edges,
        rays.row_edges,
        is_ball=True,
    )
    flat = pairs.frame * block.kind.shape[1] + pairs.thing
    place = block.place.float().reshape(-1, 3).index_select(0, flat).T.contiguous()
    place[2] -= sunk.reshape(-1).index_select(0, flat)
    size = radius.reshape(-1).index_select(0, flat)
    strength = block.occludes.reshape(-1).index_select(0, flat)
    dark = torch.zeros(PIXELS, len(pairs), dtype=light.dtype, device=light.device)
    square = torch.zeros_like(dark)
    for i in range(3):
        way = place[i] - points[i].index_select(1, pairs.tile)
        dark.addcmul_(way, normal[i].index_select(1, pairs.tile))
        square.addcmul_(way, way)
    inverse_distance = torch.rsqrt(square.clamp_min_(1e-8))
    near = (inverse_distance * size).square_().sub_(1.0 / _SHADOW_REACH**2).clamp_(0.0, 1.0)
    dark.mul_(inverse_distance).clamp_(0.0, 1.0).mul_(near).mul_(strength).clamp_max_(_DARKEST)
    dark.neg_().add_(1.0)
    for index in range(pairs.ranks):
        chosen = pairs.of_rank(index)
        tile = pairs.tile.index_select(0, chosen)
        light.index_copy_(1, tile, light.index_select(1, tile).mul_(dark.index_select(1, chosen)))
