# SPDX-License-Identifier: Apache-2.0
"""Open files in a program that forks and pickles, as data loaders do."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class ProcessLocal(Generic[T]):
    """Something that is opened when it is first needed, and once in each process.

    A forked process shares the position in its parent's files, so that each would read from where the other has
    left off. What was inherited is therefore neither used nor closed: a decoder's threads do not survive the
    fork, and closing it would wait for them. It is pickled closed.
    """

    def __init__(self, opener: Callable[[], T], closer: Callable[[T], None]) -> None:
        """Take how to open and close it; both have to be picklable where this is pickled."""
        self._opener, self._closer = opener, closer
        self._opened: T | None = None
        self._owner = 0
        self._inherited: list[T] = []

    def get(self) -> T:
        """It, open."""
        if self._opened is not None and self._owner != os.getpid():
            self._inherited.append(self._opened)
            self._opened = None
        if self._opened is None:
            self._opened, self._owner = self._opener(), os.getpid()
        return self._opened

    def close(self) -> None:
        """Close it if this process has opened it."""
        if self._opened is not None and self._owner == os.getpid():
            opened, self._opened = self._opened, None
            self._closer(opened)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what is open."""
        return {**self.__dict__, "_opened": None, "_inherited": []}
