# SPDX-License-Identifier: Apache-2.0
"""A transform buffer for a live stream, where tf2's own is not installed: same look-ups, same interpolation."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fsm_ros.stream.transforms import Link, StampedTransform, TransformTree


@dataclass
class _Record:
    """What is known of one child frame, by rising stamp."""

    parent: str
    is_static: bool
    samples: list[StampedTransform] = field(default_factory=list)

    def link_at(self, stamp_ns: int) -> Link:
        """Only the two samples around a stamp, so that a look-up costs the same however long the cache is."""
        after = bisect_left(self.samples, stamp_ns, key=_stamp)
        if 0 < after < len(self.samples):
            return Link.of(self.samples[after - 1 : after + 1])
        # Outside, or exactly the first: the ends of the record, so that an error can name them.
        return Link.of([self.samples[0], self.samples[-1]] if len(self.samples) > 1 else self.samples[:1])


class TransformBuffer:
    """Transforms of the last seconds. Not thread-safe."""

    def __init__(self, cache_s: float) -> None:
        """Set how long transforms are kept.

        Args:
            cache_s: seconds before the newest of the same child frame.

        Raises:
            ValueError: not positive.
        """
        if not cache_s > 0:
            raise ValueError(f"a transform buffer needs a positive cache, got {cache_s} s")
        self._cache_ns = round(cache_s * 1e9)
        self._records: dict[str, _Record] = {}

    def insert(self, transform: StampedTransform) -> None:
        """Remember one transform. A child that changes its parent starts anew.

        Raises:
            ValueError: the numbers are no pose.
        """
        if not transform.is_valid:
            raise ValueError(
                f"the transform {transform.parent!r} -> {transform.child!r} is not finite or has no rotation"
            )
        record = self._records.get(transform.child)
        if record is None or record.parent != transform.parent or record.is_static != transform.is_static:
            record = self._records[transform.child] = _Record(transform.parent, transform.is_static)
        if transform.is_static:
            record.samples = [transform]
            return
        place = bisect_left(record.samples, transform.stamp_ns, key=_stamp)
        if place < len(record.samples) and record.samples[place].stamp_ns == transform.stamp_ns:
            record.samples[place] = transform
        else:
            insort(record.samples, transform, key=_stamp)
        oldest = record.samples[-1].stamp_ns - self._cache_ns
        del record.samples[: bisect_left(record.samples, oldest, key=_stamp)]

    def target_from_source(self, target: str, source: str, stamp_ns: int | None) -> NDArray[np.float64]:
        """``[4, 4]`` rigid transform that takes points in `source` to `target`.

        Args:
            target: frame of the result.
            source: frame to express in it.
            stamp_ns: the moment; ``None``: the newest at which every moving link on the way is known.

        Raises:
            TransformError: a frame is unknown, the two are not connected, or a link was not known at that time.
        """
        if stamp_ns is None:
            stamp_ns = self._newest_common(target, source)
        tree = TransformTree(
            {child: self._records[child].link_at(stamp_ns) for child in self._on_the_way(target, source)}
        )
        return tree.target_from_source(target, source, stamp_ns)

    def clear(self) -> None:
        """Forget all transforms that are not static."""
        self._records = {child: record for child, record in self._records.items() if record.is_static}

    def _on_the_way(self, target: str, source: str) -> set[str]:
        """The children of the links that a look-up may need: a robot has a hundred others, for its joints.

        All, where there is no way, so that the error can name them.
        """
        chains = [self._chain(frame) for frame in (target, source)]
        tops = {
            self._records[chain[-1]].parent if chain else frame
            for frame, chain in zip((target, source), chains, strict=True)
        }
        children = {child for chain in chains for child in chain}
        return children if children and len(tops) == 1 else set(self._records)

    def _newest_common(self, target: str, source: str) -> int:
        chains = [self._chain(frame) for frame in (target, source)]
        # Links above the shared ancestor cancel out, so they do not limit the time.
        apart = set(chains[0]) ^ set(chains[1])
        newest = [self._records[child].samples[-1].stamp_ns for child in apart if not self._records[child].is_static]
        return min(newest, default=0)

    def _chain(self, frame: str) -> list[str]:
        """A frame and the frames above it that have a parent."""
        chain: list[str] = []
        while frame in self._records and frame not in chain:
            chain.append(frame)
            frame = self._records[frame].parent
        return chain


def _stamp(transform: StampedTransform) -> int:
    return transform.stamp_ns
