# SPDX-License-Identifier: Apache-2.0
"""Baselines: which keyframe they choose, and that a plane is warped as a camera sees it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.replay.evaluation.baselines import (
    RATIOS,
    answers,
    last_index,
    warped,
)
from fsm_ros.replay.evaluation.psnr import psnr
from fsm_ros.replay.evaluation.results import Baseline
from fsm_ros.stream.frame import Camera, Distortion, PosedImage

WANTED = Camera(96, 72, 80.0, 82.0, 47.0, 37.5)
OTHER = Camera(120, 80, 95.0, 93.0, 61.0, 38.0)


def pose(
    x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: tuple[float, float, float] = (0, 0, 0)
) -> NDArray[np.float64]:
    made = np.eye(4)
    made[:3, :3] = Rotation.from_euler("xyz", turn).as_matrix()
    made[:3, 3] = (x, y, z)
    return made


def texture(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours of a plane, a quarter of its depth of 1 a period at the finest: smooth, and alike nowhere."""
    waves = [
        np.sin(7.0 * x + 1.0) + np.sin(11.0 * y) + np.sin(5.0 * x * y + 3.0 * x),
        np.sin(9.0 * x + 4.0 * y) + np.cos(13.0 * y - 2.0 * x) + np.sin(x),
        np.cos(6.0 * x - 8.0 * y) + np.sin(12.0 * x + y) + np.cos(3.0 * y),
    ]
    return np.round(127.5 + 42.0 * np.stack(waves, axis=-1)).astype(np.uint8)


def rays(camera: Camera) -> NDArray[np.float64]:
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    return np.stack([(u + 0.5 - camera.cx) / camera.fx, (v + 0.5 - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)


def view_of_plane(camera: Camera, world_from_camera: NDArray[np.float64], depth: float = 1.0) -> PosedImage:
    """The plane ``z = depth`` of the world, its texture scaled with the depth, ray by ray."""
    directions = rays(camera) @ world_from_camera[:3, :3].T
    along = (depth - world_from_camera[2, 3]) / directions[..., 2]
    points = world_from_camera[:3, 3] + along[..., None] * directions
    return PosedImage(texture(points[..., 0] / depth, points[..., 1] / depth), camera, world_from_camera, 0)


def view_of_sky(camera: Camera, world_from_camera: NDArray[np.float64]) -> PosedImage:
    """What is infinitely far: colours of directions alone."""
    directions = rays(camera) @ world_from_camera[:3, :3].T
    colours = texture(directions[..., 0] / directions[..., 2], directions[..., 1] / directions[..., 2])
    return PosedImage(colours, camera, world_from_camera, 0)


def psnr_where_seen(image: NDArray[np.uint8], wanted: PosedImage, keyframe: PosedImage, depth: float) -> float:
    """PSNR of the pixels whose point of the plane lies within the keyframe."""
    points = depth * rays(wanted.camera)
    world = points @ wanted.world_from_camera[:3, :3].T + wanted.position
    seen = (world - keyframe.position) @ keyframe.world_from_camera[:3, :3]
    camera = keyframe.camera
    u, v = camera.fx * seen[..., 0] / seen[..., 2] + camera.cx, camera.fy * seen[..., 1] / seen[..., 2] + camera.cy
    inside = (u > 1) & (v > 1) & (u < camera.width - 1) & (v < camera.height - 1) & (seen[..., 2] > 0)
    assert inside.mean() > 0.4
    error = np.square((image.astype(float) - wanted.image)[inside] / 255).mean()
    return float(-10 * np.log10(error))


# --- the homography of a plane ----------------------------------------------------------------------------------------

MOVES = {
    "aside": pose(x=0.15),
    "aside, back": pose(x=-0.15),
    "down": pose(y=0.12),
    "back": pose(z=-0.3),
    "forward": pose(z=0.2),
    "far aside": pose(x=0.3),
    "turned": pose(x=0.2, y=-0.05, z=-0.1, turn=(0.05, -0.15, 0.2)),
}


@pytest.mark.parametrize("camera", [WANTED, OTHER], ids=["the same camera", "another camera"])
@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("depth", [1.0, 40.0], ids=["near", "far"])
def test_a_plane_is_warped_as_the_camera_sees_it(move: NDArray[np.float64], camera: Camera, depth: float) -> None:
    scaled = move.copy()
    scaled[:3, 3] *= depth
    keyframe, wanted = view_of_plane(camera, scaled, depth), view_of_plane(WANTED, np.eye(4), depth)
    found = warped(keyframe, wanted)
    true_ratio = float(np.linalg.norm(move[:3, 3]))
    assert found.ratio == pytest.approx(true_ratio, rel=0.04)
    assert psnr_where_seen(found.image, wanted, keyframe, depth) > 30
    assert found.image.shape == wanted.image.shape and found.image.dtype == np.uint8


def test_at_the_true_depth_nothing_but_rounding_is_left() -> None:
    ratio = RATIOS[17]
    keyframe = view_of_plane(OTHER, pose(x=ratio, turn=(0.02, 0.1, -0.1)))
    wanted = view_of_plane(WANTED, np.eye(4))
    found = warped(keyframe, wanted)
    assert found.ratio == ratio
    assert psnr_where_seen(found.image, wanted, keyframe, 1.0) > 42


def test_pixel_centres_lie_at_half_integers() -> None:
    camera = Camera(12, 8, 10.0, 10.0, 6.0, 4.0)
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    head_over = PosedImage(image, camera, pose(turn=(0.0, 0.0, math.pi)), 0)
    upright = PosedImage(image[::-1, ::-1].copy(), camera, pose(), 0)
    assert np.array_equal(warped(head_over, upright).image, upright.image), "to the pixel"
    coarse = PosedImage(np.zeros((4, 6, 3), np.uint8), Camera(6, 4, 5.0, 5.0, 3.0, 2.0), pose(), 0)
    flat = image.reshape(4, 2, 6, 2, 3).mean(axis=(1, 3)).repeat(2, axis=0).repeat(2, axis=1).astype(np.uint8)
    halved = warped(PosedImage(flat, camera, pose(), 0), coarse).image
    assert np.array_equal(halved, flat[::2, ::2]), "each of its pixels is the middle of four"


def test_the_world_may_be_anywhere() -> None:
    world = pose(500_000.0, 5_000_000.0, 100.0, turn=(1.0, 2.0, 0.5))
    keyframe, wanted = view_of_plane(OTHER, MOVES["turned"]), view_of_plane(WANTED, np.eye(4))
    here = warped(keyframe, wanted)
    there = warped(*(replace(view, world_from_camera=world @ view.world_from_camera) for view in (keyframe, wanted)))
    assert there.ratio == here.ratio
    assert psnr(there.image, here.image) > 50


@pytest.mark.parametrize("x", [0.0, 0.4], ids=["in place", "while moving"])
def test_turning_alone_is_undone_at_infinity(x: float) -> None:
    keyframe, wanted = view_of_sky(OTHER, pose(x=x, turn=(0.03, -0.1, 0.15))), view_of_sky(WANTED, np.eye(4))
    found = warped(keyframe, wanted)
    assert found.ratio == 0.0
    assert (
        psnr_where_seen(found.image, wanted, replace(keyframe, world_from_camera=pose(turn=(0.03, -0.1, 0.15))), 1) > 42
    )


def test_the_same_camera_in_the_same_place_sees_the_same() -> None:
    view = view_of_plane(WANTED, MOVES["turned"])
    found = warped(view, view)
    assert found.ratio == 0.0 and np.array_equal(found.image, view.image)


def test_what_was_not_seen_is_filled_from_the_border() -> None:
    camera = Camera(12, 8, 10.0, 10.0, 6.0, 4.0)
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    # Parallax of the plane that is nearest: 10 pixels.
    expected = np.concatenate([image[:, 10:], image[:, -1:].repeat(10, axis=1)], axis=1)
    found = warped(PosedImage(image, camera, pose(x=-3.0), 0), PosedImage(expected, camera, pose(), 0))
    assert found.ratio == pytest.approx(1.0)
    assert np.array_equal(found.image, expected)


def test_what_is_behind_the_keyframe_is_not_mirrored_into_the_picture() -> None:
    gradient = np.linspace(0, 255, WANTED.width).astype(np.uint8)[None, :, None]
    image = np.broadcast_to(gradient, (WANTED.height, WANTED.width, 3)).copy()
    away = PosedImage(image, WANTED, pose(turn=(0.0, math.pi, 0.0)), 0)
    wanted = PosedImage(image, WANTED, pose(), 0)
    found = warped(away, wanted).image
    border = {tuple(colour) for colour in np.concatenate([image[:, 0], image[:, -1]])}
    outermost = found[:, [0, 1, -2, -1]].reshape(-1, 3)
    assert {tuple(colour) for colour in outermost} <= border, "its border, and nothing from the middle"


@given(st.integers(0, 1000))
@settings(max_examples=25)
def test_it_is_never_worse_than_infinity_nor_than_any_depth_tried(seed: int) -> None:
    rng = np.random.default_rng(seed)
    camera = Camera(24, 20, 20.0, 20.0, 12.0, 10.0)
    images = rng.integers(0, 256, (2, 20, 24, 3), dtype=np.uint8)
    there = pose(*rng.normal(0, 0.3, 3), turn=tuple(rng.normal(0, 0.2, 3)))
    keyframe, wanted = PosedImage(images[0], camera, there, 0), PosedImage(images[1], camera, pose(), 0)
    turned_only = there.copy()
    turned_only[:3, 3] = 0.0
    found = warped(keyframe, wanted)
    at_infinity = warped(replace(keyframe, world_from_camera=turned_only), wanted)
    assert at_infinity.ratio == 0.0
    assert psnr(found.image, wanted.image) >= psnr(at_infinity.image, wanted.image)
    assert found.ratio == 0.0 or RATIOS[1] <= found.ratio <= RATIOS[-1]


def test_scale_does_not_matter() -> None:
    keyframe, wanted = view_of_plane(OTHER, MOVES["turned"]), view_of_plane(WANTED, np.eye(4))
    large = keyframe.world_from_camera.copy()
    large[:3, 3] *= 1000.0
    assert warped(replace(keyframe, world_from_camera=large), wanted).ratio == warped(keyframe, wanted).ratio


def test_the_depths_tried_begin_at_infinity() -> None:
    assert RATIOS[0] == 0.0 and RATIOS[-1] == pytest.approx(1.0) and len(RATIOS) == 25
    steps = np.diff(np.log(RATIOS[1:]))
    assert steps == pytest.approx(steps[0])


def test_a_distorted_lens_is_refused() -> None:
    view = view_of_plane(WANTED, pose())
    bent = replace(view, camera=replace(WANTED, distortion=Distortion.PLUMB_BOB, coefficients=(0.1, 0, 0, 0, 0)))
    for pair in ((bent, view), (view, bent)):
        with pytest.raises(ValueError, match="pinholes only, got plumb_bob"):
            warped(*pair)


# --- which keyframe ---------------------------------------------------------------------------------------------------


def a_view(x: float = 0.0, stamp_ns: int = 0, source: str = "camera", value: int = 0, yaw: float = 0.0) -> PosedImage:
    camera = Camera(6, 4, 5.0, 5.0, 3.0, 2.0)
    return PosedImage(np.full((4, 6, 3), value, np.uint8), camera, pose(x=x, turn=(0, yaw, 0)), stamp_ns, source)


def test_the_last_keyframe_is_the_newest_by_then() -> None:
    stamps, sources = [10, 30, 20, 40], ["camera"] * 4
    for stamp, index in [(10, 0), (19, 0), (20, 2), (35, 1), (40, 3), (99, 3)]:
        assert last_index(stamps, sources, stamp, "camera") == index
    assert last_index(stamps, sources, 9, "camera") == 0, "the oldest, before there is one"


def test_the_last_keyframe_is_of_the_same_camera_if_it_has_one_by_then() -> None:
    stamps, sources = [10, 12, 20, 22], ["left", "right", "left", "right"]
    assert last_index(stamps, sources, 21, "right") == 1
    assert last_index(stamps, sources, 21, "left") == 2
    assert last_index(stamps, sources, 11, "right") == 0, "not yet"
    assert last_index(stamps, sources, 21, "rear") == 2, "a camera that was withheld as a whole"
    assert last_index(stamps, sources, 5, "right") == 0
    assert last_index([10, 10], ["left", "right"], 5, "right") == 1, "of the oldest, its own"
    assert last_index([10, 10], ["left", "right"], 15, "rear") == 1, "of the newest, the one that came last"


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab")), min_size=1, max_size=8),
    st.integers(-1, 10),
    st.sampled_from("abc"),
)
def test_the_last_keyframe_by_its_definition(frames: list[tuple[int, str]], stamp: int, source: str) -> None:
    found_stamp, found_source = frames[last_index([t for t, _ in frames], [s for _, s in frames], stamp, source)]
    past = [frame for frame in frames if frame[0] <= stamp]
    own = [frame for frame in past if frame[1] == source]
    if own:
        assert (found_stamp, found_source) == (max(t for t, _ in own), source)
    elif past:
        assert found_stamp == max(t for t, _ in past)
    else:
        assert found_stamp == min(t for t, _ in frames)


def test_stamps_of_today_keep_their_nanoseconds() -> None:
    start = 1_790_000_000_000_000_000
    assert last_index(np.array([start, start + 2]), ["a", "a"], start + 1, "a") == 0


def test_each_baseline_answers_with_its_keyframe() -> None:
    keyframes = [
        a_view(x=0.0, stamp_ns=0, value=10),
        a_view(x=1.0, stamp_ns=5, value=20),
        a_view(x=2.0, stamp_ns=9, value=30),
    ]
    wanted = a_view(x=0.9, stamp_ns=9, value=25)
    found = answers(keyframes[1], keyframes[2], wanted)
    assert set(found) == set(Baseline)
    assert np.unique(found[Baseline.NEAREST]).tolist() == [20]
    assert np.unique(found[Baseline.WARPED]).tolist() == [20]
    assert np.unique(found[Baseline.LAST]).tolist() == [30]


def test_without_keyframes_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match="0 moments"):
        last_index([], [], 0, "camera")
    with pytest.raises(ValueError, match="2 moments and 1 cameras"):
        last_index([1, 2], ["a"], 0, "a")
