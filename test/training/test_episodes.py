# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_runs import tiny_settings

from fsm_ros.stream.world import REACH, MemoryFrame
from fsm_ros.training.episodes import EpisodePlan, assemble, draw_picks, draw_plan, lay_frame
from fsm_ros.training.scenes import SceneSource, Split
from fsm_ros.training.supply import EpisodeSupply, Piece, RevisitedClips, SceneClips, split_clips

SETTINGS = tiny_settings()
CPU = torch.device("cpu")
seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.floats(0, 1))
def test_a_plan_is_one_of_those_that_may_be_drawn(seed: int, progress: float) -> None:
    episodes = replace(SETTINGS.episodes, first_chunk_counts={1: 1.0}, first_share=0.5)
    plan = draw_plan(episodes, progress, np.random.default_rng(seed))
    assert plan.chunk_views in episodes.chunk_views
    assert plan.chunk_count == 1 if progress < 0.5 else plan.chunk_count in episodes.chunk_counts
    assert plan.views <= episodes.max_views


@given(seeds, st.integers(1, 4), st.integers(1, 4), st.integers(0, 20))
def test_observed_frames_ascend_and_what_is_asked_for_lies_between_them(
    seed: int, views: int, count: int, spare: int
) -> None:
    plan = EpisodePlan(views, count)
    picks = draw_picks(SETTINGS.episodes, plan, plan.views + spare, np.random.default_rng(seed))
    assert len(picks.observed) == plan.views
    assert (np.diff(picks.observed) > 0).all()
    assert 0 <= picks.observed[0] and picks.observed[-1] < plan.views + spare
    assert [len(w) for w in picks.wanted] == [1] * (count - 1) + [2]
    for chunk, wanted in enumerate(picks.wanted[:-1]):
        assert wanted.max() <= picks.observed[(chunk + 1) * views - 1]
    some_unseen = picks.observed[-1] - picks.observed[0] >= plan.views
    if some_unseen:
        assert not np.isin(picks.wanted[-1], picks.observed).any()


@pytest.mark.slow
def test_poses_and_times_are_those_of_a_memory_laid_around_the_first_chunk() -> None:
    source = SceneSource(0, Split.TRAIN, SETTINGS.data.scenes, CPU)
    [clip] = split_clips(source.clips([5], 16, 16))
    plan = EpisodePlan(2, 2)
    picks = draw_picks(SETTINGS.episodes, plan, 12, np.random.default_rng(1))
    frame = MemoryFrame.around(
        clip.world_from_camera[picks.observed[:2]], start_ns=int(clip.stamps_ns[0]), extent_m=3.0, horizon_s=50.0
    )
    episodes = assemble([clip], [picks], [frame], plan)
    for index, chunk in enumerate(episodes.chunks):
        numbers = picks.observed[2 * index : 2 * index + 2]
        torch.testing.assert_close(chunk.images[0], clip.images[torch.from_numpy(numbers)])
        poses = frame.normalise_poses(clip.world_from_camera[numbers])
        np.testing.assert_allclose(chunk.cameras.memory_from_camera[0].numpy(), poses, atol=1e-6)
        np.testing.assert_allclose(chunk.cameras.fxfycxcy[0].numpy(), clip.fxfycxcy[numbers], rtol=1e-6)
        np.testing.assert_allclose(chunk.times[0].numpy(), frame.normalise_time(clip.stamps_ns[numbers]), atol=1e-6)


@given(seeds)
def test_every_view_of_an_episode_lies_inside_of_its_memory(seed: int) -> None:
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (6, 1, 1))
    poses[:, :3, 3] = rng.normal(0.0, 10.0 ** rng.uniform(-4, 2), (6, 3))
    stamps = np.sort(rng.integers(0, 10**12, 6))
    frame = lay_frame(SETTINGS.episodes, poses, stamps, 2, rng)
    assert np.abs(frame.normalise_poses(poses)[:, :3, 3]).max() <= REACH * (1 + 1e-9)
    times = frame.normalise_time(stamps)
    assert times.min() == -1 and times.max() <= 1


def test_what_a_step_learns_from_follows_from_its_number_alone() -> None:
    one, other = (EpisodeSupply(SETTINGS, SceneClips(SETTINGS, CPU)) for _ in range(2))
    for step in (0, 1, 2, 7):
        one.episodes(Piece(step, 0, 4), 0.5)
    again, first = one.episodes(Piece(7, 0, 4), 0.5), other.episodes(Piece(7, 0, 4), 0.5)
    for a, b in zip(again.chunks, first.chunks, strict=True):
        assert torch.equal(a.images, b.images) and torch.equal(a.times, b.times)


def test_two_processes_share_the_episodes_that_one_would_have() -> None:
    whole = EpisodeSupply(SETTINGS, SceneClips(SETTINGS, CPU)).episodes(Piece(3, 0, 4), 0.5)
    halves = [EpisodeSupply(SETTINGS, SceneClips(SETTINGS, CPU)).episodes(Piece(3, i, 2), 0.5) for i in (0, 2)]
    for index, chunk in enumerate(whole.chunks):
        images = torch.cat([half.chunks[index].images for half in halves])
        torch.testing.assert_close(chunk.images, images, atol=1e-5, rtol=0)
        assert torch.equal(
            chunk.cameras.memory_from_camera, torch.cat([h.chunks[index].cameras.memory_from_camera for h in halves])
        )


def test_steps_of_one_visit_share_their_clips_but_not_their_episodes() -> None:
    clips = RevisitedClips(SceneClips(SETTINGS, CPU), SETTINGS.data.visits)
    supply = EpisodeSupply(SETTINGS, clips)
    one, other = (supply.episodes(Piece(step, 0, 4), 0.5).chunks[0].images[:, :1] for step in (0, 1))
    assert not torch.equal(one, other)
    assert clips.clips(Piece(0, 0, 4)) is clips.clips(Piece(1, 0, 4))
    later = clips.clips(Piece(2, 0, 4))
    assert not torch.equal(later[0].images, SceneClips(SETTINGS, CPU).clips(Piece(0, 0, 4))[0].images)
    assert torch.equal(later[0].images, SceneClips(SETTINGS, CPU).clips(Piece(1, 0, 4))[0].images)
