# SPDX-License-Identifier: Apache-2.0
"""Depth planes of a wanted view, and where points on them lie in the photographs around it.

Depth is counted in steps ``t``: parallax, which is what photographs can tell, grows evenly with it where things are far
and by a constant factor where they are near. With ``b`` the mean distance between the wanted camera and those of the
photographs, a step's inverse depth is ``w = r / b`` and ``r = SOFT * sinh(STEP * t)``; step 0 lies infinitely far away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

PLANES = 32
"""Steps that are looked at in the coarsest view, 0 included."""
LARGEST_RATIO = 1.2
"""Baseline over depth of the nearest of them."""
SOFT = 0.1
"""Ratio of baseline to depth at which even steps go over into even factors."""
STEP = math.asinh(LARGEST_RATIO / SOFT) / (PLANES - 1)
SMALLEST_RATIO = 1e-4
"""Ratio that counts as infinitely far away where a logarithm is taken."""
SHORTEST_BASELINE_M = 0.1
"""Photographs that come from nearer to the wanted camera tell little of depth, and nothing stands much nearer to it:
steps are counted as if they came from so far away."""
_NEAR = 1e-3


@dataclass(frozen=True, eq=False)
class Wanted:
    """``B`` views to recall, one of each scene.

    Attributes:
        fxfycxcy: ``[B, 4]`` pixels, pixel centres at half-integers.
        height: rows.
        width: columns.
    """

    fxfycxcy: Tensor
    height: int
    width: int

    def at(self, level: int) -> Wanted:
        """The same views with pixels ``2 ** level`` times as large; what sticks out at the edges counts as a pixel."""
        step = 2**level
        return Wanted(self.fxfycxcy / step, -(-self.height // step), -(-self.width // step))

    def rays(self) -> Tensor:
        """Direction of every pixel, ``[B, 3, H, W]``, of length 1 along the optical axis."""
        device = self.fxfycxcy.device
        column = torch.arange(self.width, device=device) + 0.5
        row = torch.arange(self.height, device=device) + 0.5
        fx, fy, cx, cy = (self.fxfycxcy[:, i, None] for i in range(4))
        x = ((column - cx) / fx)[:, None, :].expand(-1, self.height, -1)
        y = ((row - cy) / fy)[:, :, None].expand(-1, -1, self.width)
        return torch.stack([x, y, torch.ones_like(x)], dim=1)


@dataclass(frozen=True, eq=False)
class Photographs:
    """``K`` photographs for each of ``B`` wanted views.

    Attributes:
        images: ``[B, K, 3, H, W]`` RGB in [0, 1]; one may fill only the upper left part of its frame.
        fxfycxcy: ``[B, K, 4]`` pixels of that frame, pixel centres at half-integers.
        size: ``[B, K, 2]`` columns and rows that the photograph fills.
        photograph_from_view: ``[B, K, 4, 4]`` from the wanted camera's optical frame to the photograph's, metres.
        seconds: ``[B, K]`` how much later than the wanted moment it was taken; negative: earlier.
        present: ``[B, K]`` bool: there may be fewer.
        corners: ``[B, K, 3, 2 * H + 1, 2 * W + 1]`` the means over areas as large as a pixel around every corner, edge
            and centre of the frame's pixels, so that nothing is blurred where a point lies between pixels; ``None``
            where the camera saw no finer than this.
    """

    images: Tensor
    fxfycxcy: Tensor
    size: Tensor
    photograph_from_view: Tensor
    seconds: Tensor
    present: Tensor
    corners: Tensor | None = None

    def fits(self, level: int) -> bool:
        """Whether the frame consists of whole pixels of a level, and so of all finer ones."""
        return not any(side % 2**level for side in self.images.shape[-2:])

    @property
    def baseline_m(self) -> Tensor:
        """``[B]`` mean distance from the wanted camera, metres, at least `SHORTEST_BASELINE_M`: what steps count in."""
        return self.mean_distance_m.clamp_min(SHORTEST_BASELINE_M)

    @property
    def mean_distance_m(self) -> Tensor:
        """``[B]`` mean distance from the wanted camera, metres."""
        # The wanted camera in the photograph's frame is as far away as the photograph's in the wanted one's.
        away = self.photograph_from_view[..., :3, 3].norm(dim=-1) * self.present
        mean: Tensor = away.sum(dim=1) / self.count
        return mean

    @property
    def count(self) -> Tensor:
        """``[B]`` how many there are; 1 where there is none."""
        return self.present.sum(dim=1).clamp_min(1)


def ratio_at(step: Tensor) -> Tensor:
    """Baseline over depth at a step."""
    return SOFT * torch.sinh(STEP * step)


def step_at(ratio: Tensor) -> Tensor:
    """The step at which baseline over depth is so much; the inverse of :func:`ratio_at`."""
    return torch.asinh(ratio / SOFT) / STEP


def log_inverse_depth_at(step: Tensor, baseline_m: Tensor) -> Tensor:
    """Natural logarithm of one over the depth in metres; ``step`` ``[B, ...]``, ``baseline_m`` ``[B]``."""
    baseline = baseline_m.view(-1, *[1] * (step.ndim - 1))
    return (ratio_at(step).clamp_min(SMALLEST_RATIO) / baseline).log()


def step_of_depth(log_inverse_depth: Tensor, baseline_m: Tensor) -> Tensor:
    """Step of ``[B, ...]`` logarithms of inverse depth in metres, at most the last plane's."""
    baseline = baseline_m.view(-1, *[1] * (log_inverse_depth.ndim - 1))
    ratio = (log_inverse_depth.clamp(-20.0, 20.0).exp() * baseline).clamp(max=LARGEST_RATIO)
    return step_at(ratio)


@dataclass(frozen=True, eq=False)
class Landings:
    """Where points on the rays of the wanted views lie in the photographs.

    Attributes:
        grid: ``[B, K, N, H, W, 2]`` as :func:`torch.nn.functional.grid_sample` takes it (corners not aligned).
        seen: ``[B, K, N, H, W]`` bool: inside the photograph and before its camera.
        z: ``[B, K, N, H, W]`` depth in the photograph over depth in the wanted view.
    """

    grid: Tensor
    seen: Tensor
    z: Tensor


def landings(wanted: Wanted, photographs: Photographs, step: Tensor, baseline_m: Tensor, level: int) -> Landings:
    """Project points at steps ``[B, N, H, W]`` on the rays of ``wanted`` into photographs of a level of the pyramid.

    Args:
        wanted: the views at their own size.
        photographs: at full size; the intrinsics of the level follow from it.
        step: of the points.
        baseline_m: ``[B]``.
        level: of the pyramid that will be sampled: halved so often.
    """
    inverse_depth = (ratio_at(step) / baseline_m.view(-1, 1, 1, 1))[:, None]
    # A level's frame is padded to whole pixels.
    height, width = (-(-side // 2**level) * 2**level for side in photographs.images.shape[-2:])
    whole = photographs.size.new_tensor([width, height])
    slope, centre = (2.0 / whole * part for part in (photographs.fxfycxcy[..., :2], photographs.fxfycxcy[..., 2:]))
    edge = 2.0 / whole * photographs.size - 1.0
    # Rows that give, of a homogeneous point, its place in the frame times its depth, and its depth.
    pose = photographs.photograph_from_view[:, :, :3]
    depth_row = pose[:, :, 2:]
    rows = torch.cat([slope[..., None] * pose[:, :, :2] + (centre - 1.0)[..., None] * depth_row, depth_row], dim=2)
    # No matrix product: autocast and TF32 would round it.
    turned = (rows[..., :3, None, None] * wanted.rays()[:, None, None]).sum(dim=3)
    column, row, z = (
        torch.addcmul(turned[:, :, i, None], rows[:, :, i, 3, None, None, None], inverse_depth) for i in range(3)
    )
    before = z > _NEAR
    scale = z.clamp_min(_NEAR).reciprocal()
    column, row = column * scale, row * scale
    right, below = (edge[..., i, None, None, None] for i in range(2))
    seen = before & (column >= -1.0) & (column <= right) & (row >= -1.0) & (row <= below)
    seen = seen & photographs.present[:, :, None, None, None]
    return Landings(torch.stack([column, row], dim=-1).clamp(-4.0, 4.0), seen, z)
