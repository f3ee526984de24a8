# SPDX-License-Identifier: Apache-2.0
"""Forgetting: the held-out views of earlier chunks, rendered again after every later one, and what that comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fsm_ros.replay.evaluation.results import ForgettingMatrix

View = TypeVar("View")


class ForgettingProbe(Generic[View]):
    """Fills the chunk-by-chunk matrix while a stream is observed, within bounded memory and work.

    Every chunk is a row and a column; the column of one that has no held-out views is empty. Once there are ``limit``
    of them, one of every two neighbours is dropped (rather one without views), and from then on only one of every two
    chunks that come, the first that has views, becomes one; then one of every four, and so on. Thus, of a stream of
    whatever length whose chunks have views, between half of ``limit`` and ``limit`` chunks remain, evenly chosen, and
    their rows and columns are those of the full matrix. No more than ``limit * views_per_chunk`` views are kept or
    rendered at once, and a chunk that is no row costs its own views only: ``n`` chunks cost about
    ``limit² * log2(n / limit)`` renders of a chunk's views, and ``n`` for their own.

    The last row can thereby be of a chunk some way before the stream's end.
    """

    def __init__(
        self,
        psnr_now: Callable[[Sequence[View]], list[float]],
        views_per_chunk: int = 2,
        limit: int = 128,
    ) -> None:
        """Begin with no chunk.

        Args:
            psnr_now: renders views from the memory as it is now; PSNR of each, dB.
            views_per_chunk: how many held-out views of a chunk are rendered again, at least 1.
            limit: of rows and columns, at least 2.

        Raises:
            ValueError: a number that is too small.
        """
        if views_per_chunk < 1 or limit < 2:
            raise ValueError(
                "forgetting is probed on at least 1 view of at least 2 chunks, got "
                f"views_per_chunk={views_per_chunk}, limit={limit}"
            )
        self._psnr_now = psnr_now
        self._views_per_chunk = views_per_chunk
        self._limit = limit
        self._every = 1
        self._seen = 0
        self._newest: int | None = None
        self._places: list[int] = []  # of rows, among all chunks
        self._numbers: list[int] = []
        self._views: list[tuple[View, ...]] = []
        self._rows: list[NDArray[np.float64]] = []

    def after_chunk(self, number: int, held_out: Sequence[View]) -> float:
        """Render the held-out views of this chunk and of those before it, right after it was observed.

        Args:
            number: of the chunk; they ascend.
            held_out: views that belong to it and were kept from the memory; evenly chosen ones are rendered.

        Returns:
            Mean PSNR of the chunk's own views, dB; NaN where it has none.

        Raises:
            ValueError: a number that does not ascend, or as many figures did not come back as views were asked for.
        """
        if self._newest is not None and number <= self._newest:
            raise ValueError(f"chunks come in ascending order, and {number} came after {self._newest}")
        self._newest = number
        own = _evenly(held_out, self._views_per_chunk)
        if self._is_wanted(own) and len(self._numbers) == self._limit:
            self._thin()
        if self._is_wanted(own):
            row = self._means([*self._views, own])
            self._places.append(self._seen)
            self._numbers.append(number)
            self._views.append(own)
            self._rows.append(row)
            mean = row[-1]
        else:
            (mean,) = self._means([own])
        self._seen += 1
        return float(mean)

    def matrix(self) -> ForgettingMatrix:
        """What was found so far."""
        count = len(self._numbers)
        psnr = np.full((count, count), np.nan)
        for i, row in enumerate(self._rows):
            psnr[i, : len(row)] = row
        return ForgettingMatrix(tuple(self._numbers), psnr)

    def _is_wanted(self, own: Sequence[View]) -> bool:
        """Whether the next chunk is to be a row: no other of its group is, and it has views, or is its own group."""
        is_new = not self._places or self._places[-1] // self._every < self._seen // self._every
        return is_new and (bool(own) or self._every == 1)

    def _thin(self) -> None:
        """Join groups in twos, and keep one row of each: the first that has views, else the first."""
        self._every *= 2
        kept: dict[int, int] = {}
        for row, place in enumerate(self._places):
            before = kept.setdefault(place // self._every, row)
            if not self._views[before] and self._views[row]:
                kept[place // self._every] = row
        rows = list(kept.values())
        self._places = [self._places[row] for row in rows]
        self._numbers = [self._numbers[row] for row in rows]
        self._views = [self._views[row] for row in rows]
        self._rows = [self._rows[row][[other for other in rows if other <= row]] for row in rows]

    def _means(self, chunks: Sequence[Sequence[View]]) -> NDArray[np.float64]:
        """Mean PSNR of each chunk's views now."""
        views = [view for chunk in chunks for view in chunk]
        found = np.asarray(self._psnr_now(views) if views else [], dtype=np.float64)
        if found.shape != (len(views),):
            raise ValueError(f"{len(views)} views were to be rendered, and figures came back for {found.shape}")
        ends = np.cumsum([len(chunk) for chunk in chunks])
        return np.array([part.mean() if len(part) else np.nan for part in np.split(found, ends[:-1])])


def average_forgetting(matrix: ForgettingMatrix) -> float:
    """How much worse chunks are at the end than they once were, dB; positive: forgotten.

    Chaudhry et al., "Riemannian Walk for Incremental Learning: Understanding Forgetting and Intransigence", ECCV 2018,
    section 3: of every chunk j but the last one k, the best it ever was before k less what it is after k, and the
    mean over j. NaN where fewer than two chunks were measured.
    """
    end = _final_row(matrix)
    if end is None:
        return float("nan")
    drops = [
        float(np.nanmax(matrix.psnr[j:end, j])) - matrix.psnr[end, j]
        for j in range(end)
        if np.isfinite(matrix.psnr[j:end, j]).any() and np.isfinite(matrix.psnr[end, j])
    ]
    return _mean(drops)


def backward_transfer(matrix: ForgettingMatrix) -> float:
    """What later chunks changed about earlier ones, dB; negative: forgotten, positive: improved.

    BWT of Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017, section 2: of every
    chunk but the last, what it is at the end less what it was right after it was observed, and the mean over chunks.
    NaN where fewer than two chunks were measured.
    """
    end = _final_row(matrix)
    if end is None:
        return float("nan")
    return _mean(matrix.psnr[end, :end] - np.diagonal(matrix.psnr)[:end])


class AgeCurve(NamedTuple):
    """How chunks change with age.

    Attributes:
        ages: ``[n]`` int64, in chunks since a chunk was observed, ascending from 1; those that occur.
        change_db: ``[n]`` float64, PSNR at that age less PSNR when new, mean over chunks; negative: forgotten.
        counts: ``[n]`` int64, how many chunks that is the mean of.
    """

    ages: NDArray[np.int64]
    change_db: NDArray[np.float64]
    counts: NDArray[np.int64]


def by_age(matrix: ForgettingMatrix) -> AgeCurve:
    """The forgetting curve: change since new against age, the mean over all chunks that reached it.

    Each age is the mean of other chunks: young ages of all, the oldest of the first chunks only.
    """
    numbers = np.array(matrix.chunks, dtype=np.int64)
    changes = matrix.psnr - np.diagonal(matrix.psnr)
    i, j = np.nonzero(np.tril(np.isfinite(changes), k=-1))
    ages, place, counts = np.unique(numbers[i] - numbers[j], return_inverse=True, return_counts=True)
    sums = np.bincount(place, weights=changes[i, j], minlength=len(ages))
    return AgeCurve(ages, sums / counts, counts.astype(np.int64))


def _evenly(views: Sequence[View], wanted: int) -> tuple[View, ...]:
    """At most so many, from the middles of as many equal stretches."""
    if len(views) <= wanted:
        return tuple(views)
    return tuple(views[(2 * i + 1) * len(views) // (2 * wanted)] for i in range(wanted))


def _final_row(matrix: ForgettingMatrix) -> int | None:
    """The last row that was not cut short: every chunk up to it that was rendered when new was rendered again."""
    psnr = matrix.psnr
    measured = np.isfinite(np.diagonal(psnr))
    for i in range(len(psnr) - 1, -1, -1):
        if measured[: i + 1].any() and np.isfinite(psnr[i, : i + 1][measured[: i + 1]]).all():
            return i
    return None


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Of the finite ones; NaN of nothing."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if len(finite) else float("nan")
