# SPDX-License-Identifier: Apache-2.0
"""The lens: OpenCV's models, their inverse, and a pinhole that shows nothing the lens has not seen."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fsm_ros.stream.frame import Camera, Distortion
from fsm_ros.stream.lens import (
    MAX_TANGENT,
    check_coefficients,
    distort,
    undistort,
    undistortion_maps,
    valid_pinhole,
)

PLUMB_BOB = (-0.28, 0.07, 2e-4, -1e-4, 0.003)
RATIONAL = (0.5, -0.2, 1e-4, 2e-4, 0.01, 0.85, -0.1, 0.02)
EQUIDISTANT = (0.03, -0.01, 0.002, -1e-4)
LENSES = [
    pytest.param(Distortion.PLUMB_BOB, PLUMB_BOB[:4], id="plumb_bob 4"),
    pytest.param(Distortion.PLUMB_BOB, PLUMB_BOB, id="plumb_bob 5"),
    pytest.param(Distortion.PLUMB_BOB, (0.2, 0.05, 1e-3, 1e-3, 0.01), id="pincushion"),
    pytest.param(Distortion.RATIONAL_POLYNOMIAL, RATIONAL, id="rational_polynomial"),
    pytest.param(Distortion.EQUIDISTANT, EQUIDISTANT, id="equidistant"),
]


def a_camera(distortion: Distortion, coefficients: tuple[float, ...], focal: float = 420.0) -> Camera:
    return Camera(640, 480, focal, 1.01 * focal, 322.3, 238.1, distortion, coefficients)


def distorted_by_the_book(camera: Camera, rays: NDArray[np.float64]) -> NDArray[np.float64]:
    """The formulas of REP-104's models, written out; pixel centres at integers."""
    x, y = rays.T
    if camera.distortion is Distortion.EQUIDISTANT:
        r = np.hypot(x, y)
        theta = np.arctan(r)
        k = camera.coefficients
        theta_d = theta * (1 + k[0] * theta**2 + k[1] * theta**4 + k[2] * theta**6 + k[3] * theta**8)
        bent = rays * (theta_d / r)[:, None]
    else:
        k1, k2, p1, p2, k3, k4, k5, k6 = (*camera.coefficients, 0.0, 0.0, 0.0, 0.0)[:8]
        s = x**2 + y**2
        radial = (1 + k1 * s + k2 * s**2 + k3 * s**3) / (1 + k4 * s + k5 * s**2 + k6 * s**3)
        bent = np.stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (s + 2 * x**2),
                y * radial + p1 * (s + 2 * y**2) + 2 * p2 * x * y,
            ],
            axis=1,
        )
    focal, principal = camera.fxfycxcy[:2], camera.fxfycxcy[2:]
    pixels: NDArray[np.float64] = bent * focal + (principal - 0.5)
    return pixels


@pytest.mark.parametrize(("distortion", "coefficients"), LENSES)
def test_rays_land_where_the_formulas_of_the_model_say(distortion: Distortion, coefficients: tuple[float, ...]) -> None:
    camera = a_camera(distortion, coefficients)
    rays = np.random.default_rng(1).uniform(-0.6, 0.6, size=(50, 2))
    np.testing.assert_allclose(distort(camera, rays), distorted_by_the_book(camera, rays), atol=1e-6)


@pytest.mark.parametrize(("distortion", "coefficients"), LENSES)
def test_undistorting_inverts_distorting(distortion: Distortion, coefficients: tuple[float, ...]) -> None:
    camera = a_camera(distortion, coefficients)
    rays = np.random.default_rng(2).uniform(-0.5, 0.5, size=(50, 2))
    np.testing.assert_allclose(undistort(camera, distort(camera, rays)), rays, atol=1e-4)


@pytest.mark.parametrize(
    ("coefficients", "focal"),
    [
        ((-0.2, 0.04, 0.004, -0.006, 0.0), 180.0),
        ((-0.3, 0.08, 0.0, 0.0), 240.0),
        ((0.4, 0.3, 0.0, 0.0), 360.0),
    ],
    ids=str,
)
def test_every_pixel_of_a_wide_lens_has_its_ray(coefficients: tuple[float, ...], focal: float) -> None:
    """OpenCV 4.6 alone finds none for a quarter of them."""
    camera = a_camera(Distortion.PLUMB_BOB, coefficients, focal=focal)
    pixels = np.stack(np.meshgrid(np.arange(-0.5, 640.0, 16), np.arange(-0.5, 480.0, 16)), axis=-1).reshape(-1, 2)
    rays = undistort(camera, pixels)
    np.testing.assert_allclose(distort(camera, rays), pixels, atol=1e-6)


def test_no_ray_is_found_beyond_the_fold_of_a_polynomial() -> None:
    """Beyond it the polynomial comes back: rays from there lead to the same pixels, and no lens images them."""
    camera = a_camera(Distortion.PLUMB_BOB, (-0.3, 0.02, 0.0, 0.0), focal=200.0)
    fold = np.sqrt((0.9 - np.sqrt(0.81 - 0.4)) / 0.2)  # where the slope of r - 0.3 r^3 + 0.02 r^5 is zero
    pixels = np.stack(np.meshgrid(np.arange(0.0, 640.0, 10), np.arange(0.0, 480.0, 10)), axis=-1).reshape(-1, 2)
    found = np.linalg.norm(undistort(camera, pixels), axis=1)
    assert np.isfinite(found).any()
    assert np.nanmax(found) <= fold


def test_a_pixel_that_no_ray_reaches_has_no_answer() -> None:
    fisheye = Camera(640, 480, 160.0, 160.0, 320.0, 240.0, Distortion.EQUIDISTANT, (0.0, 0.0, 0.0, 1e-9))
    beyond_ninety_degrees = 319.5 + 160.0 * (np.pi / 2 + 0.2)
    folding = a_camera(Distortion.PLUMB_BOB, (-0.3, 0.0, 0.0, 0.0), focal=200.0)
    assert np.isnan(undistort(fisheye, np.array([[beyond_ninety_degrees, 239.5]]))).all()
    assert np.isnan(undistort(folding, np.array([[0.0, 0.0]]))).all()


@pytest.mark.parametrize(
    ("distortion", "count"),
    [
        (Distortion.PLUMB_BOB, 3),
        (Distortion.PLUMB_BOB, 8),
        (Distortion.RATIONAL_POLYNOMIAL, 5),
        (Distortion.EQUIDISTANT, 5),
        (Distortion.NONE, 4),
    ],
)
def test_a_wrong_number_of_coefficients_is_refused_with_the_remedy(distortion: Distortion, count: int) -> None:
    with pytest.raises(ValueError, match=rf"got {count}: correct D or distortion_model"):
        check_coefficients(distortion, (0.1,) * count)


@pytest.mark.parametrize("distortion", list(Distortion))
@pytest.mark.parametrize("count", [0, 5, 14])
def test_coefficients_that_are_all_zero_are_fine_for_every_model(distortion: Distortion, count: int) -> None:
    check_coefficients(distortion, (0.0,) * count)


def worst_overshoot(camera: Camera, pinhole: Camera) -> float:
    columns, rows = undistortion_maps(camera, pinhole)
    assert np.isfinite(columns).all() and np.isfinite(rows).all()
    return max(
        float(-columns.min()),
        float(columns.max()) - (camera.width - 1),
        float(-rows.min()),
        float(rows.max()) - (camera.height - 1),
    )


HARD_LENSES = [
    pytest.param(a_camera(Distortion.PLUMB_BOB, (-0.45, 0.1, 0.0, 0.0), focal=300.0), id="strong barrel"),
    pytest.param(a_camera(Distortion.PLUMB_BOB, (-0.3, 0.0, 0.0, 0.0), focal=200.0), id="folds in the image"),
    pytest.param(a_camera(Distortion.RATIONAL_POLYNOMIAL, RATIONAL, focal=160.0), id="wide rational"),
    pytest.param(a_camera(Distortion.EQUIDISTANT, EQUIDISTANT, focal=160.0), id="fisheye beyond 180 degrees"),
    pytest.param(Camera(200, 150, 420.0, 420.0, -40.0, 230.0, Distortion.PLUMB_BOB, PLUMB_BOB), id="off-axis region"),
    pytest.param(Camera(3, 2, 4.0, 4.0, 1.5, 1.0, Distortion.PLUMB_BOB, PLUMB_BOB), id="tiny"),
]


@pytest.mark.parametrize("camera", HARD_LENSES)
def test_every_pixel_of_the_pinhole_has_been_seen_even_through_hard_lenses(camera: Camera) -> None:
    pinhole = valid_pinhole(camera)
    assert worst_overshoot(camera, pinhole) <= 0.02


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@example(model=Distortion.PLUMB_BOB, k=[0.25, -0.25], focal=150.0, offset=(0.0, 0.0))  # folds at its very corners
@given(
    model=st.sampled_from([Distortion.PLUMB_BOB, Distortion.EQUIDISTANT]),
    k=st.lists(st.floats(-0.3, 0.3), min_size=2, max_size=2),
    focal=st.floats(150.0, 600.0),
    offset=st.tuples(st.floats(-40.0, 40.0), st.floats(-40.0, 40.0)),
)
def test_no_lens_leads_outside_the_image_or_folds_it(
    model: Distortion, k: list[float], focal: float, offset: tuple[float, float]
) -> None:
    coefficients = (*k, 0.0, 0.0)
    camera = Camera(161, 121, focal / 4, focal / 4, 80 + offset[0], 60 + offset[1], model, coefficients)
    if not camera.is_distorted:
        return
    try:
        pinhole = valid_pinhole(camera)
    except ValueError as refused:  # a lens that folds near the middle of an image that is far off its axis
        assert "calibrate the camera again" in str(refused)
        return
    assert worst_overshoot(camera, pinhole) <= 0.05
    columns, rows = undistortion_maps(camera, pinhole)
    area = np.diff(columns, axis=1)[:-1] * np.diff(rows, axis=0)[:, :-1]
    area -= np.diff(columns, axis=0)[:, :-1] * np.diff(rows, axis=1)[:-1]
    assert float(area.min()) > 0.0


@pytest.mark.parametrize(("distortion", "coefficients"), LENSES)
def test_the_pinhole_wastes_no_view_and_keeps_the_shape_of_pixels(
    distortion: Distortion, coefficients: tuple[float, ...]
) -> None:
    camera = a_camera(distortion, coefficients)
    pinhole = valid_pinhole(camera)
    assert not pinhole.is_distorted
    assert (pinhole.width, pinhole.height) == (camera.width, camera.height)
    assert pinhole.fx / pinhole.fy == pytest.approx(camera.fx / camera.fy)
    assert worst_overshoot(camera, pinhole) > -1.0


def test_the_view_is_that_of_opencv_s_alpha_zero_along_its_tighter_axis() -> None:
    camera = a_camera(Distortion.PLUMB_BOB, PLUMB_BOB)
    matrix = np.array([[camera.fx, 0, camera.cx - 0.5], [0, camera.fy, camera.cy - 0.5], [0, 0, 1]])
    reference, _ = cv2.getOptimalNewCameraMatrix(matrix, np.array(PLUMB_BOB), (640, 480), 0)
    zoom = max(reference[0, 0] / camera.fx, reference[1, 1] / camera.fy)
    # OpenCV looks at a few points of the border only; how many, its releases do not agree upon.
    assert valid_pinhole(camera).fx == pytest.approx(zoom * camera.fx, rel=5e-3)


@pytest.mark.parametrize(("distortion", "coefficients"), LENSES)
def test_a_lens_centred_on_the_image_gives_a_pinhole_centred_on_the_image(
    distortion: Distortion, coefficients: tuple[float, ...]
) -> None:
    radial_only = tuple(
        0.0 if i in (2, 3) and distortion is not Distortion.EQUIDISTANT else c for i, c in enumerate(coefficients)
    )
    camera = Camera(641, 480, 420.0, 420.0, 320.5, 240.0, distortion, radial_only)
    pinhole = valid_pinhole(camera)
    assert pinhole.cx == pytest.approx(320.5, abs=1e-3)
    assert pinhole.cy == pytest.approx(240.0, abs=1e-3)


def test_a_fisheye_is_not_opened_without_bound() -> None:
    pinhole = valid_pinhole(Camera(640, 640, 150.0, 150.0, 320.0, 320.0, Distortion.EQUIDISTANT, EQUIDISTANT))
    assert 0.5 * 639 / pinhole.fx <= MAX_TANGENT + 1e-9


def test_a_calibration_that_leaves_nothing_to_see_is_refused() -> None:
    upside_down = Camera(640, 480, 400.0, 400.0, 9000.0, 240.0, Distortion.PLUMB_BOB, (-5.0, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="calibrate the camera again"):
        valid_pinhole(upside_down)


def test_an_image_of_one_row_cannot_be_undistorted() -> None:
    with pytest.raises(ValueError, match="two rows and two columns"):
        valid_pinhole(Camera(640, 1, 400.0, 400.0, 320.0, 0.5, Distortion.PLUMB_BOB, PLUMB_BOB))
