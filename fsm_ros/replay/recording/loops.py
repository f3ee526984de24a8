# SPDX-License-Identifier: Apache-2.0
"""Closed ways through the free space of a scene, driven at an even pace as often as a drive lasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsm_ros.replay.recording.free_space import FreeSpace

METRES_PER_RADIAN = 0.5
"""What a turn counts as: a robot slows down where it turns, and sees as much that is new."""
CLEARANCE_M = 0.35
"""A loop keeps so far from what is solid, by the free space's distances."""

_CANDIDATES = 4000
_HARMONICS = 3
_CHECKED = 96
_PER_LAP = 4096

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Loop:
    """A smooth closed curve on the floor, as sums of cosines and sines.

    Attributes:
        middle: ``[2]`` metres.
        cosines: ``[k, 2]`` factors of ``cos(j * angle)``, j from 1, for x and y.
        sines: likewise of ``sin(j * angle)``.
    """

    middle: Doubles
    cosines: Doubles
    sines: Doubles

    def places(self, angles: Doubles) -> Doubles:
        """``[n, 2]`` places at angles ``[n]`` of the curve's parameter, metres."""
        return np.asarray(_curve(self.middle, self.cosines, self.sines, angles))

    def headings(self, angles: Doubles) -> Doubles:
        """``[n]`` directions of the way there, radians, without jumps."""
        orders = np.arange(1, len(self.cosines) + 1)
        phase = angles[:, None] * orders
        slope = (np.cos(phase) * orders) @ self.sines - (np.sin(phase) * orders) @ self.cosines
        return np.unwrap(np.arctan2(slope[:, 1], slope[:, 0]))

    def progress(self) -> tuple[Doubles, Doubles]:
        """Angles from 0 to 2 pi, and how far each is along the way: metres and `METRES_PER_RADIAN` for its turns."""
        angles = np.append(_angles(_PER_LAP), 2.0 * np.pi)
        steps = np.linalg.norm(np.diff(self.places(angles), axis=0), axis=1)
        turns = np.abs(np.diff(self.headings(angles)))
        return angles, np.concatenate([[0.0], np.cumsum(steps + METRES_PER_RADIAN * turns)])

    @property
    def length_m(self) -> float:
        """Of one lap, turns included as in `progress`."""
        return float(self.progress()[1][-1])


def find_loop(space: FreeSpace, rng: np.random.Generator, *, least_span_m: float, longest_m: float) -> Loop | None:
    """The loop around the greatest area among some thousands of random ones that keep clear.

    Args:
        space: where it may lead.
        rng: all that is random comes from here.
        least_span_m: the longer side of the box around it has at least so much.
        longest_m: its length, turns included, at most.

    Returns:
        None where no loop fits.
    """
    middle, half = 0.5 * (space.low + space.high), 0.5 * (space.high - space.low)
    centres = middle + rng.uniform(-0.5, 0.5, (_CANDIDATES, 2)) * half
    size = rng.uniform(0.1, 1.0, (_CANDIDATES, 2)) * half
    tilt = rng.uniform(-0.4, 0.4, _CANDIDATES) * rng.integers(0, 2, _CANDIDATES)
    orders = np.arange(1, _HARMONICS + 1)
    wiggle = 0.25 * size[:, None] * rng.normal(size=(2, _CANDIDATES, _HARMONICS, 2)) / orders[:, None] ** 2
    wiggle[:, :, 0] = 0.0
    cosines, sines = wiggle
    way = rng.choice([-1.0, 1.0], _CANDIDATES)
    cosines[:, 0] = size[:, :1] * np.stack([np.cos(tilt), np.sin(tilt)], axis=-1)
    sines[:, 0] = (way[:, None] * size[:, 1:]) * np.stack([-np.sin(tilt), np.cos(tilt)], axis=-1)
    places = _curve(centres, cosines, sines, _angles(_CHECKED))
    clear = space.clearance_m(places).min(axis=1) >= CLEARANCE_M
    wide = np.ptp(places, axis=1).max(axis=1) >= least_span_m
    following = np.roll(places, -1, axis=1)
    area = 0.5 * np.abs((places[..., 0] * following[..., 1] - places[..., 1] * following[..., 0]).sum(axis=1))
    for index in np.argsort(-area):
        loop = Loop(centres[index], cosines[index], sines[index])
        if clear[index] and wide[index] and loop.length_m <= longest_m:
            return loop
    return None


def _angles(count: int) -> Doubles:
    return np.asarray(np.linspace(0.0, 2.0 * np.pi, count, endpoint=False), dtype=np.float64)


def _curve(middle: Doubles, cosines: Doubles, sines: Doubles, angles: Doubles) -> Doubles:
    """``[..., n, 2]`` places of curves with middles ``[..., 2]`` and factors ``[..., k, 2]``."""
    phase = angles[:, None] * np.arange(1, cosines.shape[-2] + 1)
    return np.asarray(middle[..., None, :] + np.cos(phase) @ cosines + np.sin(phase) @ sines)
