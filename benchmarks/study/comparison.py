# SPDX-License-Identifier: Apache-2.0
"""Paired differences: the same scenes under two rules, each with the weights that were trained with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.probes import ProbeKind
from study.results import ArmResult
from study.streams import Stream

METRE_EDGES = (0.0, 0.15, 0.3, 0.5, 0.75, np.inf)
RADIAN_EDGES = (0.0, 0.1, 0.2, 0.35, 0.55, np.inf)
SECOND_EDGES = (0.0, 1.0, 2.0, 4.0, 8.0, np.inf)


@dataclass(frozen=True)
class Mean:
    """A mean over scenes.

    Attributes:
        value: of all seeds and scenes.
        error: its standard error over scenes, seeds averaged first: they saw the same scenes.
        seeds: the mean of each seed.
    """

    value: float
    error: float
    seeds: tuple[float, ...]

    def __str__(self) -> str:
        """For tables."""
        return f"{self.value:.2f} ± {self.error:.2f}"

    @property
    def signed(self) -> str:
        """For differences."""
        return f"{self.value:+.2f} ± {self.error:.2f}"


def mean_of(rows: NDArray[np.float64]) -> Mean:
    """Of ``[seeds, scenes]``."""
    per_scene = rows.mean(axis=0)
    error = float(per_scene.std(ddof=1) / np.sqrt(len(per_scene))) if len(per_scene) > 1 else math.nan
    return Mean(float(per_scene.mean()), error, tuple(float(seed) for seed in rows.mean(axis=1)))


def figure(results: Sequence[ArmResult], name: str, chunk_count: int) -> NDArray[np.float64]:
    """``[seeds, scenes]`` of one figure after so many chunks. ``gap`` is observed minus held-out views."""
    if name == "gap":
        return figure(results, "observed", chunk_count) - figure(results, "held_out", chunk_count)
    return np.stack([result.column(name, chunk_count) for result in results])


def difference(one: Sequence[ArmResult], other: Sequence[ArmResult], name: str, chunk_count: int) -> Mean:
    """What one arm scores above another, scene by scene and seed by seed.

    Raises:
        ValueError: other scenes, or another number of seeds.
    """
    numbers = {tuple(scene.number for scene in result.scenes) for result in (*one, *other)}
    if len(one) != len(other) or len(numbers) != 1:
        raise ValueError("paired differences want the same scenes and as many seeds on both sides")
    return mean_of(figure(one, name, chunk_count) - figure(other, name, chunk_count))


class Bin(NamedTuple):
    """Probes about as far from what was observed.

    Attributes:
        where: how far, on average.
        value: their mean.
        error: its standard error, scenes taken for independent.
        probes: how many.
    """

    where: float
    value: float
    error: float
    probes: int


@dataclass(frozen=True, eq=False)
class ProbeTable:
    """Where the probes of all scenes are, ``[scenes, probes]``."""

    kind: NDArray[np.str_]
    metres: NDArray[np.float64]
    radians: NDArray[np.float64]
    seconds: NDArray[np.float64]

    @classmethod
    def of(cls, found: Sequence[Stream]) -> ProbeTable:
        """From the streams."""

        def gather(name: str) -> NDArray[np.float64]:
            return np.array([[getattr(probe, name) for probe in stream.probes] for stream in found])

        kind = np.array([[probe.kind.value for probe in stream.probes] for stream in found])
        return cls(kind, gather("metres"), gather("radians"), gather("seconds"))

    @classmethod
    def from_plain(cls, plain: dict[str, list[list[float]]]) -> ProbeTable:
        """The inverse of :meth:`as_plain`."""
        numbers = (np.array(plain[name], dtype=np.float64) for name in ("metres", "radians", "seconds"))
        return cls(np.array(plain["kind"]), *numbers)

    def as_plain(self) -> dict[str, object]:
        """For a file."""
        return {name: getattr(self, name).tolist() for name in ("kind", "metres", "radians", "seconds")}

    def curves(self, results: Sequence[ArmResult], above: Sequence[ArmResult] | None = None) -> dict[str, list[Bin]]:
        """Quality against metres, radians and seconds to the nearest observed view.

        Args:
            results: of one arm, one a seed.
            above: of another arm: then it is the difference to that one, probe by probe.
        """
        values = np.stack([result.probes() for result in results]).mean(axis=0)
        if above is not None:
            values = values - np.stack([result.probes() for result in above]).mean(axis=0)
        off_path, other_time = (self.kind == kind.value for kind in ProbeKind)
        return {
            "metres": _binned(self.metres, values, off_path, METRE_EDGES),
            "radians": _binned(self.radians, values, off_path, RADIAN_EDGES),
            "seconds": _binned(self.seconds, values, other_time, SECOND_EDGES),
        }


def _binned(
    where: NDArray[np.float64], values: NDArray[np.float64], of_kind: NDArray[np.bool_], edges: Sequence[float]
) -> list[Bin]:
    """Means over probes; all arrays ``[scenes, probes]``.

    Probes of one scene are alike, so the standard error takes scenes, not probes, for independent (the sandwich
    estimator of a ratio of sums).
    """
    bins = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = of_kind & (where >= low) & (where < high)
        probes = inside.sum(axis=1)
        scenes = int((probes > 0).sum())
        if scenes < 2:
            continue
        mean = float((values * inside).sum() / probes.sum())
        residual = (values * inside).sum(axis=1) - mean * probes
        error = np.sqrt(scenes / (scenes - 1) * (residual**2).sum()) / probes.sum()
        bins.append(Bin(float(where[inside].mean()), mean, float(error), int(probes.sum())))
    return bins
