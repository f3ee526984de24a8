# SPDX-License-Identifier: Apache-2.0
"""How alike a render and the truth are, by each metric that can be measured at their size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.replay.evaluation.lpips import SMALLEST_EDGE, Lpips
from fsm_ros.replay.evaluation.psnr import psnr
from fsm_ros.replay.evaluation.results import Metric
from fsm_ros.training.similarity import BETAS, FEWEST_SCALES, SIGMA, WINDOW, exponents, ms_ssim, ssim


class ImageMetrics:
    """Compares images of one size by PSNR, SSIM, MS-SSIM and, where its weights were given, LPIPS.

    SSIM and MS-SSIM are those of `fsm_ros.training.similarity`; views smaller than 176 pixels have fewer than the five
    scales of MS-SSIM.
    """

    def __init__(self, height: int, width: int, lpips_weights: Path | None = None) -> None:
        """Find out what can be measured.

        Args:
            height: rows of the images.
            width: columns.
            lpips_weights: AlexNet's state dict as torchvision saves it, ``.pth`` or ``.safetensors``; None: no LPIPS.

        Raises:
            ValueError: a size that is not positive, or LPIPS weights that are not AlexNet's.
            ImportError: torchmetrics is not installed, or cannot be imported.
        """
        if height <= 0 or width <= 0:
            raise ValueError(f"images to compare need a positive size, got {width}x{height} pixels")
        _check_torchmetrics()
        self._shape = (height, width, 3)
        shortest = min(height, width)
        self._ssim = shortest >= WINDOW
        self._betas = exponents(height, width)
        self._lpips = Lpips(lpips_weights) if lpips_weights is not None and shortest >= SMALLEST_EDGE else None
        self.told: Mapping[Metric, str] = self._tell()
        """What each metric is that is measured, in words."""
        self.notes: tuple[str, ...] = self._note(lpips_weights is not None)
        """What is not measured, or not as it is defined, and why."""

    def measure(self, image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> dict[Metric, float]:
        """How alike an image is to the truth, by each metric of `told`.

        Args:
            image: ``[height, width, 3]`` uint8, RGB.
            truth: the same.

        Raises:
            ValueError: an image is of another size or type.
        """
        for name, array in (("image", image), ("truth", truth)):
            if array.shape != self._shape or array.dtype != np.uint8:
                raise ValueError(f"the {name} must be uint8 {self._shape}, got {array.dtype} {array.shape}")
        found = {Metric.PSNR: psnr(image, truth)}
        a, b = _tensor(image), _tensor(truth)
        if self._ssim:
            found[Metric.SSIM] = float(ssim(a, b))
        if self._betas:
            found[Metric.MS_SSIM] = float(ms_ssim(a, b))
        if self._lpips is not None:
            found[Metric.LPIPS] = self._lpips.distance(a, b)
        return found

    def _tell(self) -> dict[Metric, str]:
        window = f"Gaussian window of {WINDOW} pixels, sigma {SIGMA:g}, where it lies within the image"
        told = {Metric.PSNR: "peak signal-to-noise ratio, dB, over all channels; at most 100"}
        if self._ssim:
            told[Metric.SSIM] = f"structural similarity, mean over channels; {window}"
        if self._betas:
            betas = ", ".join(f"{beta:.4f}" for beta in self._betas)
            told[Metric.MS_SSIM] = (
                f"structural similarity at {len(self._betas)} scales, with the exponents {betas}; {window}"
            )
        if self._lpips is not None:
            told[Metric.LPIPS] = f"learned perceptual image patch similarity: {self._lpips.told}"
        return told

    def _note(self, lpips_wanted: bool) -> tuple[str, ...]:
        height, width, _ = self._shape
        size, scales = f"the views have {width}x{height} pixels", len(self._betas)
        notes = []
        if not self._ssim:
            notes.append(f"SSIM is not measured: {size}, and its window {WINDOW}x{WINDOW}")
        if not scales:
            least = WINDOW * 2 ** (FEWEST_SCALES - 1)
            notes.append(f"MS-SSIM is not measured: {size}, and {FEWEST_SCALES} scales take {least}x{least}")
        elif scales < len(BETAS):
            notes.append(
                f"MS-SSIM has {scales} scales instead of {len(BETAS)}, as {size}: "
                "do not compare it with that of larger views"
            )
        if not lpips_wanted:
            notes.append("LPIPS is not measured: no file with its weights was given")
        elif self._lpips is None:
            notes.append(f"LPIPS is not measured: {size}, and AlexNet takes {SMALLEST_EDGE}x{SMALLEST_EDGE}")
        return tuple(notes)


def _tensor(image: NDArray[np.uint8]) -> Tensor:
    """``[1, 3, height, width]`` float32 in [0, 1]."""
    # In float64 the convolutions of a 256x256 view take twenty times as long, for digits beyond the fifth.
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float().div(255.0)[None]


def _check_torchmetrics() -> None:
    """Import it.

    Raises:
        ImportError: it is not installed, or it cannot be imported.
    """
    try:
        import torchmetrics.functional.image  # noqa: F401
    except ImportError as error:
        raise ImportError(f"measuring images needs torchmetrics ({error}): pip install 'fsm_ros[evaluate]'") from error
    except RuntimeError as error:
        # It imports torchvision wherever that is installed, and a torchvision for another PyTorch breaks so.
        raise ImportError(
            f"torchmetrics cannot be imported ({error}): if torchvision is installed, it was not built for PyTorch "
            f"{torch.__version__}: pip uninstall torchvision, which nothing here needs, or install the one that fits"
        ) from error
