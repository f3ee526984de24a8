# SPDX-License-Identifier: Apache-2.0
"""What scenes are asked for: families, split, difficulty, augmentation and depth. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum


class Family(Enum):
    """What kind of place a scene is."""

    ROOM = "room"
    CORRIDOR = "corridor"
    OPEN = "open"
    TABLETOP = "tabletop"


class Split(Enum):
    """What scenes are for. No seed is shared between splits, and no texture between training and the others."""

    TRAIN = "train"
    CHOOSE = "choose"
    REPORT = "report"

    @property
    def is_held_out(self) -> bool:
        """Whether training never sees these seeds, texture families and photographs."""
        return self is not Split.TRAIN


class DepthInput(Enum):
    """What is measured beside the images."""

    NONE = "none"
    EXACT = "exact"
    SENSOR = "sensor"


DEFAULT_FAMILIES: tuple[tuple[Family, float], ...] = (
    (Family.ROOM, 0.4),
    (Family.CORRIDOR, 0.2),
    (Family.OPEN, 0.2),
    (Family.TABLETOP, 0.2),
)
MIN_FRAMES = 2


@dataclass(frozen=True)
class SceneSettings:
    """What a supply of scenes draws from.

    Attributes:
        families: kinds of places, each with its weight (they need not add up to one).
        difficulty: range in [0, 1] from which every scene draws its own; `Difficulty` says what it means.
        photographs: whether surfaces may show the photographs that ship inside scikit-image.
        frames: frames a clip has.
        sensor: strength of exposure changes and noise; 0 is a clean camera, 1 the strength to train with.
    """

    families: tuple[tuple[Family, float], ...] = DEFAULT_FAMILIES
    difficulty: tuple[float, float] = (0.0, 1.0)
    photographs: bool = True
    frames: int = 48
    sensor: float = 1.0

    def __post_init__(self) -> None:
        """Refuse settings that no scene can be drawn from.

        Raises:
            ValueError: a weight, range or count that makes no sense.
            TypeError: something that is not a family where one is expected.
        """
        for family, weight in self.families:
            if not isinstance(family, Family):
                raise TypeError(f"families must be of {[f.value for f in Family]}, got {family!r}")
            if not (math.isfinite(weight) and weight >= 0.0):
                raise ValueError(f"the weight of family {family.value} must be finite and not negative, got {weight}")
        named = [family for family, _ in self.families]
        if len(set(named)) != len(named):
            raise ValueError(f"a family may be named once, got {[family.value for family in named]}")
        if sum(weight for _, weight in self.families) <= 0.0:
            raise ValueError("at least one family must have a positive weight")
        low, high = self.difficulty
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(f"difficulty must be a range (low, high) within [0, 1], got {self.difficulty}")
        if self.frames < MIN_FRAMES:
            raise ValueError(f"a clip needs at least {MIN_FRAMES} frames, got {self.frames}")
        if not (math.isfinite(self.sensor) and self.sensor >= 0.0):
            raise ValueError(f"sensor strength must be finite and not negative, got {self.sensor}")
