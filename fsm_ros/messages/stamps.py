"""Stamps of messages."""

from __future__ import annotations

from typing import Protocol

NANOSECONDS = 1_000_000_000


class Stamp(Protocol):
    """builtin_interfaces/Time."""

    @property
    def sec(self) -> int:
        """Seconds since the epoch."""

    @property
    def nanosec(self) -> int:
        """Nanoseconds of the second."""


class Header(Protocol):
    """std_msgs/Header."""

    @property
    def stamp(self) -> Stamp:
        """When it holds."""

    @property
    def frame_id(self) -> str:
        """Which frame it is about."""


def stamp_to_ns(stamp: Stamp) -> int:
    """Nanoseconds since the epoch."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)
