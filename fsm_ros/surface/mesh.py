# SPDX-License-Identifier: Apache-2.0
"""A coloured mesh of the surfaces that views agree on: a truncated signed distance, and its zero.

The distance to the surface is averaged over the views in cells of a grid, along their lines of sight (Curless and Levoy
1996), near the agreed points only; marching cubes of scikit-image find where it is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fsm_ros.errors import FsmError
from fsm_ros.surface.cloud import Told, cloud_of, finest_m

MOST_CELLS = 2**24
"""A finer grid is made coarser."""
CELLS_OF_A_PIXEL = 2.0
"""As fine as it is known, for a mesh: so many times what a pixel covers."""
BAND_SHARE = 0.06
"""The distance is truncated at such a share of the depth, which is what depth may be wrong by, ..."""
LEAST_BAND_CELLS = 3
"""... and at so many cells at least."""
MOST_BAND_CELLS = 8


class SurfaceLibraryError(FsmError, ImportError):
    """A library that surfaces are made or written with is not installed."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A mesh.

    Attributes:
        vertices: ``[N, 3]`` float32 in the world, metres.
        triangles: ``[M, 3]`` int64, counterclockwise as seen from the free side.
        colours: ``[N, 3]`` uint8, RGB.
        resolution_m: edge of the cells that it was found in.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int64]
    colours: NDArray[np.uint8]
    resolution_m: float


def mesh_of(views: Sequence[Told], min_confidence: float, resolution_m: float = 0.0) -> Mesh:
    """The surfaces that views agree on; without triangles where there are none.

    Args:
        views: each with its agreed points.
        min_confidence: points whose confidence is less are left out.
        resolution_m: edge of the cells; 0: :data:`CELLS_OF_A_PIXEL`. Larger where the grid would be too large.

    Raises:
        SurfaceLibraryError: scikit-image is not installed.
    """
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise SurfaceLibraryError(
            f"a mesh needs scikit-image: pip install 'fsm_ros[surface]', or scikit-image ({error})"
        ) from error
    cell_m = resolution_m or CELLS_OF_A_PIXEL * finest_m(views)
    points = cloud_of(views, min_confidence, cell_m).points.astype(np.float64)
    nothing = Mesh(np.empty((0, 3), np.float32), np.empty((0, 3), np.int64), np.empty((0, 3), np.uint8), cell_m)
    if not len(points):
        return nothing
    margin = MOST_BAND_CELLS + 1
    span = points.max(axis=0) - points.min(axis=0)
    while np.prod(np.ceil(span / cell_m) + 2 * margin + 1) > MOST_CELLS:
        cell_m *= 1.1
    origin = points.min(axis=0) - margin * cell_m
    near = np.zeros(tuple(np.ceil(span / cell_m).astype(int) + 2 * margin + 1), dtype=np.bool_)
    near[tuple(np.round((points - origin) / cell_m).astype(int).T)] = True
    depth_m = np.nanmedian(np.concatenate([a.depth_m[a.confidence >= min_confidence] for _, a in views]))
    cells = int(np.clip(np.ceil(BAND_SHARE * depth_m / cell_m), LEAST_BAND_CELLS, MOST_BAND_CELLS))
    near = ndimage.binary_dilation(near, ndimage.generate_binary_structure(3, 3), iterations=cells)
    distance, weight, colours = _fused(views, min_confidence, origin + cell_m * np.argwhere(near), cells * cell_m)
    volume, known = np.ones(near.shape, dtype=np.float32), np.zeros(near.shape, dtype=np.bool_)
    volume[near], known[near] = distance, weight > 0
    if not (known.any() and volume[known].min() < 0.0 < volume[known].max()):
        return nothing
    places, triangles, _, _ = marching_cubes(volume, 0.0)
    # Where one end of a vertex's edge is not known there is no surface, only an end of what is known.
    ends = (np.floor(places).astype(int), np.ceil(places).astype(int))
    sound = known[tuple(ends[0].T)] & known[tuple(ends[1].T)]
    triangles = triangles[sound[triangles].all(axis=1)].astype(np.int64)
    used, renumbered = np.unique(triangles, return_inverse=True)
    number = np.full(near.shape, -1, dtype=np.int64)
    number[near] = np.arange(len(colours))
    shown = colours[number[tuple(np.round(places[used]).astype(int).T)]]
    vertices = (origin + cell_m * places[used]).astype(np.float32)
    return Mesh(vertices, renumbered.reshape(-1, 3).astype(np.int64), shown.round().astype(np.uint8), cell_m)


def _fused(
    views: Sequence[Told], min_confidence: float, centres: NDArray[np.float64], band_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Distances ``[N]`` in bands, positive on the free side, their weights ``[N]``, and colours ``[N, 3]``."""
    distance, weight = np.zeros(len(centres)), np.zeros(len(centres))
    colours, shown = np.zeros((len(centres), 3)), np.full(len(centres), 1e-9)
    for view, agreed in views:
        row, column, depth, inside = view.landings(centres)
        trust = np.where(inside, agreed.confidence[row, column], 0.0)
        theirs = np.where(trust >= max(min_confidence, 1e-6), agreed.depth_m[row, column], np.nan)
        before = (theirs - depth) / band_m
        heard = before > -1.0  # further behind a surface nothing is known; not so where it is NaN
        trust = np.where(heard, trust, 0.0)
        distance += trust * np.where(heard, np.minimum(before, 1.0), 0.0)
        weight += trust
        close = np.where(heard & (before < 1.0), trust, 0.0)
        colours += close[:, None] * view.colour[row, column]
        shown += close
    return distance / np.maximum(weight, 1e-9), weight, colours / shown[:, None]
