# SPDX-License-Identifier: Apache-2.0
"""What a depth camera measured with the photographs, seen from a wanted view: a prior nearly as sure as the truth.

Every measured point goes into the pixel of the view that it falls into; the nearest surface hides what lies behind it.
Where nothing was measured the memory's own geometry stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from fsm_ros.recall.evidence import Prior
from fsm_ros.recall.planes import Wanted

SURFACE = 0.05
"""Points of a pixel that are no further away than this behind the nearest one are of the same surface."""
SCALE = 0.05
"""Of the Laplace distribution around a measured depth, in its logarithm, as the net is told it: it was trained with
priors of fast weights, and makes less of the photographs where one is surer than it ever saw."""
UNKNOWN_SCALE = 1.0
"""Where nothing was measured and the memory tells no depth either: a factor of three."""
FEWEST_AROUND = 4
"""So many of the eight pixels around an empty one say what is in it: it lies between points of one surface."""
SENSED_A_PHOTOGRAPH = 2
"""For each photograph that a view is recalled from, the depth of so many is looked at."""
_NEAR_M = 1e-2


@dataclass(frozen=True, eq=False)
class Sensed:
    """``K`` depth images for each of ``B`` wanted views.

    Attributes:
        log_inverse_depth: ``[B, K, h, w]``, natural logarithm, one over metres along the optical axis; NaN where
            nothing was measured, or there is no such image.
        fxfycxcy: ``[B, K, 4]`` pixels of these images, pixel centres at half-integers.
        view_from_sensed: ``[B, K, 4, 4]`` rigid, to the wanted camera's optical frame, metres.
    """

    log_inverse_depth: Tensor
    fxfycxcy: Tensor
    view_from_sensed: Tensor


def with_sensed(prior: Prior, sensed: Sensed, view: Wanted) -> Prior:
    """What is known of wanted views, with measured depth in place of the memory's where there is any.

    Args:
        prior: of the wanted size.
        sensed: around the views.
        view: the views.
    """
    measured = seen_from(sensed, view)[:, None]
    known = measured.isfinite()
    if not known.any():
        return prior
    otherwise, scale = prior.log_inverse_depth, prior.scale
    if otherwise is None or scale is None:
        otherwise = measured.flatten(1).nanmedian(dim=1).values.nan_to_num().view(-1, 1, 1, 1).expand_as(measured)
        scale = torch.full_like(measured, UNKNOWN_SCALE)
    return replace(
        prior,
        log_inverse_depth=torch.where(known, measured, otherwise),
        scale=torch.where(known, torch.full_like(scale, SCALE), scale),
        measured=known.to(measured),
    )


def seen_from(sensed: Sensed, view: Wanted) -> Tensor:
    """Logarithms of inverse depth ``[B, H, W]`` of the nearest measured surfaces; NaN where nothing was measured."""
    # Pixels no finer than those of the images, or the view would be seen through the gaps between points.
    finest = float((view.fxfycxcy[:, None, 0] / sensed.fxfycxcy[..., 0]).amin())
    level = max(0, math.ceil(math.log2(finest) - 0.5)) if math.isfinite(finest) and finest > 0 else 0
    coarse = view.at(level)
    filled = _filled(_splatted(sensed, coarse))
    if level == 0:
        return filled
    large = filled.repeat_interleave(2**level, dim=1).repeat_interleave(2**level, dim=2)
    return large[:, : view.height, : view.width]


def _splatted(sensed: Sensed, view: Wanted) -> Tensor:
    batch, _, rows, columns = sensed.log_inverse_depth.shape
    images = Wanted(sensed.fxfycxcy.flatten(0, 1), rows, columns)
    z = (-sensed.log_inverse_depth).exp()
    points = z[:, :, None] * images.rays().view(batch, -1, 3, rows, columns)
    pose = sensed.view_from_sensed
    # No matrix product: TF32 would round it.
    moved = (pose[..., :3, :3, None, None] * points[:, :, None]).sum(dim=3) + pose[..., :3, 3, None, None]
    x, y, z = (part.flatten(1) for part in moved.unbind(dim=2))
    before = z > _NEAR_M  # of NaN this is false
    safe = torch.where(before, z, torch.ones_like(z))
    fx, fy, cx, cy = (view.fxfycxcy[:, i, None] for i in range(4))
    column, row = (fx * x / safe + cx).floor(), (fy * y / safe + cy).floor()
    inside = before & (column >= 0) & (column < view.width) & (row >= 0) & (row < view.height)
    nowhere = view.height * view.width
    cell = torch.where(inside, row * view.width + column, torch.full_like(row, nowhere)).long()
    depth = safe.log()
    nearest = torch.full((batch, nowhere + 1), torch.inf, device=z.device, dtype=z.dtype)
    nearest = nearest.scatter_reduce(1, cell, depth, "amin")
    same = (depth <= nearest.gather(1, cell) + math.log1p(SURFACE)).to(depth)
    total, count = (torch.zeros_like(nearest).scatter_add(1, cell, part) for part in (same * depth, same))
    mean = torch.where(count > 0, -total / count, torch.nan)
    return mean[:, :-1].view(batch, view.height, view.width)


def _filled(log_inverse_depth: Tensor) -> Tensor:
    """The same, with single empty pixels as far away as those around them."""
    known = log_inverse_depth.isfinite()
    around = F.avg_pool2d(
        torch.stack([log_inverse_depth.nan_to_num() * known, known.to(log_inverse_depth)], dim=1), 3, 1, 1
    )
    count = around[:, 1] * 9
    mean = around[:, 0] * 9 / count.clamp_min(1.0)
    is_between = ~known & (count >= FEWEST_AROUND - 0.5)
    return torch.where(is_between, mean, log_inverse_depth)
