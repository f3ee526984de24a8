# SPDX-License-Identifier: Apache-2.0
"""How much is measured. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much is measured of a long stream.

    Attributes:
        views: at most so many held-out views, and as many observed ones, evenly spaced over the stream.
        matrix_chunks: at most so many rows and columns of the forgetting matrix.
        matrix_views: so many held-out views a chunk are asked for again and again.
    """

    views: int = 1000
    matrix_chunks: int = 128
    matrix_views: int = 2

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: a limit that leaves nothing.
        """
        for name, least in (("views", 1), ("matrix_chunks", 2), ("matrix_views", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"the limit {name} must be at least {least}, got {getattr(self, name)}")
