# SPDX-License-Identifier: Apache-2.0
"""How surfaces are textured and coloured."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np

from fsm_ros.training.scenes.bank import TEXTURE_SIZE, TextureBank
from fsm_ros.training.scenes.difficulty import Difficulty
from fsm_ros.training.scenes.spec import Doubles, Surface


@dataclass(frozen=True)
class Looks:
    """Draws surfaces for one scene.

    Attributes:
        bank: textures to choose from.
        difficulty: decides on contrast, sharpness and photographs.
        rng: all that is random comes from here.
    """

    bank: TextureBank
    difficulty: Difficulty
    rng: np.random.Generator

    def surface(
        self, extent_m: float, *, photograph_bias: float = 1.0, calm: float = 1.0, muted: float = 1.0
    ) -> Surface:
        """A surface for something of that extent.

        Args:
            extent_m: typical length of the thing it covers, metres.
            photograph_bias: factor on the probability of a photograph.
            calm: factor on the contrast; below 1 for walls and ceilings.
            muted: factor on the saturation of its colours; below 1 for what fills the view.
        """
        rng, easy, photographs = self.rng, self.difficulty, self.bank.photographs
        which, texture, repeats, left, top, blur = rng.random(6).tolist()
        repeats = easy.texture_repeats * math.exp(repeats - 0.5)
        if len(photographs) > 0 and which < easy.photograph_fraction * photograph_bias:
            choice, mix = photographs, _photograph_mix(rng)
            repeats *= 0.8
        else:
            choice, mix = self.bank.patterns, _palette_mix(rng, easy.contrast * calm, muted)
        return Surface(
            texture=int(choice[int(texture * len(choice))]),
            texels_per_m=TEXTURE_SIZE * repeats / max(extent_m, 1e-3),
            offset=(TEXTURE_SIZE * left, TEXTURE_SIZE * top),
            blur=min(easy.octaves_blurred * (0.5 + 0.7 * blur), 5.0),
            mix=mix,
        )

    def sky(self, height_m: float) -> tuple[Surface, Doubles]:
        """Clouds at that height, and the colour ``[3]`` of the horizon."""
        rng = self.rng
        hue = rng.uniform(0.52, 0.64)
        blue = np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.35, 0.75), rng.uniform(0.55, 0.95)))
        cloud = np.full(3, rng.uniform(0.75, 1.0)) * rng.uniform(0.92, 1.0, 3)
        haze = np.clip(0.35 * blue + 0.65 * cloud + rng.uniform(-0.08, 0.08, 3), 0.0, 1.0)
        mix = np.zeros((3, 4))
        for channel, share in enumerate((0.9, 0.4, 0.2)):
            mix[:, channel] = (cloud - blue) * share
        mix[:, 3] = blue - 0.25 * (cloud - blue)
        clouds = Surface(
            texture=int(rng.choice(self.bank.skies)),
            texels_per_m=TEXTURE_SIZE / (height_m * rng.uniform(3.0, 6.0)),
            offset=(float(rng.uniform(0, TEXTURE_SIZE)), float(rng.uniform(0, TEXTURE_SIZE))),
            blur=0.0,
            mix=mix,
        )
        return clouds, haze


def _colour(rng: np.random.Generator, muted: float) -> Doubles:
    """A colour as things have it: any hue, more often muted than loud."""
    hue, value = rng.random(2).tolist()
    return np.array(colorsys.hsv_to_rgb(hue, rng.beta(1.6, 1.6) * muted, 0.25 + 0.75 * value))


def _palette_mix(rng: np.random.Generator, contrast: float, muted: float) -> Doubles:
    """Three colours of a palette as a ``[3, 4]`` mix of a pattern's channels."""
    first, second, third = (_colour(rng, muted) for _ in range(3))
    is_tonal, darker, grain, edges = rng.random(4).tolist()
    if is_tonal < 0.35:
        second = first * (0.4 + 0.3 * darker) if first.sum() > 1.5 else first + (1.0 - first) * 0.45
    grain = (0.1 + 0.25 * grain) * contrast
    mix = np.empty((3, 4))
    mix[:, 0] = (second - first) * contrast
    mix[:, 1] = (third - first) * (contrast * (0.3 + 0.6 * edges))
    mix[:, 2] = grain
    mix[:, 3] = first - 0.5 * grain
    return mix


def _photograph_mix(rng: np.random.Generator) -> Doubles:
    """A slight tint for a photograph, at times with its channels exchanged."""
    order = rng.permutation(3) if rng.random() < 0.3 else np.arange(3)
    mix = np.zeros((3, 4))
    mix[np.arange(3), order] = rng.uniform(0.75, 1.1, 3)
    mix[:, 3] = rng.uniform(-0.05, 0.1)
    return mix
