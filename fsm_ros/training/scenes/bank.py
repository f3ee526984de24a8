# SPDX-License-Identifier: Apache-2.0
"""The texture bank of a split: every texture with its mip levels, in one flat table.

Mip levels follow Williams, "Pyramidal parametrics" (1983).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fsm_ros.training.scene_settings import Split
from fsm_ros.training.scenes.patterns import HELD_OUT_PATTERNS, TRAIN_PATTERNS, Pattern, draw_pattern, spectral_noise
from fsm_ros.training.scenes.photographs import HELD_OUT_PHOTOGRAPHS, TRAIN_PHOTOGRAPHS, load_photographs

TEXTURE_SIZE = 256
"""Texels along each side of a texture's finest level."""
LEVELS = 9
"""Mip levels, from 256 to 1."""
VARIANTS = 7
"""Textures drawn of each family of patterns."""
_SKIES = 3
_BANK_ENTROPY = 20250901


@dataclass(frozen=True, eq=False)
class TextureBank:
    """All textures of a split.

    Attributes:
        texels: ``[textures * texels_per_texture]`` int32, red in the lowest byte, then green and blue; each texture
            is its mip levels from fine to coarse, each of them row by row.
        patterns: texture indices of procedural textures.
        skies: texture indices of clouds.
        photographs: texture indices of photographs.
    """

    texels: NDArray[np.int32]
    patterns: NDArray[np.int64]
    skies: NDArray[np.int64]
    photographs: NDArray[np.int64]


def level_offsets(size: int = TEXTURE_SIZE) -> list[int]:
    """Where the levels of a texture begin, in texels from its first; the last entry is its length."""
    offsets = [0]
    while size >= 1:
        offsets.append(offsets[-1] + size * size)
        size //= 2
    return offsets


def texture_families(split: Split) -> tuple[Pattern, ...]:
    """The families of procedural textures of a split."""
    return HELD_OUT_PATTERNS if split.is_held_out else TRAIN_PATTERNS


def photograph_names(split: Split) -> tuple[str, ...]:
    """The photographs of a split: files that ship inside scikit-image."""
    return HELD_OUT_PHOTOGRAPHS if split.is_held_out else TRAIN_PHOTOGRAPHS


@lru_cache(maxsize=6)  # it takes seconds to draw, and every source of a split uses the same
def texture_bank(split: Split, photographs: bool) -> TextureBank:
    """The bank of a split.

    Raises:
        ImportError: photographs are asked for and scikit-image or Pillow is not installed.
    """
    families = texture_families(split)
    tiles: list[NDArray[np.uint8]] = []
    for family in families:
        for variant in range(VARIANTS):
            code = (list(Split).index(split), list(Pattern).index(family), variant)
            rng = np.random.default_rng(np.random.SeedSequence(_BANK_ENTROPY, spawn_key=code))
            tiles.append(_as_bytes(draw_pattern(family, rng, TEXTURE_SIZE)))
    patterns = np.arange(len(tiles))
    for variant in range(_SKIES):
        code = (list(Split).index(split), len(Pattern), variant)
        rng = np.random.default_rng(np.random.SeedSequence(_BANK_ENTROPY, spawn_key=code))
        tiles.append(_as_bytes(_clouds(rng, ridged=split.is_held_out)))
    skies = np.arange(len(patterns), len(tiles))
    if photographs:
        tiles.extend(load_photographs(photograph_names(split), TEXTURE_SIZE))
    shots = np.arange(len(patterns) + len(skies), len(tiles))
    texels = np.concatenate([_mip_chain(tile) for tile in tiles])
    texels.flags.writeable = False
    return TextureBank(texels=texels, patterns=patterns, skies=skies, photographs=shots)


def _as_bytes(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(picture * 255.0), 0, 255), dtype=np.uint8)


def _clouds(rng: np.random.Generator, *, ridged: bool) -> NDArray[np.float32]:
    """Cloud cover in three octaves of coarseness; training and held-out skies are made differently."""
    fields = [spectral_noise(rng, TEXTURE_SIZE, slope) for slope in (1.3, 1.0, 0.7)]
    if ridged:
        fields = [1.0 - np.abs(2.0 * field - 1.0) for field in fields]
    return np.clip((np.stack(fields, axis=-1) - 0.5) * 1.6 + 0.5, 0.0, 1.0).astype(np.float32)


def _mip_chain(tile: NDArray[np.uint8]) -> NDArray[np.int32]:
    level = tile.astype(np.float32)
    packed = []
    while True:
        channels = np.rint(level).astype(np.int32)
        packed.append((channels[..., 0] | channels[..., 1] << 8 | channels[..., 2] << 16).reshape(-1))
        if level.shape[0] == 1:
            return np.concatenate(packed)
        level = level.reshape(level.shape[0] // 2, 2, level.shape[1] // 2, 2, 3).mean(axis=(1, 3))
