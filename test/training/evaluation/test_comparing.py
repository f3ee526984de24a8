# SPDX-License-Identifier: Apache-2.0
"""How views and depths of an evaluation are compared with the truth."""

from __future__ import annotations

import math

import pytest
import torch

from fsm_ros.training.evaluation.comparing import depth_errors, ms_ssim, psnr, psnr_where, sharpness, ssim

TRUTH = torch.rand(2, 3, 3, 48, 32, generator=torch.Generator().manual_seed(0))


def test_every_view_has_a_similarity_of_its_own() -> None:
    images = TRUTH.clone()
    images[1, 2] = images[1, 2].flip(-1)
    for measure in (ssim, ms_ssim):
        found = measure(images, TRUTH)
        assert found.shape == (2, 3)
        others = torch.ones(2, 3, dtype=torch.bool)
        others[1, 2] = False
        assert bool((found[others] > 0.999).all()) and float(found[1, 2]) < 0.5


def test_pixels_that_do_not_count_change_nothing_and_all_views_count_together() -> None:
    where = torch.zeros(2, 3, 48, 32, dtype=torch.bool)
    where[0, 0, :4] = where[1, 1, :2] = True
    images = torch.where(where[:, :, None], TRUTH + 0.1, 1.0 - TRUTH)
    truth = TRUTH.clamp(0.0, 0.8)
    images = torch.where(where[:, :, None], truth + 0.1, images)
    assert psnr_where(images, truth, where) == pytest.approx(20.0, abs=1e-3)
    assert math.isnan(psnr_where(images, truth, torch.zeros_like(where)))


def test_of_all_pixels_of_one_view_it_is_the_psnr_of_the_view() -> None:
    one, truth = TRUTH[:1, :1].flip(-1), TRUTH[:1, :1]
    everywhere = torch.ones(1, 1, 48, 32, dtype=torch.bool)
    assert psnr_where(one, truth, everywhere) == pytest.approx(float(psnr(one, truth)), abs=1e-4)


def test_blur_takes_sharpness_away_and_the_truth_has_all_of_it() -> None:
    blurred = torch.nn.functional.avg_pool2d(TRUTH.flatten(0, 1), 3, 1, 1).view_as(TRUTH)
    assert torch.allclose(sharpness(TRUTH, TRUTH), torch.ones(2, 3))
    assert bool((sharpness(blurred, TRUTH) < 0.3).all())


def test_depth_is_as_wrong_as_its_ratio_to_the_true_one_where_it_counts() -> None:
    metres = 1.0 + 3.0 * TRUTH[:, :, 0]
    told = metres.clone()
    told[..., :16] *= 1.1
    told[..., 16:] *= 0.98
    where = torch.ones_like(metres, dtype=torch.bool)
    where[0, 0, :, 16:] = False
    where[1, 1] = False
    error, close = depth_errors(-told.log(), -metres.log(), where)
    assert float(error[0, 0]) == pytest.approx(0.1, abs=1e-5) and float(close[0, 0]) == 0.0
    assert float(error[0, 1]) == pytest.approx(0.06, abs=1e-5) and float(close[0, 1]) == 0.5
    assert bool(error[1, 1].isnan()) and bool(close[1, 1].isnan())


def test_a_coarser_depth_is_brought_to_the_size_of_the_truth() -> None:
    truth = torch.full((1, 2, 16, 16), 0.3)
    everywhere = torch.ones_like(truth, dtype=torch.bool)
    error, close = depth_errors(truth[..., ::4, ::4], truth, everywhere)
    assert float(error.max()) < 1e-6 and float(close.min()) == 1.0
