# SPDX-License-Identifier: Apache-2.0
"""ROS 1 bags say the same as rosbag2 recordings of the same messages, and compressed ones the same as plain ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings import (
    STORE,
    Message,
    camera_info,
    colours,
    compressed_image,
    header,
    open_camera,
    raw_image,
    transform,
    write_bag,
)
from recordings_ros1 import NOETIC, OLD_TF_TYPE, as_ros1, write_ros1_bag
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from fsm_ros.sources.bags.messages import BagError
from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.opening import SourceKind, source_kind
from fsm_ros.sources.recorded import RecordedCamera

COUNT = 6
LENS = (0.1, -0.02, 0.001, -0.002, 0.003)


def drive(compressed: bool = False) -> list[Message]:
    """Six images of a camera that moves along x, a second apart; they arrive 40 ms after they were taken."""
    topic, kind, _, info = camera_info(16, 12, 0)
    messages: list[Message] = [(topic, kind, 0, replace(info, d=np.array(LENS)))]  # type: ignore[type-var]
    for n in range(COUNT):
        taken_ns = n * 10**9
        pixels = colours() + np.uint8(n)
        data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()
        picture = compressed_image(data, taken_ns) if compressed else raw_image(pixels, stamp_ns=taken_ns)
        messages.append(transform("map", "camera", taken_ns, x=float(n)))
        messages.append((picture[0], picture[1], taken_ns + 40_000_000, picture[3]))
    return messages


def check(source: RecordedCamera) -> None:
    """It is the drive."""
    assert source.stamps_ns.tolist() == [n * 10**9 for n in range(COUNT)]
    assert np.allclose(source.world_from_camera[:, 0, 3], range(COUNT))
    for index in (3, 0, 5):
        frame = source.read(index)
        assert np.array_equal(frame.image, colours() + np.uint8(index))
        assert (frame.camera.fx, frame.camera.cx, frame.camera.coefficients) == (50.0, 8.0, LENS)


class TestRos1:
    @pytest.mark.slow
    @pytest.mark.parametrize("compression", [None, *Writer1.CompressionFormat])
    @pytest.mark.parametrize("compressed", [False, True], ids=["raw", "compressed"])
    def test_it_is_read_as_a_rosbag2_recording_is(
        self, tmp_path: Path, compressed: bool, compression: Writer1.CompressionFormat | None
    ) -> None:
        bag = write_ros1_bag(tmp_path / "old.bag", drive(compressed), compression)
        assert source_kind(bag) is SourceKind.BAG
        source = open_camera(bag)
        check(source)
        assert source.name == "old"
        twin = open_camera(write_bag(tmp_path / "new", drive(compressed)))
        for old, new in zip(map(source.read, range(COUNT)), map(twin.read, range(COUNT)), strict=True):
            assert (old.camera, old.stamp_ns, old.source) == (new.camera, new.stamp_ns, new.source)
            assert np.array_equal(old.image, new.image)
            assert np.array_equal(old.world_from_camera, new.world_from_camera)

    def test_transforms_of_the_old_tf_and_static_ones_count(self, tmp_path: Path) -> None:
        moving = [transform("map", "/base", stamp_ns, x=stamp_ns / 10) for stamp_ns in (10, 20)]
        _, kind, _, mount = transform("base", "camera", 0, x=5.0)
        messages = [("/tf", OLD_TF_TYPE, stamp_ns, message) for _, _, stamp_ns, message in moving]
        picture = [raw_image(colours(), stamp_ns=15), camera_info(16, 12)]
        bag = write_ros1_bag(tmp_path / "tf.bag", [*messages, ("/tf_static", kind, 99, mount), *picture])
        assert np.isclose(open_camera(bag).world_from_camera[0, 0, 3], 6.5)

    def test_a_topic_without_a_slash_has_its_calibration_beside_it(self, tmp_path: Path) -> None:
        messages = [
            (topic.replace("/camera/", ""), *rest)
            for topic, *rest in (raw_image(colours()), camera_info(16, 12), transform("map", "camera", 10**9))
        ]
        found = open_camera(write_ros1_bag(tmp_path / "plain.bag", messages))  # type: ignore[arg-type]
        assert (found.image_topic, found.info_topic) == ("image_raw", "camera_info")

    def test_its_fields_are_named_as_in_ros_1(self) -> None:
        """The recordings of these tests are what they claim to be."""
        info = as_ros1(camera_info(16, 12)[3])
        assert NOETIC.generate_msgdef("sensor_msgs/msg/CameraInfo")[1] == "c9a58c1b0b154e0e6da7578cb991d214"
        assert info.K[0] == 50.0 and not hasattr(info, "k") and info.header.seq == 0

    @pytest.mark.parametrize("kept", [0.0, 0.001, 0.2, 0.5, 0.9, 0.99, -40, -1])
    def test_one_that_was_cut_short(self, tmp_path: Path, kept: float) -> None:
        bag = write_ros1_bag(tmp_path / "cut.bag", drive())
        whole = bag.read_bytes()
        bag.write_bytes(whole[: int(kept * len(whole)) if kept >= 0 else int(kept)])
        with pytest.raises(BagError, match="cut short; .*rosbag reindex"):
            open_camera(bag)

    def test_one_that_is_still_being_recorded(self, tmp_path: Path) -> None:
        bag = write_ros1_bag(tmp_path / "active.bag", drive())
        whole = bag.read_bytes()
        at = whole.index(b"index_pos=") + len(b"index_pos=")
        bag.write_bytes(whole[:at] + bytes(8) + whole[at + 8 :])
        with pytest.raises(BagError, match="not indexed.*rosbag reindex"):
            open_camera(bag)

    def test_a_folder_of_bags_is_told_to_choose(self, tmp_path: Path) -> None:
        write_ros1_bag(tmp_path / "a.bag", drive())
        with pytest.raises(SourceError, match="a.bag: give one of these files"):
            open_camera(tmp_path)


def write_packed(path: Path, mode: CompressionMode, storage: StoragePlugin) -> Path:
    """The drive, compressed."""
    writer = Writer(path, version=Writer.VERSION_LATEST, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, msgtype, arrival_ns, message in drive():
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=STORE)
            writer.write(connections[topic], arrival_ns, STORE.serialize_cdr(message, msgtype))
    return path


PACKED = [
    (CompressionMode.STORAGE, StoragePlugin.MCAP),
    *((mode, storage) for mode in (CompressionMode.FILE, CompressionMode.MESSAGE) for storage in StoragePlugin),
]


class TestCompressedRosbag2:
    @pytest.mark.slow
    @pytest.mark.parametrize(("mode", "storage"), PACKED, ids=[f"{m.name}-{s.name}".lower() for m, s in PACKED])
    def test_it_is_read_as_a_plain_one_is(self, tmp_path: Path, mode: CompressionMode, storage: StoragePlugin) -> None:
        bag = write_packed(tmp_path / "packed", mode, storage)
        plain = write_bag(tmp_path / "plain", drive(), storage)
        size = {folder: sum(file.stat().st_size for file in folder.iterdir()) for folder in (bag, plain)}
        assert mode is CompressionMode.MESSAGE or size[bag] < size[plain], "it is compressed"
        check(open_camera(bag))
        check(open_camera(plain))

    def test_a_file_of_its_own_cannot_be_compressed_as_a_whole(self, tmp_path: Path) -> None:
        bag = write_packed(tmp_path / "packed", CompressionMode.FILE, StoragePlugin.MCAP)
        with pytest.raises(SourceError, match="compressed as a whole: give its rosbag2 folder"):
            open_camera(bag / "packed.mcap.zstd")

    @pytest.mark.parametrize(("mode", "storage"), PACKED, ids=[f"{m.name}-{s.name}".lower() for m, s in PACKED])
    @pytest.mark.parametrize("kept", [0.3, 0.9, 0.998])
    def test_one_that_was_cut_short(
        self, tmp_path: Path, mode: CompressionMode, storage: StoragePlugin, kept: float
    ) -> None:
        bag = write_packed(tmp_path / "packed", mode, storage)
        (data,) = (file for file in bag.iterdir() if file.suffix != ".yaml")
        whole = data.read_bytes()
        data.write_bytes(whole[: int(kept * len(whole))])
        with pytest.raises(BagError, match="cut short"):
            open_camera(bag)


def test_a_recording_with_fewer_messages_than_it_says(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", drive())
    metadata = bag / "metadata.yaml"
    with_more = metadata.read_text().replace(f"message_count: {COUNT}", f"message_count: {COUNT + 3}")
    assert with_more != metadata.read_text()
    metadata.write_text(with_more)
    with pytest.raises(BagError, match="messages more on .* than there are: it was cut short"):
        open_camera(bag)


def test_headers_of_both_say_the_same_moment() -> None:
    stamp = as_ros1(header(12_000_000_034)).stamp
    assert (stamp.sec, stamp.nanosec) == (12, 34)


def test_a_ros_2_folder_with_the_name_of_a_ros_1_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "drive.bag", drive())
    with pytest.raises(BagError, match=r"name it otherwise, mv .*drive\.bag .*drive$"):
        open_camera(bag)
