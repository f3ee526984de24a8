# SPDX-License-Identifier: Apache-2.0
"""What the photographs and the memory say about points on the rays of a view."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fsm_ros.recall.planes import Landings, Photographs, Wanted, landings, log_inverse_depth_at
from fsm_ros.recall.sampling import pooled, sampled

POSE_CHANNELS = 5
PRIOR_CHANNELS = 3
TYPICAL_VARIANCE = 8e-4
"""Of colours in [0, 1] over photographs that show the same point."""
UNSEEN_DISAGREEMENT = 3.0
"""What a point counts that fewer than two photographs saw."""
_SHORTEST_M = 0.01


def evidence_channels(features: int) -> int:
    """Channels of what is found at a point, where photographs have so many features."""
    return 2 * (features + 3) + 4 + PRIOR_CHANNELS


@dataclass(frozen=True, eq=False)
class Prior:
    """What the fast weights know of the wanted views.

    Attributes:
        colour: ``[B, 3, H, W]`` in [0, 1].
        log_inverse_depth: ``[B, 1, H, W]``, natural logarithm, one over metres along the optical axis; ``None`` where
            the memory has no geometry head.
        scale: ``[B, 1, H, W]`` of the Laplace distribution around it.
        measured: ``[B, 1, H, W]`` in [0, 1], how much of it a depth camera measured, which is taken at its word;
            ``None``: nothing.
    """

    colour: Tensor
    log_inverse_depth: Tensor | None = None
    scale: Tensor | None = None
    measured: Tensor | None = None

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: a depth without its scale, or a scale without a depth.
        """
        if (self.log_inverse_depth is None) != (self.scale is None):
            raise ValueError("what a memory knows of depth is a logarithm and its scale, not one of them")

    def at(self, level: int) -> Prior:
        """The same with pixels ``2 ** level`` times as large."""
        if level == 0:
            return self

        def smaller(x: Tensor | None) -> Tensor | None:
            return None if x is None else pooled(x, 2**level)

        return Prior(
            pooled(self.colour, 2**level), smaller(self.log_inverse_depth), smaller(self.scale), smaller(self.measured)
        )


@dataclass(frozen=True, eq=False)
class Found:
    """What was found.

    Attributes:
        channels: ``[B, N, C, H, W]`` for every depth.
        signs: ``[B, N, 2, H, W]`` what speaks against it at first sight: that photographs differ, that the memory does.
        colours: ``[B, K, N, 3, H, W]``.
        landings: where they were looked up.
    """

    channels: Tensor
    signs: Tensor
    colours: Tensor
    landings: Landings


class Evidence:
    """What the photographs and the memory say about points on the rays of a view."""

    def __init__(self, photographs: Photographs, importance: Tensor, baseline: Tensor) -> None:
        """Args: the photographs, ``[B, K]`` how much each counts, and ``[B]`` how far away they are, metres."""
        self._photographs = photographs
        self._importance = importance
        self._baseline = baseline

    def gather(
        self, view: Wanted, prior: Prior, step: Tensor, features: tuple[Tensor, int], colours: tuple[Tensor, int]
    ) -> Found:
        """At steps ``[B, N, H, W]``, from features and colours of levels of the pyramid."""
        landed = landings(view, self._photographs, step, self._baseline, colours[1])
        both = self._looked_up(view, step, features, colours, landed.grid)
        rgb = both[:, :, :, -3:]
        weight = landed.seen * self._importance[:, :, None, None, None]
        weight = (weight / weight.sum(dim=1, keepdim=True).clamp_min(1e-6))[:, :, :, None]
        mean, deviation = _moments(both, weight)
        colour, colour_deviation = mean[:, :, -3:], deviation[:, :, -3:]
        share = (landed.seen.sum(dim=1) / self._photographs.count[:, None, None, None]).to(rgb)[:, :, None]
        unlike = (colour - prior.colour[:, None]).abs() * (share > 0)
        of_memory = self._prior(prior, step)
        signs = torch.stack([_disagreement(colour_deviation, landed.seen), of_memory[0][:, :, 0]], dim=2)
        return Found(torch.cat([mean, deviation, unlike, share, *of_memory], dim=2), signs, rgb, landed)

    def _looked_up(
        self, view: Wanted, step: Tensor, features: tuple[Tensor, int], colours: tuple[Tensor, int], grid: Tensor
    ) -> Tensor:
        """Features, then colours, ``[B, K, N, C + 3, H, W]``."""
        if features[1] == colours[1]:
            return sampled(torch.cat([features[0], colours[0]], dim=2), grid, "bilinear")
        rgb = self._colours(colours, grid)
        if not self._photographs.fits(max(features[1], colours[1])):
            grid = landings(view, self._photographs, step, self._baseline, features[1]).grid
        return torch.cat([sampled(features[0], grid, "bilinear"), rgb], dim=3)

    def _colours(self, colours: tuple[Tensor, int], grid: Tensor) -> Tensor:
        if colours[1] > 0:
            return sampled(colours[0], grid, "bilinear")
        if self._photographs.corners is not None:
            return sampled(self._photographs.corners, grid, "bilinear", from_corner_to_corner=True)
        return sampled(colours[0], grid, "bicubic")

    def _prior(self, prior: Prior, step: Tensor) -> list[Tensor]:
        """How likely the memory takes each step for, how sure it is, and whether it says anything."""
        if prior.log_inverse_depth is None or prior.scale is None:
            nothing = torch.zeros_like(step)[:, :, None]
            return [nothing, nothing, nothing]
        here = log_inverse_depth_at(step, self._baseline)
        away = ((here - prior.log_inverse_depth).abs() / prior.scale).clamp(max=12.0) / 4
        sure = prior.scale.clamp(1e-3, 1e3).log().expand_as(step)
        return [away[:, :, None], sure[:, :, None] / 4, torch.ones_like(away)[:, :, None]]


def _moments(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the photographs, ``[B, K, N, C, H, W]`` to ``[B, N, C, H, W]``."""
    # One photograph after the other: two passes over each, and nothing as large as all of them.
    first, *others = zip(weight.unbind(dim=1), values.unbind(dim=1), strict=True)
    weighed = first[0] * first[1]
    mean, square = weighed, weighed * first[1]
    for share, value in others:
        weighed = share * value
        mean, square = mean + weighed, torch.addcmul(square, weighed, value)
    variance = square - mean.square()
    return mean, (variance.clamp_min(0.0) + 1e-4).sqrt()


def _disagreement(deviation: Tensor, seen: Tensor) -> Tensor:
    """Variance of the photographs' colours ``[B, N, H, W]``, over its typical value where the depth is right.

    Where fewer than two saw a point there is nothing to compare: a constant that is neither good nor bad.
    """
    variance = deviation.square().mean(dim=2) / TYPICAL_VARIANCE
    return torch.where(seen.sum(dim=1) >= 2, variance, torch.full_like(variance, UNSEEN_DISAGREEMENT))


def pose_channels(photographs: Photographs) -> Tensor:
    """How each photograph's camera stands to the wanted one, ``[B, K, POSE_CHANNELS]``."""
    pose = photographs.photograph_from_view
    away = pose[..., :3, 3].norm(dim=-1)
    axis = pose[..., 2, 2].clamp(-1.0, 1.0)
    focal = photographs.fxfycxcy[..., 0] * photographs.present
    late = photographs.seconds
    channels = [
        away / photographs.mean_distance_m.clamp_min(_SHORTEST_M)[:, None],
        away / (1.0 + away),
        1.0 - axis,
        torch.sign(late) * (1.0 + late.abs()).log() / 4,
        (focal / focal.amax(dim=1, keepdim=True).clamp_min(1e-6)).clamp_min(1e-3).log(),
    ]
    return torch.stack(channels, dim=-1).clamp(-4.0, 4.0) * photographs.present[..., None]
