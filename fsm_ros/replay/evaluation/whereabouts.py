# SPDX-License-Identifier: Apache-2.0
"""Where a view lies relative to what was observed: how near, inside or outside the path, and what is new about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.replay.evaluation.results import Novelty, PathSide, Whereabouts
from fsm_ros.stream.frame import validate_rigid
from fsm_ros.stream.rigid import RADIANS_PER_METRE, camera_distance_m, camera_distances

STEPS = 8
"""Poses that the path has from one keyframe to the next."""
SMALLEST_STEP = 0.01
"""Metres plus radians: a camera that stands still has no step, and a centimetre or half a degree is no new view."""
SMALLEST_INTERVAL_S = 0.01
"""Seconds: images so close in time show the same moment, even where there is but one."""
_EQUALLY_NEAR = 1e-9
"""Metres plus radians: rounding must not decide between keyframes of a standing camera."""
_S_PER_NS = 1e-9
_NOTHING: NDArray[np.float64] = np.empty(0)


class ObservedPath:
    """The cameras that a memory observed, and the way between them.

    Between two consecutive keyframes of one camera the path is interpolated: straight in position, at an even rate in
    attitude (slerp). It knows of no corner that was cut there, so that views in a long unobserved stretch are judged by
    a straight way through it.
    """

    def __init__(self, poses: NDArray[np.float64], stamps_ns: Sequence[int], sources: Sequence[str]) -> None:
        """Lay the path.

        Args:
            poses: ``[n, 4, 4]`` world_from_camera of all observed keyframes, metres.
            stamps_ns: ``[n]`` their moments, nanoseconds.
            sources: ``[n]`` which camera each is of.

        Raises:
            ValueError: no keyframe, counts that differ, or a pose that is not rigid.
        """
        if poses.ndim != 3 or len(poses) == 0 or not len(poses) == len(stamps_ns) == len(sources):
            raise ValueError(
                "an observed path needs keyframes, each with a pose, a moment and a source: got poses "
                f"{poses.shape}, {len(stamps_ns)} moments and {len(sources)} sources"
            )
        for pose in poses:
            validate_rigid(pose)
        self._poses = np.array(poses, dtype=np.float64)
        self._stamps_ns = np.array(stamps_ns, dtype=np.int64)
        between, steps, intervals_ns = [self._poses], _NOTHING, _NOTHING
        named = np.asarray(sources)
        for source in dict.fromkeys(sources):
            mine = np.flatnonzero(named == source)
            mine = mine[np.argsort(self._stamps_ns[mine], kind="stable")]
            before, after = self._poses[mine[:-1]], self._poses[mine[1:]]
            between.append(_between(before, after))
            steps = np.append(steps, _steps(before, after))
            intervals_ns = np.append(intervals_ns, np.diff(self._stamps_ns[mine]))
        self._path = np.concatenate(between)
        self._step = max(_median(steps), SMALLEST_STEP)
        self._interval_s = max(_median(intervals_ns) * _S_PER_NS, SMALLEST_INTERVAL_S)

    @property
    def step(self) -> float:
        """Median distance between consecutive keyframes of a camera, metres plus radians; at least `SMALLEST_STEP`.

        A view farther than this from every observed camera is a novel view; one farther than half of it from the path
        is outside.
        """
        return self._step

    @property
    def interval_s(self) -> float:
        """Median time between consecutive keyframes of a camera, seconds; at least `SMALLEST_INTERVAL_S`.

        A moment farther than this from every observed one, of any camera, is a novel time.
        """
        return self._interval_s

    def locate(self, world_from_camera: NDArray[np.float64], stamp_ns: int) -> Whereabouts:
        """Where a view lies.

        The nearest observed camera is that with the least sum of metres and radians; among equally near ones, as a
        standing camera has, it is the one nearest in time.

        Args:
            world_from_camera: ``[4, 4]``, metres.
            stamp_ns: its moment, nanoseconds.

        Raises:
            ValueError: a pose that is not rigid.
        """
        validate_rigid(world_from_camera)
        metres, radians = camera_distances(self._poses, world_from_camera)
        distances = metres + radians / RADIANS_PER_METRE
        apart_ns = np.abs(self._stamps_ns - np.int64(stamp_ns))
        equally = np.flatnonzero(distances <= distances.min() + _EQUALLY_NEAR)
        nearest = equally[np.argmin(apart_ns[equally])]
        path_metres, path_radians = camera_distances(self._path, world_from_camera)
        off_path = float((path_metres + path_radians / RADIANS_PER_METRE).min())
        seconds_from_observed = float(apart_ns.min()) * _S_PER_NS
        return Whereabouts(
            metres=float(metres[nearest]),
            radians=float(radians[nearest]),
            seconds=float(apart_ns[nearest]) * _S_PER_NS,
            seconds_from_observed=seconds_from_observed,
            off_path=off_path,
            side=PathSide.INSIDE if off_path <= 0.5 * self.step else PathSide.OUTSIDE,
            novelty=_novelty(bool(distances.min() > self.step), seconds_from_observed > self.interval_s),
        )


class Bin(NamedTuple):
    """Values whose places are alike.

    Attributes:
        where: mean place.
        mean: mean value.
        error: standard error of the mean; NaN of a single value.
        size: how many values.
    """

    where: float
    mean: float
    error: float
    size: int


def bins(values: Sequence[float], where: Sequence[float], edges_count: int = 6, fewest: int = 3) -> list[Bin]:
    """Gather values by their places, for a curve: about equally many in each bin.

    The edges are quantiles of the places: as many as asked for, or fewer where bins would hold less than ``fewest``
    values. Equal places stay together, and a bin that has too few values even so is joined to the next one (the last
    to the one before it), so that no value is lost.

    Args:
        values: what is averaged; those that are not finite are left out, with their places.
        where: where each value lies; likewise.
        edges_count: edges of the bins, one more than bins, at least 2.
        fewest: values of a bin, at least 1.

    Returns:
        The bins, in the order of their places; none where there are fewer than ``fewest`` values.

    Raises:
        ValueError: counts that differ, or that make no bin.
    """
    if len(values) != len(where):
        raise ValueError(f"every value has a place: got {len(values)} values and {len(where)} places")
    if edges_count < 2 or fewest < 1:
        raise ValueError(f"a bin has 2 edges and a value at least, got edges_count={edges_count}, fewest={fewest}")
    y, x = np.asarray(values, dtype=np.float64), np.asarray(where, dtype=np.float64)
    known = np.isfinite(x) & np.isfinite(y)
    order = np.argsort(x[known], kind="stable")
    x, y = x[known][order], y[known][order]
    if len(x) < fewest:
        return []
    parts = min(edges_count - 1, len(x) // fewest)
    inner = np.quantile(x, np.linspace(0.0, 1.0, parts + 1)[1:-1])
    # Where a bin begins in the sorted values: before those that lie on an edge, or after them where none come before.
    starts = [0]
    for before, after in zip(np.searchsorted(x, inner, "left"), np.searchsorted(x, inner, "right"), strict=True):
        start = int(before if before > starts[-1] else after)
        if start - starts[-1] >= fewest and len(x) - start >= fewest:
            starts.append(start)
    return [_bin(x[a:b], y[a:b]) for a, b in zip(starts, [*starts[1:], len(x)], strict=True)]


def _bin(x: NDArray[np.float64], y: NDArray[np.float64]) -> Bin:
    error = float(y.std(ddof=1) / np.sqrt(len(y))) if len(y) > 1 else float("nan")
    return Bin(float(x.mean()), float(y.mean()), error, len(y))


def _between(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[n * (STEPS - 1), 4, 4]`` poses strictly between ``[n, 4, 4]`` ones and those after them."""
    if len(before) == 0:
        return np.empty((0, 4, 4))
    fractions = np.arange(1, STEPS) / STEPS
    start = Rotation.from_matrix(before[:, :3, :3])
    turn = (start.inv() * Rotation.from_matrix(after[:, :3, :3])).as_rotvec()
    poses = np.zeros((len(before), len(fractions), 4, 4))
    poses[..., 3, 3] = 1.0
    poses[..., :3, 3] = before[:, None, :3, 3] + fractions[:, None] * (after - before)[:, None, :3, 3]
    part = Rotation.from_rotvec((turn[:, None] * fractions[:, None]).reshape(-1, 3)).as_matrix()
    poses[..., :3, :3] = start.as_matrix()[:, None] @ part.reshape(*poses.shape[:2], 3, 3)
    return poses.reshape(-1, 4, 4)


def _steps(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[n]`` metres plus radians from each pose to the one after it."""
    pairs = zip(before, after, strict=True)
    return np.array([camera_distance_m(earlier, later) for earlier, later in pairs], dtype=np.float64)


def _median(values: NDArray[np.float64]) -> float:
    """0 of nothing."""
    return float(np.median(values)) if len(values) else 0.0


def _novelty(view: bool, time: bool) -> Novelty:
    if view:
        return Novelty.BOTH if time else Novelty.VIEW
    return Novelty.TIME if time else Novelty.NEITHER
