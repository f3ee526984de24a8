# SPDX-License-Identifier: Apache-2.0
"""What a depth camera measures of a scene: exactly, or with the noise and the holes of a sensor."""

from __future__ import annotations

import pytest
import torch

from fsm_ros.training.scene_settings import DepthInput
from fsm_ros.training.scenes.depth_sensor import LOST, NOISE_AT_1_M, measured

LENS = torch.tensor([[60.0, 60.0, 40.0, 30.0]])


def of(depth_m: torch.Tensor, kind: DepthInput = DepthInput.SENSOR) -> torch.Tensor:
    return measured(kind, depth_m[None], LENS, torch.Generator().manual_seed(0))[0]


@pytest.mark.parametrize("away_m", [1.0, 2.0, 4.0])
def test_noise_grows_with_the_square_of_depth(away_m: float) -> None:
    seen = of(torch.full((60, 80), away_m))
    known = seen.isfinite()
    assert float(known.float().mean()) == pytest.approx(1 - LOST, abs=0.005)
    assert float(seen[known].mean()) == pytest.approx(away_m, rel=5e-3)
    assert float(seen[known].std()) == pytest.approx(NOISE_AT_1_M * away_m**2, rel=0.1)


@pytest.mark.parametrize("away_m", [0.29, 6.1], ids=["too near", "too far"])
def test_nothing_is_measured_out_of_range(away_m: float) -> None:
    assert bool(of(torch.full((60, 80), away_m)).isnan().all())


def test_edges_have_holes_and_leaning_planes_have_none() -> None:
    edge = torch.full((60, 80), 2.0)
    edge[:, 40:] = 1.0
    holes = of(edge).isnan().float().mean(dim=0)
    assert bool((holes[39:41] == 1).all()) and bool((holes[:38] < 0.1).all())
    leaning = 2.0 / (1.0 + 0.4 * (torch.arange(80) + 0.5 - 40) / 60).expand(60, 80)
    assert float(of(leaning).isnan().float().mean()) < 2 * LOST


def test_at_a_grazing_angle_nothing_is_measured() -> None:
    """Of the floor 0.5 m below: what is further away than it is seen at more than 78 degrees off its normal."""
    floor = 0.5 * 60.0 / (torch.arange(60) + 0.5 - 30).clamp_min(0.1)[:, None].expand(60, 80)
    holes = of(floor)[:, 38:42].isnan().float().mean(dim=1)
    assert bool((holes[32:41] == 1).all()) and bool((holes[46:58] < 0.3).all())


def test_exact_depth_is_as_it_is_and_without_a_depth_camera_there_is_none() -> None:
    depth = torch.rand(60, 80) * 10
    assert torch.equal(of(depth, DepthInput.EXACT), depth)
    with pytest.raises(ValueError, match="nothing is measured"):
        of(depth, DepthInput.NONE)
