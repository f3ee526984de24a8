# SPDX-License-Identifier: Apache-2.0
"""What newer photographs say of older ones: a place looks as it did, or nothing there has that colour any more.

Depths are wrong by tens of percent, poses by a centimetre and a degree, and exposure changes. A point contradicts only
where nothing like it is found along its line of sight, as far as its depth may be wrong, and around there, at the
exposure that explains most of the picture. What may be hidden behind something nearer says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from fsm_ros.recall.choose import COLUMNS, ROWS

CELL = 4
"""Pixels of a thumbnail along a cell of the grid of points."""
THUMBNAIL_BYTES = 3 * CELL * ROWS * CELL * COLUMNS
REACH = 2
"""So many pixels of a thumbnail around a landing a colour is looked for: poses are wrong, and surfaces textured."""
DEPTH_FACTORS = (0.7, 0.84, 1.0, 1.2, 1.43)
"""A depth may be wrong by so much."""
HIDDEN = 1.4
"""A point that is so many times as far away as what the newer photograph shows there may be hidden from it."""
GAINS = (2.0 ** (np.arange(-5, 6) / 6)).astype(np.float32)
"""Exposure may have changed by so much, from 0.56 to 1.78."""
CLEARLY = 0.12
"""Colours, of 1, that differ by less do not contradict."""
LARGEST_ANGLE_RAD = 0.6
"""Seen from further round a surface may look otherwise."""
SAME_SIDE_RAD = 0.1
"""Seen from so nearly the same side nothing is hidden from one that was not from the other, unless it is new."""
LARGEST_ZOOM = 1.7
"""Seen from so many times as near or as far, a thumbnail shows other details."""
LEAST_CONTRAST = 0.03
"""A photograph of less contrast (a covered lens, the dark) says nothing."""
FEWEST_POINTS = 8
"""Of two photographs that share fewer points, nobody knows how exposure changed."""
_NEAR_M = 1e-3


@dataclass(frozen=True, eq=False)
class Sights:
    """What ``N`` photographs show, roughly.

    Attributes:
        lenses: ``[N, 4]`` float64: fx, fy, cx, cy in widths and heights of the image.
        world_from_camera: ``[N, 4, 4]`` float64 rigid, optical frames, metres.
        thumbnails: ``[N, CELL * ROWS, CELL * COLUMNS, 3]`` uint8.
        depth_m: ``[N, ROWS, COLUMNS]`` float32 along the optical axis; NaN where it is not known.
    """

    lenses: NDArray[np.float64]
    world_from_camera: NDArray[np.float64]
    thumbnails: NDArray[np.uint8]
    depth_m: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Testimony:
    """What newer photographs say of the points of ``N`` older ones.

    Attributes:
        agreeing: ``[N, ROWS, COLUMNS]`` int64, how many see the point as it was.
        contradicting: ``[N, ROWS, COLUMNS]`` int64, how many clearly see something else there.
    """

    agreeing: NDArray[np.int64]
    contradicting: NDArray[np.int64]


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A photograph ``[height, width, 3]`` with ``CELL`` pixels along each cell of its grid of points."""
    # Of many pixels sixteen say as much as all.
    step = max(1, min(image.shape[0] // (CELL * ROWS), image.shape[1] // (CELL * COLUMNS)) // 4)
    pixels = np.ascontiguousarray(image[::step, ::step].transpose(2, 0, 1), dtype=np.float32)
    small = F.interpolate(torch.from_numpy(pixels)[None], (CELL * ROWS, CELL * COLUMNS), mode="area")
    values: NDArray[np.uint8] = small[0].permute(1, 2, 0).round().to(torch.uint8).numpy()
    return values


def testimony(new: Sights, old: Sights) -> Testimony:
    """What ``M`` newer photographs say of ``N`` older ones."""
    start, ray = _lines_of_sight(new, old)
    shown = _comparable(new, old, start, ray)
    factors = np.array(DEPTH_FACTORS, dtype=np.float32)[:, None, None]
    row, column, inside = _landings(shown.start + factors * shown.line, new.lenses[shown.newer])
    pairs = len(new.depth_m) * len(old.depth_m)
    whole = inside.all(axis=0)
    whole &= (np.bincount(shown.pair[whole], minlength=pairs) >= FEWEST_POINTS)[shown.pair]
    newer, older, point, pair = (each[whole] for each in (shown.newer, shown.older, shown.point, shown.pair))
    lowest, highest = (values[:, newer, row[:, whole], column[:, whole]] for values in _range_around(new.thumbnails))
    colour = _colours(old.thumbnails)[:, older, point]
    middle = len(factors) // 2
    gain = _gains(colour, lowest[:, middle], highest[:, middle], pair, pairs)
    contradicts = _apart((gain * colour)[:, None], lowest, highest).max(axis=0).min(axis=0) > CLEARLY
    place = older * (ROWS * COLUMNS) + point
    counts = [np.bincount(place[which], minlength=old.depth_m.size) for which in (~contradicts, contradicts)]
    return Testimony(*(count.reshape(-1, ROWS, COLUMNS) for count in counts))


@dataclass(frozen=True, eq=False)
class _Shown:
    """``K`` points of older photographs that newer ones show too.

    Attributes:
        newer: ``[K]`` which of the newer ones shows it.
        older: ``[K]`` whose point it is.
        point: ``[K]`` which.
        pair: ``[K]`` a number of those two photographs together.
        start: ``[K, 3]`` where the older camera stands, in the newer one's frame, metres.
        line: ``[K, 3]`` from there to the point.
    """

    newer: NDArray[np.intp]
    older: NDArray[np.intp]
    point: NDArray[np.intp]
    pair: NDArray[np.intp]
    start: NDArray[np.float32]
    line: NDArray[np.float32]


def _lines_of_sight(new: Sights, old: Sights) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where older cameras stand ``[M, N, 3]``, and lines from there ``[M, N, P, 3]``, in newer cameras' frames.

    Lines end at the points; they have no length where depth is not known.
    """
    x = ((np.arange(COLUMNS) + 0.5) / COLUMNS - old.lenses[:, None, 2]) / old.lenses[:, None, 0]
    y = ((np.arange(ROWS) + 0.5) / ROWS - old.lenses[:, None, 3]) / old.lenses[:, None, 1]
    slopes = np.stack(np.broadcast_arrays(x[:, None, :], y[:, :, None], 1.0), axis=-1)
    lines = (np.nan_to_num(old.depth_m)[..., None] * slopes).reshape(len(x), -1, 3).astype(np.float32)
    relative = (np.linalg.inv(new.world_from_camera)[:, None] @ old.world_from_camera[None]).astype(np.float32)
    return relative[..., :3, 3], lines[None] @ relative[..., :3, :3].swapaxes(-1, -2)


def _comparable(new: Sights, old: Sights, start: NDArray[np.float32], line: NDArray[np.float32]) -> _Shown:
    """The points that newer photographs show from about the same side and about as large."""
    row, column, inside = _landings(start[:, :, None] + line, new.lenses[:, None, None])
    inside &= (new.thumbnails.std(axis=(1, 2)).max(axis=-1) > 255 * LEAST_CONTRAST)[:, None, None]
    inside &= _turns(len(new.depth_m))[:, None]
    newer, older, point = np.nonzero(inside)
    start, line = start[newer, older], line[newer, older, point]
    there = start + line
    away, away_old = (np.sqrt(np.maximum(_dot(each, each), _NEAR_M**2)) for each in (there, line))
    cosine = _dot(there, line) / (away * away_old)
    nearest = _extreme_around(np.minimum, np.nan_to_num(new.depth_m), 1)
    is_hidden = there[:, 2] > HIDDEN * nearest[newer, row[inside] // CELL, column[inside] // CELL]
    zoom = new.lenses[newer, 0] / old.lenses[older, 0] * away_old / away
    alike = (zoom < LARGEST_ZOOM) & (zoom > 1 / LARGEST_ZOOM)
    alike &= cosine > np.where(is_hidden, np.cos(SAME_SIDE_RAD), np.cos(LARGEST_ANGLE_RAD))
    newer, older, point = newer[alike], older[alike], point[alike]
    return _Shown(newer, older, point, newer * len(old.depth_m) + older, start[alike], line[alike])


def _turns(count: int) -> NDArray[np.bool_]:
    """``[M, P]`` whose turn it is at which points: successive views show nearly the same, so each takes every other."""
    number, row, column = np.ogrid[:count, :ROWS, :COLUMNS]
    return np.asarray((number + row + column) % 2 == 0).reshape(count, -1)


def _landings(
    points: NDArray[np.float32], lenses: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Rows and columns of thumbnails where points in cameras' frames fall, and whether that is inside."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    lens = lenses.astype(np.float32)
    depth = np.maximum(z, np.float32(_NEAR_M))
    u = (lens[..., 0] * x / depth + lens[..., 2]) * np.float32(CELL * COLUMNS)
    v = (lens[..., 1] * y / depth + lens[..., 3]) * np.float32(CELL * ROWS)
    inside = (z > _NEAR_M) & (u >= 0) & (u < CELL * COLUMNS) & (v >= 0) & (v < CELL * ROWS)
    row, column = (np.where(inside, each, np.float32(0)).astype(np.intp) for each in (v, u))
    return row, column, inside


def _dot(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.einsum("...i,...i", one, other))


def _colours(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """``[3, N, P]`` the colours of points in [0, 1]: of the four pixels in the middle of each cell."""
    pixels = thumbnails.transpose(3, 0, 1, 2).astype(np.float32)
    middle = sum(pixels[:, :, row::CELL, column::CELL] for row in (1, 2) for column in (1, 2))
    return np.asarray(middle / np.float32(4 * 255)).reshape(3, len(thumbnails), -1)


def _range_around(thumbnails: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """The least and the largest colours within ``REACH`` of each pixel, in [0, 1]; ``[3, M, rows, columns]``."""
    pixels = thumbnails.transpose(3, 0, 1, 2)
    extremes = [_extreme_around(which, pixels, REACH) for which in (np.minimum, np.maximum)]
    return [each.astype(np.float32) / np.float32(255) for each in extremes]


def _extreme_around(which: np.ufunc, images: NDArray[Any], reach: int) -> NDArray[Any]:
    """The least or the largest of ``[..., rows, columns]`` within so many pixels of each."""
    for axis in (-2, -1):
        length = images.shape[axis]
        steps = (np.arange(length) + step for step in range(-reach, reach + 1))
        images = reduce(which, [images.take(step.clip(0, length - 1), axis) for step in steps])
    return images


def _gains(
    colour: NDArray[np.float32],
    lowest: NDArray[np.float32],
    highest: NDArray[np.float32],
    pair: NDArray[np.intp],
    pairs: int,
) -> NDArray[np.float32]:
    """``[K]`` for points ``[3, K]`` of pairs of photographs the exposure at which most of a pair's points agree."""
    apart = np.minimum(_apart(GAINS[:, None, None] * colour, lowest, highest), np.float32(CLEARLY)).sum(axis=1)
    unlikely = 1e-3 * np.abs(np.log(GAINS))[:, None]
    cost = np.stack([np.bincount(pair, each, pairs) for each in apart + unlikely])
    best: NDArray[np.float32] = GAINS[cost.argmin(axis=0)][pair]
    return best


def _apart(
    colour: NDArray[np.float32], lowest: NDArray[np.float32], highest: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How far colours lie outside of a range."""
    exposed = np.minimum(colour, 1.0)
    outside: NDArray[np.float32] = np.maximum(np.maximum(exposed - highest, lowest - exposed), 0.0)
    return outside
