# SPDX-License-Identifier: Apache-2.0
"""CameraInfo to Camera and back: half-pixel centres, P of rectified images, regions of interest and binning."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sensor_msgs", reason="needs the ROS messages")
from builtin_interfaces.msg import Time  # noqa: E402
from sensor_msgs.msg import CameraInfo, RegionOfInterest  # noqa: E402

from fsm_ros.messages.calibrations import Calibration  # noqa: E402
from fsm_ros.node.calibration import info_from_camera  # noqa: E402
from fsm_ros.stream.calibration import SizeMismatchError  # noqa: E402
from fsm_ros.stream.frame import Camera, Distortion  # noqa: E402


def camera_from_info(info: CameraInfo, width: int, height: int, *, rectified: bool = False) -> Camera:
    said = Calibration.of(info)
    return (said.rectified() if rectified else said).camera(width, height)


def delivered_size(info: CameraInfo) -> tuple[int, int]:
    return Calibration.of(info).delivered_size


LENS = [-0.2, 0.05, 0.001, -0.002, 0.0]


def a_calibration(width: int = 640, height: int = 480) -> CameraInfo:
    """Of a stereo camera: P is not K."""
    return CameraInfo(
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=LENS,
        k=[500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[450.0, 0.0, 310.0, -45.0, 0.0, 460.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


@given(
    width=st.integers(1, 8000),
    height=st.integers(1, 8000),
    # Not wider open than 150 degrees: what is more is questioned.
    focal=st.tuples(st.floats(1100.0, 1e5), st.floats(1100.0, 1e5)),
    centre=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
)
def test_camera_and_info_are_two_words_for_one_thing(
    width: int, height: int, focal: tuple[float, float], centre: tuple[float, float]
) -> None:
    camera = Camera(width, height, *focal, *centre)
    info = info_from_camera(camera, "camera", Time(sec=7))
    for rectified in (False, True):
        back = camera_from_info(info, width, height, rectified=rectified)
        assert (back.width, back.height, back.fx, back.fy) == (width, height, *focal)
        assert math.isclose(back.cx, camera.cx, abs_tol=1e-9) and math.isclose(back.cy, camera.cy, abs_tol=1e-9)
        assert not back.is_distorted
    again = info_from_camera(back, "camera", Time(sec=7))
    assert list(again.k) == pytest.approx(list(info.k), abs=1e-9)


def test_an_info_is_complete_and_says_whose_it_is() -> None:
    info = info_from_camera(Camera(4, 3, 5.0, 6.0, 2.0, 1.5), "optical", Time(sec=7, nanosec=8))
    assert (info.header.frame_id, info.header.stamp.sec, info.header.stamp.nanosec) == ("optical", 7, 8)
    assert (info.width, info.height, info.distortion_model, list(info.d)) == (4, 3, "plumb_bob", [0.0] * 5)
    assert list(info.r) == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    assert list(info.p) == [5.0, 0.0, 1.5, 0.0, 0.0, 6.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def test_pixel_centres_are_integers_in_ros_and_half_integers_here() -> None:
    # The ray through the middle of the picture: between columns 319 and 320, that is 319.5 in ROS, 320 here.
    camera = camera_from_info(a_calibration(), 640, 480)
    assert (camera.cx, camera.cy) == (320.0, 240.0)
    info = info_from_camera(Camera(640, 480, 500.0, 500.0, 320.0, 240.0), "", Time())
    assert (info.k[2], info.k[5]) == (319.5, 239.5)


def test_an_image_as_it_came_has_k_and_its_lens() -> None:
    camera = camera_from_info(a_calibration(), 640, 480)
    assert (camera.fx, camera.fy) == (500.0, 510.0)
    assert (camera.distortion, camera.coefficients) == (Distortion.PLUMB_BOB, tuple(LENS))


def test_a_rectified_image_has_p_and_no_lens() -> None:
    camera = camera_from_info(a_calibration(), 640, 480, rectified=True)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (450.0, 460.0, 310.5, 230.5)
    assert not camera.is_distorted and camera.coefficients == ()


def test_a_rectified_image_needs_no_known_lens_and_no_k() -> None:
    info = a_calibration()
    info.distortion_model, info.k = "a lens of the future", [0.0] * 9
    assert camera_from_info(info, 640, 480, rectified=True).fx == 450.0
    with pytest.raises(ValueError, match="K has focal lengths"):
        info.distortion_model = "plumb_bob"
        camera_from_info(info, 640, 480)


@pytest.mark.parametrize("rectified", [False, True], ids=["k", "p"])
def test_regions_and_binning_move_and_scale_the_picture(rectified: bool) -> None:
    whole = camera_from_info(a_calibration(), 640, 480, rectified=rectified)
    info = a_calibration()
    info.roi = RegionOfInterest(x_offset=100, y_offset=60, width=320, height=240)
    info.binning_x, info.binning_y = 2, 4
    assert delivered_size(info) == (160, 60)
    part = camera_from_info(info, 160, 60, rectified=rectified)
    # The same corner of the sensor, seen along the same ray.
    for u, v in ((0, 0), (160, 60), (40, 12)):
        on_sensor = (100 + 2 * u, 60 + 4 * v)
        assert (u - part.cx) / part.fx == pytest.approx((on_sensor[0] - whole.cx) / whole.fx)
        assert (v - part.cy) / part.fy == pytest.approx((on_sensor[1] - whole.cy) / whole.fy)


@pytest.mark.parametrize(
    ("roi", "binning", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (640, 480)),
        ((0, 0, 0, 0), (1, 1), (640, 480)),
        ((0, 0, 0, 0), (2, 3), (320, 160)),
        ((10, 20, 101, 51), (0, 0), (101, 51)),
        ((10, 20, 101, 51), (2, 2), (50, 25)),
    ],
)
def test_the_delivered_size_is_that_of_the_binned_region(
    roi: tuple[int, int, int, int], binning: tuple[int, int], expected: tuple[int, int]
) -> None:
    info = a_calibration()
    info.roi = RegionOfInterest(x_offset=roi[0], y_offset=roi[1], width=roi[2], height=roi[3])
    info.binning_x, info.binning_y = binning
    assert delivered_size(info) == expected
    camera = camera_from_info(info, *expected)
    assert (camera.width, camera.height) == expected


@given(
    left=st.integers(0, 40),
    top=st.integers(0, 40),
    columns=st.integers(1, 64),
    rows=st.integers(1, 64),
    beyond=st.integers(0, 9),
    binning=st.tuples(st.integers(0, 5), st.integers(0, 5)),
)
def test_the_delivered_size_is_accepted_for_every_region_on_the_sensor(
    left: int, top: int, columns: int, rows: int, beyond: int, binning: tuple[int, int]
) -> None:
    info = a_calibration(left + columns + beyond, top + rows + beyond)
    info.roi = RegionOfInterest(x_offset=left, y_offset=top, width=columns, height=rows)
    info.binning_x, info.binning_y = binning
    size = delivered_size(info)
    if min(size) > 0:
        assert camera_from_info(info, *size).width == size[0]
    else:
        with pytest.raises(ValueError):
            camera_from_info(info, *size)


def test_an_image_of_another_size_is_refused_as_such() -> None:
    with pytest.raises(SizeMismatchError, match="320x240.*640x480"):
        camera_from_info(a_calibration(), 320, 240)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("k", [0.0] * 9, "calibrate"),
        ("k", [math.nan] * 9, "finite"),
        ("k", [500.0, 3.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0], "skew"),
        ("width", 0, "width"),
        ("distortion_model", "unheard_of", "unheard_of"),
        ("d", [1.0], "coefficient"),
        ("d", [math.inf] * 5, "finite"),
        ("roi", RegionOfInterest(x_offset=600, width=100, height=100), "region"),
    ],
)
def test_a_calibration_that_says_nothing_is_refused_in_words(field: str, value: object, words: str) -> None:
    info = a_calibration()
    setattr(info, field, value)
    with pytest.raises(ValueError, match=words):
        camera_from_info(info, 640, 480)
