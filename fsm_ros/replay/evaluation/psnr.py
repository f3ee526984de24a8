# SPDX-License-Identifier: Apache-2.0
"""Peak signal-to-noise ratio."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SMALLEST_ERROR = 1e-10


def psnr(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two uint8 images of one shape, dB; at most 100."""
    if image.shape != truth.shape:
        raise ValueError(f"cannot compare images of shapes {image.shape} and {truth.shape}")
    error = (image.astype(np.float64) - truth.astype(np.float64)) / 255.0
    return float(-10.0 * np.log10(max(np.square(error).mean(), _SMALLEST_ERROR)))
