"""What is learned: to render, after every chunk, what was not observed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fsm_ros.memory.elastic import WriteRule
from fsm_ros.memory.model import FastSpatialMemory, Views
from fsm_ros.memory.state import MemoryState
from fsm_ros.training.episodes import Episodes, joined


class Outcome(NamedTuple):
    """How well some episodes were rendered. A tuple, as wrappers look for the tensors in what ``forward`` returns.

    Attributes:
        loss: what is minimised, a scalar.
        squared_error: mean over all rendered views, a scalar without gradient.
    """

    loss: Tensor
    squared_error: Tensor


class StreamObjective(nn.Module):
    """Observes episodes and scores what is rendered from them.

    A module of its own, as the wrappers for several devices work on ``forward``.
    """

    def __init__(
        self, memory: FastSpatialMemory, rule: WriteRule | None, *, activation_checkpoints: bool = False
    ) -> None:
        """Prepare.

        Args:
            memory: the model that is trained.
            rule: how it writes; ``None`` for plain LaCT.
            activation_checkpoints: observe every chunk once more for its gradient instead of keeping its
                activations. As the state is a value, both times begin from the same one.
        """
        super().__init__()
        self.memory = memory
        self._rule = rule
        self._activation_checkpoints = activation_checkpoints

    def forward(self, episodes: Episodes, gradient_weight: float = 0.0) -> Outcome:
        """Observe and score.

        Args:
            episodes: what to observe, and what to render.
            gradient_weight: weight of the difference between image gradients.
        """
        state = self.memory.initial_state(episodes.chunks[0].cameras.batch)
        errors: list[Tensor] = []
        edges: list[Tensor] = []

        def score(wanted: Views | None) -> None:
            if wanted is None:
                return
            rendered = self.memory.render(state, wanted.cameras, wanted.times)
            errors.append((rendered - wanted.images).square().flatten())
            if gradient_weight > 0:
                edges.append(_gradient_difference(rendered, wanted.images).flatten())

        if episodes.batch_order:
            every = joined(episodes.chunks)
            patch = self.memory.config.patch_size
            tokens = (every.cameras.height // patch) * (every.cameras.width // patch)
            chunk_tokens = episodes.chunks[0].cameras.views * tokens
            state = self.memory.observe_batch(state, every, chunk_tokens, self._rule, checked=False)
            score(episodes.wanted[-1])
        else:
            for chunk, wanted in zip(episodes.chunks, episodes.wanted, strict=True):
                state = self._observe(state, chunk)
                score(wanted)
        squared_error = torch.cat(errors).mean()
        loss = squared_error
        if edges:
            loss = loss + gradient_weight * torch.cat(edges).mean()
        return Outcome(loss, squared_error.detach())

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


def _gradient_difference(rendered: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference of horizontal and of vertical image gradients, ``[B, V]``."""
    error = rendered - truth
    across, down = (error.diff(dim=dim).abs().mean(dim=(-3, -2, -1)) for dim in (-1, -2))
    return across + down
