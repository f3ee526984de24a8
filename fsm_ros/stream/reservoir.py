# SPDX-License-Identifier: Apache-2.0
"""A bounded, fair sample of all keyframes ever seen."""

from __future__ import annotations

import random
from collections.abc import Iterable

from fsm_ros.stream.frame import PosedImage


class KeyframeReservoir:
    """Uniform sample without replacement over a stream of unknown length.

    Algorithm R (Vitter, "Random sampling with a reservoir", ACM Transactions on Mathematical Software 11(1),
    1985). After any number of offers every frame offered is kept with the same probability, so what is
    measured on the sample (how well old places are remembered) is measured on the whole drive.
    """

    def __init__(self, capacity: int, seed: int) -> None:
        """Make an empty reservoir.

        Args:
            capacity: how many frames it keeps.
            seed: of its random numbers; the same offers give the same sample.

        Raises:
            ValueError: a capacity below one.
        """
        if capacity < 1:
            raise ValueError(f"a reservoir needs a capacity of at least 1, got {capacity}")
        self.capacity = capacity
        self.seed = seed
        self._random = random.Random(seed)
        self._frames: list[PosedImage] = []
        self._seen = 0

    def __len__(self) -> int:
        """How many frames it keeps now."""
        return len(self._frames)

    @property
    def seen(self) -> int:
        """Length of the stream that the sample stands for."""
        return self._seen

    @property
    def frames(self) -> tuple[PosedImage, ...]:
        """The sample, oldest stamp first."""
        return tuple(sorted(self._frames, key=lambda frame: frame.stamp_ns))

    def offer(self, frame: PosedImage) -> None:
        """Let a frame of the stream take its chance."""
        self._seen += 1
        if len(self._frames) < self.capacity:
            self._frames.append(frame)
            return
        slot = self._random.randrange(self._seen)
        if slot < self.capacity:
            self._frames[slot] = frame

    def replace_all(self, frames: Iterable[PosedImage], seen: int | None = None) -> None:
        """Put other frames in the place of the sample.

        Args:
            frames: at most ``capacity`` frames.
            seen: length of the stream that they are a sample of; ``None``: that of the stream before, so frames that
                come later do not push these out faster than they would have pushed out the ones before. It is at
                least as long as the frames are many.

        Raises:
            ValueError: more frames than the reservoir keeps; the sample stays as it was.
        """
        replacement = list(frames)
        if len(replacement) > self.capacity:
            raise ValueError(
                f"{len(replacement)} frames do not fit into a reservoir of {self.capacity}: pass fewer, or "
                "make it with a larger capacity"
            )
        self._frames = replacement
        self._seen = max(self._seen if seen is None else seen, len(replacement))

    def clear(self) -> None:
        """Forget the sample and the stream, and begin again with the same seed."""
        self._frames = []
        self._seen = 0
        self._random = random.Random(self.seed)
