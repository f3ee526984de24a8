# SPDX-License-Identifier: Apache-2.0
"""CameraInfo to camera: binning and region of interest as REP-104 defines them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_ros.stream.calibration import SizeMismatchError, delivered_camera, lens_of
from fsm_ros.stream.frame import Camera, Distortion

K = (600.0, 0.0, 319.5, 0.0, 610.0, 239.5, 0.0, 0.0, 1.0)


def delivered(
    width: int = 640,
    height: int = 480,
    k: Sequence[float] = K,
    distortion: Distortion = Distortion.NONE,
    coefficients: Sequence[float] = (),
    binning: tuple[int, int] = (0, 0),
    roi: tuple[int, int, int, int] = (0, 0, 0, 0),
    image_width: int = 640,
    image_height: int = 480,
) -> Camera:
    return delivered_camera(
        width=width,
        height=height,
        k=k,
        distortion=distortion,
        coefficients=coefficients,
        binning=binning,
        roi=roi,
        image_width=image_width,
        image_height=image_height,
    )


def test_the_full_image_differs_from_ros_by_half_a_pixel_only() -> None:
    assert delivered() == Camera(640, 480, 600.0, 610.0, 320.0, 240.0)


def test_binning_halves_everything_and_keeps_the_centre_in_the_centre() -> None:
    camera = delivered(binning=(2, 2), image_width=320, image_height=240)
    assert camera == Camera(320, 240, 300.0, 305.0, 160.0, 120.0)


def test_binning_may_differ_between_the_axes() -> None:
    camera = delivered(binning=(4, 1), image_width=160)
    assert camera == Camera(160, 480, 150.0, 610.0, 80.0, 240.0)


def test_a_region_of_interest_moves_the_principal_point() -> None:
    camera = delivered(roi=(100, 40, 200, 120), image_width=200, image_height=120)
    assert camera == Camera(200, 120, 600.0, 610.0, 220.0, 200.0)


def test_a_region_is_cut_out_before_it_is_binned() -> None:
    camera = delivered(roi=(100, 40, 200, 120), binning=(2, 4), image_width=100, image_height=30)
    assert camera == Camera(100, 30, 300.0, 152.5, 110.0, 50.0)


@given(
    binning=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    x=st.tuples(st.integers(0, 300), st.integers(8, 340)),
    y=st.tuples(st.integers(0, 200), st.integers(8, 280)),
    pixel=st.tuples(st.floats(0, 50), st.floats(0, 50)),
)
def test_a_delivered_pixel_looks_along_the_ray_of_the_sensor_area_it_covers(
    binning: tuple[int, int], x: tuple[int, int], y: tuple[int, int], pixel: tuple[float, float]
) -> None:
    bin_x, bin_y = max(binning[0], 1), max(binning[1], 1)
    full = delivered()
    camera = delivered(
        binning=binning,
        roi=(x[0], y[0], x[1], y[1]),
        image_width=math.ceil(x[1] / bin_x),
        image_height=y[1] // bin_y,
    )
    sensor = (x[0] + bin_x * pixel[0], y[0] + bin_y * pixel[1])
    assert (pixel[0] - camera.cx) / camera.fx == pytest.approx((sensor[0] - full.cx) / full.fx, abs=1e-12)
    assert (pixel[1] - camera.cy) / camera.fy == pytest.approx((sensor[1] - full.cy) / full.fy, abs=1e-12)


@pytest.mark.parametrize("image_width", [213, 214])
def test_an_odd_region_may_be_rounded_either_way(image_width: int) -> None:
    assert delivered(binning=(3, 1), image_width=image_width).width == image_width


@pytest.mark.parametrize(
    "changes",
    [
        {"image_width": 320, "image_height": 240},
        {"image_width": 480, "image_height": 640},
        {"binning": (2, 2)},
        {"binning": (3, 1), "image_width": 212},
        {"roi": (0, 0, 100, 100)},
    ],
)
def test_an_image_of_another_size_is_refused_with_both_sizes(changes: dict[str, Any]) -> None:
    with pytest.raises(SizeMismatchError, match=r"the image has \d+x\d+ .* promises \d+x\d+ .*publish"):
        delivered(**changes)


def test_the_lens_survives_binning_unchanged() -> None:
    lens = (-0.28, 0.07, 2e-4, -1e-4, 0.0)
    camera = delivered(
        distortion=Distortion.PLUMB_BOB,
        coefficients=list(lens),
        binning=(2, 2),
        image_width=320,
        image_height=240,
    )
    assert (camera.distortion, camera.coefficients) == (Distortion.PLUMB_BOB, lens)
    assert camera.is_distorted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": (0.0,) * 9}, "uncalibrated"),
        ({"k": (600.0, 0.0, math.nan, 0.0, 610.0, 239.5, 0.0, 0.0, 1.0)}, "finite"),
        ({"k": (math.inf, 0.0, 1.0, 0.0, 610.0, 239.5, 0.0, 0.0, 1.0)}, "finite"),
        ({"k": (600.0, 0.0, 319.5, 0.0, -610.0, 239.5, 0.0, 0.0, 1.0)}, "fy=-610"),
        ({"k": (600.0, 5.0, 319.5, 0.0, 610.0, 239.5, 0.0, 0.0, 1.0)}, "skew"),
        ({"k": K[:6]}, "9 numbers"),
        ({"width": 0, "height": 0}, "width and height"),
        ({"binning": (-1, 0)}, "binning"),
        ({"roi": (600, 0, 100, 100)}, "does not lie inside"),
        ({"roi": (-1, 0, 100, 100)}, "does not lie inside"),
        ({"roi": (10, 10, 0, 0)}, "does not lie inside"),
        ({"distortion": Distortion.PLUMB_BOB, "coefficients": (0.1,) * 8}, "plumb_bob' takes 4 or 5"),
        ({"coefficients": (0.1, 0.0, 0.0, 0.0)}, "empty distortion_model"),
        ({"distortion": Distortion.PLUMB_BOB, "coefficients": (math.nan,) * 5}, "finite"),
    ],
)
def test_a_calibration_that_cannot_be_right_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        delivered(**changes)
    assert not isinstance(refused.value, SizeMismatchError)


def test_a_model_without_coefficients_is_a_rectified_image() -> None:
    assert not delivered(distortion=Distortion.PLUMB_BOB, coefficients=()).is_distorted
    assert not delivered(coefficients=(0.0,) * 5).is_distorted


NONE, OPENCV, LONG, FISHEYE = (
    Distortion.NONE,
    Distortion.PLUMB_BOB,
    Distortion.RATIONAL_POLYNOMIAL,
    Distortion.EQUIDISTANT,
)
FOUR = (0.1, -0.05, 0.001, 0.002)
FIVE = (*FOUR, 0.01)
EIGHT = (*FIVE, 0.02, 0.03, 0.004)
TWELVE = (*EIGHT, 0.001, 0.002, 0.003, 0.004)
FOURTEEN = (*TWELVE, 0.01, 0.02)


@pytest.mark.parametrize(
    ("name", "d", "kind", "kept"),
    [
        ("plumb_bob", FIVE, OPENCV, FIVE),
        ("plumb_bob", FOUR, OPENCV, FOUR),
        ("Plumb_Bob", FIVE, OPENCV, FIVE),
        (" PLUMB_BOB ", FIVE, OPENCV, FIVE),
        ("radtan", FOUR, OPENCV, FOUR),
        ("plumb_bob", (*FIVE, 0.0, 0.0), OPENCV, FIVE),
        ("plumb_bob", (*FIVE, *[0.0] * 6), OPENCV, FIVE),
        ("plumb_bob", (*FOUR, 0.0), OPENCV, (*FOUR, 0.0)),
        ("plumb_bob", (*FOUR, 0.0, 0.0), OPENCV, FOUR),
        ("plumb_bob", (*FIVE, *[0.0] * 10), OPENCV, FIVE),
        ("plumb_bob", (0.1, *[0.0] * 5), OPENCV, (0.1, 0.0, 0.0, 0.0)),
        ("plumb_bob", EIGHT, LONG, EIGHT),
        ("rational_polynomial", EIGHT, LONG, EIGHT),
        ("rational_polynomial", (*EIGHT, *[0.0] * 6), LONG, (*EIGHT, *[0.0] * 6)),
        ("rational_polynomial", (*EIGHT, 0.0, 0.0), LONG, EIGHT),
        ("rational_polynomial", FIVE, OPENCV, FIVE),
        ("rational_polynomial", TWELVE, LONG, TWELVE),
        ("rational_polynomial", (*TWELVE, 0.0), LONG, TWELVE),
        ("rational_polynomial", FOURTEEN, LONG, FOURTEEN),
        ("equidistant", FOUR, FISHEYE, FOUR),
        ("fisheye", FOUR, FISHEYE, FOUR),
        ("Kannala_Brandt4", FOUR, FISHEYE, FOUR),
        ("equidistant", (*FOUR, 0.0), FISHEYE, FOUR),
        ("equidistant", (0.1, 0.0, 0.0, 0.0), FISHEYE, (0.1, 0.0, 0.0, 0.0)),
        ("", (), NONE, ()),
        ("", (0.0,) * 5, NONE, ()),
        ("none", (), NONE, ()),
        ("mystery", (0.0,) * 14, NONE, ()),
        ("plumb_bob", (), NONE, ()),
        ("plumb_bob", (0.0,), NONE, ()),
    ],
)
def test_a_lens_is_taken_for_what_it_is(
    name: str, d: tuple[float, ...], kind: Distortion, kept: tuple[float, ...]
) -> None:
    assert lens_of(name, d) == (kind, kept)
    camera = delivered(distortion=kind, coefficients=kept)
    assert camera.is_distorted == (kind is not NONE)


@pytest.mark.parametrize(
    ("name", "d", "words"),
    [
        ("mystery", (0.1,), r"'mystery' with D = \[0.1\], supported are '', 'plumb_bob'.*'fisheye'"),
        ("", (0.1, 0.0), r"D = \[0.1, 0\] but an empty distortion_model"),
        ("plumb_bob", (0.1, 0.2), r"takes 4 or 5 or 8 or 12 or 14 coefficients, got D = \[0.1, 0.2\]"),
        ("plumb_bob", (*FOURTEEN, 0.1), r"got D = \[0.1, .*, 0.1\]"),
        ("equidistant", FIVE, r"takes 4 coefficients, got D = \[0.1, -0.05, 0.001, 0.002, 0.01\]"),
    ],
)
def test_a_lens_that_is_not_known_is_refused_with_its_coefficients(name: str, d: tuple[float, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lens_of(name, d)


@pytest.mark.parametrize(
    ("fx", "is_taken"), [(640 / 2 / math.tan(math.radians(84.9)), True), (27.0, False), (0.6, False)]
)
def test_a_pinhole_that_sees_nearly_everything_is_questioned(fx: float, is_taken: bool) -> None:
    k = (fx, 0.0, 319.5, 0.0, 500.0, 239.5, 0.0, 0.0, 1.0)
    if is_taken:
        assert delivered(k=k).fx == fx
        return
    with pytest.raises(ValueError, match=r"sees 17\d\.\d degrees wide: is it in pixels"):
        delivered(k=k)
