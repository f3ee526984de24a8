# SPDX-License-Identifier: Apache-2.0
"""The fast-weight network: a small SwiGLU MLP whose weights are the memory.

Reading applies it; writing a chunk computes the gradient of the test-time loss and orthogonalises it (Muon).
Both are pure functions (LaCT, arXiv 2505.23884, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NORM_EPSILON = 1e-5


@dataclass(frozen=True, eq=False)
class FastWeights:
    """A value for each of the three matrices of the SwiGLU network: weights, anchors, importance, gradients.

    Attributes:
        w0: gate projection ``[B, H, d, h]``.
        w1: down projection ``[B, H, h, d]``.
        w2: up projection ``[B, H, d, h]``.
    """

    w0: Tensor
    w1: Tensor
    w2: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        """The three matrices in the order w0, w1, w2."""
        return iter((self.w0, self.w1, self.w2))

    def map(self, function: Callable[..., Tensor], *others: FastWeights) -> FastWeights:
        """Apply ``function`` to each matrix, together with the same matrix of ``others``."""
        return FastWeights(*(function(*matrices) for matrices in zip(self, *others, strict=True)))


@dataclass(frozen=True, eq=False)
class WriteTokens:
    """What one chunk asks the memory to remember.

    Attributes:
        keys: ``[B, H, T, d]``, unit length.
        values: ``[B, H, T, d]``.
        step_sizes: for w0, w1 and w2, each ``[B, H, T, 1]``, positive. Only their relative size inside a
            chunk matters, as Muon fixes the size of the update.
    """

    keys: Tensor
    values: Tensor
    step_sizes: tuple[Tensor, Tensor, Tensor]

    def split(self, tokens: int | None) -> Iterator[WriteTokens]:
        """Consecutive pieces of so many tokens, the last one maybe shorter; ``None``: one piece."""
        length = self.keys.shape[-2]
        size = length if tokens is None else tokens
        for start in range(0, length, size):
            piece = slice(start, start + size)
            eta0, eta1, eta2 = (eta[..., piece, :] for eta in self.step_sizes)
            yield WriteTokens(self.keys[..., piece, :], self.values[..., piece, :], (eta0, eta1, eta2))


def read(weights: FastWeights, queries: Tensor) -> Tensor:
    """``f(q) = (silu(q W0) * (q W2)) W1``.

    Args:
        weights: the fast weights.
        queries: ``[B, H, T, d]``.

    Returns:
        ``[B, H, T, d]``.
    """
    return (F.silu(queries @ weights.w0) * (queries @ weights.w2)) @ weights.w1


def ascent_direction(weights: FastWeights, tokens: WriteTokens) -> FastWeights:
    """Ascent direction of ``sum_i eta_i <f(k_i), v_i>``, how well what is read agrees with what should be.

    All quantities use the weights before the update; the order of the tokens does not matter.
    """
    keys, values = tokens.keys, tokens.values
    eta0, eta1, eta2 = tokens.step_sizes
    gate = keys @ weights.w0
    up = keys @ weights.w2
    sigmoid = torch.sigmoid(gate)
    silu = gate * sigmoid
    d_hidden = values @ weights.w1.mT
    d_up = d_hidden * silu
    d_gate = d_hidden * up * sigmoid * (1 + gate * (1 - sigmoid))
    return FastWeights(
        w0=(keys * eta0).mT @ d_gate,
        w1=(silu * up * eta1).mT @ values,
        w2=(keys * eta2).mT @ d_up,
    )


def newton_schulz(matrix: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Push all singular values of a matrix towards one (Muon's quintic Newton-Schulz iteration).

    Args:
        matrix: ``[..., rows, columns]``. Only its direction matters, not its size; zero stays zero.
        steps: iterations; 0 only divides by the Frobenius norm.
        dtype: float32, or bfloat16 as the released model runs it (fast, but fills directions without energy
            with rounding noise).

    Returns:
        Same shape, in ``dtype``.
    """
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    with torch.autocast(matrix.device.type, enabled=False):
        x: Tensor = matrix.to(dtype)
        tall = x.shape[-2] > x.shape[-1]
        if tall:
            x = x.mT
        x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
        for _ in range(steps):
            gram = x @ x.mT
            # Scaled before it is multiplied, like the release: in bfloat16 the order decides the rounding.
            x = a * x + (b * gram + (c * gram) @ gram) @ x
        return x.mT if tall else x


def column_norms(weights: FastWeights) -> FastWeights:
    """Norm of each column, ``[B, H, 1, columns]``: per hidden unit for w0 and w2, per output for w1."""
    return weights.map(lambda w: w.norm(dim=-2, keepdim=True))


def with_column_norms(weights: FastWeights, norms: FastWeights) -> FastWeights:
    """Rescale every column to a given norm, so that writing turns weights but never grows them."""
    return weights.map(lambda w, n: w / (w.norm(dim=-2, keepdim=True) + NORM_EPSILON) * n, norms)
