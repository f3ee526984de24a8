# SPDX-License-Identifier: Apache-2.0
"""Measured depth as a prior: seen from elsewhere, nearest first, in place of what the memory guesses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from recall_scenes import grey_prior, keyframe, posed, rotated, wall

from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.recall.choose import COLUMNS, ROWS
from fsm_ros.recall.evidence import Prior
from fsm_ros.recall.keyframes import Keyframe
from fsm_ros.recall.measuring import measured
from fsm_ros.recall.planes import Wanted
from fsm_ros.recall.sensed import SCALE, UNKNOWN_SCALE, Sensed, seen_from, with_sensed
from fsm_ros.recall.view import WantedView, recall_view

LENS = (50.0, 50.0, 32.0, 24.0)
WANTED = Wanted(torch.tensor([LENS]), 48, 64)
AWAY_M = 3.0


def wall_depth(pose: NDArray[np.float64], away_m: float = AWAY_M) -> NDArray[np.float32]:
    """Depth of a wall at ``z = away_m`` in a camera of `LENS`, 64x48 pixels."""
    fx, fy, cx, cy = LENS
    column, row = np.meshgrid((np.arange(64) + 0.5 - cx) / fx, (np.arange(48) + 0.5 - cy) / fy)
    rays = np.stack([column, row, np.ones_like(row)], axis=-1)
    return ((away_m - pose[2, 3]) / (rays @ pose[2, :3])).astype(np.float32)


def sensed_of(*images: tuple[NDArray[np.float32], NDArray[np.float64]]) -> Sensed:
    """Depth images and their poses, for a view that stands at the origin."""
    depths = torch.from_numpy(np.stack([depth for depth, _ in images]))[None]
    poses = torch.from_numpy(np.stack([pose for _, pose in images]).astype(np.float32))[None]
    return Sensed(-depths.log(), torch.tensor([[LENS] * len(images)]), poses)


angle, shift = st.floats(-0.1, 0.1), st.floats(-0.2, 0.2)


@given(x=angle, y=angle, z=angle, position=st.tuples(shift, shift, shift))
def test_a_wall_is_as_far_away_from_wherever_it_was_measured(
    x: float, y: float, z: float, position: tuple[float, float, float]
) -> None:
    pose = rotated(x, y, z, position)
    found = seen_from(sensed_of((wall_depth(pose), pose)), WANTED)[0]
    known = found.isfinite()
    assert float(known.float().mean()) > 0.5
    torch.testing.assert_close(
        found[known].exp().reciprocal(), torch.full((int(known.sum()),), AWAY_M), rtol=1e-3, atol=0
    )


def test_the_nearest_surface_hides_the_others() -> None:
    near = np.full((48, 64), np.nan, dtype=np.float32)
    near[10:30, 20:40] = 1.0
    found = seen_from(sensed_of((wall_depth(np.eye(4)), np.eye(4)), (near, np.eye(4))), WANTED)[0].exp().reciprocal()
    np.testing.assert_allclose(found[10:30, 20:40], 1.0, rtol=1e-5)
    np.testing.assert_allclose(found[:10], AWAY_M, rtol=1e-5)


def test_a_larger_view_is_not_seen_through_between_the_points() -> None:
    lens = torch.tensor([[4 * number for number in LENS]])
    found = seen_from(sensed_of((wall_depth(np.eye(4)), np.eye(4))), Wanted(lens, 192, 256))
    assert found.shape == (1, 192, 256) and bool(found.isfinite().all())


def test_where_nothing_was_measured_the_memory_is_asked() -> None:
    depth = wall_depth(np.eye(4))
    depth[:, 32:] = np.nan
    guess = torch.full((1, 1, 48, 64), 0.5)
    prior = with_sensed(Prior(torch.full((1, 3, 48, 64), 0.5), guess, guess), sensed_of((depth, np.eye(4))), WANTED)
    assert prior.log_inverse_depth is not None and prior.scale is not None and prior.measured is not None
    torch.testing.assert_close(prior.log_inverse_depth[..., :30], torch.full((1, 1, 48, 30), -np.log(AWAY_M)).float())
    assert bool((prior.scale[..., :30] == torch.tensor(SCALE)).all()) and bool((prior.measured[..., :30] == 1).all())
    for left, as_guessed in ((prior.log_inverse_depth, 0.5), (prior.scale, 0.5), (prior.measured, 0.0)):
        assert bool((left[..., 34:] == as_guessed).all())


def test_a_memory_that_knows_no_depth_takes_what_is_around() -> None:
    depth = wall_depth(np.eye(4))
    depth[:, 32:] = np.nan
    prior = with_sensed(grey_prior(48, 64), sensed_of((depth, np.eye(4))), WANTED)
    assert prior.log_inverse_depth is not None and prior.scale is not None
    torch.testing.assert_close(prior.log_inverse_depth, torch.full((1, 1, 48, 64), -np.log(AWAY_M)).float())
    assert bool((prior.scale[..., 34:] == UNKNOWN_SCALE).all())


def test_without_any_measurement_nothing_changes() -> None:
    prior = grey_prior(48, 64)
    assert with_sensed(prior, sensed_of((np.full((48, 64), np.nan, np.float32), np.eye(4))), WANTED) is prior


def photographed(x: float, depth_m: NDArray[np.float32] | None) -> Keyframe:
    """A photograph of the wall from so far beside, and its depth."""
    pose = posed((x, 0.0, 0.0))
    image = (255 * wall(pose, LENS, 48, 64, AWAY_M)).astype(np.uint8).transpose(1, 2, 0)
    kept = Keyframe(0, np.ascontiguousarray(image), np.array(LENS), pose, 0)
    return kept if depth_m is None else measured(kept, depth_m)


def test_a_view_tells_the_depth_that_was_measured_where_photographs_alone_do_not() -> None:
    """From one photograph nobody can tell how far away a wall is."""
    net, wanted = load_recall("shipped"), WantedView(np.array(LENS), 64, 48, posed((0.05, 0.0, 0.0)), 0)

    def error(depth_m: NDArray[np.float32] | None) -> float:
        seen = recall_view(net, [photographed(0.0, depth_m)], wanted, grey_prior(48, 64), 4)
        assert seen is not None
        return float((seen.depth_m.nan_to_num(nan=100.0) / AWAY_M).log().abs().median())

    assert error(wall_depth(np.eye(4))) < 0.01 < 0.1 < error(None)


def test_half_precision_tells_depth_to_a_thousandth() -> None:
    depth = np.geomspace(0.3, 20.0, 48 * 64).reshape(48, 64).astype(np.float32)
    kept = photographed(0.0, depth).sensed
    assert kept is not None and kept.dtype == np.float16
    np.testing.assert_allclose(np.exp(-kept.astype(np.float32)), depth, rtol=1.5e-3)


def test_what_was_measured_counts_in_place_of_what_the_memory_guessed() -> None:
    depth = np.full((60, 80), 2.0, dtype=np.float32)
    depth[:, :40] = np.nan
    known = measured(keyframe(posed((0, 0, 0)), depth_m=5.0), depth).depth_m
    assert known is not None and known.shape == (ROWS, COLUMNS)
    assert (known[:, : COLUMNS // 2] == 5.0).all() and (known[:, COLUMNS // 2 :] == 2.0).all()
    alone = measured(keyframe(posed((0, 0, 0)), depth_m=None), depth).depth_m
    assert alone is not None and (alone == 2.0).all()


@pytest.mark.parametrize("guess", [None, 5.0], ids=["unknown", "guessed"])
def test_where_nothing_was_measured_the_guess_stays(guess: float | None) -> None:
    before = keyframe(posed((0, 0, 0)), depth_m=guess)
    after = measured(before, np.full((6, 8), np.nan, dtype=np.float32)).depth_m
    assert after is before.depth_m or np.array_equal(after, before.depth_m)  # type: ignore[arg-type]


def test_its_bytes_are_counted() -> None:
    before = keyframe(posed((0, 0, 0)))
    after = measured(before, np.full((60, 80), 2.0, dtype=np.float32))
    assert after.size_bytes - before.size_bytes == 2 * 60 * 80
    assert replace(after, sensed=None).size_bytes == before.size_bytes
