# SPDX-License-Identifier: Apache-2.0
"""The learned layers of recall."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsm_ros.recall.evidence import POSE_CHANNELS
from fsm_ros.recall.sampling import added, grouped, strongest

CARRIED = 4
"""Channels that the planes' volume hands on to finer levels."""


class PhotographFeatures(nn.Module):
    """Features of a photograph at half its size."""

    def __init__(self, channels: int) -> None:
        """Args: how many."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """``[B, K, 3, H, W]`` to ``[B, K, C, H / 2, W / 2]``, rounded up."""
        flat: Tensor = self.layers(2 * images.flatten(0, 1) - 1)
        return grouped(flat, *images.shape[:2])


class PlaneConv(nn.Module):
    """A 3x3x3 convolution over planes, as one over images: several times as fast on a CPU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Args: channels in and out."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, 3 * outputs, 3, padding=1)

    def forward(self, volume: Tensor) -> Tensor:
        """``[B, D, C, H, W]`` to the same with other channels."""
        parts = grouped(self.conv(volume.flatten(0, 1)), *volume.shape[:2])
        nearer, here, further = parts.chunk(3, dim=2)
        out = here.clone()
        out[:, 1:] += nearer[:, :-1]
        out[:, :-1] += further[:, 1:]
        return out


class CoarseDepth(nn.Module):
    """Which of all planes a pixel lies on."""

    def __init__(self, inputs: int, channels: int) -> None:
        """Args: channels in, and inside."""
        super().__init__()
        wide = 2 * channels
        self.reduce = nn.Conv2d(inputs, channels, 1)
        self.first = PlaneConv(channels, channels)
        self.down = nn.Conv2d(channels, wide, 3, stride=2, padding=1)
        self.inner = nn.ModuleList([PlaneConv(wide, wide), PlaneConv(wide, wide)])
        self.context = nn.Conv2d(wide, wide, 3, padding=1)
        self.up = nn.Conv2d(wide, channels, 1)
        self.last = PlaneConv(channels, channels)
        self.out = nn.Conv2d(channels, 1 + CARRIED, 1)
        self.first_sight = FirstSight()

    def forward(self, channels: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, D, C, H, W]`` and signs to logits ``[B, D, H, W]`` and features ``[B, D, CARRIED, H, W]``."""
        batch, planes = channels.shape[:2]
        height, width = channels.shape[-2:]
        x = grouped(F.relu(self.reduce(channels.flatten(0, 1))), batch, planes)
        x = added(x, self.first(x))
        y = grouped(F.relu(self.down(x.flatten(0, 1))), batch, planes)
        for layer in self.inner:
            y = added(y, layer(y))
            y = y + F.relu(self.context(strongest(y)))[:, None]
        up = F.interpolate(self.up(y.flatten(0, 1)), scale_factor=2, mode="bilinear", align_corners=False)
        x = x + grouped(up[..., :height, :width], batch, planes)
        x = added(x, self.last(x))
        out = grouped(self.out(x.flatten(0, 1)).float(), batch, planes)
        return out[:, :, 0] + self.first_sight(signs), out[:, :, 1:]


class FineDepth(nn.Module):
    """Which of a few depths a pixel has; their order means nothing."""

    def __init__(self, inputs: int, channels: int) -> None:
        """Args: channels in, and inside."""
        super().__init__()
        self.reduce = nn.Conv2d(inputs, channels, 1)
        self.layers = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.compare = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.logits = nn.Conv2d(channels, 1, 1)
        self.first_sight = FirstSight()

    def forward(self, channels: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, N, C, H, W]`` and signs to features ``[B, N, channels, H, W]`` and logits ``[B, N, H, W]``."""
        batch, count = channels.shape[:2]
        x = grouped(F.relu(self.reduce(channels.flatten(0, 1))), batch, count)
        for layer, compare in zip(self.layers, self.compare, strict=True):
            others = F.relu(compare(strongest(x)))[:, None]
            x = added(x, grouped(layer((x + others).flatten(0, 1)), batch, count))
        logits = self.logits(x.flatten(0, 1)).float().view(batch, count, *channels.shape[-2:])
        return x, logits + self.first_sight(signs)


class Blend(nn.Module):
    """Which photograph shows a point best, and whether the memory does."""

    def __init__(self, fine: int, channels: int) -> None:
        """Args: channels of a pixel's depths, and inside."""
        super().__init__()
        self.colour = nn.Conv2d(3 + 3 + 1, channels, 1)
        self.pose = nn.Linear(POSE_CHANNELS, channels, bias=False)
        self.depth = nn.Conv2d(fine, channels, 1, bias=False)
        self.layer = nn.Conv2d(channels, channels, 1)
        self.logits = nn.Conv2d(channels, 1, 1)
        self.nearness = nn.Parameter(torch.tensor(2.0))
        self.memory = nn.Conv2d(fine, 1, 3, padding=1)
        nn.init.zeros_(self.memory.weight)
        nn.init.constant_(self.memory.bias, -2.0)  # type: ignore[arg-type]

    def forward(
        self, x: Tensor, colours: Tensor, seen: Tensor, hidden: Tensor, pose: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Weights ``[B, K, N, H, W]`` of the photographs, for every depth adding up to one or, unseen, to nothing.

        Args:
            x: ``[B, N, C, H, W]`` features of the depths.
            colours: ``[B, K, N, 3, H, W]``.
            seen: ``[B, K, N, H, W]``.
            hidden: likewise, see :func:`hidden_behind`.
            pose: ``[B, K, POSE_CHANNELS]``.
            memory: ``[B, 3, H, W]`` the memory's colour.

        Returns:
            The weights, and the logit ``[B, 1, H, W]`` of showing the memory's colour.
        """
        batch, views, count = seen.shape[:3]
        mask = seen[:, :, :, None].to(colours)
        mean = (mask * colours).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp_min(1.0)
        inputs = [colours - mean, (colours - memory[:, None, None]).abs(), hidden[:, :, :, None]]
        y = grouped(self.colour(torch.cat(inputs, dim=3).flatten(0, 2)), batch, views, count)
        y = y + self.pose(pose)[:, :, None, :, None, None] + grouped(self.depth(x.flatten(0, 1)), batch, 1, count)
        y = F.relu(y.flatten(0, 2))
        y = added(y, self.layer(y))
        logits = self.logits(y).float().view(batch, views, count, *colours.shape[-2:])
        logits = logits - self.nearness * (pose[..., 0, None, None, None] + 0.1).log()
        weights = logits.masked_fill(~seen, -1e4).softmax(dim=1) * seen
        return weights, self.memory(strongest(x)).float()


class Finish(nn.Module):
    """A small refinement that starts as nothing, and how large the errors are."""

    def __init__(self, fine: int) -> None:
        """Args: channels of a pixel's depths."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(fine + 9, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()
        )
        self.out = nn.Conv2d(16, 5, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        self.out.bias = nn.Parameter(torch.tensor([0.0, 0.0, 0.0, math.log(0.05), math.log(0.1)]))

    def forward(self, x: Tensor, channels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Refinement ``[B, 3, H, W]``, logarithms of the error of colour and of depth, ``[B, 1, H, W]`` each."""
        out = self.out(self.layers(torch.cat([strongest(x), channels], dim=1))).float()
        refinement, log_error, log_depth_scale = out.split([3, 1, 1], dim=1)
        return refinement, log_error.clamp(-8.0, 1.0), log_depth_scale


class FirstSight(nn.Module):
    """What speaks for a depth before anything is learned: photographs that agree, and the memory."""

    def __init__(self) -> None:
        """Begins as a plane sweep."""
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([0.5, 1.0]))

    def forward(self, signs: Tensor) -> Tensor:
        """``[B, N, 2, H, W]`` to logits ``[B, N, H, W]``."""
        around = F.avg_pool2d(signs[:, :, 0].clamp(max=200.0), 3, stride=1, padding=1, count_include_pad=False)
        return -self.weights[0] * around - self.weights[1] * signs[:, :, 1]
