# SPDX-License-Identifier: Apache-2.0
"""What is learned: to render, after every chunk, what was not observed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.precision import Precision
from fsm_ros.memory.rules.base import WriteRule
from fsm_ros.memory.state import MemoryState
from fsm_ros.memory.views import Rendering, Views
from fsm_ros.recall.net import RecallNet
from fsm_ros.training.episodes import Episodes, joined, resized
from fsm_ros.training.recalling import RecallLoss, RecallTask, recall_loss
from fsm_ros.training.settings import LearnSettings, RecallTraining


class Outcome(NamedTuple):
    """How well some episodes were rendered. A tuple, as wrappers look for the tensors in what ``forward`` returns.

    Attributes:
        loss: what is minimised, a scalar.
        squared_error: mean over all views that the memory rendered, a scalar without gradient.
        recalled_error: mean over all recalled views, likewise; NaN where none is.
        depth_error: mean absolute error of the memory's logarithm of depth, likewise; NaN where it tells none.
    """

    loss: Tensor
    squared_error: Tensor
    recalled_error: Tensor
    depth_error: Tensor


class StreamObjective(nn.Module):
    """Observes episodes and scores what is rendered and recalled from them.

    A module of its own, as the wrappers for several devices work on ``forward``.
    """

    def __init__(
        self,
        memory: FsmModel,
        rule: WriteRule,
        *,
        activation_checkpoints: bool = False,
        memory_size: int = 0,
        learn: LearnSettings | None = None,
        recall: RecallNet | None = None,
        recalling: RecallTraining | None = None,
    ) -> None:
        """Prepare.

        Args:
            memory: the model that is trained.
            rule: how it writes.
            activation_checkpoints: observe every chunk once more for its gradient instead of keeping its
                activations. As the state is a value, both times begin from the same one.
            memory_size: edge of the views that the memory observes and renders; 0: that of the episodes.
            learn: which parts learn; by default the memory. What does not is left without gradients.
            recall: recalls views from what was observed.
            recalling: what it learns from.
        """
        super().__init__()
        self.memory = memory
        self.recall = recall
        self._rule = rule
        self._activation_checkpoints = activation_checkpoints
        self._memory_size = memory_size
        self._learn = learn or LearnSettings()
        self._recalling = recalling
        for name, parameter in memory.named_parameters():
            is_geometry = name.startswith("geometry_token_decoder.")
            parameter.requires_grad_(self._learn.geometry if is_geometry else self._learn.memory)
        if recall is not None:
            recall.requires_grad_(self._learn.recall)

    def forward(self, episodes: Episodes, gradient_weight: float = 0.0) -> Outcome:
        """Observe and score.

        Args:
            episodes: what to observe, and what to render.
            gradient_weight: weight of the difference between image gradients.
        """
        state = self.memory.initial_state(episodes.chunks[0].cameras.batch)
        truths = episodes.log_inverse_depth or (None,) * len(episodes.wanted)
        scores = _Scores(gradient_weight)
        last: Rendering | None = None
        learns_memory = self._learn.memory or self._learn.geometry
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._learn.memory):
            if episodes.batch_order:
                every = self._sized(joined(episodes.chunks))
                patch = self.memory.config.patch_size
                tokens = (every.cameras.height // patch) * (every.cameras.width // patch)
                chunk_tokens = episodes.chunks[0].cameras.views * tokens
                state = self.memory.observe_batch(state, every, chunk_tokens, self._rule, checked=False)
        numbers = range(len(episodes.chunks))
        for number, chunk, wanted, truth in zip(numbers, episodes.chunks, episodes.wanted, truths, strict=True):
            if not episodes.batch_order:
                with torch.set_grad_enabled(torch.is_grad_enabled() and self._learn.memory):
                    state = self._observe(state, self._sized(chunk))
            is_last = number == len(episodes.chunks) - 1
            if wanted is None or (episodes.batch_order and not is_last) or not (learns_memory or is_last):
                continue
            asked = self._sized(wanted)
            with torch.set_grad_enabled(torch.is_grad_enabled() and learns_memory):
                last = self.memory.render_all(state, asked.cameras, asked.times)
                scores.add(last, asked, truth)
        loss, squared_error, depth_error = scores.totals(self._learn)
        recalled_error = torch.full_like(squared_error, torch.nan)
        wanted = episodes.wanted[-1]
        if self.recall is not None and self._recalling is not None and wanted is not None and last is not None:
            recalled = self._recall(self.recall, self._recalling, episodes, wanted, last)
            loss = loss + self._learn.recall_weight * recalled.loss
            recalled_error = recalled.squared_error
        return Outcome(loss, squared_error, recalled_error, depth_error)

    def _recall(
        self, net: RecallNet, recalling: RecallTraining, episodes: Episodes, wanted: Views, last: Rendering
    ) -> RecallLoss:
        if episodes.extent_m is None or episodes.horizon_s is None:
            raise ValueError("recall learns in metres and seconds: the episodes must say what a memory unit is")
        rng = torch.Generator()
        rng.manual_seed(episodes.seed)
        chosen = torch.randperm(wanted.cameras.views, generator=rng)[: recalling.views].to(wanted.images.device)
        kind = float(torch.rand((), generator=rng))
        observed = joined(episodes.chunks)
        views = wanted[chosen]
        truth = episodes.log_inverse_depth[-1] if episodes.log_inverse_depth else None
        truth = None if truth is None else truth[:, chosen]
        known = last[chosen].detach()
        size = self._memory_size or views.cameras.height
        if kind < recalling.small_share:
            views, observed = self._sized(views), self._sized(observed)
            truth = None if truth is None else _thinned(truth, size)
        elif kind < recalling.small_share + recalling.part_share and views.cameras.height > size:
            factor = views.cameras.height // size
            top, left = (factor * int(torch.randint(size - size // factor + 1, (), generator=rng)) for _ in range(2))
            views = _part(views, top, left, size)
            truth = None if truth is None else truth[..., top : top + size, left : left + size]
            y, x, edge = top // factor, left // factor, size // factor
            known = known.map(lambda t: t[..., y : y + edge, x : x + edge])
        task = RecallTask(views, truth, observed, known, episodes.extent_m, episodes.horizon_s)
        return recall_loss(net, task, recalling, rng, bf16=self.memory.precision is Precision.BF16)

    def _sized(self, views: Views) -> Views:
        """Views at the memory's size."""
        if not self._memory_size or views.cameras.height == self._memory_size:
            return views
        return resized(views, views.cameras.height // self._memory_size)

    def _observe(self, state: MemoryState, chunk: Views) -> MemoryState:
        if not (self._activation_checkpoints and torch.is_grad_enabled()):
            return self.memory.observe(state, chunk, self._rule, checked=False)
        after: MemoryState = checkpoint(
            self.memory.observe,
            state,
            chunk,
            self._rule,
            checked=False,
            use_reentrant=False,
            preserve_rng_state=False,  # nothing here is random
        )
        return after


class _Scores:
    """What the renders of an episode make wrong, gathered view by view."""

    def __init__(self, gradient_weight: float) -> None:
        self._gradient_weight = gradient_weight
        self._errors: list[Tensor] = []
        self._edges: list[Tensor] = []
        self._depths: list[Tensor] = []
        self._likelihoods: list[Tensor] = []

    def add(self, rendered: Rendering, wanted: Views, log_inverse_depth: Tensor | None) -> None:
        self._errors.append((rendered.images - wanted.images).square().flatten())
        if self._gradient_weight > 0:
            self._edges.append(_gradient_difference(rendered.images, wanted.images).flatten())
        if rendered.geometry is not None and log_inverse_depth is not None:
            truth = _thinned(log_inverse_depth, wanted.cameras.height)
            off = (rendered.geometry.log_inverse_depth - truth).abs().clamp(max=4.0)
            self._depths.append(off.detach().flatten())
            self._likelihoods.append((off / rendered.geometry.scale + rendered.geometry.scale.log()).flatten())

    def totals(self, learn: LearnSettings) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, and the mean errors of colour and of depth."""
        squared_error = torch.cat(self._errors).mean()
        loss = squared_error if learn.memory else torch.zeros_like(squared_error)
        if self._edges and learn.memory:
            loss = loss + self._gradient_weight * torch.cat(self._edges).mean()
        if self._likelihoods and learn.geometry:
            loss = loss + learn.geometry_weight * torch.cat(self._likelihoods).mean()
        depth = torch.cat(self._depths).mean() if self._depths else torch.full_like(squared_error, torch.nan)
        return loss, squared_error.detach(), depth.detach()


def _part(views: Views, top: int, left: int, size: int) -> Views:
    """A square part of views: what a camera with another lens would have seen."""
    cameras = views.cameras
    lens = cameras.fxfycxcy - cameras.fxfycxcy.new_tensor([0.0, 0.0, left, top])
    images = views.images[..., top : top + size, left : left + size]
    return Views(images, Cameras(lens, cameras.memory_from_camera, size, size), views.times)


def _thinned(depth: Tensor, height: int) -> Tensor:
    """``[B, V, H, W]`` of so many rows: every so-manieth pixel, as means over edges are no depths."""
    factor = depth.shape[-2] // height
    return depth[..., factor // 2 :: factor, factor // 2 :: factor]


def _gradient_difference(rendered: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference of horizontal and of vertical image gradients, ``[B, V]``."""
    error = rendered - truth
    across, down = (error.diff(dim=dim).abs().mean(dim=(-3, -2, -1)) for dim in (-1, -2))
    return across + down
