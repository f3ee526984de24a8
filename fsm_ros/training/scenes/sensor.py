# SPDX-License-Identifier: Apache-2.0
"""What a camera does to a clean image: exposure, white balance and noise."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_EXPOSURE_STOPS = 0.3
_DRIFT_STOPS = 0.2
_WHITE_BALANCE_STOPS = 0.08
_NOISE = (0.002, 0.02)


def expose(images: Tensor, rng: np.random.Generator, strength: float, beside: NDArray[np.int64] | None = None) -> None:
    """Exposes a clip in place, with noise.

    Args:
        images: ``[F, 3, H, W]`` float32 in [0, 1].
        rng: all that is random comes from here; noise differs between kinds of devices.
        strength: 0 leaves the images as they are.
        beside: the last images were taken together with the frames of these numbers, and are exposed like them.
    """
    if strength <= 0.0:
        return
    frames = images.shape[0] - (0 if beside is None else len(beside))
    phase = np.linspace(0.0, rng.uniform(1.0, 6.0), frames) + rng.uniform(0, 2 * np.pi)
    stops = rng.normal(0.0, _EXPOSURE_STOPS) + rng.uniform(0.0, _DRIFT_STOPS) * np.sin(phase)
    balance = rng.normal(0.0, _WHITE_BALANCE_STOPS, 3)
    gain = np.exp2(strength * (stops[:, None] + balance - balance.mean())).astype(np.float32)
    if beside is not None:
        gain = np.concatenate([gain, gain[beside]])
    sigma = float(strength * rng.uniform(*_NOISE))
    generator = torch.Generator(images.device)
    generator.manual_seed(int(rng.integers(2**62)))
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    images.mul_(torch.from_numpy(gain).to(images.device)[:, :, None, None]).add_(noise, alpha=sigma).clamp_(0.0, 1.0)
