# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_memory import EVERY_WRITE_RULE, rule_name, tiny_model
from torch import Tensor
from training_runs import tiny_settings

from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.base import WriteRule
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.training.episodes import EpisodePlan, Episodes, assemble, draw_picks, joined, lay_frame
from fsm_ros.training.objective import StreamObjective
from fsm_ros.training.scenes import SceneSource, Split
from fsm_ros.training.supply import split_clips

SETTINGS = tiny_settings()
CPU = torch.device("cpu")


def some_episodes(plan: EpisodePlan, batch: int = 2) -> Episodes:
    clips = split_clips(SceneSource(0, Split.TRAIN, SETTINGS.data.scenes, CPU).clips(range(batch), 16, 16))
    rng = np.random.default_rng(0)
    picks = [draw_picks(SETTINGS.episodes, plan, 12, rng) for _ in clips]
    frames = [
        lay_frame(SETTINGS.episodes, clip.world_from_camera[pick.observed], clip.stamps_ns[pick.observed], 2, rng)
        for clip, pick in zip(clips, picks, strict=True)
    ]
    return assemble(clips, picks, frames, plan)


def a_memory() -> FsmModel:
    return tiny_model().train().requires_grad_(True)


def gradients(objective: StreamObjective, episodes: Episodes, gradient_weight: float = 0.0) -> dict[str, Tensor]:
    objective.zero_grad()
    objective(episodes, gradient_weight).loss.backward()
    return {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize("rule", EVERY_WRITE_RULE, ids=rule_name)
def test_activation_checkpoints_change_no_gradient_though_the_rule_has_a_state(rule: WriteRule) -> None:
    memory, episodes = a_memory(), some_episodes(EpisodePlan(2, 3))
    kept = gradients(StreamObjective(memory, rule), episodes)
    again = gradients(StreamObjective(memory, rule, activation_checkpoints=True), episodes)
    assert kept.keys() == again.keys() == dict(StreamObjective(memory, rule).named_parameters()).keys()
    for name, gradient in kept.items():
        assert torch.equal(gradient, again[name]), name


def test_the_squared_error_is_the_mean_over_what_is_rendered_after_every_chunk() -> None:
    memory, episodes = a_memory(), some_episodes(EpisodePlan(2, 3))
    state, errors = memory.initial_state(2), []
    with torch.no_grad():
        for chunk, wanted in zip(episodes.chunks, episodes.wanted, strict=True):
            state = memory.observe(state, chunk)
            assert wanted is not None
            errors.append((memory.render(state, wanted.cameras, wanted.times) - wanted.images).square().flatten())
        outcome = StreamObjective(memory, Plastic())(episodes)
    torch.testing.assert_close(outcome.squared_error, torch.cat(errors).mean())
    torch.testing.assert_close(outcome.loss, outcome.squared_error)


def test_batch_order_observes_all_chunks_and_renders_at_the_end() -> None:
    memory, plan = a_memory(), EpisodePlan(2, 3, batch_order=True)
    episodes = some_episodes(plan)
    with torch.no_grad():
        outcome = StreamObjective(memory, Plastic())(episodes)
        last = episodes.wanted[-1]
        assert last is not None
        tokens = (16 // memory.config.patch_size) ** 2
        state = memory.observe_batch(memory.initial_state(2), joined(episodes.chunks), chunk_tokens=2 * tokens)
        error = (memory.render(state, last.cameras, last.times) - last.images).square().mean()
    torch.testing.assert_close(outcome.squared_error, error)


def test_the_gradient_loss_is_the_mean_difference_of_image_gradients() -> None:
    memory, episodes = a_memory(), some_episodes(EpisodePlan(2, 1))
    objective = StreamObjective(memory, Plastic())
    with torch.no_grad():
        plain, edged = objective(episodes), objective(episodes, 2.0)
    wanted = episodes.wanted[0]
    assert wanted is not None
    with torch.no_grad():
        rendered = memory.render(
            memory.observe(memory.initial_state(2), episodes.chunks[0]), wanted.cameras, wanted.times
        )
    error = rendered - wanted.images
    expected = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    torch.testing.assert_close(edged.loss - plain.loss, 2.0 * expected)
    torch.testing.assert_close(edged.squared_error, plain.squared_error)


def test_every_weight_of_the_model_learns() -> None:
    found = gradients(StreamObjective(a_memory(), Plastic()), some_episodes(EpisodePlan(2, 2)))
    assert all(gradient.isfinite().all() and gradient.abs().max() > 0 for gradient in found.values())
