# SPDX-License-Identifier: Apache-2.0
"""What goes into the model and comes out of it: posed images, and views with what is known of their depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fsm_ros.memory.camera import Cameras


@dataclass(frozen=True, eq=False)
class Geometry:
    """How far what a view shows is away, as a Laplace distribution for every pixel.

    Attributes:
        log_inverse_depth: ``[B, V, H, W]`` its median: natural logarithm of one over the depth along the optical axis
            (REP-118), memory units.
        scale: ``[B, V, H, W]`` its scale, positive.
    """

    log_inverse_depth: Tensor
    scale: Tensor


@dataclass(frozen=True, eq=False)
class Rendering:
    """What the memory answers for some views.

    Attributes:
        images: ``[B, V, 3, H, W]``, RGB in (0, 1), float32.
        geometry: ``None`` where the weights have no geometry head.
    """

    images: Tensor
    geometry: Geometry | None

    @classmethod
    def joined(cls, parts: Sequence[Rendering], dim: int) -> Rendering:
        """Renderings of one model in one, along scenes (0) or views (1)."""
        known = [part.geometry for part in parts if part.geometry is not None]
        medians, scales = [each.log_inverse_depth for each in known], [each.scale for each in known]
        geometry = Geometry(torch.cat(medians, dim), torch.cat(scales, dim)) if known else None
        return cls(torch.cat([part.images for part in parts], dim), geometry)

    def map(self, function: Callable[[Tensor], Tensor]) -> Rendering:
        """The same of every tensor: images, medians and scales."""
        known = self.geometry
        geometry = None if known is None else Geometry(function(known.log_inverse_depth), function(known.scale))
        return Rendering(function(self.images), geometry)

    def __getitem__(self, views: slice | Tensor) -> Rendering:
        """Some of the views: a slice, or a tensor of their numbers."""
        return self.map(lambda t: t[:, views])

    def detach(self) -> Rendering:
        """The same as something that is known and not learned."""
        return self.map(Tensor.detach)


@dataclass(frozen=True, eq=False)
class Views:
    """Posed images: what is observed.

    Attributes:
        images: ``[B, V, 3, H, W]``, RGB in [0, 1].
        cameras: where they were seen from.
        times: ``[B, V]``, memory time in [-1, 1].
    """

    images: Tensor
    cameras: Cameras
    times: Tensor

    def __post_init__(self) -> None:
        """Check shapes.

        Raises:
            ValueError: shapes that do not belong together.
        """
        c = self.cameras
        expected = (c.batch, c.views, 3, c.height, c.width)
        if tuple(self.images.shape) != expected:
            raise ValueError(f"images must be {expected} like their cameras, got {tuple(self.images.shape)}")
        check_times(self.times, c)

    def __getitem__(self, views: slice | Tensor) -> Views:
        """Some of the views: a slice, or a tensor of their numbers."""
        return Views(self.images[:, views], self.cameras[views], self.times[:, views])


def check_times(times: Tensor, cameras: Cameras) -> None:
    """Check that there is one time for each camera.

    Raises:
        ValueError: there is not.
    """
    if tuple(times.shape) != (cameras.batch, cameras.views):
        expected = (cameras.batch, cameras.views)
        raise ValueError(f"times must be {expected} like their cameras, got {tuple(times.shape)}")
