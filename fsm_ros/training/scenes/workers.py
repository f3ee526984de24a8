# SPDX-License-Identifier: Apache-2.0
"""Runs independent pieces of work on the cores that PyTorch may use.

One thread a piece, and one core a thread: many short operations on two cores each would wait for one another at
every operation's end, which on a busy machine takes longer than the operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

_Piece = TypeVar("_Piece")


def for_each(work: Callable[[_Piece], None], pieces: Sequence[_Piece], device: torch.device) -> None:
    """Calls `work` once for every piece; on an accelerator one after the other.

    Raises:
        Exception: whatever the work raises.
    """
    threads = min(torch.get_num_threads(), len(pieces))
    if device.type != "cpu" or threads < 2:
        for piece in pieces:
            work(piece)
        return
    own = torch.get_num_threads()
    infers = torch.is_inference_mode_enabled()  # belongs to a thread, and so must be taken along

    def run(piece: _Piece) -> None:
        with torch.inference_mode(infers):
            work(piece)

    with ThreadPoolExecutor(threads, initializer=_use_one_core) as pool:
        running = [pool.submit(run, piece) for piece in pieces]
        for done in running:
            done.result()
    torch.set_num_threads(own)  # threads that start later inherit the number that was set last


def _use_one_core() -> None:
    torch.get_num_threads()  # a new thread adopts the process's number when it first asks: that must come before
    torch.set_num_threads(1)
