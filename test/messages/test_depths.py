# SPDX-License-Identifier: Apache-2.0
"""Depth images to metres (REP-118), and which camera a depth image is of."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fsm_ros.messages.calibrations import Calibration
from fsm_ros.messages.depths import decode_depth, depth_camera
from fsm_ros.messages.refused import ImageRefusedError
from fsm_ros.stream.frame import Distortion

MM = np.array([[0, 1, 1000], [2500, 65535, 300]], dtype=np.uint16)
METRES = np.array([[np.nan, 0.001, 1.0], [2.5, 65.535, 0.3]], dtype=np.float32)
FLOATS = np.array([[0.0, np.nan, np.inf], [-1.0, 2.5, 1e-3]], dtype=np.float32)
OF_FLOATS = np.array([[np.nan, np.nan, np.nan], [np.nan, 2.5, 1e-3]], dtype=np.float32)


def raw(values: NDArray[np.generic], encoding: str, *, big_endian: bool = False, padding: int = 0) -> SimpleNamespace:
    """A sensor_msgs/Image; its last row is not padded."""
    stored = values.astype(values.dtype.newbyteorder(">" if big_endian else "<"))
    data = bytes(padding).join(row.tobytes() for row in stored)
    step = values.shape[1] * values.dtype.itemsize + padding
    height, width = values.shape
    return SimpleNamespace(
        encoding=encoding, height=height, width=width, step=step, is_bigendian=int(big_endian), data=data
    )


def png(values: NDArray[np.uint16]) -> bytes:
    encoded, data = cv2.imencode(".png", values)
    assert encoded
    return data.tobytes()


def compressed(format_: str, data: bytes) -> SimpleNamespace:
    return SimpleNamespace(format=format_, data=data)


def quantised(metres: NDArray[np.float32], a: float, b: float) -> NDArray[np.uint16]:
    """As compressed_depth_image_transport does it."""
    known = np.isfinite(metres) & (metres > 0)
    return np.where(known, a / np.where(known, metres, 1.0) + b + 0.5, 0).astype(np.uint16)


READ = {
    "millimetres": (raw(MM, "16UC1"), METRES),
    "millimetres, big endian": (raw(MM, "16UC1", big_endian=True), METRES),
    "rows padded by an odd number of bytes": (raw(MM, "16UC1", padding=3), METRES),
    "millimetres called mono16": (raw(MM, "mono16"), METRES),
    "metres": (raw(FLOATS, "32FC1"), OF_FLOATS),
    "metres, big endian and padded": (raw(FLOATS, "32FC1", big_endian=True, padding=5), OF_FLOATS),
    "compressedDepth": (compressed("16UC1; compressedDepth", struct.pack("<iff", 0, 0, 0) + png(MM)), METRES),
    "compressedDepth png": (compressed("16UC1; compressedDepth png", struct.pack("<iff", 0, 0, 0) + png(MM)), METRES),
    "a plain PNG": (compressed("16UC1; png compressed ", png(MM)), METRES),
}


@pytest.mark.parametrize(("message", "metres"), READ.values(), ids=READ.keys())
def test_what_it_says_in_metres(message: SimpleNamespace, metres: NDArray[np.float32]) -> None:
    found = decode_depth(message)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, metres, rtol=1e-6)


def test_floats_that_were_quantised_come_back_as_exactly_as_they_were_kept() -> None:
    metres = np.array([[0.5, 1.0, np.nan], [2.0, 4.0, 8.0]], dtype=np.float32)
    a, b = 100.0 * 101.0, 1.0 - 101.0 / 0.1 * 0.01
    message = compressed("32FC1; compressedDepth", struct.pack("<iff", 0, a, b) + png(quantised(metres, a, b)))
    np.testing.assert_allclose(decode_depth(message), metres, rtol=1e-3)


REFUSED = {
    "colours": (raw(np.zeros((2, 6), np.uint8), "rgb8"), "unsupported_encoding", "'rgb8' is not that of depth"),
    "a step that is too small": (
        SimpleNamespace(**{**vars(raw(MM, "16UC1")), "step": 5}),
        "unreadable_image",
        "step 5 is too small",
    ),
    "too little data": (
        SimpleNamespace(**{**vars(raw(MM, "16UC1")), "data": bytes(11)}),
        "unreadable_image",
        "11 bytes are too few",
    ),
    "no pixels": (
        SimpleNamespace(**{**vars(raw(MM, "16UC1")), "width": 0}),
        "unreadable_image",
        "0x2 pixels",
    ),
    "compressed by another method": (
        compressed("16UC1; compressedDepth rvl", bytes(99)),
        "unsupported_encoding",
        "rvl",
    ),
    "a photograph": (compressed("rgb8; jpeg compressed bgr8", bytes(99)), "unsupported_encoding", "jpeg"),
    "cut short": (compressed("16UC1; compressedDepth png", bytes(12)), "unreadable_image", "cut short"),
    "no PNG": (compressed("16UC1; compressedDepth png", bytes(50)), "unreadable_image", "hold no PNG"),
    "a PNG of 8 bits": (
        compressed("16UC1; compressedDepth png", bytes(12) + png(MM.astype(np.uint8))),  # type: ignore[arg-type]
        "unsupported_encoding",
        "16 bits",
    ),
}


@pytest.mark.parametrize(("message", "reason", "cause"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_is_told_by_name(message: SimpleNamespace, reason: str, cause: str) -> None:
    with pytest.raises(ImageRefusedError, match=cause) as refused:
        decode_depth(message)
    assert refused.value.refusal.value == reason


def calibration(fx: float = 50.0, d: tuple[float, ...] = (), p: tuple[float, ...] = ()) -> Calibration:
    return Calibration(0, 64, 48, (fx, 0, 31.5, 0, fx, 23.5, 0, 0, 1), "plumb_bob", d, p=p)


LENS = (-0.1, 0.02, 0.0, 0.0, 0.0)
P40 = (40.0, 0.0, 30.0, 0.0, 0.0, 40.0, 20.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def test_depth_is_of_a_rectified_image() -> None:
    camera = depth_camera(calibration(d=LENS, p=P40), calibration(), same_frame=False, width=64, height=48)
    assert (camera.fx, camera.cx, camera.distortion) == (40.0, 30.5, Distortion.NONE)


def test_a_driver_without_a_projection_is_taken_by_its_camera_matrix() -> None:
    camera = depth_camera(calibration(fx=60.0), calibration(), same_frame=False, width=64, height=48)
    assert camera.fx == 60.0


@pytest.mark.parametrize("own", [None, calibration(d=LENS, p=P40)], ids=["no camera_info", "that of the colours"])
def test_depth_registered_pixel_by_pixel_has_the_lens_of_the_colours(own: Calibration | None) -> None:
    camera = depth_camera(own, calibration(d=LENS, p=P40), same_frame=True, width=64, height=48)
    assert camera.fx == 50.0 and camera.is_distorted


def test_depth_of_another_frame_needs_its_own_calibration() -> None:
    with pytest.raises(ValueError, match="no camera_info of the depth image"):
        depth_camera(None, calibration(), same_frame=False, width=64, height=48)
