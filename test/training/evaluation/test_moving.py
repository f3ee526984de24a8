# SPDX-License-Identifier: Apache-2.0
"""What moves, and what other moments look like: held against the tracer and against the scenes' own numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fsm_ros.training.episodes import Clip, EpisodePlan
from fsm_ros.training.evaluation import (
    EvaluationSettings,
    clip_frames,
    episodes_of,
    evaluation_picks,
    held_out_clips,
    scene_source,
)
from fsm_ros.training.evaluation.moments import at_other_moments
from fsm_ros.training.evaluation.moving import changed_pixels, moving_pixels, without_moving
from fsm_ros.training.scenes import SceneSettings, SceneSource

CPU = torch.device("cpu")
CHUNKS = 3
SETTINGS = EvaluationSettings(
    scenes=SceneSettings(photographs=False, difficulty=(0.3, 0.7)), count=6, size=24, chunk_views=2, targets=4
)


@pytest.fixture(scope="module")
def source() -> SceneSource:
    return scene_source(SETTINGS, clip_frames(SETTINGS, CHUNKS), CPU)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return held_out_clips(SETTINGS, clip_frames(SETTINGS, CHUNKS), CPU)


def moving_things(source: SceneSource, number: int) -> int:
    [drawn] = source.draw([number])
    times_s = drawn.way.times_s
    return len(drawn.spec.things) - len(without_moving(drawn.spec, times_s[0], times_s[-1]).things)


def test_a_scene_where_all_stands_has_no_moving_pixel_and_others_have_some(
    source: SceneSource, clips: list[Clip]
) -> None:
    shares = {}
    for number, clip in enumerate(clips):
        frames = np.arange(0, len(clip.stamps_ns), 3)
        shares[number] = float(moving_pixels(source, number, clip, frames).float().mean())
    still = [number for number in shares if moving_things(source, number) == 0]
    assert all(shares[number] == 0.0 for number in still)
    assert max(shares.values()) > 0.02 and max(shares.values()) < 0.9


def test_what_changes_colour_shows_a_moving_thing_now_or_then_or_its_shadow(
    source: SceneSource, clips: list[Clip]
) -> None:
    """The same camera at two moments: all but a little of what differs lies where something moves."""
    explained = changed = 0
    for number, clip in enumerate(clips):
        other = at_other_moments(source, number, clip, evaluation_picks(SETTINGS, CHUNKS), 6)
        further = other.pick.wanted[-1]
        now = moving_pixels(source, number, other.clip, further)
        then = moving_pixels(source, number, clip, other.seen)
        differs = (other.clip.images[torch.from_numpy(further)] - clip.images[torch.from_numpy(other.seen)]).abs()
        strongly = differs.mean(dim=1) > 0.1
        explained += int((strongly & (now | then)).sum())
        changed += int(strongly.sum())
        if not moving_things(source, number):
            assert int(strongly.sum()) == 0
    assert changed > 50 and explained > 0.9 * changed


def test_things_that_come_or_go_do_not_stand(source: SceneSource) -> None:
    [drawn] = source.draw([0])
    here = [replace(thing, sweep=np.zeros(3), swing=0.0, spin=0.0) for thing in drawn.spec.things]
    here[0] = replace(here[0], visible_s=(5.0, 9.0))
    spec = replace(drawn.spec, things=here)
    assert len(without_moving(spec, 5.0, 8.0).things) == len(here)
    assert len(without_moving(spec, 4.0, 8.0).things) == len(here) - 1
    assert len(without_moving(spec, 5.0, 9.0).things) == len(here) - 1


def test_other_moments_are_asked_for_from_observed_poses_and_never_observed(
    source: SceneSource, clips: list[Clip]
) -> None:
    pick = evaluation_picks(SETTINGS, CHUNKS)
    other = at_other_moments(source, 1, clips[1], pick, 4)
    further = other.pick.wanted[-1]
    assert np.array_equal(other.pick.observed, pick.observed) and len(further) == 4 == len(set(other.seen))
    assert np.array_equal(other.clip.world_from_camera[further], clips[1].world_from_camera[other.seen])
    assert set(other.clip.stamps_ns[further]) <= set(clips[1].stamps_ns[pick.observed])
    lasts_s = (clips[1].stamps_ns[pick.observed[-1]] - clips[1].stamps_ns[pick.observed[0]]) * 1e-9
    assert other.seconds_apart.min() > 0.3 * lasts_s
    assert other.clip.path_frames == clips[1].path_frames
    made = episodes_of([other.clip], [other.pick], EpisodePlan(SETTINGS.chunk_views, CHUNKS), SETTINGS)
    wanted = made.wanted[-1]
    assert wanted is not None and torch.equal(wanted.images[0], other.clip.images[torch.from_numpy(further)])
    assert made.log_inverse_depth[-1] is not None


def test_a_view_at_the_moment_of_its_own_photograph_is_that_photograph(source: SceneSource, clips: list[Clip]) -> None:
    """Of a single observed view no other moment is known: traced anew at its own, the frame is the same."""
    one = evaluation_picks(SETTINGS, 1)
    single = replace(one, observed=one.observed[:1])
    other = at_other_moments(source, 0, clips[0], single, 1)
    assert other.seconds_apart.tolist() == [0.0]
    assert not bool(changed_pixels(other.clip.images[-1], clips[0].images[other.seen[0]]).any())


def test_without_depth_nothing_is_said_of_what_moves(source: SceneSource, clips: list[Clip]) -> None:
    flat = replace(clips[0], depth_m=None)
    with pytest.raises(ValueError, match="depth"):
        moving_pixels(source, 0, flat, np.array([0]))
    with pytest.raises(ValueError, match="depth"):
        at_other_moments(source, 0, flat, evaluation_picks(SETTINGS, CHUNKS), 2)
