# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of the model."""

from __future__ import annotations

from enum import Enum

import torch


class Precision(Enum):
    """Arithmetic of the model's matrix products. Norms, fast weights, rays and images stay in float32."""

    FP32 = "fp32"
    BF16 = "bf16"


class MuonPrecision(Enum):
    """Arithmetic of Newton-Schulz. The release iterates in bfloat16, which is fast and noisy."""

    FP32 = "fp32"
    BF16 = "bf16"

    @property
    def dtype(self) -> torch.dtype:
        """The tensor type."""
        return torch.float32 if self is MuonPrecision.FP32 else torch.bfloat16
