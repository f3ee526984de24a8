# SPDX-License-Identifier: Apache-2.0
"""Procedural textures: families of periodic patterns, drawn in NumPy.

A pattern is ``[size, size, 3]`` float32 in [0, 1] that tiles seamlessly. Its channels are no colours but weights: a
surface mixes a palette of its own with them (main pattern, second pattern, grain), so that one pattern serves
any number of differently coloured surfaces. Noise follows Perlin, "An image synthesizer" (1985), in its spectral
form; cells follow Worley, "A cellular texture basis function" (1996).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
AnyFloats = NDArray[np.floating[Any]]


class Pattern(Enum):
    """Families of procedural textures."""

    FRACTAL = "fractal"
    WAVES = "waves"
    TILES = "tiles"
    CELLS = "cells"
    STROKES = "strokes"
    PLANKS = "planks"
    BRICKS = "bricks"
    WEAVE = "weave"
    MARBLE = "marble"
    DOTS = "dots"
    TERRACES = "terraces"


TRAIN_PATTERNS = (
    Pattern.FRACTAL,
    Pattern.WAVES,
    Pattern.TILES,
    Pattern.CELLS,
    Pattern.STROKES,
    Pattern.PLANKS,
)
HELD_OUT_PATTERNS = (Pattern.BRICKS, Pattern.WEAVE, Pattern.MARBLE, Pattern.DOTS, Pattern.TERRACES)


def draw_pattern(pattern: Pattern, rng: np.random.Generator, size: int) -> Floats:
    """One texture of a family.

    Args:
        pattern: the family.
        rng: all that is random comes from here.
        size: texels along each side, a power of two.

    Returns:
        ``[size, size, 3]`` float32 in [0, 1], periodic in both directions.
    """
    return _DRAW[pattern](rng, size).astype(np.float32)


def spectral_noise(rng: np.random.Generator, size: int, slope: float, low_cut: float = 0.0) -> Floats:
    """Periodic Gaussian noise with a power spectrum that falls as frequency ** -(2 * slope), stretched to [0, 1].

    Args:
        rng: source of randomness.
        size: texels along each side.
        slope: 0 is white, 1 is clouds, 2 is soft.
        low_cut: frequencies below so many periods a side are left out.
    """
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) * size
    gain = np.where(frequency > max(low_cut, 0.5), np.maximum(frequency, 1.0) ** -slope, 0.0)
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * gain
    field = np.fft.irfft2(spectrum, s=(size, size))
    field = field / (field.std() + 1e-9)
    return np.asarray(np.clip(0.5 + field / 4.5, 0.0, 1.0), dtype=np.float32)


def _grid(size: int) -> tuple[Floats, Floats]:
    steps = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(steps, steps, indexing="xy")
    return x, y


def _grain(rng: np.random.Generator, size: int) -> Floats:
    return spectral_noise(rng, size, rng.uniform(0.4, 0.9), low_cut=3.0)


def _smooth(value: AnyFloats, edge: float, width: float) -> Floats:
    ramp = np.clip((value - edge) / width + 0.5, 0.0, 1.0)
    return np.asarray(ramp * ramp * (3.0 - 2.0 * ramp), dtype=np.float32)


def _stack(main: AnyFloats, second: AnyFloats, grain: AnyFloats) -> Floats:
    return np.stack([main, second, grain], axis=-1, dtype=np.float32)


def _fractal(rng: np.random.Generator, size: int) -> Floats:
    main = spectral_noise(rng, size, rng.uniform(0.9, 1.4))
    second = _smooth(spectral_noise(rng, size, 1.3), rng.uniform(0.45, 0.6), rng.uniform(0.05, 0.3))
    return _stack(_smooth(main, 0.5, rng.uniform(0.3, 0.9)), second, _grain(rng, size))


def _waves(rng: np.random.Generator, size: int) -> Floats:
    x, y = _grid(size)
    kx, ky = (int(k) for k in rng.integers(-6, 7, 2))
    kx = kx if (kx, ky) != (0, 0) else 3
    warp = spectral_noise(rng, size, 1.5) * rng.uniform(0.0, 1.2)
    phase = kx * x + ky * y + warp
    main = _smooth(0.5 + 0.5 * np.sin(2 * np.pi * phase), rng.uniform(0.3, 0.7), rng.uniform(0.08, 0.8))
    second = _smooth(0.5 + 0.5 * np.sin(2 * np.pi * (4 * phase + y * int(rng.integers(0, 3)))), 0.75, 0.3)
    return _stack(main, second, _grain(rng, size))


def _tiles(rng: np.random.Generator, size: int) -> Floats:
    x, y = _grid(size)
    columns, rows = (int(n) for n in rng.choice([2, 4, 6, 8], 2))
    u, v = x * columns, y * rows
    tone = rng.random((rows, columns)).astype(np.float32)
    if rng.random() < 0.5:
        tone = ((np.arange(rows)[:, None] + np.arange(columns)[None]) % 2 + 0.25 * tone) / 1.25
    main = tone[np.floor(v).astype(int) % rows, np.floor(u).astype(int) % columns]
    gap = np.minimum(np.minimum(u % 1, 1 - u % 1) / columns, np.minimum(v % 1, 1 - v % 1) / rows)
    joint = 1.0 - _smooth(gap, rng.uniform(0.004, 0.012), 0.008)
    return _stack(main, joint, _grain(rng, size))


def _nearest(rng: np.random.Generator, size: int, count: int) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Distances to the nearest and second nearest of random points on a torus, and which is nearest."""
    x, y = _grid(size)
    points = rng.random((count, 2)).astype(np.float32)
    dx = np.abs(x[..., None] - points[:, 0])
    dy = np.abs(y[..., None] - points[:, 1])
    distance = np.hypot(np.minimum(dx, 1 - dx), np.minimum(dy, 1 - dy))
    first_two = np.partition(distance, 1, axis=-1)[..., :2]
    return first_two[..., 0], first_two[..., 1], distance.argmin(axis=-1)


def _cells(rng: np.random.Generator, size: int) -> Floats:
    count = int(rng.integers(12, 64))
    first, second, owner = _nearest(rng, size, count)
    main = rng.random(count).astype(np.float32)[owner]
    border = 1.0 - _smooth(second - first, rng.uniform(0.005, 0.03), 0.012)
    if rng.random() < 0.4:
        main = np.clip(first * np.sqrt(count) * 1.3, 0, 1)
    return _stack(main, border, _grain(rng, size))


def _stamp(canvas: Floats, rng: np.random.Generator, count: int, length: tuple[float, float], thin: float) -> None:
    """Paints soft-edged ellipses of random tone onto a periodic canvas, one over the other."""
    size = canvas.shape[0]
    for _ in range(count):
        long = rng.uniform(*length) * size
        short = max(1.5, long * rng.uniform(thin, 1.0))
        angle = rng.uniform(0, np.pi)
        reach = int(long) + 2
        offsets = np.arange(-reach, reach + 1)
        along = offsets[None] * np.cos(angle) + offsets[:, None] * np.sin(angle)
        across = offsets[:, None] * np.cos(angle) - offsets[None] * np.sin(angle)
        radius = np.sqrt((along / long) ** 2 + (across / short) ** 2)
        cover = np.clip((1.0 - radius) * short / 1.5, 0.0, 1.0)
        rows = (int(rng.integers(size)) + offsets) % size
        columns = (int(rng.integers(size)) + offsets) % size
        window = np.ix_(rows, columns)
        canvas[window] += cover * (rng.random() - canvas[window])


def _strokes(rng: np.random.Generator, size: int) -> Floats:
    main = np.full((size, size), 0.5, dtype=np.float32)
    _stamp(main, rng, int(rng.integers(60, 160)), (0.05, 0.17), rng.uniform(0.08, 0.6))
    second = np.zeros((size, size), dtype=np.float32)
    _stamp(second, rng, int(rng.integers(20, 80)), (0.02, 0.07), 0.3)
    return _stack(main, second, _grain(rng, size))


def _planks(rng: np.random.Generator, size: int) -> Floats:
    x, y = _grid(size)
    rows = int(rng.choice([4, 6, 8]))
    v = y * rows
    row = np.floor(v).astype(int) % rows
    fibre = spectral_noise(rng, size, 1.0)
    stretched = fibre[(np.arange(size) * 8 % size)[:, None], np.arange(size)[None]]
    tone = rng.random(rows).astype(np.float32)[row]
    ends = (x + rng.random(rows)[row]) % 1.0
    gap = np.minimum(np.minimum(v % 1, 1 - v % 1) / rows, np.minimum(ends, 1 - ends))
    planks = [0.55 * tone + 0.45 * stretched, 1.0 - _smooth(gap, 0.005, 0.006), _grain(rng, size)]
    if rng.random() < 0.5:
        planks = [part.T for part in planks]
    return _stack(*(np.ascontiguousarray(part) for part in planks))


def _bricks(rng: np.random.Generator, size: int) -> Floats:
    x, y = _grid(size)
    rows = int(rng.choice([6, 8, 12]))
    columns = int(rng.choice([3, 4, 5]))
    v = y * rows
    row = np.floor(v).astype(int) % rows
    u = x * columns + 0.5 * (row % 2)
    tone = rng.random((rows, columns)).astype(np.float32)[row, np.floor(u).astype(int) % columns]
    gap = np.minimum(np.minimum(u % 1, 1 - u % 1) / columns, np.minimum(v % 1, 1 - v % 1) / rows)
    mortar = 1.0 - _smooth(gap + 0.006 * (spectral_noise(rng, size, 0.8) - 0.5), 0.008, 0.006)
    return _stack(tone, mortar, _grain(rng, size))


def _weave(rng: np.random.Generator, size: int) -> Floats:
    x, y = _grid(size)
    threads = int(rng.choice([4, 8, 12]))
    u, v = x * threads, y * threads
    over = (np.floor(u) + np.floor(v)) % 2
    warp, weft = np.sin(np.pi * (u % 1)), np.sin(np.pi * (v % 1))
    twist = 0.5 + 0.5 * np.sin(2 * np.pi * (u + v) * int(rng.integers(2, 4)))
    return _stack(over, 1.0 - np.where(over > 0.5, warp, weft), 0.5 * twist + 0.5 * _grain(rng, size))


def _marble(rng: np.random.Generator, size: int) -> Floats:
    x, y = _grid(size)
    kx, ky = (int(k) for k in rng.integers(1, 5, 2))
    turbulence = np.abs(spectral_noise(rng, size, 1.2) - 0.5) * rng.uniform(3.0, 8.0)
    vein = np.abs(np.sin(np.pi * (kx * x + ky * y + turbulence))) ** rng.uniform(0.4, 1.2)
    return _stack(vein, _smooth(spectral_noise(rng, size, 1.6), 0.55, 0.3), _grain(rng, size))


def _dots(rng: np.random.Generator, size: int) -> Floats:
    x, y = _grid(size)
    count = int(rng.choice([3, 4, 6, 8]))
    row = np.floor(y * count).astype(int)
    u, v = (x * count + 0.5 * (row % 2) * (count % 2 == 0)) % 1 - 0.5, (y * count) % 1 - 0.5
    radius = np.hypot(u, v)
    dot = 1.0 - _smooth(radius, rng.uniform(0.2, 0.42), 0.05)
    ring = 1.0 - _smooth(np.abs(radius - rng.uniform(0.1, 0.3)), 0.04, 0.04)
    return _stack(dot, ring, _grain(rng, size))


def _terraces(rng: np.random.Generator, size: int) -> Floats:
    field = spectral_noise(rng, size, rng.uniform(1.5, 2.0))
    levels = int(rng.integers(4, 9))
    stepped = np.floor(field * levels) / levels
    near = np.abs(field * levels - np.round(field * levels))
    return _stack(stepped, 1.0 - _smooth(near, 0.08, 0.1), _grain(rng, size))


_DRAW: dict[Pattern, Callable[[np.random.Generator, int], Floats]] = {
    Pattern.FRACTAL: _fractal,
    Pattern.WAVES: _waves,
    Pattern.TILES: _tiles,
    Pattern.CELLS: _cells,
    Pattern.STROKES: _strokes,
    Pattern.PLANKS: _planks,
    Pattern.BRICKS: _bricks,
    Pattern.WEAVE: _weave,
    Pattern.MARBLE: _marble,
    Pattern.DOTS: _dots,
    Pattern.TERRACES: _terraces,
}
