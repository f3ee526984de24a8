# SPDX-License-Identifier: Apache-2.0
"""How far an evaluation is, for whoever waits."""

from __future__ import annotations

import sys
from typing import Protocol

from tqdm import tqdm


class Progress(Protocol):
    """What is told of the progress."""

    def stage(self, name: str, total: int) -> None:
        """Another part begins, of so many steps."""

    def advance(self, steps: int = 1) -> None:
        """So many steps are done."""

    def close(self) -> None:
        """Nothing more comes."""


class Silent:
    """Tells nobody."""

    def stage(self, name: str, total: int) -> None:
        """See `Progress`."""

    def advance(self, steps: int = 1) -> None:
        """See `Progress`."""

    def close(self) -> None:
        """See `Progress`."""


class Bar:
    """A bar on standard error with rate and time left; lines now and then where that is no terminal."""

    def __init__(self, title: str) -> None:
        """Args: what is evaluated."""
        self._title = title
        self._bar: tqdm[None] | None = None

    def stage(self, name: str, total: int) -> None:
        """See `Progress`."""
        self.close()
        is_terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            desc=f"{self._title}: {name}",
            unit=" frames" if name == STREAM else " views",
            file=sys.stderr,
            dynamic_ncols=is_terminal,
            mininterval=0.2 if is_terminal else 10.0,
        )

    def advance(self, steps: int = 1) -> None:
        """See `Progress`."""
        if self._bar is not None:
            self._bar.update(steps)

    def close(self) -> None:
        """See `Progress`."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


STREAM = "stream"
"""The stage in which the recording is replayed."""
VIEWS = "views"
"""The stage in which views are asked for after it."""
