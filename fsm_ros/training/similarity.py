# SPDX-License-Identifier: Apache-2.0
"""Structural similarity of images, at one scale and at several, without windows that hang over the border."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

SIGMA = 1.5
"""Of the Gaussian window, pixels (Wang et al. 2004)."""
WINDOW = 11
"""Its edge, pixels."""
_BORDER = WINDOW // 2
BETAS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales of MS-SSIM, the finest first (Wang et al. 2003, section 3.2)."""
FEWEST_SCALES = 2


def scale_count(height: int, width: int) -> int:
    """How many scales MS-SSIM has at a size: as many as its window fits into, at most 5; 0 for fewer than 2."""
    shortest = min(height, width)
    fitting = sum(shortest // 2**scale >= WINDOW for scale in range(len(BETAS)))
    return fitting if fitting >= FEWEST_SCALES else 0


def exponents(height: int, width: int) -> tuple[float, ...]:
    """Those of the scales that MS-SSIM has at a size, the finest first, of sum 1; none where it cannot be measured."""
    scales = scale_count(height, width)
    return tuple(beta / sum(BETAS[:scales]) for beta in BETAS[:scales])


def ssim(images: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of every image: the mean over channels and over pixels whose whole window lies within it.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE Transactions on Image
    Processing, 2004.

    Args:
        images: ``[N, 3, H, W]`` in [0, 1].
        truth: the same.

    Returns:
        ``[N]`` float64, at most 1; NaN where the window does not fit.
    """
    if min(images.shape[-2:]) < WINDOW:
        return torch.full_like(images[:, 0, 0, 0], torch.nan, dtype=torch.float64)
    from torchmetrics.functional.image import structural_similarity_index_measure

    _, everywhere = structural_similarity_index_measure(
        images, truth, sigma=SIGMA, kernel_size=WINDOW, data_range=1.0, return_full_image=True
    )
    # The plain mean of torchmetrics counts windows that hang over the border, filled up by reflection: in small views
    # that makes hundredths.
    inside: Tensor = everywhere[..., _BORDER:-_BORDER, _BORDER:-_BORDER]
    return inside.double().mean(dim=(1, 2, 3))


def ms_ssim(images: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity at several scales: contrast and structure at all of them, SSIM at the coarsest.

    Wang et al., "Multi-scale Structural Similarity for Image Quality Assessment", Asilomar, 2003. The window has to
    fit into the coarsest scale, so that images smaller than 176 pixels have fewer than its five scales, with the first
    exponents brought to a sum of 1. Negative contrast counts as 0.

    Args:
        images: ``[N, 3, H, W]`` in [0, 1].
        truth: the same.

    Returns:
        ``[N]`` float64, at most 1; NaN where fewer than two scales fit.
    """
    height, width = images.shape[-2:]
    betas = exponents(height, width)
    if not betas:
        return torch.full_like(images[:, 0, 0, 0], torch.nan, dtype=torch.float64)
    # Not torchmetrics' own function: at the coarsest scale, mostly border, it counts windows that hang over it.
    from torchmetrics.functional.image import structural_similarity_index_measure

    product = torch.ones_like(images[:, 0, 0, 0], dtype=torch.float64)
    for beta in betas[:-1]:
        _, contrast = structural_similarity_index_measure(
            images,
            truth,
            sigma=SIGMA,
            kernel_size=WINDOW,
            data_range=1.0,
            return_contrast_sensitivity=True,
            reduction="none",
        )
        product = product * contrast.double().clamp_min(0.0) ** beta
        images, truth = avg_pool2d(images, 2), avg_pool2d(truth, 2)
    return product * ssim(images, truth).clamp_min(0.0) ** betas[-1]
