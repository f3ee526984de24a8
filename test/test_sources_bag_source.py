"""One camera of a rosbag as frames to pick from: the same as in a row, and without those that have no pose."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings import camera_info, colours, compressed_image, raw_image, transform, write_bag

from fsm_ros.replay.demo.bag import DEMO_CAMERA, write_demo_bag
from fsm_ros.sources.bag_messages import BagError
from fsm_ros.sources.bag_source import BagSource
from fsm_ros.sources.bags import find_camera, read_posed_images
from fsm_ros.sources.source import PosedSource

SMALL = replace(DEMO_CAMERA, width=64, height=48, fx=40.8, fy=40.9, cx=32.4, cy=23.8)


def clip() -> Path:
    """A recorded bag: FSM_CLIP_BAG, or the one beside the checkout."""
    named = os.environ.get("FSM_CLIP_BAG")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "bags" / "stereo4d_clip"


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_bag(tmp_path_factory.mktemp("bags") / "drive", duration_s=0.8, camera=SMALL)


def check_against_a_row(source: PosedSource, path: Path, order: list[int]) -> None:
    """Frames picked in this order equal those that come in a row."""
    expected = list(read_posed_images(find_camera(path)))
    assert len(source) == len(expected)
    assert source.stamps_ns.tolist() == [frame.stamp_ns for frame in expected]
    assert np.array_equal(source.world_from_camera, [frame.world_from_camera for frame in expected])
    for index in order:
        frame, truth = source.read(index), expected[index]
        assert (frame.stamp_ns, frame.camera, frame.source) == (truth.stamp_ns, truth.camera, truth.source)
        assert np.array_equal(frame.image, truth.image)
        assert np.array_equal(frame.world_from_camera, truth.world_from_camera)


def test_frames_picked_at_random_are_those_in_a_row(drive: Path) -> None:
    source = BagSource(drive)
    check_against_a_row(source, drive, [7, 0, 3, 3, 2, 6])
    assert (source.name, source.frames_without_pose, source.camera(4)) == ("drive", 0, SMALL)


def test_a_real_recording() -> None:
    if not clip().exists():
        pytest.skip(f"there is no recorded bag at {clip()}: name one in FSM_CLIP_BAG")
    source = BagSource(clip())
    check_against_a_row(source, clip(), [len(source) - 1, 0, len(source) // 2])


def test_images_that_arrive_together_stay_apart(tmp_path: Path) -> None:
    images = [raw_image(colours() + np.uint8(n), stamp_ns=stamp) for n, stamp in enumerate((5, 5, 5, 6))]
    frames = [transform("map", "camera", 5), transform("map", "camera", 6, x=1.0)]
    source = BagSource(write_bag(tmp_path / "bag", [camera_info(16, 12), *frames, *images]))
    for index in (2, 0, 3, 1):
        assert np.array_equal(source.read(index).image, colours() + np.uint8(index))


def test_a_compressed_image_tells_its_camera_too(tmp_path: Path) -> None:
    data = cv2.imencode(".png", cv2.cvtColor(colours(), cv2.COLOR_RGB2BGR))[1].tobytes()
    messages = [compressed_image(data), camera_info(16, 12), transform("map", "camera", 10**9)]
    source = BagSource(write_bag(tmp_path / "bag", messages))
    assert (source.camera(0).width, source.camera(0).height) == (16, 12)
    assert np.array_equal(source.read(0).image, colours())


def test_images_without_a_pose_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = [raw_image(colours() + np.uint8(n), stamp_ns=stamp) for n, stamp in enumerate((5, 20, 30, 45))]
    frames = [transform("map", "camera", stamp, x=stamp / 10) for stamp in (10, 40)]
    bag = write_bag(tmp_path / "bag", [camera_info(16, 12), *images, *frames])
    with caplog.at_level(logging.WARNING):
        source = BagSource(bag)
    assert (len(source), source.frames_without_pose, source.stamps_ns.tolist()) == (2, 2, [20, 30])
    assert np.allclose(source.world_from_camera[:, 0, 3], [2.0, 3.0])
    assert np.array_equal(source.read(1).image, colours() + np.uint8(2))
    assert "left out 2 of 4 images" in caplog.text and "lies 0.000 s outside" in caplog.text


def test_a_recording_without_any_pose(tmp_path: Path, drive: Path) -> None:
    bag = write_bag(tmp_path / "bag", [raw_image(colours()), camera_info(16, 12)])
    with pytest.raises(BagError, match="no pose for any of its 1 images: .*record /tf"):
        BagSource(bag)
    with pytest.raises(BagError, match="no pose for any of its 8 images: .*'world'.*choose one of its frames"):
        BagSource(drive, world_frame="world")


def test_a_recording_that_changes_meanwhile(tmp_path: Path, drive: Path) -> None:
    bag = shutil.copytree(drive, tmp_path / "drive")
    source = BagSource(bag)
    shutil.rmtree(bag)
    write_bag(bag, [camera_info(16, 12), raw_image(colours()), transform("map", "camera", 10**9)])
    with pytest.raises(BagError, match="has no image at .*open it again, it was changed"):
        source.read(2)
    shutil.rmtree(bag)
    source.close()
    with pytest.raises(BagError, match="no recording at"):
        source.read(2)
