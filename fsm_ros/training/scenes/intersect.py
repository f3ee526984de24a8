# SPDX-License-Identifier: Apache-2.0
"""Where rays meet shapes of unit size.

A ray is ``origin + t * direction``; the direction need not have unit length. Every component is a tensor of its
own, so that memory is read in long runs. All functions return the smallest positive t of a ray that starts
outside the shape, infinity where it misses. After Kay and Kajiya, "Ray tracing complex scenes" (1986), for slabs.
"""

from __future__ import annotations

import torch
from torch import Tensor

Components = tuple[Tensor, Tensor, Tensor]
_STEEPEST = 1e18
"""Bound of 1 / direction, so that a ray parallel to a slab meets it at a finite number."""
_PARALLEL = 1e-12
"""Added to the square of a direction across a cylinder, so that a ray along its axis meets its caps."""


def dot(one: Components, other: Components) -> Tensor:
    """Sum of the products of the components."""
    return (one[0] * other[0]).addcmul_(one[1], other[1]).addcmul_(one[2], other[2])


def inverse(direction: Tensor) -> Tensor:
    """1 / direction, finite even for zero."""
    return torch.reciprocal(direction).clamp_(-_STEEPEST, _STEEPEST)


def hit_unit_box(origin: Components, direction: Components) -> Tensor:
    """The box from -1 to 1."""
    (near, far), *others = (_cross_slab(start, along) for start, along in zip(origin, direction, strict=True))
    for low, high in others:
        near, far = torch.maximum(near, low, out=near), torch.minimum(far, high, out=far)
    return near.masked_fill_((near > far) | (near <= 0.0), torch.inf)


def hit_unit_sphere(origin: Components, direction: Components) -> Tensor:
    """The ball of radius 1."""
    ox, oy, oz = origin
    dx, dy, dz = direction
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    c = ox * ox + oy * oy + oz * oz - 1.0
    discriminant = b * b - a * c
    t = -(b + discriminant.clamp_min(0.0).sqrt_()) / a
    return t.masked_fill_((discriminant < 0.0) | (t <= 0.0), torch.inf)


def hit_unit_cylinder(origin: Components, direction: Components) -> Tensor:
    """The solid cylinder of radius 1 about z, from z = -1 to 1."""
    ox, oy, oz = origin
    dx, dy, dz = direction
    a = (dx * dx).addcmul_(dy, dy).add_(_PARALLEL)
    b = ox * dx + oy * dy
    discriminant = b * b - a * (ox * ox + oy * oy - 1.0)
    root = discriminant.clamp_min(0.0).sqrt_()
    inv_a = torch.reciprocal(a)
    low, high = _cross_slab(oz, dz)
    near = torch.maximum((-b - root).mul_(inv_a), low, out=low)
    far = torch.minimum((root - b).mul_(inv_a), high, out=high)
    return near.masked_fill_((discriminant < 0.0) | (near > far) | (near <= 0.0), torch.inf)


def _cross_slab(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """T at which rays enter and leave the slab from -1 to 1."""
    inv = inverse(direction)
    reach = inv.abs()
    middle = inv.mul_(-origin)
    return middle - reach, reach.add_(middle)


def leave_slab(origin: Tensor, half: Tensor, inv_direction: Tensor) -> Tensor:
    """T at which a ray from inside leaves the slab from -half to half; `inv_direction` is `inverse`'s."""
    return torch.abs(inv_direction).mul_(half).sub_(inv_direction * origin)
