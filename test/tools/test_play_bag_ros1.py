# SPDX-License-Identifier: Apache-2.0
"""play_bag with recordings of ROS 1: subscribers of ROS 2 meet what its twin of ROS 2 would have brought them."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

import numpy as np  # noqa: E402
from deadline import DEADLINE_S, wait_until  # noqa: E402
from player_harness import CHATTER, IMAGE, INFO, START_NS, Listener, Recorded, play  # noqa: E402
from recordings import Message, camera_info, colours, raw_image, transform, write_bag  # noqa: E402
from recordings_ros1 import NOETIC, OLD_TF_TYPE, write_ros1_bag  # noqa: E402
from rosbags.rosbag1 import Writer  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

pytest_plugins = ["player_harness"]


def drive() -> list[Message]:
    """A camera that moves, with its mount, whose transforms two nodes say."""
    topic, kind, _, info = camera_info(16, 12, 0)
    messages = [(topic, kind, START_NS, info)]
    for number, child in enumerate(("camera", "lidar")):
        _, kind, _, mount = transform("base", child, START_NS)
        messages.append(("/tf_static", kind, START_NS + number, mount))
    for number in range(5):
        stamp_ns = START_NS + number * 50_000_000
        messages += [raw_image(colours() + np.uint8(number), stamp_ns=stamp_ns)]
        messages += [transform("map", "base", stamp_ns + 1, x=float(number))]
    return messages


def play_to(listener: Listener, bag: Path, expected: int) -> Recorded:
    """What arrives of a recording of a drive, of which the listener has heard nothing yet."""
    done = play(bag, "--hold-out", 3, "--wait-for-subscribers", DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, "")
    wait_until(lambda: sum(map(len, listener.heard.values())) >= expected, f"{expected} messages of {bag.name}")
    heard = {topic: list(messages) for topic, messages in listener.heard.items()}
    for messages in listener.heard.values():
        messages.clear()
    return heard


def test_a_ros_1_recording_goes_out_as_the_same_bytes_as_its_twin_of_ros_2(listener: Listener, tmp_path: Path) -> None:
    messages = drive()
    with_old_tf = [(t, OLD_TF_TYPE if t == "/tf" else kind, stamp_ns, said) for t, kind, stamp_ns, said in messages]
    old = write_ros1_bag(tmp_path / "old.bag", with_old_tf, many_nodes=["/tf_static"])
    new = write_bag(tmp_path / "new", messages)
    for topic, kind in ((IMAGE, Image), (INFO, CameraInfo), ("/tf", TFMessage), ("/tf_static", TFMessage)):
        listener.subscribe(topic, kind, latched=topic == "/tf_static")
    expected = len(messages) - 1  # the third image is held out
    of_new, of_old = play_to(listener, new, expected), play_to(listener, old, expected)
    assert of_old == of_new
    assert [len(of_old[topic]) for topic in (IMAGE, INFO, "/tf", "/tf_static")] == [4, 1, 5, 2]


def test_of_a_ros_1_recording_what_was_latched_stays_so_and_what_ros_2_lacks_is_left_out(
    listener: Listener, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    with Writer(tmp_path / "old.bag") as writer:
        place = writer.add_connection("map_name", "std_msgs/msg/String", typestore=NOETIC, latching=1)
        words = writer.add_connection(CHATTER, "std_msgs/msg/String", typestore=NOETIC)
        log = writer.add_connection("/rosout", "rosgraph_msgs/msg/Log", typestore=NOETIC)
        said = NOETIC.serialize_ros1(NOETIC.types["std_msgs/msg/String"]("kitchen"), "std_msgs/msg/String")
        writer.write(log, START_NS, bytes(100))
        writer.write(place, START_NS, said)
        for second in range(60):
            writer.write(words, START_NS + second * 10**9, said)
    listener.subscribe(CHATTER, String)
    process = start(tmp_path / "old.bag")
    wait_until(lambda: len(listener.heard[CHATTER]) > 0, "the first words")
    listener.subscribe("/map_name", String, latched=True)
    wait_until(lambda: len(listener.heard["/map_name"]) > 0, "the latched message")
    assert listener.heard["/map_name"] == [b"\0\1\0\0\x08\0\0\0kitchen\0"]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert errors == "play_bag: left out, as their types are not known here: /rosout (rosgraph_msgs/msg/Log)\n"


@pytest.mark.parametrize(
    ("kept", "arguments", "reason"),
    [
        (0.5, (), "is no ROS 1 recording or was cut short; copy it again, or repair it (rosbag reindex)"),
        (1.0, ("--topics", "/rosout"), "rosgraph_msgs/msg/Log of /rosout is of ROS 1, and ROS 2 Jazzy has none"),
    ],
)
def test_what_cannot_be_played_of_ros_1_is_told(
    domain_id: int, tmp_path: Path, kept: float, arguments: Sequence[str], reason: str
) -> None:
    bag = tmp_path / "old.bag"
    with Writer(bag) as writer:
        writer.write(writer.add_connection("/rosout", "rosgraph_msgs/msg/Log", typestore=NOETIC), START_NS, bytes(100))
    bag.write_bytes(bag.read_bytes()[: int(kept * bag.stat().st_size)])
    done = play(bag, *arguments)
    assert done.returncode == 2
    assert reason in done.stderr and done.stderr.count("\n") == 1
