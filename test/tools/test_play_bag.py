# SPDX-License-Identifier: Apache-2.0
"""play_bag as its users meet it: a process of its own that talks to subscribers over DDS."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

import numpy as np  # noqa: E402
import rclpy  # noqa: E402
from deadline import DEADLINE_S, wait_until  # noqa: E402
from player_harness import (  # noqa: E402
    CHATTER,
    IMAGE,
    INFO,
    START_NS,
    Listener,
    Recorded,
    on_the_wire,
    play,
)
from rclpy.context import Context  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy  # noqa: E402
from rosbags.interfaces import (  # noqa: E402
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer  # noqa: E402
from rosbags.typesys import Stores, get_typestore  # noqa: E402
from rosbags.typesys.stores import ros2_jazzy as ros  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from fsm_ros.sources.bags.messages import BagError  # noqa: E402
from fsm_ros.tools.play_bag import Options, main  # noqa: E402
from fsm_ros.tools.player import Player, StopSignal, message_class, publisher_qos, taken_by  # noqa: E402
from fsm_ros.tools.recording import header_stamp_ns, is_latched, open_recording  # noqa: E402
from fsm_ros.tools.ros_arguments import split_ros_arguments  # noqa: E402

pytestmark = pytest.mark.slow

STORE = get_typestore(Stores.ROS2_JAZZY)
FRAME_PERIOD_NS = 50_000_000
FRAMES = 12
MAP = "/map_name"
pytest_plugins = ["player_harness"]


def qos(durability: QosDurability) -> Qos:
    forever = QosTime(9223372036, 854775807)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1,
        reliability=QosReliability.BEST_EFFORT,
        durability=durability,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )


def frame_stamp_ns(index: int) -> int:
    return START_NS + index * FRAME_PERIOD_NS


def write_recording(path: Path, storage: StoragePlugin = StoragePlugin.MCAP) -> Recorded:
    """Twelve small frames with infos, a chatter between them, and a latched topic said once in the middle."""
    recorded: Recorded = {}
    with Writer(path, version=Writer.VERSION_LATEST, storage_plugin=storage) as writer:
        connections = {
            topic: writer.add_connection(topic, msgtype, typestore=STORE, offered_qos_profiles=[qos(durability)])
            for topic, msgtype, durability in (
                (IMAGE, "sensor_msgs/msg/Image", QosDurability.VOLATILE),
                (INFO, "sensor_msgs/msg/CameraInfo", QosDurability.VOLATILE),
                (CHATTER, "std_msgs/msg/String", QosDurability.VOLATILE),
                (MAP, "std_msgs/msg/String", QosDurability.TRANSIENT_LOCAL),
            )
        }

        def write(topic: str, arrival_ns: int, message: object) -> None:
            raw = bytes(STORE.serialize_cdr(message, connections[topic].msgtype))
            writer.write(connections[topic], arrival_ns, raw)
            recorded.setdefault(topic, []).append(on_the_wire(raw))

        for index in range(FRAMES):
            stamp_ns = frame_stamp_ns(index)
            header = ros.std_msgs__msg__Header(ros.builtin_interfaces__msg__Time(*divmod(stamp_ns, 10**9)), "camera")
            arrival_ns = stamp_ns + 7_000_000
            # The info comes first, as some drivers do: whether it is held out must be known by then.
            write(INFO, arrival_ns, camera_info(header))
            pixels = np.full(8 * 6 * 3, index, dtype=np.uint8)
            write(IMAGE, arrival_ns, ros.sensor_msgs__msg__Image(header, 6, 8, "rgb8", 0, 24, pixels))
            write(CHATTER, arrival_ns + 11_000_000, ros.std_msgs__msg__String(f"frame {index}"))
            if index == FRAMES // 2:
                write(MAP, arrival_ns + 12_000_000, ros.std_msgs__msg__String("kitchen"))
    return recorded


def camera_info(header: ros.std_msgs__msg__Header) -> ros.sensor_msgs__msg__CameraInfo:
    return ros.sensor_msgs__msg__CameraInfo(
        header=header,
        height=6,
        width=8,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([7.0, 0.0, 3.5, 0.0, 7.0, 2.5, 0.0, 0.0, 1.0]),
        r=np.eye(3).reshape(-1),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=ros.sensor_msgs__msg__RegionOfInterest(0, 0, 0, 0, False),
    )


def clock_ns(raw: bytes) -> int:
    sec, nanosec = struct.unpack_from("<iI", raw, 4)
    return int(sec) * 10**9 + int(nanosec)


ALL = ((IMAGE, Image), (INFO, CameraInfo), (CHATTER, String), (MAP, String))


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_every_recorded_byte_arrives_in_order(listener: Listener, tmp_path: Path, storage: StoragePlugin) -> None:
    recorded = write_recording(tmp_path / "bag", storage)
    for topic, kind in ALL:
        listener.subscribe(topic, kind)
    done = play(tmp_path / "bag", "--wait-for-subscribers", DEADLINE_S, "--rate", 3, "--report", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    wait_until(lambda: sum(map(len, listener.heard.values())) >= 37, "all messages")
    assert listener.heard == recorded
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["messages"] == {topic: len(messages) for topic, messages in recorded.items()}
    assert (report["frames_published"], report["frames_held_out"], report["passes"]) == (FRAMES, [], 1)
    assert report["interrupted"] is False


def test_bag_time_is_kept(domain_id: int, tmp_path: Path) -> None:
    """Half the speed takes at least twice as long; from the first message to the last it is 566 ms."""
    write_recording(tmp_path / "bag")
    assert play(tmp_path / "bag", "--rate", 0.5, "--report", tmp_path / "r.json").returncode == 0
    assert json.loads((tmp_path / "r.json").read_text())["seconds"] >= 2 * 0.561


@pytest.mark.parametrize("every", [1, 3, 5, 100])
def test_held_out_frames_never_go_out_and_nothing_else_is_missing(
    listener: Listener, tmp_path: Path, every: int
) -> None:
    recorded = write_recording(tmp_path / "bag")
    for topic, kind in ALL:
        listener.subscribe(topic, kind)
    arguments = ("--hold-out", every, "--rate", 3, "--wait-for-subscribers", DEADLINE_S)
    done = play(tmp_path / "bag", *arguments, "--report", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    held_out = [index for index in range(FRAMES) if index % every == every - 1]
    kept = [index for index in range(FRAMES) if index not in held_out]
    expected = {
        IMAGE: [recorded[IMAGE][index] for index in kept],
        INFO: [recorded[INFO][index] for index in kept],
        CHATTER: recorded[CHATTER],
        MAP: recorded[MAP],
    }
    wait_until(
        lambda: sum(map(len, listener.heard.values())) >= sum(map(len, expected.values())),
        "what is not held out",
    )
    assert listener.heard == expected
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["frames_published"] == len(kept)
    assert report["frames_held_out"] == [frame_stamp_ns(index) for index in held_out]


def test_a_latched_message_is_said_first_and_reaches_those_who_come_late(
    listener: Listener, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    recorded = write_recording(tmp_path / "bag")
    listener.subscribe(IMAGE, Image)
    # At this speed its own moment, in the middle of the recording, would come in half a minute.
    start(tmp_path / "bag", "--rate", 0.01, "--wait-for-subscribers", 1)
    wait_until(lambda: len(listener.heard[IMAGE]) > 0, "the first image")
    listener.subscribe(MAP, String, latched=True)
    wait_until(lambda: len(listener.heard[MAP]) > 0, "the latched message")
    assert listener.heard[MAP] == recorded[MAP]
    assert len(listener.heard[IMAGE]) < FRAMES // 2


def test_static_transforms_reach_those_who_come_late(
    listener: Listener, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    messages = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed")
    identity = ros.geometry_msgs__msg__Transform(
        ros.geometry_msgs__msg__Vector3(0.0, 0.0, 0.0), ros.geometry_msgs__msg__Quaternion(0.0, 0.0, 0.0, 1.0)
    )
    with Writer(tmp_path / "bag", version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP) as writer:
        static = writer.add_connection("/tf_static", "tf2_msgs/msg/TFMessage", typestore=STORE)
        chatter = writer.add_connection(CHATTER, "std_msgs/msg/String", typestore=STORE)
        recorded = []
        for seconds, child in ((0, "camera"), (60, "lidar")):  # from two publishers, as in any real robot
            header = ros.std_msgs__msg__Header(ros.builtin_interfaces__msg__Time(seconds, 0), "base_link")
            stamped = ros.geometry_msgs__msg__TransformStamped(header, child, identity)
            raw = STORE.serialize_cdr(ros.tf2_msgs__msg__TFMessage([stamped]), "tf2_msgs/msg/TFMessage")
            recorded.append(on_the_wire(bytes(raw)))
            writer.write(static, START_NS + seconds * 10**9, raw)
        words = STORE.serialize_cdr(ros.std_msgs__msg__String("hello"), "std_msgs/msg/String")
        # Again and again: nothing waits for the listener here, and a busy machine is slow to discover it.
        for seconds in range(60):
            writer.write(chatter, START_NS + seconds * 10**9 + 1, words)
    listener.subscribe(CHATTER, String)
    start(tmp_path / "bag", "--wait-for-subscribers", 1)
    wait_until(lambda: len(listener.heard[CHATTER]) > 0, "the first message")
    listener.subscribe("/tf_static", messages.TFMessage, latched=True)
    wait_until(lambda: len(listener.heard["/tf_static"]) >= 2, "both static transforms")
    assert listener.heard["/tf_static"] == recorded


def test_the_clock_is_bag_time_and_has_every_step(listener: Listener, tmp_path: Path) -> None:
    write_recording(tmp_path / "bag")
    listener.subscribe("/clock", Clock)
    listener.subscribe(CHATTER, String)
    # Slowly, so that a busy machine finds time between the messages.
    done = play(tmp_path / "bag", "--clock", "--rate", 0.3, "--topics", CHATTER, "--wait-for-subscribers", DEADLINE_S)
    assert done.returncode == 0, done.stderr
    arrivals = [frame_stamp_ns(index) + 18_000_000 for index in range(FRAMES)]
    wait_until(lambda: arrivals[-1] in map(clock_ns, listener.heard["/clock"]), "the last step")
    ticks = [clock_ns(raw) for raw in listener.heard["/clock"]]
    assert ticks == sorted(ticks)
    assert set(arrivals) <= set(ticks)
    assert len(ticks) > 2 * len(arrivals), "the clock goes on between the messages"


def test_a_recorded_clock_gives_way_to_the_played_one(listener: Listener, tmp_path: Path) -> None:
    with Writer(tmp_path / "bag", version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP) as writer:
        clock = writer.add_connection("/clock", "rosgraph_msgs/msg/Clock", typestore=STORE)
        chatter = writer.add_connection(CHATTER, "std_msgs/msg/String", typestore=STORE)
        for step in range(5):
            message = ros.rosgraph_msgs__msg__Clock(ros.builtin_interfaces__msg__Time(42, step))
            raw = STORE.serialize_cdr(message, "rosgraph_msgs/msg/Clock")
            writer.write(clock, START_NS + step * FRAME_PERIOD_NS, raw)
        words = STORE.serialize_cdr(ros.std_msgs__msg__String("hello"), "std_msgs/msg/String")
        writer.write(chatter, START_NS, words)
    listener.subscribe("/clock", Clock)
    listener.subscribe(CHATTER, String)
    assert play(tmp_path / "bag", "--clock", "--wait-for-subscribers", DEADLINE_S).returncode == 0
    end_ns = START_NS + 4 * FRAME_PERIOD_NS
    wait_until(lambda: end_ns in map(clock_ns, listener.heard["/clock"]), "the end of the recording")
    assert min(clock_ns(raw) for raw in listener.heard["/clock"]) >= START_NS


def test_only_the_chosen_topics_are_played_under_their_new_names(
    listener: Listener, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    recorded = write_recording(tmp_path / "bag")
    listener.subscribe("/robot/words", String)
    listener.subscribe(MAP, String)
    topics = ("--topics", CHATTER, MAP, "--remap", f"{CHATTER}:=/robot/words")
    process = start(tmp_path / "bag", *topics, "--wait-for-subscribers", DEADLINE_S)
    wait_until(lambda: len(listener.heard["/robot/words"]) > 0, "the first words")
    assert not {IMAGE, INFO, CHATTER, "/clock"} & listener.topics()
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, "")
    wait_until(lambda: len(listener.heard["/robot/words"]) == FRAMES, "all words")
    assert listener.heard == {"/robot/words": recorded[CHATTER], MAP: recorded[MAP]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_looped_recording_jumps_back_in_time_until_a_signal_ends_it(
    listener: Listener, tmp_path: Path, start: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    recorded = write_recording(tmp_path / "bag")
    for topic, kind in (("/clock", Clock), (IMAGE, Image)):
        listener.subscribe(topic, kind)
    options = ("--topics", IMAGE, "--loop", "--clock", "--hold-out", 3, "--rate", 3)
    waiting = ("--wait-for-subscribers", DEADLINE_S, "--report", tmp_path / "r.json")
    process = start(tmp_path / "bag", *options, *waiting)
    one_pass = [raw for index, raw in enumerate(recorded[IMAGE]) if index % 3 != 2]
    wait_until(lambda: len(listener.heard[IMAGE]) >= 2 * len(one_pass) + 1, "a third pass")
    process.send_signal(number)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    assert errors == ""
    assert listener.heard[IMAGE][: 2 * len(one_pass)] == 2 * one_pass
    begin_ns = START_NS + 7_000_000
    wait_until(lambda: [*map(clock_ns, listener.heard["/clock"])].count(begin_ns) >= 3, "the clock of three passes")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["interrupted"] is True and report["passes"] >= 2
    assert report["frames_held_out"] == [frame_stamp_ns(index) for index in (2, 5, 8, 11)]


def test_a_signal_before_the_first_message_ends_it_too(
    listener: Listener, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    write_recording(tmp_path / "bag")
    process = start(tmp_path / "bag", "--wait-for-subscribers", 600, "--report", tmp_path / "r.json")
    wait_until(lambda: MAP in listener.topics(), "the advertisement")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, "")
    assert json.loads((tmp_path / "r.json").read_text())["messages"] == {}


def test_topics_without_subscribers_are_named_when_the_waiting_is_over(domain_id: int, tmp_path: Path) -> None:
    write_recording(tmp_path / "bag")
    done = play(tmp_path / "bag", "--wait-for-subscribers", 0.1, "--rate", 10)
    assert done.returncode == 0
    assert done.stderr == (f"play_bag: nobody subscribes to {IMAGE}, {INFO}, {CHATTER}, {MAP}; playing all the same\n")


def test_of_a_node_only_the_topics_that_it_takes_are_waited_for(listener: Listener, tmp_path: Path) -> None:
    """A real robot's bag has many that nobody hears."""
    write_recording(tmp_path / "bag")
    listener.subscribe(IMAGE, Image)
    waiting = ("--wait-for-subscribers", DEADLINE_S, "--wait-for-node", "/listener")
    done = play(tmp_path / "bag", *waiting, "--rate", 10)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(listener.heard[IMAGE]) == FRAMES


def test_a_node_that_takes_other_images_is_told_of_soon(listener: Listener, tmp_path: Path) -> None:
    write_recording(tmp_path / "bag")
    listener.subscribe("/front/image_raw", Image)
    done = play(tmp_path / "bag", "--wait-for-subscribers", 10 * DEADLINE_S, "--wait-for-node", "/listener")
    assert done.returncode == 2
    assert f"/listener listens to /front/image_raw, and the recording has images on {IMAGE}" in done.stderr


@pytest.mark.parametrize(
    ("first", "kind"), [(IMAGE, Image), (f"{IMAGE}/compressed", CompressedImage)], ids=["images", "other images"]
)
def test_a_node_of_which_not_all_is_discovered_yet_is_waited_for(
    listener: Listener, domain_id: int, tmp_path: Path, first: str, kind: type[object]
) -> None:
    """Discovery tells of a node's subscriptions one by one."""
    write_recording(tmp_path / "bag")
    listener.subscribe(first, kind)

    class SubscribingMeanwhile(StopSignal):
        def sleep_until(self, deadline_s: float) -> None:
            for topic, late in ((IMAGE, Image), (INFO, CameraInfo)):
                if topic not in listener.heard:
                    listener.subscribe(topic, late)
            super().sleep_until(deadline_s)

    context = Context()
    rclpy.init(context=context, domain_id=domain_id)
    node = Node("play_bag", context=context)
    options = Options(
        tmp_path / "bag", topics=(IMAGE, INFO), wait_for_subscribers_s=DEADLINE_S, wait_for_node="/listener"
    )
    with open_recording(options.path, options.topics) as recording:
        player = Player(node, recording, options, SubscribingMeanwhile())
        wait_until(lambda: first in taken_by(node, "/listener"), "the first subscription")
        player.wait_for_subscribers()
        assert [node.count_subscribers(topic) for topic in (IMAGE, INFO)] == [1, 1]
    node.destroy_node()
    context.try_shutdown()


def test_a_node_that_does_not_come_is_named_when_the_waiting_is_over(domain_id: int, tmp_path: Path) -> None:
    write_recording(tmp_path / "bag")
    done = play(tmp_path / "bag", "--wait-for-subscribers", 0.1, "--wait-for-node", "/robot1/fsm", "--rate", 10)
    assert done.returncode == 0
    assert done.stderr == "play_bag: nobody subscribes to images for /robot1/fsm; playing all the same\n"


def truncate(folder: Path) -> None:
    (data,) = folder.glob("*.mcap")
    data.write_bytes(data.read_bytes()[:-500])


def unknown_type(folder: Path) -> None:
    with Writer(folder, version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP) as writer:
        thing = writer.add_connection("/thing", "acme_msgs/msg/Thing", msgdef="string data", rihs01="RIHS01_0")
        writer.write(thing, START_NS, b"\x00\x01\x00\x00")


def test_topics_of_types_that_are_not_installed_are_left_out_and_told(listener: Listener, tmp_path: Path) -> None:
    with Writer(tmp_path / "bag", version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP) as writer:
        thing = writer.add_connection("/thing", "acme_msgs/msg/Thing", msgdef="string data", rihs01="RIHS01_0")
        words = writer.add_connection(CHATTER, "std_msgs/msg/String", typestore=STORE)
        said = bytes(STORE.serialize_cdr(ros.std_msgs__msg__String("hello"), words.msgtype))
        writer.write(thing, START_NS, b"\x00\x01\x00\x00")
        writer.write(words, START_NS, said)
    listener.subscribe(CHATTER, String)
    done = play(tmp_path / "bag", "--wait-for-subscribers", DEADLINE_S)
    assert done.returncode == 0
    assert done.stderr == "play_bag: left out, as their types are not known here: /thing (acme_msgs/msg/Thing)\n"
    wait_until(lambda: listener.heard[CHATTER] == [on_the_wire(said)], "the words beside it")


@pytest.mark.parametrize(
    ("prepare", "arguments", "reason"),
    [
        (lambda folder: None, (), "there is no recording at"),
        (lambda folder: folder.mkdir(), (), "metadata"),
        (lambda folder: [write_recording(folder), truncate(folder)], (), "cut short"),
        (unknown_type, (), "acme_msgs/msg/Thing of /thing is not installed: install the package acme_msgs"),
        (unknown_type, ("--topics", "/thing"), "acme_msgs/msg/Thing of /thing is not installed: install the package"),
        (
            write_recording,
            ("--topics", "/nothing"),
            f"no topic /nothing: choose from {INFO}, {IMAGE}, {CHATTER}",
        ),
        (write_recording, ("--remap", "/nothing:=/other"), "--remap names /nothing"),
        (write_recording, ("--remap", f"{CHATTER}:=/not a name"), "cannot be published as /not a name"),
    ],
    ids=[
        "missing",
        "no recording",
        "truncated",
        "unknown type",
        "unknown type that was asked for",
        "unknown topic",
        "unknown remap",
        "bad name",
    ],
)
def test_what_cannot_be_played_ends_with_code_2_and_one_sentence(
    domain_id: int, tmp_path: Path, prepare: Callable[[Path], object], arguments: Sequence[str], reason: str
) -> None:
    prepare(tmp_path / "bag")
    done = play(tmp_path / "bag", *arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert done.stderr.startswith("play_bag: ") and done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_damage_in_the_middle_is_found_while_playing(domain_id: int, tmp_path: Path) -> None:
    write_recording(tmp_path / "bag")
    (data,) = (tmp_path / "bag").glob("*.mcap")
    raw = bytearray(data.read_bytes())
    place = raw.index(b"frame 5") - 34  # the length of the record that holds these words
    raw[place : place + 8] = struct.pack("<Q", 10**12)
    data.write_bytes(raw)
    done = play(tmp_path / "bag")
    assert done.returncode == 2
    assert "cut short" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rate", "0"),
        ("--rate", "nan"),
        ("--rate", "-1"),
        ("--hold-out", "-1"),
        ("--remap", "/a"),
        ("--remap", ":=/b"),
    ],
)
def test_arguments_without_a_meaning_are_refused(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bag", *arguments])
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_arguments_of_ros_go_to_ros() -> None:
    words = ["bag", "--ros-args", "-r", "__ns:=/robot", "--", "--remap", "/a:=/b"]
    own, for_ros = split_ros_arguments(words)
    assert own == ["bag", "--remap", "/a:=/b"]
    assert for_ros == ["--ros-args", "-r", "__ns:=/robot", "--"]


def connection(
    topic: str, msgtype: str = "std_msgs/msg/String", profiles: Sequence[Qos] = (), messages: int = 3
) -> Connection:
    definition = MessageDefinition(MessageDefinitionFormat.NONE, "")
    return Connection(1, topic, msgtype, definition, "", messages, ConnectionExtRosbag2("cdr", list(profiles)), None)


def test_static_transforms_are_latched_whatever_was_recorded() -> None:
    """Many recordings say nothing of QoS; and one publisher has to keep what several said."""
    static = connection("/tf_static", "tf2_msgs/msg/TFMessage", [qos(QosDurability.VOLATILE)], messages=4)
    assert is_latched(static)
    profile = publisher_qos(static)
    assert profile.durability is DurabilityPolicy.TRANSIENT_LOCAL
    assert profile.depth == 4


def test_other_topics_are_latched_if_they_were() -> None:
    assert not is_latched(connection("/tf", profiles=[]))
    assert not is_latched(connection("/map", profiles=[qos(QosDurability.VOLATILE)]))
    mixed = [qos(QosDurability.VOLATILE), qos(QosDurability.TRANSIENT_LOCAL)]
    assert is_latched(connection("/map", profiles=mixed))


def test_publishers_are_reliable_even_where_the_driver_was_not() -> None:
    profile = publisher_qos(connection(IMAGE, "sensor_msgs/msg/Image", [qos(QosDurability.VOLATILE)]))
    assert profile.reliability is ReliabilityPolicy.RELIABLE
    assert profile.durability is DurabilityPolicy.VOLATILE


@pytest.mark.parametrize("msgtype", ["acme_msgs/msg/Thing", "std_msgs/msg/Nothing", "nonsense"])
def test_a_type_that_is_not_installed_is_named(msgtype: str) -> None:
    with pytest.raises(BagError, match=msgtype):
        message_class(connection("/thing", msgtype))


def test_header_stamps_are_read_in_either_byte_order() -> None:
    stamp_ns = 1_748_779_200_123_456_789
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    assert header_stamp_ns(b"\x00\x01\x00\x00" + struct.pack("<iI", seconds, nanoseconds)) == stamp_ns
    assert header_stamp_ns(b"\x00\x00\x00\x00" + struct.pack(">iI", seconds, nanoseconds)) == stamp_ns
    with pytest.raises(BagError, match="no header"):
        header_stamp_ns(b"\x00\x01\x00\x00\x01")
