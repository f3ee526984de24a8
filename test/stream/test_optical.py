# SPDX-License-Identifier: Apache-2.0
"""Image frames that are those of a body get a hint; optical frames and cameras that look up get none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.stream.optical import FIRST_FRAMES, FrameWatch, body_frame_hint

OPTICAL_FROM_BODY = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])


def body(yaw_deg: float, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> NDArray[np.float64]:
    """``[4, 4]`` of a body (x forward, y left, z up); a negative pitch looks up."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("ZYX", [yaw_deg, pitch_deg, roll_deg], degrees=True).as_matrix()
    return pose


def optical(yaw_deg: float, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> NDArray[np.float64]:
    """``[4, 4]`` of a camera on that body, which looks where it goes."""
    pose = body(yaw_deg, pitch_deg, roll_deg)
    pose[:3, :3] = pose[:3, :3] @ OPTICAL_FROM_BODY.T
    return pose


def drive(*attitudes: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """So many poses as are looked at, of these attitudes in turn."""
    return [attitudes[number % len(attitudes)] for number in range(FIRST_FRAMES)]


TURNING = (0.0, 40.0, 170.0, -90.0)


@pytest.mark.parametrize(
    ("frame_id", "poses", "is_body"),
    [
        ("camera_link", drive(*map(body, TURNING)), True),
        ("base_link", drive(*(body(yaw, 15.0, 5.0) for yaw in TURNING)), True),
        ("base_link", drive(body(10.0, 15.0), body(190.0, -15.0)), True),
        ("drone", drive(body(0.0), body(0.0, 35.0)), False),
        ("camera", drive(*map(optical, TURNING)), False),
        ("camera", drive(*(optical(yaw, 30.0) for yaw in TURNING)), False),
        ("camera", drive(*(optical(yaw, -30.0, 15.0) for yaw in TURNING)), False),
        ("camera", drive(*(optical(yaw, -60.0, 10.0) for yaw in TURNING)), False),
        ("camera", drive(*(optical(yaw, 90.0) for yaw in TURNING)), False),
        ("camera_optical", drive(*(optical(yaw, -80.0, 10.0) for yaw in TURNING)), False),
        ("ceiling_Optical_frame", drive(*(optical(yaw, -90.0) for yaw in TURNING)), False),
        ("camera_depth_optical_frame", drive(*map(body, TURNING)), False),
        ("camera", drive(optical(0.0, -80.0), optical(0.0, -40.0)), False),
        ("camera_link", drive(body(0.0))[1:], False),
    ],
    ids=[
        "body, level",
        "body, on a slope",
        "body, up and down a slope",
        "body, tilted more than a robot is",
        "optical, level",
        "optical, down at the floor",
        "optical, a little up and rolled",
        "optical, far up and rolled",
        "optical, straight down",
        "optical by name, looks up 80 degrees and rolled",
        "optical by name, at the ceiling",
        "optical by name, with the axes of a body",
        "looks up at first, and elsewhere then",
        "too few frames to tell",
    ],
)
def test_a_body_frame_is_hinted_at_and_no_other(frame_id: str, poses: list[NDArray[np.float64]], is_body: bool) -> None:
    hint = body_frame_hint(frame_id, poses)
    assert bool(hint) is is_body, hint
    if is_body:
        assert repr(frame_id) in hint and f"frame_id to its optical frame (z forward, {frame_id}_optical" in hint


def test_every_camera_is_watched_on_its_own_and_told_of_once() -> None:
    watch = FrameWatch()
    for number in range(3 * FIRST_FRAMES):
        for frame_id, pose in (("left", body(number)), ("right_optical", optical(number)), ("back", body(number))):
            watch.note(frame_id, pose)
    assert [hint.split()[2] for hint in watch.hints] == ["'left'", "'back'"]
