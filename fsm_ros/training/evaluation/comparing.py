# SPDX-License-Identifier: Apache-2.0
"""How alike views and the truth are, and how far off depths lie."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from fsm_ros.training import similarity

CLOSE = 0.05
"""Relative error of a depth that counts as right."""
_SMALLEST_ERROR = 1e-10


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """PSNR of every view, dB: ``[B, V, 3, H, W]`` twice to ``[B, V]``."""
    flat = peak_signal_noise_ratio(
        images.flatten(0, 1).clamp(0, 1), truth.flatten(0, 1), data_range=1.0, reduction="none", dim=(1, 2, 3)
    )
    values: Tensor = flat.view(images.shape[:2])
    return values


def psnr_where(images: Tensor, truth: Tensor, where: Tensor) -> float:
    """PSNR of some pixels of all views together, as views may have none of them, dB.

    Args:
        images: ``[B, V, 3, H, W]``.
        truth: the same, in [0, 1].
        where: ``[B, V, H, W]`` bool.

    Returns:
        NaN where there is no such pixel.
    """
    squared = (images.clamp(0, 1) - truth).square().mean(dim=2)[where]
    return float(-10 * squared.mean().clamp_min(_SMALLEST_ERROR).log10()) if len(squared) else float("nan")


def ssim(images: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of every view, ``[B, V, 3, H, W]`` twice to ``[B, V]``; NaN for views too small for it."""
    return similarity.ssim(images.flatten(0, 1).clamp(0, 1), truth.flatten(0, 1)).view(images.shape[:2])


def ms_ssim(images: Tensor, truth: Tensor) -> Tensor:
    """The same at several scales."""
    return similarity.ms_ssim(images.flatten(0, 1).clamp(0, 1), truth.flatten(0, 1)).view(images.shape[:2])


def gradient_energy(images: Tensor) -> Tensor:
    """Mean square of the image's gradients, ``[B, V, 3, H, W]`` to ``[B, V]``."""
    across, down = (images.diff(dim=dim).square().mean(dim=(-3, -2, -1)) for dim in (-1, -2))
    return across + down


def sharpness(images: Tensor, truth: Tensor) -> Tensor:
    """Gradient energy over the truth's, ``[B, V, 3, H, W]`` twice to ``[B, V]``; 1 is right, less is blurred."""
    return gradient_energy(images) / gradient_energy(truth).clamp_min(1e-9)


def depth_errors(log_inverse_depth: Tensor, truth: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Mean absolute relative error of depth in some pixels, and the share of these within 5 %.

    Args:
        log_inverse_depth: ``[B, V, H, W]``, in any unit of length; of another size it is brought to the truth's.
        truth: ``[B, V, H, W]`` in the same unit.
        where: ``[B, V, H, W]`` bool, the pixels that count.

    Returns:
        ``[B, V]`` each; NaN for views without such a pixel.
    """
    if log_inverse_depth.shape != truth.shape:
        size = (truth.shape[-2], truth.shape[-1])
        log_inverse_depth = F.interpolate(log_inverse_depth, size, mode="bilinear", align_corners=False)
    off = ((truth - log_inverse_depth).exp() - 1.0).abs()
    off = torch.where(where, off, torch.nan)
    close = torch.where(where, (off < CLOSE).float(), torch.nan)
    return off.nanmean(dim=(2, 3)), close.nanmean(dim=(2, 3))
