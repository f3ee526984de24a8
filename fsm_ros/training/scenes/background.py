# SPDX-License-Identifier: Apache-2.0
"""The box around a scene, and the ground and the sky of an open one."""

from __future__ import annotations

import torch
from torch import Tensor

from fsm_ros.training.scenes.intersect import Components, inverse, leave_slab
from fsm_ros.training.scenes.rays import FrameBlock, Hits, Rays
from fsm_ros.training.scenes.terrain import Terrain

_LEVEL = 1e-4
"""Rays that miss rolling ground rise at least so much: a crest that was jumped over becomes far sky."""


def surroundings(block: FrameBlock, rays: Rays) -> tuple[Tensor, Tensor]:
    """Depth and face (int32) ``[64, T]`` at which rays leave the box around the scene, or meet the ground."""
    middle, half = 0.5 * (block.low + block.high), 0.5 * (block.high - block.low)
    start = rays.components((block.pose[:, :3, 3] - middle).float())
    size = rays.components(half.float())
    if block.outdoors:
        return _outdoors(block, rays, start[2], size[2])
    x, y, z = (leave_slab(o, h, inverse(d)) for o, h, d in zip(start, size, rays.direction, strict=True))
    depth = torch.minimum(x, y)
    axis = (y < x).to(torch.int32).masked_fill_(z < depth, 2)
    depth = torch.minimum(depth, z, out=depth)
    ahead = [d > 0.0 for d in rays.direction]
    positive = torch.where(axis == 0, ahead[0], torch.where(axis == 1, ahead[1], ahead[2]))
    return depth, axis.mul_(2).add_(positive)


def _outdoors(block: FrameBlock, rays: Rays, above_middle: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """The flat ground or the clouds; or rolling ground, and clouds wherever a ray does not meet it."""
    dz = rays.direction[2]
    if not block.hilly:
        return leave_slab(above_middle, half, inverse(dz)), (dz > 0.0).to(torch.int32).add_(4)
    depth = leave_slab(above_middle, half, inverse(dz.abs().clamp_min_(_LEVEL)))
    face = torch.full_like(depth, 5, dtype=torch.int32)
    terrain = Terrain(block.terrain.index_select(0, rays.frame))
    tile = ((dz.amin(dim=0) < 0.0) | (rays.origin[2] < terrain.highest)).nonzero().squeeze(1)
    near = tuple(o.index_select(0, tile) for o in rays.origin)
    along = tuple(d.index_select(1, tile) for d in rays.direction)
    ground = terrain.of(tile).hit((near[0], near[1], near[2]), (along[0], along[1], along[2]))
    met = torch.isfinite(ground)
    depth.index_copy_(1, tile, torch.where(met, ground, depth.index_select(1, tile)))
    face.index_copy_(1, tile, (~met).to(torch.int32).add_(4))
    return depth, face


def background_hits(block: FrameBlock, rays: Rays, face: Tensor, points: Components) -> Hits:
    """Surface, place on it and normal of all rays, as if there were no objects."""
    x, y, z = points
    surface = (rays.spread(block.first_surface) + face).view(-1)
    if block.outdoors:
        up = (face == 4).to(torch.float32).mul_(2.0).sub_(1.0)
        across, along = torch.zeros_like(up), torch.zeros_like(up)
        if block.hilly:
            slope = Terrain(block.terrain.index_select(0, rays.frame)).normal(x, y)
            across, along, up = (torch.where(up > 0.0, s, n) for s, n in zip(slope, (across, along, up), strict=True))
        return Hits(surface, x.reshape(-1).clone(), y.reshape(-1).clone(), (across, along, up))
    off_x, off_z = face > 1, face < 4
    on_wall = off_x & off_z
    inward = (face & 1).mul_(-2).add_(1).to(torch.float32)
    normal = (inward.masked_fill(off_x, 0.0), inward.masked_fill(~on_wall, 0.0), inward.masked_fill(off_z, 0.0))
    # Right and down as one sees it from inside, so that pictures hang the right way up.
    u, v = torch.where(off_x, -x, y).mul_(inward), torch.where(off_z, -z, y)
    return Hits(surface, u.view(-1), v.view(-1), normal)
