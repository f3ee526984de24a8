# SPDX-License-Identifier: Apache-2.0
"""Keyframes into chunks: the views that are written into the memory in one step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fsm_ros.stream.frame import PosedImage


@dataclass(frozen=True)
class Chunk:
    """Keyframes that are observed together.

    Attributes:
        frames: at least one, all of the same size, in the order they came.
    """

    frames: tuple[PosedImage, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be one batch of tokens.

        Raises:
            ValueError: no frames, or frames of different sizes.
        """
        if not self.frames:
            raise ValueError("a chunk needs at least one frame")
        _check_one_size(self.frames)

    @property
    def newest_stamp_ns(self) -> int:
        """Latest acquisition time of its frames, nanoseconds."""
        return max(frame.stamp_ns for frame in self.frames)

    @property
    def oldest_stamp_ns(self) -> int:
        """Earliest acquisition time of its frames, nanoseconds."""
        return min(frame.stamp_ns for frame in self.frames)


class Chunker:
    """Gathers frames until a chunk is full, or has waited long enough."""

    def __init__(self, views: int, timeout_s: float) -> None:
        """Set the size of a chunk.

        Args:
            views: frames in a full chunk.
            timeout_s: seconds after which ``flush_due`` gives up waiting for a full chunk; 0 waits for ever.

        Raises:
            ValueError: fewer than one view, or a timeout that is negative or not finite.
        """
        if views < 1:
            raise ValueError(f"a chunk needs at least one view, got {views}")
        if not (math.isfinite(timeout_s) and timeout_s >= 0):
            raise ValueError(f"the chunk timeout must be finite and not negative, got {timeout_s} s")
        self.views = views
        self.timeout_s = timeout_s
        self._frames: list[PosedImage] = []
        self._first_added_s = 0.0

    @property
    def pending(self) -> int:
        """How many frames wait for their chunk."""
        return len(self._frames)

    def add(self, frame: PosedImage, now_s: float) -> Chunk | None:
        """Add a frame.

        Args:
            frame: keyframe, of the same size as those that wait.
            now_s: a monotonic clock, seconds; not the frame's stamp, which may stand still or loop.

        Returns:
            The chunk if this frame filled it.

        Raises:
            ValueError: the frame's size differs from those that wait; they keep waiting and the frame is not
                added.
        """
        if self._frames:
            _check_one_size((self._frames[0], frame))
        else:
            self._first_added_s = now_s
        self._frames.append(frame)
        return self.flush() if len(self._frames) >= self.views else None

    def flush_due(self, now_s: float) -> Chunk | None:
        """The partial chunk, if its first frame has waited for the timeout.

        Args:
            now_s: the clock of ``add``, seconds.
        """
        due = self.timeout_s > 0 and now_s - self._first_added_s >= self.timeout_s
        return self.flush() if due else None

    def flush(self) -> Chunk | None:
        """The frames that wait, as a chunk; None if there are none."""
        if not self._frames:
            return None
        chunk = Chunk(tuple(self._frames))
        self._frames.clear()
        return chunk

    def clear(self) -> int:
        """Throw the waiting frames away.

        Returns:
            How many they were, so that they can be accounted for.
        """
        thrown_away = len(self._frames)
        self._frames.clear()
        return thrown_away


def _check_one_size(frames: tuple[PosedImage, ...]) -> None:
    sizes = sorted({(frame.camera.width, frame.camera.height) for frame in frames})
    if len(sizes) > 1:
        listed = ", ".join(f"{width}x{height}" for width, height in sizes)
        raise ValueError(f"the frames of a chunk must have one size, got {listed}: rectify them to one size first")
