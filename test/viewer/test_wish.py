# SPDX-License-Identifier: Apache-2.0
"""A visitor's look as a camera: the same pose back, and a pinhole that sees just what the window shows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from fsm_ros.spatial.settings import RenderMethod
from fsm_ros.viewer.wish import Look, Mode


@given(st.integers(0, 10_000))
def test_a_pose_comes_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    pose[:3, 3] = rng.normal(0.0, 100.0, 3)
    np.testing.assert_allclose(Look.of(pose, 1.0, 1.5).world_from_camera, pose, atol=1e-9)


@given(st.floats(0.3, 2.4), st.floats(0.2, 5.0), st.integers(2_000, 400_000))
def test_the_camera_sees_what_the_window_shows(fov_rad: float, aspect: float, pixels: int) -> None:
    camera = Look((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), fov_rad, aspect).camera(pixels)
    assert 2.0 * math.atan(0.5 * camera.height / camera.fy) == pytest.approx(fov_rad)
    assert camera.fx == camera.fy and (camera.cx, camera.cy) == (camera.width / 2, camera.height / 2)
    assert camera.width == pytest.approx(aspect * camera.height, rel=0.1)
    assert camera.width * camera.height == pytest.approx(pixels, rel=0.2)
    assert camera.width * camera.height <= pixels, "the memory refuses larger ones"


@pytest.mark.parametrize("aspect", [0.001, 1000.0])
@pytest.mark.parametrize("fov_rad", [0.01, 3.14])
def test_no_window_asks_for_a_camera_that_cannot_be(aspect: float, fov_rad: float) -> None:
    camera = Look((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), fov_rad, aspect).camera(5_000)
    assert min(camera.width, camera.height) >= 16 and camera.width * camera.height < 10_000


def test_what_every_mode_is_made_of() -> None:
    assert {mode: mode.method for mode in Mode} == {
        Mode.BOTH: RenderMethod.RECALL,
        Mode.PHOTOGRAPHS: RenderMethod.PHOTOGRAPHS,
        Mode.MEMORY: RenderMethod.MEMORY,
        Mode.CONFIDENCE: RenderMethod.RECALL,
        Mode.DEPTH: RenderMethod.RECALL,
    }
