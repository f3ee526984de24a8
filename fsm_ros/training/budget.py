# SPDX-License-Identifier: Apache-2.0
"""When a training run ends. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """When a run ends: after so many minutes or so many steps, whichever comes first.

    With steps alone everything that happens follows from the settings; with minutes, the learning rate follows the
    clock.

    Attributes:
        minutes: of training, over all times that the run was taken up; evaluations count.
        steps: optimizer steps.
    """

    minutes: float = math.inf
    steps: int | None = None

    def __post_init__(self) -> None:
        """Check that it ends.

        Raises:
            ValueError: it does not, or has ended before it began.
        """
        if self.steps is None and not math.isfinite(self.minutes):
            raise ValueError("a run needs an end: minutes or steps")
        if not self.minutes > 0 or (self.steps is not None and self.steps < 1):
            raise ValueError(f"a run needs a positive number of minutes or steps, got {self.minutes}, {self.steps}")

    def progress(self, step: int, elapsed_s: float) -> float:
        """How much of the run is done, in [0, 1]."""
        by_steps = step / self.steps if self.steps is not None else 0.0
        return min(1.0, max(by_steps, elapsed_s / (60.0 * self.minutes)))
