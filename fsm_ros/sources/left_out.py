# SPDX-License-Identifier: Apache-2.0
"""What of a recording is left out, because it cannot be used and nothing needs it."""

from __future__ import annotations

from fsm_ros.sources.errors import SourceError


class LeftOut:
    """Images of a recording that are left out, by cause: one bad item never refuses the others."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._causes: dict[str, list[SourceError]] = {}

    def add(self, cause: str, error: SourceError) -> None:
        """Leave one image out.

        Args:
            cause: in words that go with a number: "without an image file".
            error: what would be said of it, were it the only one.
        """
        self._causes.setdefault(cause, []).append(error)

    @property
    def count(self) -> int:
        """How many images."""
        return sum(map(len, self._causes.values()))

    def check(self, kept: int) -> None:
        """Check that something is left.

        Raises:
            SourceError: nothing is; what is wrong with the first.
        """
        if kept == 0 and self._causes:
            raise next(iter(self._causes.values()))[0]

    def told(self, kept: int) -> str:
        """In one line, with the first of each cause; empty where nothing was left out."""
        if not self._causes:
            return ""
        parts = [f"{len(errors)} {cause} (the first: {errors[0]})" for cause, errors in self._causes.items()]
        return f"left out {self.count} of {self.count + kept} images: {'; '.join(parts)}"
