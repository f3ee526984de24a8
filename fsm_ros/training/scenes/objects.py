# SPDX-License-Identifier: Apache-2.0
"""Boxes, spheres and cylinders in front of the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fsm_ros.training.scenes.intersect import Components, dot, hit_unit_box, hit_unit_cylinder, hit_unit_sphere
from fsm_ros.training.scenes.rays import FrameBlock, Hits, Rays, span
from fsm_ros.training.scenes.spec import FACES, Kind
from fsm_ros.training.scenes.tiles import Pairs

_KIND_HITS = {Kind.BOX: hit_unit_box, Kind.SPHERE: hit_unit_sphere, Kind.CYLINDER: hit_unit_cylinder}


def object_frames(block: FrameBlock) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Objects in camera coordinates: centre and half axes, and rays in unit coordinates: matrix and origin."""
    turn, spot = block.pose[:, None, :3, :3], block.pose[:, None, :3, 3]
    offset = block.place - spot
    centre = (turn * offset[..., None]).sum(dim=-2)
    relative = (turn[..., :, :, None] * block.rotation[..., :, None, :]).sum(dim=-3)  # camera from object
    axes = relative * block.half[..., None, :]
    unit = relative.transpose(-1, -2) / block.half[..., :, None]
    origin = -(block.rotation * offset[..., None]).sum(dim=-2) / block.half
    return centre.float(), axes.float(), unit.float(), origin.float()


@dataclass(eq=False)
class Reached:
    """Rays that meet an object.

    Attributes:
        ray: ``[H]`` flat index of the ray.
        thing: ``[H]`` flat index (frame, slot) of the object.
        local: components ``[H]`` of the place in the object's unit coordinates.
    """

    ray: Tensor
    thing: Tensor
    local: Components


def trace_objects(block: FrameBlock, rays: Rays, pairs: Pairs, unit: Tensor, origin: Tensor, depth: Tensor) -> Reached:
    """Meets rays with objects, and lowers `depth` ``[64, T]`` in place where one is nearer.

    Args:
        block: the frames.
        rays: their rays.
        pairs: the objects and tiles that may meet.
        unit: ``[F, K, 3, 3]`` unit coordinates of the object from the optical frame, without translation.
        origin: ``[F, K, 3]`` the camera in unit coordinates.
        depth: of what was there before.
    """
    slots = block.kind.shape[1]
    flat = pairs.frame * slots + pairs.thing
    kinds = block.kind.reshape(-1).index_select(0, flat)
    groups = [(kinds == int(kind)).nonzero().squeeze(1) for kind in _KIND_HITS]
    order = torch.cat(groups)
    flat, tile, rank = (x.index_select(0, order) for x in (flat, pairs.tile, pairs.rank))
    matrix = unit.reshape(-1, 9).index_select(0, flat).T.contiguous().unbind(0)
    start = origin.reshape(-1, 3).index_select(0, flat).T.contiguous().unbind(0)
    column, row = rays.column.index_select(1, tile), rays.row.index_select(1, tile)
    direction = span(column, row, _three(matrix[0::3]), _three(matrix[1::3]), _three(matrix[2::3]))
    met = torch.empty_like(direction[0])
    begin = 0
    for hit, group in zip(_KIND_HITS.values(), groups, strict=True):
        part = slice(begin, begin + len(group))
        met[:, part] = hit(_three([s[part] for s in start]), _three([d[:, part] for d in direction]))
        begin += len(group)
    number = torch.arange(len(pairs), dtype=torch.int32, device=met.device)
    winner = torch.full(depth.shape, -1, dtype=torch.int32, device=met.device)
    for index in range(pairs.ranks):
        chosen = (rank == index).nonzero().squeeze(1)
        where = tile.index_select(0, chosen)
        new, old = met.index_select(1, chosen), depth.index_select(1, where)
        mine = number.index_select(0, chosen)
        winner.index_copy_(1, where, torch.where(new < old, mine, winner.index_select(1, where)))
        depth.index_copy_(1, where, torch.minimum(new, old, out=new))
    ray = (winner.view(-1) >= 0).nonzero().squeeze(1)
    pair = winner.view(-1).index_select(0, ray)
    at = torch.div(ray, depth.shape[1], rounding_mode="floor").mul_(len(pairs)).add_(pair)
    far = depth.view(-1).index_select(0, ray)
    local = [
        s.index_select(0, pair).addcmul_(far, d.reshape(-1).index_select(0, at))
        for s, d in zip(start, direction, strict=True)
    ]
    return Reached(ray, flat.index_select(0, pair), _three(local))


def _three(parts: Sequence[Tensor]) -> Components:
    x, y, z = parts
    return x, y, z


def write_object_hits(block: FrameBlock, reached: Reached, hits: Hits) -> None:
    """Writes surface, place on it and normal of the rays that meet objects over the background's."""
    thing = reached.thing
    slots = block.kind.shape[1]
    kind = block.kind.view(-1).index_select(0, thing)
    half = [h.index_select(0, thing) for h in block.half.float().reshape(-1, 3).T.contiguous().unbind(0)]
    x, y, z = reached.local
    ax, ay, az = x.abs(), y.abs(), z.abs()
    is_round, is_tube = kind == int(Kind.SPHERE), kind == int(Kind.CYLINDER)
    cap = is_tube & (az >= torch.sqrt(x * x + y * y))
    side = is_tube & ~cap
    on_x, on_z = (ax >= ay) & (ax > az) & ~is_tube, (az >= ay) & (az >= ax) & ~is_tube | cap
    # Balls are textured like the box around them, seen from their middle.
    largest = torch.where(is_round, torch.maximum(torch.maximum(ax, ay), az), 1.0).clamp_min_(1e-6)
    # Right and down as one sees it from outside; each pair of sides shifted, so that they do not look the same.
    u = torch.where(on_x, torch.copysign(y, x * y) * half[1], torch.copysign(x, -x * y) * half[0]) / largest
    u = torch.where(side, torch.atan2(y, x) * half[0], u)
    u = torch.where(on_x, u + 0.37 * half[0], torch.where(on_z, u + 0.74 * half[0], u))
    v = torch.where(on_z, y * half[1], -z * half[2]) / largest
    smooth = is_round | side
    one = torch.ones_like(x)
    local = [
        torch.where(smooth, x, torch.where(on_x, torch.copysign(one, x), 0.0)),
        torch.where(smooth, y, torch.where(on_x | on_z, 0.0, torch.copysign(one, y))),
        torch.where(is_round, z, torch.where(on_z, torch.copysign(one, z), 0.0)),
    ]
    bent = _three([n / h for n, h in zip(local, half, strict=True)])
    entry = [e.index_select(0, thing) for e in block.rotation.float().reshape(-1, 9).T.contiguous().unbind(0)]
    normal = _three([dot(_three(entry[3 * i : 3 * i + 3]), bent) for i in range(3)])
    scale = torch.rsqrt(dot(normal, normal))
    first = block.first_surface[:, None] + torch.arange(FACES, FACES + slots, dtype=torch.int32, device=x.device)
    ray = reached.ray
    hits.surface.index_copy_(0, ray, first.view(-1).index_select(0, thing))
    hits.u.index_copy_(0, ray, u)
    hits.v.index_copy_(0, ray, v)
    for whole, part in zip(hits.normal, normal, strict=True):
        whole.view(-1).index_copy_(0, ray, part * scale)
