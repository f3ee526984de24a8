# SPDX-License-Identifier: Apache-2.0
"""Which keyframes to look at for a wanted view: those that cover most of what is not yet covered.

Points on the wanted view's rays are projected into all keyframes; a keyframe serves a point as well as it sees it from
the same side, at the same size and at the same time. Greedy: the next one adds most to what those before left over, and
one that stands where another does, as a robot's keyframes often do, adds little, as depth wants parallax.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ANGLE_RAD = 0.25
"""Seen from this angle off the wanted ray a point is served 1/e as well."""
REMAINING = 0.35
"""Of a point that one keyframe serves perfectly so much is left to be covered: depth wants a second one."""
ALIKE_RAD = 0.04
"""Two keyframes that see a point with less parallax than this tell hardly more of it than one of them."""
ALIKE_SHARE = 0.3
"""So much is the second one worth that sees a point along the very ray of one that serves it perfectly."""
TIME_S = 20.0
"""Keyframes that are so far away in time are worth ``LATE_SHARE`` less; further ones are not worth any less."""
LATE_SHARE = 0.6
COLUMNS, ROWS = 8, 6
"""Points of a wanted view."""
GUESSED_DEPTHS = (1.5, 4.0, 16.0)
"""Without a depth to go by, points lie so many times as far away as the nearest keyframe that looks the same way."""
_NEAR = 1e-3


@dataclass(frozen=True, eq=False)
class PosedCameras:
    """Cameras somewhere in the world, with any number of leading dimensions.

    Attributes:
        fxfycxcy: ``[..., 4]`` pixels, pixel centres at half-integers.
        size: ``[..., 2]`` columns and rows.
        world_from_camera: ``[..., 4, 4]`` rigid, optical frames, metres.
    """

    fxfycxcy: Tensor
    size: Tensor
    world_from_camera: Tensor


@dataclass(frozen=True, eq=False)
class Chosen:
    """Keyframes for each of ``T`` views of ``B`` scenes.

    Attributes:
        number: ``[B, T, K]`` which of the scene's keyframes.
        present: ``[B, T, K]`` bool: there may be fewer that are of any use.
    """

    number: Tensor
    present: Tensor


def choose(
    wanted: PosedCameras,
    keyframes: PosedCameras,
    seconds: Tensor,
    present: Tensor,
    count: int,
    depth_m: Tensor | None = None,
) -> Chosen:
    """The keyframes to look at for some views.

    Args:
        wanted: ``T`` views of ``B`` scenes, ``[B, T, ...]``.
        keyframes: ``N`` keyframes of each scene, ``[B, N, ...]``.
        seconds: ``[B, T, N]`` how much later than the wanted moment each was taken.
        present: ``[B, N]`` bool.
        count: ``K``, how many at most.
        depth_m: ``[B, T, ROWS, COLUMNS]`` depth along the optical axis at the points :func:`point_pixels`; ``None``:
            guessed from the keyframes.
    """
    points = points_of(wanted, keyframes, present, depth_m)
    served = serve(points, wanted.world_from_camera[..., :3, 3], wanted, keyframes)
    late = 1.0 - LATE_SHARE * (seconds.abs() / TIME_S).clamp(max=1.0)
    served = served * (late * present[:, None])[:, :, :, None]
    numbers, useful = [], []
    left = torch.ones_like(served)
    rays = _rays(points, keyframes)
    free = present[:, None].expand(served.shape[:3]).clone()
    for _ in range(min(count, served.shape[2])):
        gain = (served * left).sum(dim=-1).masked_fill(~free, -1.0)
        value, number = gain.max(dim=-1, keepdim=True)
        chosen = served.gather(2, number[..., None].expand(-1, -1, 1, served.shape[3]))
        left = left * (1.0 - (1.0 - REMAINING) * chosen)
        ray = rays.gather(2, number[..., None, None].expand(-1, -1, 1, *rays.shape[3:]))
        # Chords are angles here, as only small ones count.
        alike = torch.exp(-(rays - ray).square().sum(dim=-1) / ALIKE_RAD**2)
        left = left * (1.0 - (1.0 - ALIKE_SHARE) * chosen * alike)
        free.scatter_(2, number, False)
        numbers.append(number)
        useful.append(value > 1e-3)
    return Chosen(torch.cat(numbers, dim=-1), torch.cat(useful, dim=-1))


def point_pixels(size: Tensor) -> Tensor:
    """Where its points lie in a view of ``[..., 2]`` columns and rows: ``[..., ROWS, COLUMNS, 2]`` pixels."""
    column = (torch.arange(COLUMNS, device=size.device) + 0.5) / COLUMNS
    row = (torch.arange(ROWS, device=size.device) + 0.5) / ROWS
    grid = torch.stack([column.expand(ROWS, -1), row[:, None].expand(-1, COLUMNS)], dim=-1)
    return grid * size[..., None, None, :]


def points_of(wanted: PosedCameras, keyframes: PosedCameras, present: Tensor, depth_m: Tensor | None) -> Tensor:
    """Points of views in the world, ``[B, T, P, 3]``."""
    if depth_m is None:
        away = (wanted.world_from_camera[:, :, None, :3, 3] - keyframes.world_from_camera[:, None, :, :3, 3]).norm(
            dim=-1
        )
        along = torch.einsum(
            "bti,bni->btn", wanted.world_from_camera[..., :3, 2], keyframes.world_from_camera[..., :3, 2]
        )
        unlike = away + 10.0 * (1.0 - along) + 1e6 * ~present[:, None]
        nearest = away.gather(2, unlike.argmin(dim=2, keepdim=True)).clamp_min(0.05)
        depth_m = (nearest * away.new_tensor(GUESSED_DEPTHS))[..., None, None].expand(-1, -1, -1, ROWS, COLUMNS)
    else:
        depth_m = depth_m[:, :, None]
    pixel = point_pixels(wanted.size)
    lens = wanted.fxfycxcy[:, :, None, None]
    slope = (pixel - lens[..., 2:]) / lens[..., :2]
    ray = torch.cat([slope, torch.ones_like(slope[..., :1])], dim=-1)[:, :, None]
    inside = (ray * depth_m[..., None]).flatten(2, 4)
    rotation, origin = wanted.world_from_camera[..., :3, :3], wanted.world_from_camera[..., :3, 3]
    return torch.einsum("btij,btpj->btpi", rotation, inside) + origin[:, :, None]


def serve(
    points: Tensor, from_where: Tensor, wanted: PosedCameras, keyframes: PosedCameras, angle_rad: float = ANGLE_RAD
) -> Tensor:
    """How well keyframes serve points, ``[B, T, N, P]`` in [0, 1].

    Args:
        points: ``[B, T, P, 3]`` in the world, metres.
        from_where: ``[B, T, 3]`` where they are looked at from.
        wanted: ``[B, T, ...]`` the cameras that look at them.
        keyframes: ``[B, N, ...]``.
        angle_rad: see :data:`ANGLE_RAD`.
    """
    ray = _towards(points, keyframes)
    x, y, z = (ray @ keyframes.world_from_camera[:, None, :, :3, :3]).unbind(-1)
    before = z > _NEAR
    safe = torch.where(before, z, torch.ones_like(z))
    fx, fy, cx, cy = (keyframes.fxfycxcy[:, None, :, None, i] for i in range(4))
    u, v = fx * x / safe + cx, fy * y / safe + cy
    columns, rows = (keyframes.size[:, None, :, None, i] for i in range(2))
    seen = before & (u >= 0) & (u <= columns) & (v >= 0) & (v <= rows)
    own = points - from_where[:, :, None]
    own_away, away = own.norm(dim=-1)[:, :, None], ray.norm(dim=-1)
    cosine = (own[:, :, None] * ray).sum(dim=-1) / (own_away * away).clamp_min(1e-9)
    angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
    resolution = (fx / away.clamp_min(_NEAR)) / (wanted.fxfycxcy[..., 0, None, None] / own_away.clamp_min(_NEAR))
    # Half as many pixels serve half as well; more than are wanted serve hardly better, and cover less of the view.
    sharp = torch.minimum(resolution, resolution.clamp_min(1e-6).reciprocal().sqrt()).clamp(0.0, 1.0)
    return seen * torch.exp(-((angle / angle_rad) ** 2)) * sharp


def _towards(points: Tensor, keyframes: PosedCameras) -> Tensor:
    """From every keyframe to every point, ``[B, T, N, P, 3]``."""
    return points[:, :, None] - keyframes.world_from_camera[:, None, :, None, :3, 3]


def _rays(points: Tensor, keyframes: PosedCameras) -> Tensor:
    """The same of length 1."""
    return F.normalize(_towards(points, keyframes), dim=-1)
