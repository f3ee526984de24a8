# SPDX-License-Identifier: Apache-2.0
"""The depth that is told: photographs first, the memory where it is believed, and colours left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recall_scenes import grey_prior, photographs_of, posed, wall

from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.recall.depth_fusion import LARGEST_LOG_CHANGE, as_large_as
from fsm_ros.recall.evidence import Prior
from fsm_ros.recall.net import RecallConfig, Recalled, RecallNet
from fsm_ros.recall.planes import Photographs, Wanted, log_inverse_depth_at

LENS = (50.0, 50.0, 32.0, 32.0)
WANTED = Wanted(torch.tensor([LENS]), 64, 64)


def a_fresh_net(**changes: object) -> RecallNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return RecallNet(RecallConfig(**changes)).eval()  # type: ignore[arg-type]


def of_a_wall() -> Photographs:
    taken = [(wall(posed((x, 0, 0)), LENS, 64, 64, 2.0), LENS, posed((x, 0, 0))) for x in (-0.2, 0.1, 0.2)]
    return photographs_of(taken, np.eye(4))


def shown(recalled: Recalled) -> torch.Tensor:
    """What photographs showed, before anything was weighed."""
    finest = recalled.depths[-1]
    assert finest.step.shape[1] > 1, "with more than one depth a pixel the likeliest ones are averaged"
    share = finest.logits.softmax(dim=1)
    best = finest.step.gather(1, finest.logits.max(dim=1, keepdim=True).indices)
    weight = share * ((finest.step - best).abs() < 1.1)
    step = (weight * finest.step).sum(dim=1) / weight.sum(dim=1)
    return log_inverse_depth_at(step, recalled.baseline_m)[:, None]


def test_a_fresh_net_tells_what_photographs_showed() -> None:
    with torch.no_grad():
        recalled = a_fresh_net()(WANTED, of_a_wall(), grey_prior(64, 64))
    torch.testing.assert_close(recalled.log_inverse_depth, shown(recalled))


def test_a_fresh_net_hardly_believes_a_memory_that_says_otherwise() -> None:
    far = torch.full((1, 1, 64, 64), -np.log(20.0))
    with torch.no_grad():
        recalled = a_fresh_net()(WANTED, of_a_wall(), Prior(torch.full((1, 3, 64, 64), 0.5), far, far * 0 + 1.0))
    of_photographs = shown(recalled)
    told = recalled.log_inverse_depth - of_photographs
    torch.testing.assert_close(told, torch.sigmoid(torch.tensor(-4.0)) * (far - of_photographs))


def test_colours_do_not_depend_on_what_is_told_of_depth() -> None:
    net = a_fresh_net()
    assert net.fusion is not None
    with torch.no_grad():
        before = net(WANTED, of_a_wall(), grey_prior(64, 64))
        net.fusion.out.bias.copy_(torch.tensor([0.0, 0.7, 0.0]))  # type: ignore[union-attr]
        after = net(WANTED, of_a_wall(), grey_prior(64, 64))
    assert torch.equal(before.colour, after.colour) and torch.equal(before.log_error, after.log_error)
    torch.testing.assert_close(after.log_inverse_depth, before.log_inverse_depth + 0.7)


def test_learning_to_tell_depth_changes_nothing_else() -> None:
    net = a_fresh_net()
    recalled = net(WANTED, of_a_wall(), grey_prior(64, 64))
    recalled.log_inverse_depth.square().mean().backward()
    learns = {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert learns == {"fusion"}


def test_it_cannot_tell_nonsense() -> None:
    net = a_fresh_net()
    assert net.fusion is not None
    with torch.no_grad():
        net.fusion.out.bias.copy_(torch.tensor([0.0, 1e6, 0.0]))  # type: ignore[union-attr]
        recalled = net(WANTED, of_a_wall(), grey_prior(64, 64))
    told = recalled.log_inverse_depth - shown(recalled)
    torch.testing.assert_close(told, torch.full_like(told, LARGEST_LOG_CHANGE))


@pytest.mark.parametrize("size", [(64, 64), (48, 100), (37, 53), (16, 16)], ids=str)
def test_any_size_is_told_whole(size: tuple[int, int]) -> None:
    height, width = size
    wanted = Wanted(torch.tensor([(40.0, 40.0, width / 2, height / 2)]), height, width)
    with torch.no_grad():
        recalled = a_fresh_net()(wanted, of_a_wall(), grey_prior(height, width))
    assert recalled.log_inverse_depth.shape == recalled.log_depth_scale.shape == (1, 1, height, width)
    assert bool(recalled.log_inverse_depth.isfinite().all())


def test_without_fusion_depth_is_told_as_photographs_showed_it() -> None:
    with torch.no_grad():
        recalled = a_fresh_net(fusion=0)(WANTED, of_a_wall(), grey_prior(64, 64))
    torch.testing.assert_close(recalled.log_inverse_depth, shown(recalled))


def test_a_photograph_that_is_not_there_is_as_one_that_was_not_passed() -> None:
    """Batches hold views with fewer photographs than others; alone, a view is passed what it has."""
    net, some = load_recall("shipped"), of_a_wall()
    absent = torch.tensor([[True, True, True, False]])

    def with_another(values: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return torch.cat([values, other], dim=1)

    padded = Photographs(
        with_another(some.images, torch.rand(1, 1, 3, 64, 64, generator=torch.Generator().manual_seed(1))),
        with_another(some.fxfycxcy, 2 * some.fxfycxcy[:, :1]),
        with_another(some.size, some.size[:, :1]),
        with_another(some.photograph_from_view, some.photograph_from_view[:, :1]),
        with_another(some.seconds, torch.full((1, 1), 9.0)),
        absent,
    )
    with torch.no_grad():
        passed, alone = net(WANTED, padded, grey_prior(64, 64)), net(WANTED, some, grey_prior(64, 64))
    torch.testing.assert_close(passed.colour, alone.colour, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(passed.log_inverse_depth, alone.log_inverse_depth, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(passed.log_error, alone.log_error, atol=1e-3, rtol=1e-3)


def test_what_a_coarse_view_says_lies_where_it_is_in_one_whose_size_does_not_divide() -> None:
    """A ramp over 13 rows of 8 pixels, for a view of 100: the last row sticks out, and is not squeezed in."""
    coarse = torch.arange(13.0).view(1, 1, 13, 1).expand(1, 1, 13, 13)
    sized = as_large_as(coarse, torch.zeros(1, 1, 100, 104))
    assert sized.shape[-2:] == (100, 104)
    row = torch.arange(8, 96)
    torch.testing.assert_close(sized[0, 0, 8:96, 50], (row + 0.5) / 8 - 0.5)


def test_a_memory_that_knows_depth_says_how_well() -> None:
    with pytest.raises(ValueError, match="a logarithm and its scale"):
        Prior(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))


def test_a_prior_as_sure_as_a_depth_camera_is_taken_at_its_word() -> None:
    depth = torch.full((1, 1, 64, 64), -np.log(3.0))
    with torch.no_grad():
        recalled = load_recall("shipped")(
            WANTED, of_a_wall(), Prior(torch.full((1, 3, 64, 64), 0.5), depth, depth * 0 + 0.02)
        )
    torch.testing.assert_close(recalled.log_inverse_depth, depth)
