# SPDX-License-Identifier: Apache-2.0
"""Where points on depth planes lie in the photographs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recall_scenes import photographs_of, posed, rotated

from fsm_ros.recall.planes import (
    LARGEST_RATIO,
    PLANES,
    SHORTEST_BASELINE_M,
    Wanted,
    landings,
    log_inverse_depth_at,
    ratio_at,
    step_at,
    step_of_depth,
)


@given(st.floats(0.0, LARGEST_RATIO))
def test_steps_and_ratios_are_inverses(ratio: float) -> None:
    step = step_at(torch.tensor(ratio, dtype=torch.float64))
    assert 0 <= step <= PLANES - 1 + 1e-9
    assert float(ratio_at(step)) == pytest.approx(ratio, abs=1e-9)


def test_the_first_plane_is_infinitely_far_and_they_come_nearer() -> None:
    ratios = ratio_at(torch.arange(PLANES, dtype=torch.float64))
    assert ratios[0] == 0 and bool((ratios.diff() > 0).all())
    assert float(ratios[-1]) == pytest.approx(LARGEST_RATIO)


@given(st.floats(0.1, 50.0), st.floats(0.05, 3.0))
def test_a_depth_has_the_step_that_has_the_depth(depth_m: float, baseline_m: float) -> None:
    baseline = torch.tensor([baseline_m], dtype=torch.float64)
    logarithm = torch.full((1, 1), -math.log(depth_m), dtype=torch.float64)
    step = step_of_depth(logarithm, baseline)
    if 1e-3 < baseline_m / depth_m < LARGEST_RATIO:
        assert float(log_inverse_depth_at(step, baseline)) == pytest.approx(-math.log(depth_m), abs=1e-6)
    else:
        assert step <= PLANES - 1 + 1e-9


def test_a_point_lands_where_a_pinhole_camera_sees_it() -> None:
    rng = np.random.default_rng(0)
    world_from_view, world_from_photograph = (
        rotated(0.1, -0.2, 0.05, (0.1, 0.0, 0.2)),
        rotated(0.0, 0.15, 0.1, (0.4, 0.1, 0)),
    )
    image = rng.random((3, 30, 40)).astype(np.float32)
    lens_of_photograph, lens_of_view = (35.0, 33.0, 21.0, 14.0), (20.0, 22.0, 9.5, 8.0)
    photographs = photographs_of([(image, lens_of_photograph, world_from_photograph)], world_from_view)
    wanted = Wanted(torch.tensor([lens_of_view]), height=16, width=20)
    depth_m = 2.5
    step = step_of_depth(torch.full((1, 1, 16, 20), -math.log(depth_m)), photographs.baseline_m)
    landed = landings(wanted, photographs, step, photographs.baseline_m, level=0)
    fx, fy, cx, cy = lens_of_view
    for row, column in ((0, 0), (3, 17), (15, 5)):
        point = np.array([(column + 0.5 - cx) / fx * depth_m, (row + 0.5 - cy) / fy * depth_m, depth_m, 1.0])
        x, y, z = (np.linalg.inv(world_from_photograph) @ world_from_view @ point)[:3]
        fx2, fy2, cx2, cy2 = lens_of_photograph
        u, v = fx2 * x / z + cx2, fy2 * y / z + cy2
        found = (landed.grid[0, 0, 0, row, column].numpy() + 1) / 2 * [40, 30]
        assert found == pytest.approx([u, v], abs=2e-3)
        assert bool(landed.seen[0, 0, 0, row, column]) == (0 <= u <= 40 and 0 <= v <= 30)


def test_what_lies_behind_a_photographs_camera_is_not_seen() -> None:
    behind = posed((0.0, 0.0, 5.0))
    photographs = photographs_of([(np.zeros((3, 8, 8), np.float32), (8.0, 8.0, 4.0, 4.0), behind)], np.eye(4))
    near = step_of_depth(torch.zeros(1, 1, 8, 8), photographs.baseline_m)  # a metre before the wanted camera
    landed = landings(Wanted(torch.tensor([[8.0, 8.0, 4.0, 4.0]]), 8, 8), photographs, near, photographs.baseline_m, 0)
    assert not landed.seen.any() and bool(landed.grid.isfinite().all())


def test_photographs_from_one_place_still_have_a_baseline() -> None:
    image = np.zeros((3, 8, 8), np.float32)
    photographs = photographs_of([(image, (8.0, 8.0, 4.0, 4.0), np.eye(4))], np.eye(4))
    assert float(photographs.baseline_m) == pytest.approx(SHORTEST_BASELINE_M)
