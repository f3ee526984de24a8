# SPDX-License-Identifier: Apache-2.0
"""Where and when a memory lives: the frame of the first epoch, and of the next one when the stream leaves it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.world import FrameExit, MemoryFrame

GROWTH = 2.0
"""How much larger an automatic extent becomes when the camera leaves it: a drive of a length begins as many epochs as
its extent has to be doubled."""


def first_frame(settings: MemorySettings, chunk: Chunk) -> MemoryFrame:
    """The frame around a first chunk; its time axis begins with the chunk's oldest view."""
    return _around(settings, chunk, min(frame.stamp_ns for frame in chunk.frames))


def exit_of(frame: MemoryFrame, chunk: Chunk) -> FrameExit | None:
    """How the first view of a chunk that lies outside of a frame does so; ``None`` where all are inside."""
    return next((exit_ for view in chunk.frames if (exit_ := frame.contains(view)) is not None), None)


def next_frame(settings: MemorySettings, last: MemoryFrame, chunk: Chunk) -> MemoryFrame:
    """The frame of the next epoch.

    An automatic extent grows where that is enough to hold the chunk: origin, axes and time axis stay, so all that was
    inside still is, and the epoch lasts until the horizon would have ended. Otherwise (the time is over, the extent
    was given, or the camera jumped further than it grows) the frame is laid anew around the chunk, of the extent that
    was given or, if automatic, at least of the last one's; its time axis begins half a horizon before the chunk, so
    that what was just seen stays in it and the epoch lasts for another half.

    Args:
        settings: how the memory is kept.
        last: the frame that was left.
        chunk: the views that left it.
    """
    is_automatic = settings.extent_m == 0
    grown = replace(last, extent_m=GROWTH * last.extent_m)
    if is_automatic and exit_of(grown, chunk) is None:
        return grown
    anew = _around(settings, chunk, chunk.newest_stamp_ns - round(settings.horizon_s * 1e9 / 2))
    return replace(anew, extent_m=max(anew.extent_m, last.extent_m)) if is_automatic else anew


def _around(settings: MemorySettings, chunk: Chunk, start_ns: int) -> MemoryFrame:
    return MemoryFrame.around(
        np.stack([frame.world_from_camera for frame in chunk.frames]),
        start_ns=start_ns,
        extent_m=settings.extent_m,
        horizon_s=settings.horizon_s,
        margin=settings.extent_margin,
    )
