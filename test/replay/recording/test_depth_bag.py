# SPDX-License-Identifier: Apache-2.0
"""A recorded scene with a depth camera: what it measured is where the other camera sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fsm_ros.replay.recording.make_bag import main
from fsm_ros.replay.recording.scene_drive import find_drive
from fsm_ros.sources.opening import open_rig
from fsm_ros.stream.depth import seen_from
from fsm_ros.training.scenes import Family

pytestmark = pytest.mark.slow


def test_depth_of_another_lens_and_frame_lies_in_the_images_where_it_is(tmp_path: Path) -> None:
    command = "--scene room --duration 0.6 --rate 5 --size 80x60 --depth exact --quiet --out"
    assert main([*command.split(), str(tmp_path / "bag")]) == 0
    world, robot = find_drive(Family.ROOM, 0, duration_s=0.6, difficulty=0.3)
    (camera,) = open_rig(tmp_path / "bag").recorded.values()
    assert camera.depth is not None
    first_ns = int(camera.stamps_ns[0])
    for frame in camera.posed:
        depth, lens = camera.depth.at(frame, 0), camera.camera(frame.index)
        assert depth is not None and depth.camera.fx < lens.fx
        found = seen_from(depth, lens, robot.map_from_camera((frame.stamp_ns - first_ns) / 1e9))
        truth = world.depth_m(
            lens, robot.map_from_camera((frame.stamp_ns - first_ns) / 1e9), frame.stamp_ns / 1e9 - first_ns / 1e9
        )
        known = np.isfinite(found)
        assert known.mean() > 0.6
        # At edges it is one side or the other.
        assert np.median(np.abs(np.log(found / truth.numpy())[known])) < 0.01
