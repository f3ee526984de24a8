# SPDX-License-Identifier: Apache-2.0
"""The depth to tell: what photographs showed, what the memory takes for likely, and what lies around.

Photographs from close by tell depth roughly and a camera that only turns tells none, while surfaces are mostly smooth.
So a small net looks at everything that is known in the first view that is finer than the planes (half to an eighth of
what is wanted; a small view itself) and says, for every pixel, how much the memory is to be believed, what is to be
added, and how wrong the result will be. Colours do not depend on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsm_ros.recall.depths import Depths
from fsm_ros.recall.evidence import Found, Prior
from fsm_ros.recall.planes import PLANES, Photographs, Wanted, log_inverse_depth_at

LARGEST_LOG_CHANGE = 3.0
"""Of what photographs showed: a factor of twenty."""
_CHANNELS = 22
_SURE_OF_PHOTOGRAPHS = 4.0
SURE, SUREST = 0.05, 0.02
"""A prior whose scale is smaller than the first, as a depth camera's is and that of fast weights never was (0.2),
is believed more and more, and wholly from the second on: photographs do not tell depth any better."""


@dataclass(frozen=True, eq=False)
class ToldDepth:
    """What is told of a view's depth.

    Attributes:
        log_inverse_depth: ``[B, 1, H, W]``, natural logarithm, one over metres along the optical axis.
        log_scale: ``[B, 1, H, W]`` to be added to the logarithm of its expected error.
    """

    log_inverse_depth: Tensor
    log_scale: Tensor


class DepthFusion(nn.Module):
    """Weighs what photographs and the memory say of depth; begins with believing the photographs."""

    def __init__(self, channels: int) -> None:
        """Args: channels at the finest of its three resolutions."""
        super().__init__()
        wide, widest = 2 * channels, 3 * channels
        self.enter = nn.Conv2d(_CHANNELS, channels, 3, padding=1)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.down = nn.Conv2d(channels, wide, 3, stride=2, padding=1)
        self.second = nn.Conv2d(wide, wide, 3, padding=1)
        self.further_down = nn.Conv2d(wide, widest, 3, stride=2, padding=1)
        self.inner = nn.ModuleList(nn.Conv2d(widest, widest, 3, padding=1) for _ in range(2))
        self.whole = nn.Linear(widest, widest)
        self.up = nn.Conv2d(widest, wide, 1)
        self.third = nn.Conv2d(wide, wide, 3, padding=1)
        self.further_up = nn.Conv2d(wide, channels, 1)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        self.out = nn.Conv2d(channels, 3, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        self.out.bias = nn.Parameter(torch.tensor([-_SURE_OF_PHOTOGRAPHS, 0.0, 0.0]))

    def forward(self, channels: Tensor, shown: Tensor, prior: Prior) -> ToldDepth:
        """Tell the depth.

        Args:
            channels: of :func:`fusion_channels`, of any size.
            shown: ``[B, 1, H, W]`` logarithm of inverse depth that photographs showed, at the wanted size.
            prior: what the memory knows, at the wanted size.
        """
        x = F.relu(self.enter(channels))
        x = x + F.relu(self.first(x))
        y = F.relu(self.down(x))
        y = y + F.relu(self.second(y))
        z = F.relu(self.further_down(y))
        for layer in self.inner:
            z = z + F.relu(layer(z))
            z = z + F.relu(self.whole(z.mean(dim=(2, 3))))[:, :, None, None]
        y = y + F.relu(self.up(as_large_as(z, y)))
        y = y + F.relu(self.third(y))
        x = x + F.relu(self.further_up(as_large_as(y, x)))
        x = x + F.relu(self.last(x))
        believed, change, log_scale = (part[:, None] for part in as_large_as(self.out(x).float(), shown).unbind(dim=1))
        change = change.clamp(-LARGEST_LOG_CHANGE, LARGEST_LOG_CHANGE)
        told = shown + change
        if prior.log_inverse_depth is not None and prior.scale is not None:
            told = told + torch.sigmoid(believed) * (prior.log_inverse_depth - shown)
            told = told + _taken_at_its_word(prior) * (prior.log_inverse_depth - told)
        return ToldDepth(told, log_scale)


def fusion_channels(
    depths: Depths, planes: Depths, found: Found, view: Wanted, photographs: Photographs, prior: Prior
) -> Tensor:
    """What is known of depth in the first view finer than the planes', ``[B, 22, h, w]``, without gradient.

    Args:
        depths: that were looked at, at the resolution that is wanted here.
        planes: that were looked at before, in a coarser view.
        found: what was found at ``depths``.
        view: the view at that resolution.
        photographs: around it.
        prior: what the memory knows, of its size.
    """
    with torch.no_grad():
        baseline = photographs.baseline_m
        step = depths.settled[:, None]
        shown = log_inverse_depth_at(step, baseline)
        likelihood = depths.logits.log_softmax(dim=1)
        of_planes = planes.logits.log_softmax(dim=1)
        nothing = torch.zeros_like(shown)
        remembered, scale, known = nothing, nothing, nothing
        if prior.log_inverse_depth is not None and prior.scale is not None:
            remembered, known = prior.log_inverse_depth, nothing + 1.0
            scale = prior.scale.clamp(1e-3, 1e3).log()
        rays = view.rays()[:, :2]
        present, count = photographs.present[:, :, None, None, None], photographs.count.view(-1, 1, 1, 1)
        parts = [
            shown / 3,
            remembered / 3,
            (remembered - shown).clamp(-3.0, 3.0) * known,
            scale / 4,
            known,
            step / PLANES,
            _entropy(likelihood),
            as_large_as(_entropy(of_planes), shown),
            as_large_as(of_planes.amax(dim=1, keepdim=True).exp(), shown),
            photographs.mean_distance_m.clamp_min(1e-3).log().view(-1, 1, 1, 1).expand_as(shown) / 4,
            (found.colours.mean(dim=2) * present).sum(dim=1) / count,
            found.signs[:, 0].clamp(max=20.0) / 10,
            found.landings.seen.float().mean(dim=2).sum(dim=1)[:, None] / count,
            prior.colour,
            rays,
            rays.square().sum(dim=1, keepdim=True),
        ]
        return torch.cat(parts, dim=1)


def _taken_at_its_word(prior: Prior) -> Tensor | float:
    """How much a prior is, ``[B, 1, H, W]`` in [0, 1]: by its Laplace scale, or as it was measured."""
    if prior.scale is None:
        return 0.0
    steps = ((SURE / prior.scale.clamp_min(1e-6)).log() / math.log(SURE / SUREST)).clamp(0.0, 1.0)
    return steps if prior.measured is None else torch.maximum(steps, prior.measured)


def _entropy(log_likelihood: Tensor) -> Tensor:
    return -(log_likelihood.exp() * log_likelihood).sum(dim=1, keepdim=True)


def as_large_as(x: Tensor, like: Tensor) -> Tensor:
    """As large as another one, whose size was halved, rounding up, until it was this one's."""
    size = like.shape[-2:]
    if x.shape[-2:] == size:
        return x
    # What was rounded up sticks out at the lower and right edges.
    whole = [own * 2 ** math.ceil(math.log2(wanted / own)) for own, wanted in zip(x.shape[-2:], size, strict=True)]
    return F.interpolate(x, whole, mode="bilinear", align_corners=False)[..., : size[0], : size[1]]
