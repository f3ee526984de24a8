# SPDX-License-Identifier: Apache-2.0
"""What a depth camera measures of a scene: exactly, or as a stereo camera of a robot does, with noise and holes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fsm_ros.training.scene_settings import DepthInput

NOISE_AT_1_M = 0.005
"""Standard deviation at one metre, relative; it grows with depth, so that in metres it grows with its square."""
NEAREST_M, FARTHEST_M = 0.3, 6.0
"""Nothing is measured outside of this range."""
GRAZING_RAD = math.radians(78.0)
"""Nothing is measured of a surface that is seen at a larger angle off its normal."""
EDGE = 0.06
"""Nothing is measured in a pixel whose neighbour is nearer or further by so much, relative, and more than its slope."""
LOST = 0.01
"""Share of further pixels without a measurement."""
_BLOB = 2
"""Noise is alike in so many pixels each way: stereo matches windows, not pixels."""


def measured(kind: DepthInput, depth_m: Tensor, fxfycxcy: Tensor, rng: torch.Generator) -> Tensor:
    """What a depth camera measures.

    Args:
        kind: exactly, or as a sensor does.
        depth_m: ``[N, H, W]`` true, along the optical axis, metres.
        fxfycxcy: ``[N, 4]`` pixels.
        rng: on the CPU; all that is random comes from here.

    Returns:
        ``[N, H, W]`` metres, NaN where nothing is measured.

    Raises:
        ValueError: nothing is to be measured.
    """
    if kind is DepthInput.NONE:
        raise ValueError("without a depth camera nothing is measured")
    if kind is DepthInput.EXACT:
        return depth_m
    count, height, width = depth_m.shape
    small = torch.randn(count, 1, -(-height // _BLOB), -(-width // _BLOB), generator=rng)
    noise = small.repeat_interleave(_BLOB, dim=2).repeat_interleave(_BLOB, dim=3)[:, 0, :height, :width]
    seen = depth_m * (1.0 + NOISE_AT_1_M * depth_m * noise.to(depth_m))
    lost = torch.rand(depth_m.shape, generator=rng).to(depth_m) < LOST
    outside = (depth_m < NEAREST_M) | (depth_m > FARTHEST_M)
    return torch.where(lost | outside | _is_hard(depth_m, fxfycxcy.to(depth_m)), torch.nan, seen)


def _is_hard(depth_m: Tensor, fxfycxcy: Tensor) -> Tensor:
    """Where a surface is seen at a grazing angle, or ends."""
    count, height, width = depth_m.shape
    fx, fy, cx, cy = (fxfycxcy[:, i, None, None] for i in range(4))
    column = torch.arange(width, device=depth_m.device) + 0.5
    row = (torch.arange(height, device=depth_m.device) + 0.5)[:, None]
    one = torch.ones_like(depth_m)
    rays = torch.stack([(column - cx) / fx * one, (row - cy) / fy * one, one], dim=1)
    points = rays * depth_m[:, None]
    padded = F.pad(points, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    along = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    normal = F.normalize(torch.linalg.cross(across, along, dim=1), dim=1)
    grazing = (normal * F.normalize(rays, dim=1)).sum(dim=1).abs() < math.cos(GRAZING_RAD)
    # A plane is straight in inverse depth, an edge is not.
    inverse = F.pad(depth_m.reciprocal()[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    centre = inverse[:, 1:-1, 1:-1]
    bends = [
        (inverse[:, 1:-1, 2:] + inverse[:, 1:-1, :-2] - 2 * centre).abs(),
        (inverse[:, 2:, 1:-1] + inverse[:, :-2, 1:-1] - 2 * centre).abs(),
    ]
    return grazing | (torch.maximum(*bends) > EDGE * centre)
