# SPDX-License-Identifier: Apache-2.0
"""PSNR: in closed form where there is one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fsm_ros.replay.evaluation.psnr import psnr


def flat(value: int, height: int = 4, width: int = 6) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize(("difference", "expected"), [(255, 0.0), (1, 20 * math.log10(255)), (51, 20 * math.log10(5))])
def test_an_even_error_has_a_closed_form(difference: int, expected: float) -> None:
    assert psnr(flat(difference), flat(0)) == pytest.approx(expected)
    assert psnr(flat(0), flat(difference)) == pytest.approx(expected), "either way: it is not taken modulo 256"


def test_known_noise_has_the_psnr_of_its_variance() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(60, 190, (200, 200, 3)).astype(np.uint8)
    noisy = (truth.astype(int) + rng.choice([-12, 12], truth.shape)).astype(np.uint8)
    assert psnr(noisy, truth) == pytest.approx(20 * math.log10(255 / 12))
    uniform = (truth.astype(int) + rng.integers(-20, 21, truth.shape)).astype(np.uint8)
    assert psnr(uniform, truth) == pytest.approx(10 * math.log10(255**2 / ((41**2 - 1) / 12)), abs=0.05)


def test_equal_images_have_the_largest_psnr() -> None:
    assert psnr(flat(7), flat(7)) == pytest.approx(100.0)


@given(seed=st.integers(0, 1000))
def test_an_error_in_one_pixel_of_n_counts_as_its_share(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 200, (5, 7, 3)).astype(np.uint8)
    spoilt = truth.copy()
    spoilt[rng.integers(5), rng.integers(7)] += 55
    assert psnr(spoilt, truth) == pytest.approx(20 * math.log10(255 / 55) + 10 * math.log10(35))


def test_images_of_different_shapes_are_not_compared() -> None:
    with pytest.raises(ValueError, match="shapes"):
        psnr(flat(0), flat(0, width=5))
