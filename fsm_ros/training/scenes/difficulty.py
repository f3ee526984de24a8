# SPDX-License-Identifier: Apache-2.0
"""What the difficulty of a scene means: the one place where it turns into quantities."""

from __future__ import annotations

from dataclasses import dataclass


def _between(low: float, high: float, difficulty: float) -> float:
    return low + (high - low) * difficulty


@dataclass(frozen=True)
class Difficulty:
    """Quantities that follow from a difficulty in [0, 1], each monotone in it.

    0 is a place with a few big objects that stand, soft and broad textures and a slow camera; 1 is crowded with small
    things, most of them moving, with fine textures of high contrast, photographs and wide turns. About 0.2
    corresponds to soft rooms with two to six objects, half of them moving, seen in a turn of 180 to 400 degrees.
    """

    value: float

    def __post_init__(self) -> None:
        """Refuse what is not in [0, 1].

        Raises:
            ValueError: outside.
        """
        if not 0.0 <= self.value <= 1.0:
            raise ValueError(f"a difficulty lies in [0, 1], got {self.value}")

    @property
    def objects(self) -> tuple[int, int]:
        """Fewest and most free-standing objects, both included."""
        return round(_between(2, 7, self.value)), round(_between(4, 14, self.value))

    @property
    def panels(self) -> tuple[int, int]:
        """Fewest and most pictures, doors or boards on the walls, both included."""
        return round(_between(0, 3, self.value)), round(_between(1, 6, self.value))

    @property
    def size_scale(self) -> tuple[float, float]:
        """Smallest and largest size of an object relative to what fits the place; falls with difficulty."""
        return _between(0.6, 0.22, self.value), _between(1.0, 0.8, self.value)

    @property
    def moving_fraction(self) -> float:
        """Probability that an object moves."""
        return _between(0.15, 0.8, self.value)

    @property
    def speed(self) -> float:
        """Speed of moving objects relative to the range of the motion."""
        return _between(0.5, 1.6, self.value)

    @property
    def vanishing_fraction(self) -> float:
        """Probability that an object is there for a part of the clip only."""
        return _between(0.0, 0.2, self.value)

    @property
    def octaves_blurred(self) -> float:
        """Octaves of fine texture that are missing, on average; falls with difficulty."""
        return _between(4.0, 0.0, self.value)

    @property
    def texture_repeats(self) -> float:
        """How often a texture repeats along a typical surface."""
        return _between(0.35, 1.4, self.value)

    @property
    def contrast(self) -> float:
        """Distance of the colours of a palette, 1 for the widest."""
        return _between(0.35, 1.0, self.value)

    @property
    def photograph_fraction(self) -> float:
        """Probability that a surface shows a photograph, where photographs are allowed."""
        return _between(0.05, 0.45, self.value)

    @property
    def turn_step_rad(self) -> tuple[float, float]:
        """Least and greatest angle between consecutive frames of a turn, on average over a clip, radians."""
        return _between(0.055, 0.075, self.value), _between(0.1, 0.2, self.value)

    @property
    def drive_step_m(self) -> tuple[float, float]:
        """Least and greatest way between consecutive frames of a drive, on average over a clip, metres."""
        return _between(0.05, 0.06, self.value), _between(0.1, 0.2, self.value)
