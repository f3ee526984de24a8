# SPDX-License-Identifier: Apache-2.0
"""One view, recalled from kept photographs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recall_scenes import grey_prior, keyframe, posed, rotated, wall

from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.recall.evidence import Prior
from fsm_ros.recall.keyframes import Keyframe
from fsm_ros.recall.net import RecallConfig, RecallNet
from fsm_ros.recall.view import WantedView, recall_view, useful_keyframes

DEPTH_M = 3.0


def of_the_wall(
    x: float, *, number: int = 0, lens: tuple[float, ...] = (50.0, 50.0, 32.0, 32.0), size: int = 64
) -> Keyframe:
    pose = posed((x, 0.0, 0.0))
    image = (255 * wall(pose, lens, size, size, DEPTH_M)).round().astype(np.uint8).transpose(1, 2, 0)
    return Keyframe(number, np.ascontiguousarray(image), np.array(lens), pose, 10**9 * number)


def a_view(lens: tuple[float, ...] = (50.0, 50.0, 32.0, 32.0), width: int = 64, height: int = 64) -> WantedView:
    return WantedView(np.array(lens), width, height, posed((0.0, 0.0, 0.0)), 0)


def psnr(image: torch.Tensor, truth: np.ndarray) -> float:
    return float(-10 * (image - torch.from_numpy(truth)).square().mean().log10())


def test_a_wall_is_shown_as_it_is_with_its_depth() -> None:
    view = a_view()
    kept = [of_the_wall(x, number=i) for i, x in enumerate((-0.4, -0.15, 0.2, 0.5))]
    truth = wall(view.world_from_camera, view.fxfycxcy, 64, 64, DEPTH_M)
    recalled = recall_view(load_recall("shipped"), kept, view, grey_prior(64, 64), 4)
    assert recalled is not None
    nearest = torch.from_numpy(kept[1].image).permute(2, 0, 1).float() / 255
    assert psnr(recalled.image, truth) > psnr(nearest, truth) + 8
    middle = recalled.depth_m[8:-8, 8:-8]
    assert float(middle.nanmedian()) == pytest.approx(DEPTH_M, rel=0.1)
    assert float(recalled.share.mean()) > 0.8


@pytest.mark.parametrize(
    "lens, width, height",
    [
        ((50.0, 50.0, 32.0, 32.0), 64, 64),
        ((80.0, 80.0, 30.0, 34.0), 64, 64),
        ((25.0, 26.0, 31.0, 20.0), 64, 40),
        ((100.0, 100.0, 64.0, 64.0), 128, 128),
        ((40.0, 40.0, 18.5, 25.0), 37, 50),
    ],
)
def test_any_lens_and_size_is_rendered_exactly(lens: tuple[float, ...], width: int, height: int) -> None:
    """What is far is placed by the lens alone: with the depth given, the picture must be the wall's own."""
    view = a_view(lens, width, height)
    depth = torch.full((1, 1, height, width), -np.log(DEPTH_M))
    prior = Prior(torch.full((1, 3, height, width), 0.5), depth, torch.full_like(depth, 0.02))
    kept = [
        of_the_wall(x, number=i, lens=(100.0, 100.0, 64.0, 64.0), size=128) for i, x in enumerate((-0.2, 0.1, 0.25))
    ]
    recalled = recall_view(load_recall("shipped"), kept, view, prior, 4)
    assert recalled is not None and recalled.image.shape == (3, height, width)
    truth = wall(view.world_from_camera, lens, height, width, DEPTH_M)
    seen = recalled.share > 0.5
    assert float(seen.float().mean()) > 0.3
    error = (recalled.image - torch.from_numpy(truth)).square().mean(dim=0)[seen]
    assert float(-10 * error.mean().log10()) > 24


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, -0.5)])
@pytest.mark.parametrize("times", [2, 3, 4])
def test_a_small_view_is_what_a_camera_of_its_resolution_would_have_seen(
    times: int, shift: tuple[float, float]
) -> None:
    """Of pure noise, which any blur would flatten: the mean over each pixel's area, wherever its pixels lie."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = RecallNet(RecallConfig()).eval()
    side, fine = 32, 32 * times
    noise = np.random.default_rng(0).integers(0, 256, (fine, fine, 3), dtype=np.uint8)
    pose = posed((0.0, 0.0, 0.0))
    kept = Keyframe(0, noise, np.array([fine, fine, fine / 2, fine / 2], dtype=float), pose, 0)
    view = WantedView(np.array([side, side, side / 2 + shift[0], side / 2 + shift[1]]), side, side, pose, 0)
    recalled = recall_view(net, [kept], view, grey_prior(side, side, 0.0), 1)
    assert recalled is not None
    # Four times as fine, so that half a pixel of the view is a whole number of pixels.
    finer = noise.repeat(4, axis=0).repeat(4, axis=1).astype(np.float64) / 255
    block = 4 * times
    rows, columns = round(-shift[1] * block), round(-shift[0] * block)
    moved = np.roll(finer, (-rows, -columns), axis=(0, 1))
    means = moved.reshape(side, block, side, block, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    shown = (recalled.image / recalled.share).numpy()[:, 1:-1, 1:-1]
    np.testing.assert_allclose(shown, means[:, 1:-1, 1:-1], atol=2.5 / 255)


def test_a_fresh_net_refines_nothing_and_shows_the_memory_where_nobody_saw() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = RecallNet(RecallConfig()).eval()
    behind = keyframe(rotated(0, 0.9, 0, (0, 0, 0)))  # overlaps with the left or right part only
    prior = Prior(torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(1)))
    recalled = recall_view(net, [behind], a_view((40.0, 40.0, 24.0, 24.0), 48, 48), prior, 4)
    assert recalled is not None
    unseen = recalled.share == 0
    assert 0.05 < float(unseen.float().mean()) < 0.95
    assert torch.allclose(recalled.image[:, unseen], prior.colour[0][:, unseen], atol=1e-6)


@pytest.mark.parametrize("kept", [[], [keyframe(rotated(0, np.pi, 0, (0, 0, 0)))]], ids=["none", "looks away"])
def test_a_view_that_nobody_saw_is_not_recalled(kept: list[Keyframe]) -> None:
    assert recall_view(load_recall("shipped"), kept, a_view(), grey_prior(64, 64), 4) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "kept",
    [
        [keyframe(posed((0.1, 0, 0)))],
        [keyframe(posed((0, 0, 0)), size=(8, 8)), keyframe(posed((0.2, 0, 0)), size=(240, 320))],
        [keyframe(rotated(0, yaw, 0, (0, 0, 0))) for yaw in (-0.3, 0.0, 0.3)],
        [keyframe(posed((1e-9 * i, 0, 0)), stamp_ns=i) for i in range(5)],
        [keyframe(posed((0.1, 0, 0)), depth_m=None)],
    ],
    ids=["one", "of other sizes", "a camera that only turns", "from one submap", "without depth"],
)
@pytest.mark.parametrize("knows_depth", [True, False])
def test_whatever_is_kept_the_answer_is_a_view(kept: list[Keyframe], knows_depth: bool) -> None:
    depth = torch.zeros(1, 1, 64, 64)
    prior = Prior(torch.full((1, 3, 64, 64), 0.5), depth, depth + 0.3) if knows_depth else grey_prior(64, 64)
    recalled = recall_view(load_recall("shipped"), kept, a_view(), prior, 4)
    assert recalled is not None
    assert (
        bool(recalled.image.isfinite().all()) and 0 <= float(recalled.image.min()) <= float(recalled.image.max()) <= 1
    )
    assert bool(((recalled.confidence >= 0) & (recalled.confidence <= 1)).all())
    assert bool(((recalled.depth_m > 0) | recalled.depth_m.isnan()).all())
    assert 1 <= len(recalled.used) <= 4


def test_those_that_cover_what_is_left_over_are_looked_at() -> None:
    """Four of the left half and one of the right: the right one is among the first two."""
    left = [keyframe(rotated(0, -0.5, 0, (0.02 * i, 0, 0)), stamp_ns=i) for i in range(4)]
    right = keyframe(rotated(0, 0.5, 0, (0, 0, 0)), stamp_ns=9)
    chosen = useful_keyframes([*left, right], a_view(), None, 2)
    assert 9 in [each.stamp_ns for each in chosen]


def test_one_that_stands_where_another_does_is_passed_over_for_one_with_parallax() -> None:
    """Twins of the nearest keyframe tell nothing of depth, however near they are."""
    twins = [keyframe(posed((0.02 + 0.001 * i, 0.0, 0.0)), stamp_ns=i) for i in range(6)]
    aside = [keyframe(posed((x, 0.0, 0.0)), stamp_ns=10 + i) for i, x in enumerate((-0.35, 0.35))]
    depth = torch.full((1, 1, 24, 32), -np.log(3.0))
    prior = Prior(torch.full((1, 3, 24, 32), 0.5), depth, torch.full_like(depth, 0.2))
    view = WantedView(np.array([19.2, 19.2, 16.0, 12.0]), 32, 24, posed((0.0, 0.0, 0.0)), 0)
    used = useful_keyframes([*twins, *aside], view, prior, 3)
    assert used[0] in twins and used[1] in aside and used[2] in aside


def test_of_two_from_one_side_the_one_near_in_time_comes_first() -> None:
    minute = 60 * 10**9
    kept = [keyframe(posed((0.1, 0, 0)), stamp_ns=stamp) for stamp in (0, 5 * minute)]
    assert useful_keyframes(kept, a_view(), None, 2)[0].stamp_ns == 0
