# SPDX-License-Identifier: Apache-2.0
"""How long a test waits for what has to happen before it calls that a failure: one answer for all tests."""

from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE_S = 120.0
"""Generous, as a busy machine is no fault: nothing that passes waits this long."""
POLL_S = 0.01


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that another thread or process is to do.

    Raises:
        AssertionError: it has not happened.
    """
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never came: {what}"
        time.sleep(POLL_S)
