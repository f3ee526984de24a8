# SPDX-License-Identifier: Apache-2.0
"""Rectification keeps the promise that a camera makes: what it sees lies where its intrinsics say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import fsm_ros.stream.rectify as rectify_module
from fsm_ros.stream.frame import Camera, Distortion, PosedImage
from fsm_ros.stream.lens import distort, valid_pinhole
from fsm_ros.stream.rectify import CACHED_CAMERAS, Rectifier, resize_and_crop

LENSES = [
    pytest.param(Distortion.NONE, (), id="none"),
    pytest.param(Distortion.PLUMB_BOB, (-0.28, 0.07, 2e-3, -1e-3), id="plumb_bob 4"),
    pytest.param(Distortion.PLUMB_BOB, (-0.28, 0.07, 2e-3, -1e-3, 0.003), id="plumb_bob 5"),
    pytest.param(Distortion.RATIONAL_POLYNOMIAL, (0.2, -0.1, 1e-3, 1e-3, 0.01, 0.5, -0.05, 0.02), id="rational"),
    pytest.param(Distortion.EQUIDISTANT, (0.03, -0.01, 0.002, -1e-4), id="equidistant"),
]
SIZES = [
    pytest.param(160, 120, id="down"),
    pytest.param(256, 256, id="square"),
    pytest.param(479, 361, id="odd"),
    pytest.param(640, 480, id="same"),
    pytest.param(960, 720, id="up"),
]


def a_camera(distortion: Distortion = Distortion.NONE, coefficients: tuple[float, ...] = ()) -> Camera:
    return Camera(640, 480, 420.0, 424.0, 325.3, 236.1, distortion, coefficients)


def a_frame(camera: Camera, image: NDArray[np.uint8] | None = None) -> PosedImage:
    if image is None:
        image = np.random.default_rng(0).integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
    pose = np.eye(4)
    pose[:3, 3] = (1.0, -2.0, 3.0)
    return PosedImage(image, camera, pose, stamp_ns=1_700_000_000_123_456_789, source="left")


def spot_image(camera: Camera, column: float, row: float, sigma: float = 1.5) -> NDArray[np.uint8]:
    """A bright spot on black; pixel centres at integers."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    spot = 255.0 * np.exp(-((u - column) ** 2 + (v - row) ** 2) / (2 * sigma**2))
    return np.repeat(np.rint(spot).astype(np.uint8)[..., None], 3, axis=2)


def spot_position(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Centre of mass of the brightness; pixel centres at half-integers."""
    weight = image[..., 0].astype(np.float64)
    u, v = np.meshgrid(np.arange(image.shape[1]) + 0.5, np.arange(image.shape[0]) + 0.5)
    return float((weight * u).sum() / weight.sum()), float((weight * v).sum() / weight.sum())


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(("distortion", "coefficients"), LENSES)
def test_a_point_in_space_lands_where_the_returned_camera_says(
    distortion: Distortion, coefficients: tuple[float, ...], width: int, height: int
) -> None:
    camera = a_camera(distortion, coefficients)
    rectifier = Rectifier(width, height)
    promised = rectifier.rectified_camera(camera)
    # Rounding the resized size costs at most half a pixel at the border (see resize_and_crop).
    tolerance = 0.15 if width * 3 == height * 4 else 0.5
    for share in ([0.15, 0.2], [0.5, 0.5], [0.8, 0.3], [0.4, 0.85]):
        expected = np.array(share) * [width, height]
        ray = (expected - promised.fxfycxcy[2:]) / promised.fxfycxcy[:2]
        depth = 2.5
        point = depth * np.array([*ray, 1.0])
        column, row = distort(camera, point[None, :2] / point[2])[0]
        seen = rectifier.rectify(a_frame(camera, spot_image(camera, column, row)))
        np.testing.assert_allclose(spot_position(seen.image), expected, atol=tolerance)


@pytest.mark.parametrize(("distortion", "coefficients"), LENSES[1:])
def test_a_straight_line_in_space_is_straight_again(distortion: Distortion, coefficients: tuple[float, ...]) -> None:
    camera = a_camera(distortion, coefficients)
    rectifier = Rectifier(640, 480)
    promised = rectifier.rectified_camera(camera)
    line = np.linspace([60.0, 90.0], [560.0, 50.0], 9)
    pixels = distort(camera, (line - promised.fxfycxcy[2:]) / promised.fxfycxcy[:2])
    seen = np.array(
        [spot_position(rectifier.rectify(a_frame(camera, spot_image(camera, u, v))).image) for u, v in pixels]
    )

    def deviation(points: NDArray[np.float64]) -> float:
        centred = points - points.mean(axis=0)
        return float(np.abs(centred @ np.linalg.svd(centred)[2][1]).max())

    assert deviation(pixels) > 1.0
    assert deviation(seen) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(("distortion", "coefficients"), LENSES)
def test_the_camera_is_known_before_any_image(
    distortion: Distortion, coefficients: tuple[float, ...], width: int, height: int
) -> None:
    camera = a_camera(distortion, coefficients)
    promised = Rectifier(width, height).rectified_camera(camera)
    assert promised == Rectifier(width, height).rectify(a_frame(camera)).camera
    assert (promised.width, promised.height, promised.is_distorted) == (width, height, False)


@pytest.mark.parametrize(("distortion", "coefficients"), LENSES)
def test_a_white_scene_has_no_dark_border(distortion: Distortion, coefficients: tuple[float, ...]) -> None:
    camera = a_camera(distortion, coefficients)
    white = np.full((480, 640, 3), 255, dtype=np.uint8)
    assert Rectifier(256, 256).rectify(a_frame(camera, white)).image.min() == 255


def test_rectifying_keeps_pose_stamp_source_and_the_original() -> None:
    frame = a_frame(a_camera(Distortion.EQUIDISTANT, (0.03, -0.01, 0.002, -1e-4)))
    before = frame.image.copy()
    rectified = Rectifier(128, 96).rectify(frame)
    np.testing.assert_array_equal(rectified.world_from_camera, frame.world_from_camera)
    assert (rectified.stamp_ns, rectified.source) == (frame.stamp_ns, frame.source)
    np.testing.assert_array_equal(frame.image, before)


@pytest.mark.parametrize("distortion", list(Distortion))
def test_a_lens_that_does_not_distort_leaves_the_pixels_alone(distortion: Distortion) -> None:
    frame = a_frame(a_camera(distortion, (0.0,) * 5))
    rectified = Rectifier(640, 480).rectify(frame)
    np.testing.assert_array_equal(rectified.image, frame.image)
    assert rectified.camera == a_camera()


def test_the_maps_of_a_camera_are_built_once_and_those_of_many_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[Camera] = []

    def counting(camera: Camera) -> Camera:
        built.append(camera)
        return valid_pinhole(camera)

    monkeypatch.setattr(rectify_module, "valid_pinhole", counting)
    rectifier = Rectifier(16, 12)
    cameras = [
        Camera(64, 48, 50.0 + i, 50.0 + i, 32.0, 24.0, Distortion.PLUMB_BOB, (-0.2, 0.01, 0.0, 0.0))
        for i in range(CACHED_CAMERAS + 1)
    ]
    for camera in cameras[:-1] * 2:
        rectifier.rectified_camera(camera)
    assert built == cameras[:-1]
    rectifier.rectified_camera(cameras[0])
    rectifier.rectified_camera(cameras[-1])
    rectifier.rectified_camera(cameras[0])
    assert built == cameras
    rectifier.rectified_camera(cameras[1])
    assert built == [*cameras, cameras[1]]


def test_a_wrong_number_of_coefficients_is_refused() -> None:
    camera = a_camera(Distortion.EQUIDISTANT, (0.1, 0.1))
    with pytest.raises(ValueError, match="takes 4 coefficients, got 2"):
        Rectifier(64, 64).rectify(a_frame(camera))
    with pytest.raises(ValueError, match="takes 4 coefficients, got 2"):
        Rectifier(64, 64).rectified_camera(camera)


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_a_size_must_be_positive(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="positive size"):
        Rectifier(*size)


def test_the_crop_of_a_landscape_image_by_hand() -> None:
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    cropped, fxfycxcy = resize_and_crop(image, np.array([600.0, 610.0, 320.0, 240.0]), 256, 256)
    scale = 256 / 480  # 640 becomes 341.33, rounded 341; (341 - 256) // 2 = 42 columns go on the left
    assert cropped.shape == (256, 256, 3)
    np.testing.assert_allclose(fxfycxcy, [600 * scale, 610 * scale, 320 * scale - 42, 128.0], rtol=1e-12)


def test_the_resized_size_is_rounded_half_to_even() -> None:
    image = np.zeros((2, 5, 3), dtype=np.uint8)
    _, five_halves = resize_and_crop(image, np.array([1.0, 1.0, 2.5, 1.0]), 1, 1)
    assert five_halves[2] == 1.25 - (2 - 1) // 2


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    target=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_any_image_fills_any_target_and_its_centre_stays_in_the_middle(
    size: tuple[int, int], target: tuple[int, int]
) -> None:
    (h, w), (height, width) = size, target
    white = np.full((h, w, 3), 255, dtype=np.uint8)
    cropped, (fx, fy, cx, cy) = resize_and_crop(white, np.array([10.0, 20.0, w / 2, h / 2]), height, width)
    assert cropped.shape == (height, width, 3)
    assert cropped.min() == 255
    assert fx / fy == pytest.approx(0.5)
    # Half a pixel of rounding, and half a pixel where an odd number of columns is cropped.
    assert abs(cx - width / 2) <= 0.75 + 1e-9
    assert abs(cy - height / 2) <= 0.75 + 1e-9


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((4, 4, 4), dtype=np.uint8),
        np.zeros((4, 4, 3), dtype=np.float32),
        np.zeros((0, 4, 3), dtype=np.uint8),
    ],
)
def test_only_rgb_bytes_are_resized(image: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="non-empty uint8"):
        resize_and_crop(image, np.ones(4), 2, 2)


def test_targets_and_intrinsics_are_checked() -> None:
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="positive"):
        resize_and_crop(image, np.ones(4), 0, 2)
    with pytest.raises(ValueError, match=r"shape \[4\]"):
        resize_and_crop(image, np.ones(3), 2, 2)


def test_a_change_of_resolution_is_another_camera() -> None:
    lens = (-0.2, 0.01, 0.0, 0.0)
    large = Camera(640, 480, 420.0, 420.0, 320.0, 240.0, Distortion.PLUMB_BOB, lens)
    small = replace(large, width=320, height=240, fx=210.0, fy=210.0, cx=160.0, cy=120.0)
    rectifier = Rectifier(64, 48)
    a, b = rectifier.rectify(a_frame(large)).camera, rectifier.rectify(a_frame(small)).camera
    np.testing.assert_allclose(a.fxfycxcy, b.fxfycxcy, rtol=5e-3)
