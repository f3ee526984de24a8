# SPDX-License-Identifier: Apache-2.0
"""Which depths to look at next, and what is hidden at them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from fsm_ros.recall.evidence import Prior
from fsm_ros.recall.planes import PLANES, Landings, Wanted, log_inverse_depth_at, step_of_depth
from fsm_ros.recall.sampling import sampled


@dataclass(frozen=True, eq=False)
class Depths:
    """Depths that a level looked at.

    Attributes:
        level: pixels are ``2 ** level`` times as large as those wanted.
        step: ``[B, N, H, W]``, see :mod:`fsm_ros.recall.planes`.
        logits: ``[B, N, H, W]`` how much speaks for each.
    """

    level: int
    step: Tensor
    logits: Tensor

    @cached_property
    def settled(self) -> Tensor:
        """The likeliest step of every pixel ``[B, H, W]``: the mean of those that agree with the best one."""
        with torch.no_grad():
            share = self.logits.softmax(dim=1)
            best = self.step.gather(1, self.logits.max(dim=1, keepdim=True).indices)
            weight = share * ((self.step - best).abs() < 1.1)
            return (weight * self.step).sum(dim=1) / weight.sum(dim=1).clamp_min(1e-9)


def next_steps(coarser: Depths, prior: Prior, baseline: Tensor, view: Wanted, count: int) -> Tensor:
    """Depths to look at in the next finer level, ``[B, count, H, W]``, the likeliest first.

    What its own pixel of the coarser level took for the likeliest, what the next ones did (edges lie between pixels),
    and, where many are looked at, the memory's, the coarser level's second choice, and a little nearer and further.
    """
    likeliest = coarser.settled
    height, width = likeliest.shape[-2:]
    row = (torch.arange(view.height, device=likeliest.device) + 0.5) / 2 - 0.5
    column = (torch.arange(view.width, device=likeliest.device) + 0.5) / 2 - 0.5
    own_row, own_column = row.round().long().clamp(0, height - 1), column.round().long().clamp(0, width - 1)
    next_row = (own_row + torch.where(row > own_row, 1, -1)).clamp(0, height - 1)
    next_column = (own_column + torch.where(column > own_column, 1, -1)).clamp(0, width - 1)

    def picked(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        return values[:, rows][:, :, columns]

    own = picked(likeliest, own_row, own_column)
    around = torch.stack(
        [
            picked(likeliest, rows, columns)
            for rows, columns in ((own_row, next_column), (next_row, own_column), (next_row, next_column))
        ],
        dim=1,
    )
    if count <= 2:
        other = around.gather(1, (around - own[:, None]).abs().max(dim=1, keepdim=True).indices)
        return torch.cat([own[:, None], other], dim=1)[:, :count]
    steps = [own[:, None], around]
    if count > 4:
        steps.append(_remembered(prior, own, baseline))
        steps.append(picked(_second(coarser, likeliest), own_row, own_column)[:, None])
        steps += [(own - 0.4)[:, None], (own + 0.4)[:, None]]
    chosen = torch.cat(steps, dim=1)[:, :count]
    return chosen.clamp(0.0, PLANES - 1.0)


def hidden_behind(depths: Depths, best: Tensor, landed: Landings) -> Tensor:
    """How much further away a point is than what else the view shows in the same place of a photograph.

    Args:
        depths: that are looked at.
        best: ``[B, H, W]`` the likeliest step of every pixel.
        landed: where the depths lie in the photographs.

    Returns:
        ``[B, K, N, H, W]`` logarithm of the ratio of depths, in [0, 1]; 0: nothing in between is known.
    """
    batch, views, count, height, width = landed.z.shape
    cell = 2 if min(height, width) >= 32 else 1
    high, wide = -(-height // cell), -(-width // cell)
    # What lies at the likeliest depths, seen from the photograph: the nearest in each cell of its frame.
    number = (depths.step - best[:, None]).abs().min(dim=1).indices
    index = number[:, None, None].expand(-1, views, 1, -1, -1)
    # z is relative to the depth in the view; in the view's own units it is times that depth, here in logarithms.
    log_z = (landed.z.clamp_min(1e-4).log() - _log_inverse(depths.step)[:, None]).detach()
    surface = log_z.gather(2, index).flatten(2)
    where = landed.grid.detach().gather(2, index[..., None].expand(-1, -1, -1, -1, -1, 2)).reshape(batch, views, -1, 2)
    column = ((where[..., 0] + 1) * 0.5 * wide).floor().long()
    row = ((where[..., 1] + 1) * 0.5 * high).floor().long()
    inside = (column >= 0) & (column < wide) & (row >= 0) & (row < high) & landed.seen.gather(2, index).flatten(2)
    cells = torch.where(inside, row * wide + column, high * wide)
    front = torch.full((batch, views, high * wide + 1), 20.0, device=surface.device, dtype=surface.dtype)
    front = front.scatter_reduce(2, cells, surface, "amin")[..., :-1].view(batch, views, high, wide)
    before = sampled(front[:, :, None], landed.grid.detach(), "nearest")[:, :, :, 0]
    return ((log_z - before).clamp(0.0, 1.0) * landed.seen).to(landed.z)


def _log_inverse(step: Tensor) -> Tensor:
    return log_inverse_depth_at(step, torch.ones(len(step), device=step.device))


def _second(depths: Depths, likeliest: Tensor) -> Tensor:
    """The likeliest step that is another one, ``[B, H, W]``."""
    with torch.no_grad():
        other = depths.logits.masked_fill((depths.step - likeliest[:, None]).abs() < 2.5, -1e4)
        return depths.step.gather(1, other.max(dim=1, keepdim=True).indices)[:, 0]


def _remembered(prior: Prior, otherwise: Tensor, baseline: Tensor) -> Tensor:
    """The memory's step ``[B, 1, H, W]``; where it has none a little nearer than the likeliest."""
    if prior.log_inverse_depth is None:
        return (otherwise + 1.0)[:, None]
    return step_of_depth(prior.log_inverse_depth, baseline)


def from_planes(volume: Tensor, step: Tensor, times: int) -> Tensor:
    """What pixels so many times as large know of some steps.

    Args:
        volume: ``[B, D, C, h, w]``, of all planes.
        step: ``[B, N, H, W]``.
        times: how many times as large.

    Returns:
        ``[B, N, C, H, W]``.
    """
    height, width = volume.shape[-2:]
    rows, columns = step.shape[-2:]
    row = (torch.arange(rows, device=step.device) + 0.5) / times
    column = (torch.arange(columns, device=step.device) + 0.5) / times
    y = (row / height * 2 - 1).view(1, 1, -1, 1).expand_as(step)
    x = (column / width * 2 - 1).view(1, 1, 1, -1).expand_as(step)
    z = (step + 0.5) / volume.shape[1] * 2 - 1
    grid = torch.stack([x, y, z], dim=-1)
    found = F.grid_sample(
        volume.transpose(1, 2).float(), grid.float(), mode="bilinear", padding_mode="border", align_corners=False
    )
    return found.transpose(1, 2)
