# SPDX-License-Identifier: Apache-2.0
"""Stamps of messages."""

from __future__ import annotations

from fsm_ros.messages.fields import Stamp

NANOSECONDS = 1_000_000_000


def stamp_to_ns(stamp: Stamp) -> int:
    """Nanoseconds since the epoch."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)
