# SPDX-License-Identifier: Apache-2.0
"""Which images of a camera are kept from the memory, so that it can be asked for them."""

from __future__ import annotations


def is_held_out(index: int, every: int) -> bool:
    """Whether an image is the last of every so many.

    Args:
        index: its number among the images of its camera, from 0.
        every: how many images one of is held out; 0: none is.
    """
    return every > 0 and (index + 1) % every == 0
