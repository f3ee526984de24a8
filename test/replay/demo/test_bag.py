# SPDX-License-Identifier: Apache-2.0
"""The demo's recording: a drive in a circle as a robot would record it, the same every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recordings import STORE, open_camera
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader
from scipy.spatial.transform import Rotation

from fsm_ros.replay.demo.bag import DEMO_CAMERA, START_NS, TOPICS, DemoRobot, write_demo_bag
from fsm_ros.stream.frame import Camera, Distortion

SMALL = replace(DEMO_CAMERA, width=64, height=48, fx=40.8, fy=40.9, cx=32.4, cy=23.8)
DURATION_S = 1.2


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short drive of twelve small images."""
    return write_demo_bag(tmp_path_factory.mktemp("bags") / "drive", duration_s=DURATION_S, camera=SMALL)


def contents(path: Path) -> list[tuple[str, int, bytes]]:
    with Reader(path) as reader:
        return [(connection.topic, arrival, bytes(raw)) for connection, arrival, raw in reader.messages()]


def stamps_of(path: Path) -> tuple[int, ...]:
    """Of its images."""
    return tuple(open_camera(path).stamps_ns.tolist())


class TestDemoBag:
    @pytest.mark.slow
    def test_equal_arguments_give_equal_messages(self, drive: Path, tmp_path: Path) -> None:
        again = write_demo_bag(tmp_path / "again", duration_s=DURATION_S, camera=SMALL)
        assert contents(again) == contents(drive)

    @pytest.mark.slow
    def test_another_seed_is_another_scene_on_the_same_drive(self, drive: Path, tmp_path: Path) -> None:
        other = write_demo_bag(tmp_path / "other", seed=1, duration_s=DURATION_S, camera=SMALL)
        topics_that_differ = {a[0] for a, b in zip(contents(drive), contents(other), strict=True) if a != b}
        assert topics_that_differ == {TOPICS.image_topic}

    def test_images_come_at_ten_hertz_and_their_infos_at_the_same_stamps(self, drive: Path) -> None:
        assert stamps_of(drive) == tuple(START_NS + index * 100_000_000 for index in range(12))
        infos = [raw for topic, _, raw in contents(drive) if topic == TOPICS.info_topic]
        stamps = [STORE.deserialize_cdr(raw, "sensor_msgs/msg/CameraInfo").header.stamp for raw in infos]
        assert tuple(stamp.sec * 10**9 + stamp.nanosec for stamp in stamps) == stamps_of(drive)

    def test_transforms_speak_before_and_after_every_image_but_never_with_one(self, drive: Path) -> None:
        images = stamps_of(drive)
        stamps: dict[str, list[int]] = {}
        for topic, _, raw in contents(drive):
            if topic == "/tf":
                (transform,) = STORE.deserialize_cdr(raw, "tf2_msgs/msg/TFMessage").transforms
                stamp = transform.header.stamp
                stamps.setdefault(transform.child_frame_id, []).append(stamp.sec * 10**9 + stamp.nanosec)
        assert stamps.keys() == {"odom", "base_link"}
        for child, period_ns in (("odom", 100_000_000), ("base_link", 20_000_000)):
            assert min(stamps[child]) < images[0] and max(stamps[child]) > images[-1]
            assert not set(stamps[child]) & set(images)
            assert set(np.diff(stamps[child])) == {period_ns}

    def test_the_mount_is_recorded_as_latched(self, drive: Path) -> None:
        with Reader(drive) as reader:
            (connection,) = reader.topics["/tf_static"].connections
            (qos,) = connection.ext.offered_qos_profiles
            (latched,) = reader.messages([connection])
            first = next(reader.messages())
        assert qos.durability is QosDurability.TRANSIENT_LOCAL and qos.depth == 1
        assert first[0].topic == "/tf_static" and first[2] == latched[2]

    def test_interpolated_poses_are_where_the_images_were_taken(self, drive: Path) -> None:
        robot = DemoRobot(DURATION_S)
        camera = open_camera(drive)
        for image in map(camera.read, range(len(camera))):
            truth = robot.map_from_camera((image.stamp_ns - START_NS) / 1e9)
            # The robot turns ten times faster here than in the whole drive.
            assert np.linalg.norm(image.position - truth[:3, 3]) < 1e-3
            turn = Rotation.from_matrix(truth[:3, :3].T @ image.world_from_camera[:3, :3]).magnitude()
            assert np.rad2deg(turn) < 0.1

    def test_the_whole_drive_turns_by_300_degrees_near_the_middle(self) -> None:
        robot = DemoRobot(11.0)
        poses = [robot.map_from_camera(time_s) for time_s in np.linspace(0.0, 11.0, 111)]
        turns = [
            Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude() for a, b in zip(poses, poses[1:], strict=False)
        ]
        assert np.isclose(np.rad2deg(sum(turns)), 300.0)
        assert np.rad2deg(max(turns)) < 4.0
        assert max(np.linalg.norm(pose[:2, 3]) for pose in poses) < 0.4 * 1.6
        assert all(np.allclose(pose[:3, 1], [0.0, 0.0, -1.0]) for pose in poses), "the camera is level"

    def test_a_folder_that_exists_is_not_overwritten(self, drive: Path) -> None:
        with pytest.raises(FileExistsError, match="exists already"):
            write_demo_bag(drive)

    def test_a_recording_that_fails_leaves_nothing_behind(self, tmp_path: Path) -> None:
        folding = replace(SMALL, coefficients=(-3.0, 0.0, 0.0, 0.0, 0.0))
        with pytest.raises(ValueError, match="no ray"):
            write_demo_bag(tmp_path / "bag", duration_s=0.3, camera=folding)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("duration_s", "rate_hz"), [(0.0, 10.0), (1.0, 0.0), (-1.0, -10.0), (0.05, 10.0)])
    def test_a_recording_without_images_is_refused(self, tmp_path: Path, duration_s: float, rate_hz: float) -> None:
        with pytest.raises(ValueError, match="at least one image"):
            write_demo_bag(tmp_path / "bag", duration_s=duration_s, rate_hz=rate_hz)


def test_the_demo_camera_has_a_lens_to_undo() -> None:
    assert isinstance(DEMO_CAMERA, Camera)
    assert DEMO_CAMERA.distortion is Distortion.PLUMB_BOB and DEMO_CAMERA.is_distorted
