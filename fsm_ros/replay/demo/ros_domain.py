# SPDX-License-Identifier: Apache-2.0
"""ROS domains: which one nobody is in."""

from __future__ import annotations

import socket
from collections.abc import Iterable

LAST = 101
"""Domains up to here use ports that no system gives away to others (ROS 2 documentation, "The ROS_DOMAIN_ID")."""


def free_domain(candidates: Iterable[int]) -> int:
    """The first of some ROS domains that nobody is in, as far as this machine can tell.

    Args:
        candidates: numbers; any integer stands for a domain between 1 and `LAST`.

    Raises:
        RuntimeError: there is none.
    """
    for number in candidates:
        domain = 1 + number % LAST
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                # RTPS 2.2, 9.6.1: where the first participant of a domain listens.
                probe.bind(("", 7400 + 250 * domain + 10))
            except OSError:
                continue
            return domain
    raise RuntimeError("every ROS domain of this machine is in use: end other ROS programs")
