# SPDX-License-Identifier: Apache-2.0
"""Optimizers by name, the learning rate over a run, and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from fsm_ros.training.settings import OptimizerKind, OptimizerSettings

PEAK = "peak"
"""Entry of a parameter group: its learning rate after the warm-up."""


def build_optimizers(model: nn.Module, settings: OptimizerSettings) -> list[Optimizer]:
    """The optimizers of a model, each parameter in exactly one.

    Vectors and biases are never decayed. With Muon, the matrices inside the blocks are orthogonalised (their fast
    weights' starting points, which have a head dimension, are not); rays in, colours out and vectors stay with AdamW.

    Args:
        model: what is trained.
        settings: kind, rates, decay.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    orthogonal: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if settings.kind is OptimizerKind.MUON and parameter.ndim == 2 and "blocks." in name:
            orthogonal.append(parameter)
        else:
            (matrices if parameter.ndim >= 2 else others).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay, PEAK: settings.learning_rate},
        {"params": others, "weight_decay": 0.0, PEAK: settings.learning_rate},
    ]
    optimizers: list[Optimizer] = [
        AdamW([group for group in groups if group["params"]], lr=settings.learning_rate, betas=settings.betas)
    ]
    if orthogonal:
        muon = Muon(
            orthogonal,
            lr=settings.muon_learning_rate,
            weight_decay=settings.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        for group in muon.param_groups:
            group[PEAK] = settings.muon_learning_rate
        optimizers.append(muon)
    return optimizers


def rate_at(settings: OptimizerSettings, step: int, progress: float) -> float:
    """The learning rate as a share of its peak: a linear warm-up, then linearly down to the end.

    Args:
        settings: warm-up and end.
        step: number of the step, from 0.
        progress: of the run, in [0, 1].
    """
    warm = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    return warm * (1.0 - (1.0 - settings.final_share) * min(max(progress, 0.0), 1.0))


def set_rate(optimizers: Sequence[Optimizer], share: float) -> None:
    """Set every group's learning rate to a share of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = share * group[PEAK]


class WeightAverage:
    """Exponential moving average of a model's parameters, or of this process's part of them.

    Early on it reaches back over a tenth of the steps so far only, so that it forgets where the weights started.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Args: what is averaged, and the share of the old average that a step keeps."""
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._decay = decay
        self._average = [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        keep = min(self._decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(self._average, [p.detach() for p in self._parameters], 1.0 - keep)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with the average as its weights, for as long as the context lasts."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def take(self) -> None:
        """Begin anew from the model's weights as they are."""
        for average, parameter in zip(self._average, self._parameters, strict=True):
            average.copy_(parameter)

    @torch.no_grad()
    def _swap(self) -> None:
        kept: list[Tensor] = [p.detach().clone() for p in self._parameters]
        for parameter, average, own in zip(self._parameters, self._average, kept, strict=True):
            parameter.copy_(average)
            average.copy_(own)
