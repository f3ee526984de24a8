# SPDX-License-Identifier: Apache-2.0
"""How cameras and pixels become tokens, and tokens pixels."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_memory import CONFIG, OBLONG, random_views, tiny_model
from torch import Tensor, nn

from fsm_ros.memory.camera import Cameras, pixel_rays, pluecker_map

few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 2**31 - 1)


@few
@given(seed=seeds, depth=st.floats(0.5, 5.0))
def test_points_on_a_ray_are_seen_at_its_pixel(seed: int, depth: float) -> None:
    """Projected back by the pinhole equations: x right, y down, z forward, pixel centres at half-integers."""
    cameras = random_views(seed, 3, OBLONG, batch=2).cameras
    origin, direction = pixel_rays(cameras)
    torch.testing.assert_close(direction.norm(dim=2), torch.ones(2, 3, *OBLONG))
    points = torch.cat([origin + depth * direction, torch.ones(2, 3, 1, *OBLONG)], dim=2)
    camera_from_memory = torch.linalg.inv(cameras.memory_from_camera)
    x, y, z, _ = torch.einsum("bvij,bvjhw->ibvhw", camera_from_memory, points)
    fx, fy, cx, cy = (cameras.fxfycxcy[..., i, None, None] for i in range(4))
    assert (z > 0).all()
    columns = torch.arange(cameras.width) + 0.5
    rows = torch.arange(cameras.height) + 0.5
    torch.testing.assert_close(fx * x / z + cx, columns.expand(2, 3, *OBLONG), atol=2e-3, rtol=0)
    torch.testing.assert_close(fy * y / z + cy, rows[:, None].expand(2, 3, *OBLONG), atol=2e-3, rtol=0)


@few
@given(seed=seeds, along=st.floats(-3.0, 3.0))
def test_a_moment_is_that_of_any_point_of_its_ray(seed: int, along: float) -> None:
    origin, direction, moment = pluecker_map(random_views(seed, 2).cameras).chunk(3, dim=2)
    point = origin + along * direction
    torch.testing.assert_close(torch.cross(point, direction, dim=2), moment, atol=1e-5, rtol=0)


def test_a_camera_at_the_origin_looks_forward() -> None:
    cameras = Cameras(torch.tensor([[[8.0, 8.0, 4.0, 4.0]]]), torch.eye(4)[None, None], 8, 8)
    origin, direction = pixel_rays(cameras)
    assert not origin.any()
    right_bottom = torch.tensor([3.5, 3.5, 8.0])
    torch.testing.assert_close(direction[0, 0, :, 7, 7], right_bottom / right_bottom.norm())


def test_a_token_is_a_patch_row_by_row_with_the_channels_together() -> None:
    model, views = tiny_model(), random_views(1, 2)
    seen = model.patch_features(views.cameras, views.times, views.images)
    wanted = model.patch_features(views.cameras, views.times, None)
    (height, width), p = OBLONG, CONFIG.patch_size
    assert seen.shape == wanted.shape == (1, 2, height * width // p**2, 13 * p**2)
    rays = pluecker_map(views.cameras)
    for view in range(2):
        for row in range(height):
            for column in range(width):
                token = row // p * (width // p) + column // p
                first = 13 * (row % p * p + column % p)
                geometry = rays[0, view, :, row, column]
                colour = 2 * views.images[0, view, :, row, column] - 1
                time = views.times[0, view : view + 1]
                pixel = slice(first, first + 13)
                assert torch.equal(seen[0, view, token, pixel], torch.cat([geometry, colour, time]))
                assert torch.equal(wanted[0, view, token, pixel], torch.cat([geometry, torch.zeros(3), time]))


class _Numbers(nn.Module):
    """Stands in for the decoder: every output tells its token and its place in it."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, V, N, D]`` to ``[B, V, N, 3 p^2]``."""
        tokens = 1000.0 * torch.arange(x.shape[2])
        return (tokens[:, None] + torch.arange(3 * CONFIG.patch_size**2)).expand(*x.shape[:2], -1, -1)


def test_a_rendered_token_is_laid_out_like_an_observed_one() -> None:
    model, views = tiny_model(), random_views(2, 2)
    model.image_token_decoder = _Numbers()  # type: ignore[assignment]
    image = model.render(model.initial_state(), views.cameras, views.times)
    (height, width), p = OBLONG, CONFIG.patch_size
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    token = rows // p * (width // p) + columns // p
    place = rows % p * p + columns % p
    for channel in range(3):
        expected = (1000 * token + 3 * place + channel).float()
        assert torch.equal(image[0, :, channel], expected.expand(2, -1, -1))
