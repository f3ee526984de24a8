# SPDX-License-Identifier: Apache-2.0
"""A queue that never grows: the newest is worth more to a robot than the oldest."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """First in, first out, and when full the oldest makes room. Not thread-safe: its owner holds the lock."""

    def __init__(self, capacity: int) -> None:
        """Make an empty queue.

        Args:
            capacity: how many items it holds.

        Raises:
            ValueError: a capacity below one.
        """
        if capacity < 1:
            raise ValueError(f"a queue needs a capacity of at least 1, got {capacity}")
        self.capacity = capacity
        self._items: deque[T] = deque()

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._items)

    def push(self, item: T) -> T | None:
        """Add an item.

        Returns:
            The oldest item if it had to make room, so that it can be accounted for; else None.
        """
        dropped = self._items.popleft() if len(self._items) >= self.capacity else None
        self._items.append(item)
        return dropped

    def pop(self) -> T | None:
        """Take the oldest item; None if the queue is empty."""
        return self._items.popleft() if self._items else None

    def clear(self) -> list[T]:
        """Take all items, oldest first."""
        items = list(self._items)
        self._items.clear()
        return items
