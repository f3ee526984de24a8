# SPDX-License-Identifier: Apache-2.0
"""What recorders, tools and people make of recordings: read and played as they are, what is left out is told."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deadline import DEADLINE_S
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.stores import ros2_jazzy as ros

from fsm_ros.replay.demo.bag import write_demo_bag
from fsm_ros.sources.bags.messages import BagError
from fsm_ros.sources.opening import open_rig
from fsm_ros.sources.rig import Rig
from fsm_ros.stream.frame import Camera

SMALL = Camera(48, 36, 30.0, 30.0, 24.0, 18.0)
STORE = get_typestore(Stores.ROS2_JAZZY)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_bag(tmp_path_factory.mktemp("bag") / "drive", duration_s=1.2, rate_hz=10.0, camera=SMALL)


def metadata(pattern: str, replacement: str) -> Callable[[Path], None]:
    def change(bag: Path) -> None:
        file = bag / "metadata.yaml"
        text = file.read_text()
        changed = re.sub(pattern, replacement, text)
        assert changed != text, "the pattern does not occur"
        file.write_text(changed)

    return change


def without_metadata(bag: Path) -> None:
    (bag / "metadata.yaml").unlink()


def with_others(bag: Path) -> None:
    """A topic of a vendor's type, and a frame beside the robot that two nodes claim."""
    whole = bag.with_name("whole")
    shutil.move(bag, whole)
    with (
        AnyReader([whole]) as reader,
        Writer(bag, version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        topics = {
            c.topic: writer.add_connection(
                c.topic, c.msgtype, typestore=STORE, offered_qos_profiles=c.ext.offered_qos_profiles
            )
            for c in reader.connections
        }
        thing = writer.add_connection("/thing", "acme_msgs/msg/Thing", msgdef="string data", rihs01="RIHS01_0")
        start_ns = reader.start_time
        writer.write(thing, start_ns, b"\0\1\0\0")
        for parent in ("base_link", "odom"):
            stamp = ros.builtin_interfaces__msg__Time(*divmod(start_ns, 10**9))
            transform = ros.geometry_msgs__msg__Transform(
                ros.geometry_msgs__msg__Vector3(0.0, 0.0, 0.0), ros.geometry_msgs__msg__Quaternion(0.0, 0.0, 0.0, 1.0)
            )
            said = ros.geometry_msgs__msg__TransformStamped(
                ros.std_msgs__msg__Header(stamp, parent), "gripper", transform
            )
            raw = STORE.serialize_cdr(ros.tf2_msgs__msg__TFMessage([said]), "tf2_msgs/msg/TFMessage")
            writer.write(topics["/tf"], start_ns, raw)
        for connection, arrival_ns, raw in reader.messages():
            writer.write(topics[connection.topic], arrival_ns, raw)
    shutil.rmtree(whole)


AS_THEY_ARE: dict[str, Callable[[Path], None]] = {
    "QoS that metadata.yaml says otherwise": metadata(r"reliability: \w+", "reliability: best_effort"),
    "QoS of before Iron, as numbers": metadata(r"durability: volatile", "durability: 2"),
    "QoS as a mapping": metadata(r"offered_qos_profiles:\n      - avoid", "offered_qos_profiles:\n        avoid"),
    "no kind of storage": metadata(r"storage_identifier: \w+", "storage_identifier: ''"),
    "no metadata.yaml": without_metadata,
    "a vendor's topic and a frame of two parents": with_others,
}


def frames_of(rig: Rig) -> list[tuple[int, bytes]]:
    return [(frame.stamp_ns, np.asarray(frame.world_from_camera).tobytes()) for frame in rig.frames]


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.parametrize("name", list(AS_THEY_ARE))
def test_a_recording_is_read_and_played_as_it_is(drive: Path, tmp_path: Path, name: str) -> None:
    bag = tmp_path / "drive"
    shutil.copytree(drive, bag)
    AS_THEY_ARE[name](bag)
    whole, found = open_rig(drive), open_rig(bag)
    assert frames_of(found) == frames_of(whole)
    assert np.array_equal(found.read(found.frames[5]).image, whole.read(whole.frames[5]).image)
    pytest.importorskip("rclpy", reason="needs ROS")
    command = [sys.executable, "-m", "fsm_ros.tools.play_bag", str(bag), "--rate", "10", "--no-progress"]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    if "vendor" in name:
        assert "left out, as their types are not known here: /thing (acme_msgs/msg/Thing)" in done.stderr
    else:
        assert done.stderr == ""


def test_a_file_that_metadata_names_and_nobody_has_is_never_passed_over(drive: Path, tmp_path: Path) -> None:
    bag = tmp_path / "drive"
    shutil.copytree(drive, bag)
    metadata(r"(  relative_file_paths:\n)", r"\1  - drive_0.mcap\n")(bag)
    with pytest.raises(BagError, match="missing"):
        open_rig(bag)


def test_files_without_metadata_follow_each_other_by_their_numbers(drive: Path, tmp_path: Path) -> None:
    bag = tmp_path / "split"
    bag.mkdir()
    with AnyReader([drive]) as reader:
        messages = [(c.topic, c.msgtype, arrival_ns, bytes(raw)) for c, arrival_ns, raw in reader.messages()]
    middle = len(messages) // 2
    for number, part in ((9, messages[:middle]), (10, messages[middle:])):
        folder = tmp_path / f"part_{number}"
        with Writer(folder, version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP) as writer:
            kinds = dict.fromkeys((topic, kind) for topic, kind, _, _ in part)
            topics = {topic: writer.add_connection(topic, kind, typestore=STORE) for topic, kind in kinds}
            for topic, _, arrival_ns, raw in part:
                writer.write(topics[topic], arrival_ns, raw)
        shutil.move(folder / f"part_{number}.mcap", bag / f"drive_{number}.mcap")
    assert frames_of(open_rig(bag)) == frames_of(open_rig(drive))
