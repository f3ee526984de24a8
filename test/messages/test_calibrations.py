# SPDX-License-Identifier: Apache-2.0
"""Calibrations from messages: of rclpy, of rosbags, and of ROS 1 alike; and which one an image has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.typesys.stores import ros1_noetic as ros1
from rosbags.typesys.stores import ros2_jazzy as ros

from fsm_ros.messages.calibrations import Calibration, calibration_at
from fsm_ros.messages.fields import CameraInfo
from fsm_ros.stream.calibration import SizeMismatchError
from fsm_ros.stream.frame import Camera, Distortion

K = (500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0)
P = (450.0, 0.0, 310.0, -45.0, 0.0, 460.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0)
EYE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
LENS = (-0.2, 0.05, 0.001, -0.002, 0.01)
FIELDS: dict[str, Any] = {
    "width": 640,
    "height": 480,
    "model": "plumb_bob",
    "d": LENS,
    "k": K,
    "p": P,
    "binning": (0, 0),
    "roi": (0, 0, 0, 0),
}


def by_rclpy(**fields: Any) -> CameraInfo:  # noqa: ANN401
    messages = pytest.importorskip("sensor_msgs.msg", reason="needs the ROS messages")
    x, y, width, height = fields["roi"]
    info = messages.CameraInfo(
        width=fields["width"],
        height=fields["height"],
        distortion_model=fields["model"],
        d=list(fields["d"]),
        k=list(fields["k"]),
        r=list(EYE),
        p=list(fields["p"]),
        binning_x=fields["binning"][0],
        binning_y=fields["binning"][1],
        roi=messages.RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height),
    )
    info.header.stamp.sec, info.header.stamp.nanosec = 3, 4
    return info


def recorded(types: Any, header: object, matrices: str, fields: dict[str, Any]) -> CameraInfo:  # noqa: ANN401
    """Of rosbags' classes of one ROS; their matrices are called D, K, R, P or d, k, r, p."""
    numbers = (fields["d"], fields["k"], EYE, fields["p"])
    x, y, width, height = fields["roi"]
    return types.sensor_msgs__msg__CameraInfo(
        header=header,
        width=fields["width"],
        height=fields["height"],
        distortion_model=fields["model"],
        binning_x=fields["binning"][0],
        binning_y=fields["binning"][1],
        roi=types.sensor_msgs__msg__RegionOfInterest(x, y, height, width, False),
        **{name: np.array(values) for name, values in zip(matrices, numbers, strict=True)},
    )


def by_rosbags(**fields: Any) -> CameraInfo:  # noqa: ANN401
    return recorded(ros, ros.std_msgs__msg__Header(ros.builtin_interfaces__msg__Time(3, 4), "camera"), "dkrp", fields)


def by_ros1(**fields: Any) -> CameraInfo:  # noqa: ANN401
    stamp = ros1.builtin_interfaces__msg__Time(3, 4)
    return recorded(ros1, ros1.std_msgs__msg__Header(0, stamp, "camera"), "DKRP", fields)


EVERY_CLASS = pytest.mark.parametrize("info_of", [by_rclpy, by_rosbags, by_ros1])

PLAIN = Camera(640, 480, 500.0, 510.0, 320.0, 240.0, Distortion.PLUMB_BOB, LENS)
USABLE: dict[str, tuple[dict[str, Any], tuple[int, int], bool, Camera]] = {
    "as it is": ({}, (640, 480), False, PLAIN),
    "rectified": ({}, (640, 480), True, Camera(640, 480, 450.0, 460.0, 310.5, 230.5)),
    "rectified, with a lens that nobody knows": (
        {"model": "mystery"},
        (640, 480),
        True,
        Camera(640, 480, 450.0, 460.0, 310.5, 230.5),
    ),
    "binned": (
        {"binning": (2, 2), "d": ()},
        (320, 240),
        False,
        Camera(320, 240, 250.0, 255.0, 160.0, 120.0),
    ),
    "a window of it": (
        {"roi": (100, 40, 200, 120), "d": ()},
        (200, 120),
        False,
        Camera(200, 120, 500.0, 510.0, 220.0, 200.0),
    ),
    "zeros behind its coefficients": ({"d": (*LENS, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)}, (640, 480), False, PLAIN),
    "a fisheye by another name": (
        {"model": "FISHEYE", "d": LENS[:4]},
        (640, 480),
        False,
        Camera(640, 480, 500.0, 510.0, 320.0, 240.0, Distortion.EQUIDISTANT, LENS[:4]),
    ),
}


@EVERY_CLASS
@pytest.mark.parametrize("name", list(USABLE))
def test_a_calibration_makes_the_same_camera_whatever_brought_it(name: str, info_of: Callable[..., CameraInfo]) -> None:
    fields, size, is_rectified, camera = USABLE[name]
    said = Calibration.of(info_of(**FIELDS | fields))
    if is_rectified:
        said = said.rectified()
    assert said.stamp_ns == 3_000_000_004
    assert said.camera(*size) == camera and said.is_usable
    assert said.delivered_size == size


REFUSED: dict[str, tuple[dict[str, Any], bool, type[ValueError], str]] = {
    "uncalibrated": ({"k": (0.0,) * 9}, False, ValueError, r"K has focal lengths fx=0.0, fy=0.0; zero is an uncal"),
    "not finite": ({"k": (float("nan"), *K[1:])}, False, ValueError, "K must be finite"),
    "skewed": ({"k": (500.0, 3.0, *K[2:])}, False, ValueError, "K has a skew of 3.0"),
    "no P": ({"p": (0.0,) * 12}, True, ValueError, "no projection matrix P"),
    "P without a focal length": ({"p": (0.0, *P[1:])}, True, ValueError, "P has focal lengths fx=0.0"),
    "P of a pinhole in millimetres": ({"p": (2.8, *P[1:])}, True, ValueError, "P has a focal length of 2.8 pixels"),
    "a lens nobody knows": ({"model": "mystery"}, False, ValueError, r"'mystery' with D = \[-0.2, 0.05, 0.001"),
    "another size": ({"width": 320, "height": 240}, False, SizeMismatchError, "promises 320x240"),
    "a window outside": ({"roi": (600, 0, 100, 100)}, False, ValueError, "does not lie inside the 640x480 image"),
}


@EVERY_CLASS
@pytest.mark.parametrize("name", list(REFUSED))
def test_a_calibration_is_refused_in_the_same_words(name: str, info_of: Callable[..., CameraInfo]) -> None:
    fields, is_rectified, kind, words = REFUSED[name]
    said = Calibration.of(info_of(**FIELDS | fields))
    if is_rectified:
        said = said.rectified()
    with pytest.raises(kind, match=words):
        said.camera(640, 480)
    # One of another size is a good one, of other images.
    assert said.is_usable == (kind is SizeMismatchError)


def said_at(stamp_ns: int, fx: float = 500.0) -> Calibration:
    return Calibration(stamp_ns, 640, 480, (fx, *K[1:]), "", ())


@pytest.mark.parametrize(
    ("stamps", "image", "expected"),
    [
        ((), 5, None),
        ((5,), 5, 5),
        ((0,), 5, 0),  # without a stamp
        ((1,), 1_000_000_000_000, 1),  # latched
        ((0, 10, 20), 15, 10),  # now and then
        ((0, 10, 20), 10, 10),
        ((0, 10, 20), 99, 20),
        ((10, 20), 5, 10),  # late
        ((-5, 10), 5, -5),
    ],
)
def test_a_calibration_holds_until_the_next_one(stamps: tuple[int, ...], image: int, expected: int | None) -> None:
    found = calibration_at([said_at(stamp) for stamp in stamps], image)
    assert (None if found is None else found.stamp_ns) == expected


def test_one_that_cannot_be_used_spoils_the_image_of_its_stamp_and_no_other() -> None:
    said = [said_at(10), said_at(20, fx=0.0), said_at(30, fx=0.0)]
    assert [calibration_at(said, image).stamp_ns for image in (5, 10, 20, 25, 35)] == [10, 10, 20, 10, 10]
    assert calibration_at(said[1:], 25).stamp_ns == 20, "the reason is told where there is no other"


@given(stamps=st.sets(st.integers(-50, 50), min_size=1), image=st.integers(-60, 60))
def test_no_calibration_is_passed_over_for_an_older_one(stamps: set[int], image: int) -> None:
    found = calibration_at([said_at(stamp) for stamp in sorted(stamps)], image)
    before = [stamp for stamp in stamps if stamp <= image]
    assert found is not None and found.stamp_ns == (max(before) if before else min(stamps))
