# SPDX-License-Identifier: Apache-2.0
"""Which depth image a frame waits for, and which it gets."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from fsm_ros.messages.calibrations import Calibration
from fsm_ros.node.camera_infos import IN_VAIN
from fsm_ros.node.depths import DepthImages
from fsm_ros.stream.transforms import TransformError

SECOND = 10**9
COLOUR = Calibration(0, 4, 3, (5.0, 0, 1.5, 0, 5.0, 1.0, 0, 0, 1), "plumb_bob", ())


def image(stamp_ns: int, millimetres: int = 2000, **changes: object) -> SimpleNamespace:
    stamp = SimpleNamespace(sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND)
    message = SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id="eye"), encoding="16UC1", width=4, height=3, step=8,
        is_bigendian=0, data=struct.pack("<12H", *[millimetres] * 12),
    )  # fmt: skip
    return SimpleNamespace(**{**vars(message), **changes})


def depths(lookup: object = lambda frame, stamp_ns: np.eye(4), kept: int = 4) -> DepthImages:
    return DepthImages(lookup, kept=kept, tolerance_s=0.05, wait_s=0.5, tf_timeout_s=0.5)  # type: ignore[arg-type]


def test_a_camera_without_depth_waits_for_nothing_and_misses_nothing() -> None:
    found = depths()
    assert not found.waits("camera", 0, 0.0) and found.take("camera", image(0), COLOUR) is None
    assert found.status.keyframes_without == 0


def test_a_frame_waits_until_depth_of_its_moment_or_later_has_come() -> None:
    found = depths()
    found.published("camera", is_published=True)
    assert found.waits("camera", 2 * SECOND, 0.1)
    found.offer_image("camera", image(2 * SECOND - 30_000_000, 1000))
    assert found.waits("camera", 2 * SECOND, 0.1), "the next one may be nearer"
    found.offer_image("camera", image(2 * SECOND + 20_000_000, 3000))
    assert not found.waits("camera", 2 * SECOND, 0.1)
    taken = found.take("camera", image(2 * SECOND), COLOUR)
    assert taken is not None and taken.stamp_ns == 2 * SECOND + 20_000_000
    np.testing.assert_allclose(taken.depth_m, 3.0)


def test_frames_wait_no_more_for_a_depth_camera_that_is_silent() -> None:
    found = depths()
    found.published("camera", is_published=True)
    assert [found.waits("camera", stamp, 1.0) for stamp in range(IN_VAIN)] == [False] * IN_VAIN
    assert not found.waits("camera", 99, 0.0)
    found.offer_image("camera", image(50))
    assert found.waits("camera", 99, 0.0)


def test_a_frame_waits_for_the_transform_of_its_depth_and_is_taken_without() -> None:
    def unknown(frame: str, stamp_ns: int) -> NDArray[np.float64]:
        raise TransformError(f"no transform to {frame}")

    found = depths(unknown)
    found.published("camera", is_published=True)
    found.offer_image("camera", image(SECOND))
    assert found.waits("camera", SECOND, 0.1) and not found.waits("camera", SECOND, 0.6)
    assert found.take("camera", image(SECOND), COLOUR) is None
    assert found.status.keyframes_without == 1 and "no transform to eye" in found.status.last_miss


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (image(SECOND, encoding="rgb8"), "not that of depth"),
        (image(SECOND, data=b""), "too few"),
        (image(SECOND + 60_000_000), "input.depth_tolerance"),
        (image(SECOND, header=SimpleNamespace(stamp=image(SECOND).header.stamp, frame_id="other")), "no camera_info"),
    ],
    ids=["colours", "cut short", "too far away in time", "not calibrated"],
)
def test_depth_that_cannot_be_used_is_counted_with_its_cause(message: SimpleNamespace, cause: str) -> None:
    found = depths()
    found.offer_image("camera", message)
    assert found.take("camera", image(SECOND), COLOUR) is None
    assert found.status.keyframes_without == 1 and cause in found.status.last_miss


def test_a_recording_that_starts_again_is_followed() -> None:
    found = depths()
    for number in range(8):
        found.offer_image("camera", image(100 * SECOND + number))
    found.offer_image("camera", image(SECOND, 1000))
    found.offer_image("camera", image(2 * SECOND, 1500))
    taken = found.take("camera", image(SECOND), COLOUR)
    assert taken is not None and taken.stamp_ns == SECOND
