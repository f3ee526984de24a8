# SPDX-License-Identifier: Apache-2.0
"""Writing recordings: whole or not at all, and every message says what it was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import STORE, colours
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader
from scipy.spatial.transform import Rotation

from fsm_ros.messages.calibrations import Calibration
from fsm_ros.messages.stamps import stamp_to_ns
from fsm_ros.replay.recording import bag_writer
from fsm_ros.replay.recording.bag_writer import (
    COMPRESSED_TYPE,
    IMAGE_TYPE,
    INFO_TYPE,
    LAST_STAMP_NS,
    NUMBER_TYPE,
    STATIC_TF_TOPIC,
    TF_TYPE,
    BagWriter,
)
from fsm_ros.replay.recording.camera_topics import CameraTopics
from fsm_ros.replay.recording.settings import Codec
from fsm_ros.sources.bags.messages import decode_image
from fsm_ros.stream.frame import Camera, Distortion

STAMP_NS = 12_345_678_901
CAMERA = Camera(16, 12, 20.0, 21.0, 8.3, 5.9, Distortion.PLUMB_BOB, (-0.1, 0.02, 0.001, -0.002, 0.0))


def through_bytes(message: object, msgtype: str) -> object:
    """What a reader gets."""
    return STORE.deserialize_cdr(STORE.serialize_cdr(message, msgtype), msgtype)


class TestWriter:
    def test_a_recording_appears_when_it_is_complete(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "bag"
        with BagWriter(path) as bag:
            bag.declare("/psnr", NUMBER_TYPE)
            bag.write("/psnr", 5, bag_writer.number(21.5))
            assert not path.exists()
        assert [entry.name for entry in path.parent.iterdir()] == ["bag"]
        assert sorted(file.name for file in path.iterdir()) == ["bag.mcap", "metadata.yaml"]
        with Reader(path) as reader:
            ((connection, arrival_ns, raw),) = reader.messages()
        assert (connection.topic, arrival_ns) == ("/psnr", 5)
        assert STORE.deserialize_cdr(raw, NUMBER_TYPE).data == 21.5
        assert bag.counts == {"/psnr": 1}

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_after_an_error_or_interrupt_nothing_stays(self, tmp_path: Path, error: type[BaseException]) -> None:
        with pytest.raises(error), BagWriter(tmp_path / "bag") as bag:
            bag.declare("/psnr", NUMBER_TYPE)
            bag.write("/psnr", 5, bag_writer.number(21.5))
            raise error
        assert list(tmp_path.iterdir()) == []

    def test_what_is_there_is_not_overwritten(self, tmp_path: Path) -> None:
        with pytest.raises(FileExistsError, match="exists already: remove it or choose another"):
            BagWriter(tmp_path).__enter__()
        assert list(tmp_path.iterdir()) == []

    def test_a_recording_of_nothing_is_refused_and_not_left(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="at least one message"), BagWriter(tmp_path / "bag") as bag:
            bag.declare("/psnr", NUMBER_TYPE)
        assert list(tmp_path.iterdir()) == []

    def test_a_latched_topic_is_offered_to_those_who_come_later(self, tmp_path: Path) -> None:
        with BagWriter(tmp_path / "bag") as bag:
            bag.declare(STATIC_TF_TOPIC, TF_TYPE, depth=1, latched=True)
            bag.declare("/psnr", NUMBER_TYPE, depth=7)
            bag.write("/psnr", 5, bag_writer.number(21.5))
        with Reader(tmp_path / "bag") as reader:
            qos = {c.topic: c.ext.offered_qos_profiles[0] for c in reader.connections}
        assert qos[STATIC_TF_TOPIC].durability is QosDurability.TRANSIENT_LOCAL
        assert (qos["/psnr"].durability, qos["/psnr"].depth) == (QosDurability.VOLATILE, 7)

    def test_topics_and_types_that_were_not_declared_are_refused(self, tmp_path: Path) -> None:
        with BagWriter(tmp_path / "bag") as bag:
            bag.declare("/psnr", NUMBER_TYPE)
            bag.write("/psnr", 0, bag_writer.number(1.0))
            with pytest.raises(ValueError, match="/ssim is not declared: declared are /psnr"):
                bag.write("/ssim", 5, bag_writer.number(1.0))
            with pytest.raises(ValueError, match="/psnr holds std_msgs/msg/Float64, got sensor_msgs/msg/Image"):
                bag.write("/psnr", 5, bag_writer.image(colours(), 5, "camera"))
            with pytest.raises(ValueError, match="declared already"):
                bag.declare("/psnr", IMAGE_TYPE)
            with pytest.raises(ValueError, match="before 1970"):
                bag.write("/psnr", -1, bag_writer.number(1.0))

    def test_a_name_that_readers_would_misunderstand_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="taken for a ROS 1 file"):
            BagWriter(tmp_path / "drive.bag")

    def test_a_writer_outside_its_context_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match="with statement"):
            BagWriter(tmp_path / "bag").declare("/psnr", NUMBER_TYPE)


class TestMessages:
    def test_a_raw_image_is_the_pixels(self) -> None:
        message = through_bytes(bag_writer.image(colours(), STAMP_NS, "eye"), IMAGE_TYPE)
        assert np.array_equal(decode_image(message), colours())
        assert (message.header.frame_id, stamp_to_ns(message.header.stamp)) == ("eye", STAMP_NS)

    @pytest.mark.parametrize(("codec", "error"), [(Codec.PNG, 0), (Codec.JPEG, 12)])
    def test_a_compressed_image_is_the_pixels_or_close(self, codec: Codec, error: int) -> None:
        message = through_bytes(bag_writer.compressed_image(colours(), STAMP_NS, "eye", codec=codec), COMPRESSED_TYPE)
        assert np.abs(decode_image(message).astype(int) - colours()).max() <= error
        assert codec.value in message.format and stamp_to_ns(message.header.stamp) == STAMP_NS

    def test_less_quality_is_fewer_bytes(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
        sizes = [len(bag_writer.compressed_image(noise, 0, "eye", quality=quality).data) for quality in (20, 60, 95)]
        assert sizes == sorted(set(sizes))

    @pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
    def test_other_pixels_are_refused(self, pixels: np.ndarray) -> None:
        for make in (bag_writer.image, bag_writer.compressed_image):
            with pytest.raises(ValueError, match=r"must be uint8 \[height, width, 3\]"):
                make(pixels, 0, "eye")

    def test_the_camera_comes_back_from_its_info(self) -> None:
        info = through_bytes(bag_writer.camera_info(CAMERA, STAMP_NS, "eye"), INFO_TYPE)
        assert Calibration.of(info).camera(16, 12) == CAMERA
        assert (info.k[2], info.k[5]) == (CAMERA.cx - 0.5, CAMERA.cy - 0.5), "ROS has pixel centres at integers"
        assert np.array_equal(info.p.reshape(3, 4)[:, :3], info.k.reshape(3, 3))

    @given(
        st.tuples(*[st.floats(-3.0, 3.0)] * 3),
        st.tuples(*[st.floats(-100.0, 100.0)] * 3),
        st.integers(0, LAST_STAMP_NS),
    )
    @settings(max_examples=50, deadline=None)
    def test_a_transform_is_the_pose_at_its_stamp(
        self, turn: tuple[float, float, float], place: tuple[float, float, float], stamp_ns: int
    ) -> None:
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = Rotation.from_rotvec(turn).as_matrix(), place
        message = bag_writer.transforms(bag_writer.transform("map", "eye", pose, stamp_ns))
        (stamped,) = through_bytes(message, TF_TYPE).transforms
        move, quaternion = stamped.transform.translation, stamped.transform.rotation
        assert (move.x, move.y, move.z) == place
        rotation = Rotation.from_quat([quaternion.x, quaternion.y, quaternion.z, quaternion.w])
        assert np.allclose(rotation.as_matrix(), pose[:3, :3], atol=1e-12)
        assert (stamped.header.frame_id, stamped.child_frame_id) == ("map", "eye")
        assert stamp_to_ns(stamped.header.stamp) == stamp_ns

    @pytest.mark.parametrize("stamp_ns", [-1, LAST_STAMP_NS + 1])
    def test_stamps_that_no_message_can_hold_are_refused(self, stamp_ns: int) -> None:
        with pytest.raises(ValueError, match="a stamp lies between 0"):
            bag_writer.header("map", stamp_ns)


class TestCameraTopics:
    def test_names_follow_image_transport(self) -> None:
        raw, jpeg = CameraTopics("front"), CameraTopics("front", Codec.JPEG)
        assert (raw.image_topic, jpeg.image_topic) == ("/front/image_raw", "/front/image_raw/compressed")
        assert raw.info_topic == jpeg.info_topic == "/front/camera_info"
        assert raw.frame_id == "front_optical_frame"

    @pytest.mark.parametrize("name", ["", "/camera", "2nd", "front camera", "a__b", "tail_"])
    def test_what_cannot_be_a_topic_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="cannot be a camera's name"):
            CameraTopics(name)

    @pytest.mark.parametrize("quality", [0, 101])
    def test_a_quality_is_1_to_100(self, quality: int) -> None:
        with pytest.raises(ValueError, match="between 1 and 100"):
            CameraTopics("camera", Codec.JPEG, quality)
