# SPDX-License-Identifier: Apache-2.0
"""Memory that is freed stays with the process.

A view takes a hundred megabytes for a tenth of a second. glibc gives large blocks back to the system when they are
freed, and the next view waits for the system to hand out and to clear the same memory once more: a third to a half of
its time. A node that renders again and again had better keep them; they are no more than it needed at once.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_MEBIBYTE = 2**20
_LARGEST_BLOCKS = (512 * _MEBIBYTE, 32 * _MEBIBYTE)
"""Larger ones are given back; glibc before 2.35 takes the second number only."""


def keep_freed_memory() -> bool:
    """Tell the C library of this process not to give freed memory back (mallopt(3)).

    The sooner the better: threads that come later share one arena, as others cannot hold large blocks; an arena that a
    thread has by then stays.

    Returns:
        Whether it took the advice; other libraries than glibc have no such setting and are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # First, as any of the others alone makes every large block one of its own, which is what is to be avoided.
    if not any(mallopt(_MMAP_THRESHOLD, size) == 1 for size in _LARGEST_BLOCKS):
        return False
    return all([mallopt(name, value) == 1 for name, value in ((_ARENA_MAX, 1), (_TRIM_THRESHOLD, 1024 * _MEBIBYTE))])
