# SPDX-License-Identifier: Apache-2.0
"""Spatial memory, reading: any size with the wanted geometry, at either resolution, and never a change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spatial_scenes import (
    CAMERA,
    SIZE,
    START_NS,
    S,
    a_chunk,
    at,
    image_of,
    observe_all,
    refused,
    room_views,
    scene_of,
    shipped_model,
    small_memory,
    views_of,
)
from tiny_memory import CONFIG, assert_untouched, snapshot, tiny_model
from torch import Tensor

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.state import MemoryState
from fsm_ros.memory.views import Rendering
from fsm_ros.replay.evaluation.psnr import psnr
from fsm_ros.spatial.results import FailureKind
from fsm_ros.spatial.settings import MemorySettings, RenderResolution
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import Camera, Distortion

PATCH = CONFIG.patch_size
EITHER_RESOLUTION = pytest.mark.parametrize("resolution", RenderResolution, ids=lambda resolution: resolution.value)


class SpyModel(FsmModel):
    """A model that notes which cameras it was asked for, and answers each pixel with its column and row."""

    asked: list[Cameras]

    def render_all(self, state: MemoryState, cameras: Cameras, times: Tensor) -> Rendering:
        self.asked.append(cameras)
        column = torch.arange(cameras.width).expand(cameras.height, -1) / 1000
        row = torch.arange(cameras.height)[:, None].expand(-1, cameras.width) / 1000
        return Rendering(torch.stack([column, row, torch.zeros_like(column)])[None, None], None)


def spied(resolution: RenderResolution, **changes: int) -> tuple[SpatialMemory, list[Cameras]]:
    model = SpyModel(CONFIG)
    model.load_state_dict(tiny_model().state_dict())
    model.asked = []
    memory = small_memory(
        model.eval(), render_resolution=resolution, measure_prediction=False, retention_views=0, **changes
    )
    observe_all(memory, [a_chunk(0)])
    return memory, model.asked


def a_memory(**changes: object) -> SpatialMemory:
    memory = small_memory(**changes)
    observe_all(memory, [a_chunk(0), a_chunk(1)])
    return memory


# --- reading changes nothing ------------------------------------------------------------------------------------------


def test_rendering_never_changes_the_memory_and_is_repeatable() -> None:
    memory = a_memory()
    before, weights = scene_of(memory), snapshot(scene_of(memory).state)
    first, second = image_of(memory), image_of(memory)
    assert np.array_equal(first, second)
    assert memory.scene is before
    assert_untouched(before.state, weights)


def test_observing_goes_on_as_if_nothing_had_been_rendered() -> None:
    asked, left_alone = a_memory(), a_memory()
    image_of(asked, camera=Camera(7, 5, 5.0, 5.0, 3.5, 2.5), stamp_ns=START_NS - S)
    observe_all(asked, [a_chunk(2)])
    observe_all(left_alone, [a_chunk(2)])
    assert scene_of(asked).state.equals(scene_of(left_alone).state)


# --- what comes back --------------------------------------------------------------------------------------------------


def test_by_default_it_is_the_live_cameras_view_of_the_newest_moment() -> None:
    memory = a_memory()
    rendered = memory.render(at())
    assert rendered.image.shape == (SIZE, SIZE, 3) and rendered.image.dtype == np.uint8
    assert rendered.camera == CAMERA
    assert rendered.stamp_ns == a_chunk(1).newest_stamp_ns
    assert rendered.chunks_observed == 2
    assert rendered.render_s > 0
    assert rendered.warning == ""


def test_it_is_what_the_model_renders_in_the_memorys_frame() -> None:
    memory = a_memory()
    view = a_chunk(0).frames[1]
    wanted = views_of([view], scene_of(memory).frame)
    truth = tiny_model().render(scene_of(memory).state, wanted.cameras, wanted.times)[0, 0].permute(1, 2, 0)
    found = image_of(memory, world_from_camera=view.world_from_camera, stamp_ns=view.stamp_ns)
    assert np.array_equal(found, (truth * 255).round().numpy().astype(np.uint8))


def test_another_moment_and_another_place_look_different() -> None:
    memory = a_memory()
    now = image_of(memory)
    assert not np.array_equal(now, image_of(memory, stamp_ns=START_NS + 90 * S))
    assert not np.array_equal(now, image_of(memory, world_from_camera=at(1.0)))


def test_the_lens_of_the_wanted_camera_is_left_out() -> None:
    memory = a_memory()
    lens = replace(CAMERA, distortion=Distortion.PLUMB_BOB, coefficients=(-0.3, 0.1, 0.0, 0.0, 0.0))
    rendered = memory.render(at(), camera=lens)
    assert rendered.camera == CAMERA
    assert np.array_equal(rendered.image, image_of(memory, world_from_camera=at()))


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        ({"world_from_camera": at(40.0)}, "extent"),
        ({"stamp_ns": START_NS + 1000 * S}, "horizon_end"),
        ({"stamp_ns": START_NS - 1000 * S}, "before_start"),
    ],
    ids=["extent", "horizon_end", "before_start"],
)
def test_a_view_outside_of_what_the_memory_can_know_comes_with_a_warning(
    request_: dict[str, object], word: str
) -> None:
    rendered = a_memory().render(**({"world_from_camera": at()} | request_))
    assert word in rendered.warning


# --- size and geometry ------------------------------------------------------------------------------------------------


@EITHER_RESOLUTION
@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (3, 2), (17, 15), (16, 16), (31, 47), (100, 9)], ids=lambda value: str(value)
)
def test_any_size_comes_back_exactly(width: int, height: int, resolution: RenderResolution) -> None:
    memory = a_memory(render_resolution=resolution)
    camera = Camera(width, height, 10.0, 11.0, width / 2, height / 2)
    rendered = memory.render(at(), camera=camera)
    assert rendered.image.shape == (height, width, 3)
    assert rendered.camera == camera


@pytest.mark.slow
@EITHER_RESOLUTION
@settings(deadline=None, max_examples=60)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    focal=st.floats(1.0, 500.0),
    off=st.tuples(st.floats(-40.0, 40.0), st.floats(-40.0, 40.0)),
)
def test_the_corners_of_the_picture_look_along_the_rays_of_the_wanted_camera(
    resolution: RenderResolution, width: int, height: int, focal: float, off: tuple[float, float]
) -> None:
    memory, asked = spied(resolution)
    wanted = Camera(width, height, focal, 1.1 * focal, width / 2 + off[0], height / 2 + off[1])
    assert image_of(memory, camera=wanted).shape == (height, width, 3)
    (cameras,) = asked
    assert cameras.width % PATCH == 0 and cameras.height % PATCH == 0
    fx, fy, cx, cy = cameras.fxfycxcy[0, 0].tolist()
    # Of whole patches only the part that was wanted is kept: its right and lower borders are those of the request.
    kept = (round(width * fx / wanted.fx), round(height * fy / wanted.fy))
    assert 0 <= cameras.width - kept[0] < PATCH and 0 <= cameras.height - kept[1] < PATCH
    found = [(0 - cx) / fx, (kept[0] - cx) / fx, (0 - cy) / fy, (kept[1] - cy) / fy]
    expected = [
        (0 - wanted.cx) / wanted.fx,
        (width - wanted.cx) / wanted.fx,
        (0 - wanted.cy) / wanted.fy,
        (height - wanted.cy) / wanted.fy,
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    if resolution is RenderResolution.REQUEST:
        assert kept == (width, height)
    else:
        assert min(kept) <= max(SIZE, min(width, height)) and max(kept) <= max(width, height)


def test_memory_resolution_covers_the_observed_size_and_never_enlarges() -> None:
    memory, asked = spied(RenderResolution.MEMORY)
    sizes = {(64, 64): (16, 16), (64, 32): (32, 16), (640, 480): (24, 16), (8, 8): (8, 8), (16, 100): (16, 100)}
    for (width, height), expected in sizes.items():
        image_of(memory, camera=Camera(width, height, 50.0, 50.0, width / 2, height / 2))
        assert (asked[-1].width, asked[-1].height) == expected, f"{width}x{height}"


def test_at_the_wanted_size_pixels_are_the_models_own() -> None:
    memory, _ = spied(RenderResolution.REQUEST)
    image = image_of(memory, camera=Camera(21, 10, 20.0, 20.0, 10.0, 5.0))
    assert image[0, :, 0].tolist() == [round(255 * column / 1000) for column in range(21)]
    assert image[:, 0, 1].tolist() == [round(255 * row / 1000) for row in range(10)]


@pytest.mark.slow
@EITHER_RESOLUTION
def test_a_picture_of_twice_the_size_shows_the_same_view(resolution: RenderResolution) -> None:
    memory = room_memory(resolution)
    view = room_views(16)[9]
    once = view.camera
    twice = Camera(128, 128, *(2 * once.fxfycxcy))
    request = {"world_from_camera": view.world_from_camera, "stamp_ns": view.stamp_ns}
    small, large = image_of(memory, camera=once, **request), image_of(memory, camera=twice, **request)
    halved = large.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    shifted = np.roll(halved, 8, axis=1)
    assert psnr(halved, small) > psnr(shifted, small) + 6
    if resolution is RenderResolution.MEMORY:
        assert psnr(halved, small) > 30


@pytest.mark.slow
def test_the_shipped_memory_knows_the_views_it_was_shown_better_than_their_mean_colours_do() -> None:
    """Every one, and by 2 dB on average: of a bare wall the mean colour itself is a good picture."""
    memory, gains = room_memory(RenderResolution.MEMORY), []
    for view in room_views(16):
        found = image_of(memory, world_from_camera=view.world_from_camera, stamp_ns=view.stamp_ns)
        flat = np.broadcast_to(view.image.reshape(-1, 3).mean(axis=0).astype(np.uint8), view.image.shape)
        gains.append(psnr(found, view.image) - psnr(flat, view.image))
    assert min(gains) > 0
    assert np.mean(gains) > 2


def room_memory(resolution: RenderResolution) -> SpatialMemory:
    memory = SpatialMemory(
        shipped_model(), MemorySettings(extent_m=1.0, horizon_s=10.5, rule=Plastic(), render_resolution=resolution)
    )
    views = room_views(16)
    observe_all(memory, [Chunk(views[i : i + 4]) for i in range(0, 16, 4)])
    return memory


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_view_larger_than_allowed_is_refused_and_one_as_large_is_not() -> None:
    memory = a_memory(max_pixels=30 * 20)
    assert image_of(memory, camera=Camera(30, 20, 20.0, 20.0, 15.0, 10.0)).shape == (20, 30, 3)
    with refused(FailureKind.BAD_REQUEST) as told:
        memory.render(at(), camera=Camera(31, 20, 20.0, 20.0, 15.0, 10.0))
    assert "31x20" in str(told.value) and "max_pixels" in str(told.value) and "600" in str(told.value)


def test_a_view_of_one_long_row_counts_as_the_patches_it_takes() -> None:
    memory = a_memory(max_pixels=1000)
    with refused(FailureKind.BAD_REQUEST):
        memory.render(at(), camera=Camera(900, 1, 20.0, 20.0, 450.0, 0.5))


@pytest.mark.parametrize(
    "pose",
    [
        np.eye(3),
        np.diag([2.0, 2.0, 2.0, 1.0]),
        np.diag([1.0, 1.0, -1.0, 1.0]),
        np.full((4, 4), np.nan),
        at(float("inf")),
        np.zeros((4, 4)),
    ],
    ids=["3x3", "scaled", "mirrored", "nan", "infinite", "zero"],
)
def test_a_pose_that_is_not_rigid_is_refused(pose: np.ndarray) -> None:
    with refused(FailureKind.BAD_REQUEST) as told:
        a_memory().render(pose)
    assert "pose" in str(told.value)


def test_a_view_without_finite_colours_is_refused_rather_than_made_up() -> None:
    with refused(FailureKind.NON_FINITE):
        a_memory().render(at(1e300))


def test_a_device_without_memory_left_is_a_failure_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("full")

    memory = a_memory()
    with monkeypatch.context() as patch:
        patch.setattr(FsmModel, "render_all", fail)
        with refused(FailureKind.OUT_OF_MEMORY):
            memory.render(at())
    assert memory.render(at()).chunks_observed == 2
