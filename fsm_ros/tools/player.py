# SPDX-License-Identifier: Apache-2.0
"""Publishes a recording as it was recorded: the publishers, and the loop that feeds them in time."""

from __future__ import annotations

import importlib
import sys
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from rclpy.duration import Duration
from rclpy.exceptions import NameValidationException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Connection, ConnectionExtRosbag1
from rosgraph_msgs.msg import Clock
from tqdm import tqdm

from fsm_ros.sources.bags.cameras import IMAGE_TYPES, INFO_TYPE
from fsm_ros.sources.bags.messages import BagError
from fsm_ros.stream.held_out import is_held_out
from fsm_ros.tools.recording import STATIC_TF_TOPIC, Recording, header_stamp_ns, is_latched, is_picture

if TYPE_CHECKING:
    from fsm_ros.tools.play_bag import Options

CLOCK_PERIOD_S = 0.01
CLOCK_DEPTH = 10
STOP_CHECK_S = 0.02
MIN_PASS_NS = 10_000_000
DELIVERY_LIMIT_S = 5.0
DISCOVERY_S = 2.0
"""A node's subscriptions are discovered one by one: what it takes is believed once it has not changed for so long."""


@dataclass
class Played:
    """What went out so far.

    Attributes:
        frames_published: images, over all image topics.
        frames_held_out: header stamps (ns) of those that were withheld.
        messages: by topic of the recording.
        passes: how many times the recording was played to its end.
        seconds: from the start delay to the last delivery.
        interrupted: whether a signal ended it.
    """

    frames_published: int = 0
    frames_held_out: set[int] = field(default_factory=set)
    messages: dict[str, int] = field(default_factory=dict)
    passes: int = 0
    seconds: float = 0.0
    interrupted: bool = False


@dataclass
class StopSignal:
    """Set by SIGINT and SIGTERM.

    A plain flag, because a lock could be held by the very code that the signal interrupts.
    """

    is_set: bool = False

    def set(self, _number: int, _frame: FrameType | None) -> None:
        """Remember that the process was asked to end."""
        self.is_set = True

    def sleep_until(self, deadline_s: float) -> None:
        """Sleep to a moment of the steady clock, or until stopped."""
        while not self.is_set and (left_s := deadline_s - time.monotonic()) > 0:
            time.sleep(min(left_s, STOP_CHECK_S))


class Player:
    """Publishers for a recording, and the loop that feeds them."""

    def __init__(self, node: Node, recording: Recording, options: Options, stop: StopSignal) -> None:
        """Advertise every topic.

        Raises:
            BagError: a message type is not installed.
        """
        self._node, self._recording, self._options, self._stop = node, recording, options, stop
        self.played = Played()
        remap = options.renamed
        if unknown := sorted(set(remap) - {connection.topic for connection in recording.connections}):
            raise BagError(f"--remap names {', '.join(unknown)}, which is not played: check the spelling")
        self._publishers: dict[str, Publisher] = {}
        self._clock: Publisher | None = None
        if options.clock:
            self._clock = node.create_publisher(Clock, "/clock", CLOCK_DEPTH)
        types = self._types()
        by_topic: dict[str, list[Connection]] = {}
        for connection in recording.connections:
            by_topic.setdefault(connection.topic, []).append(connection)
        for topic, kind in types.items():
            if options.clock and topic == "/clock":
                continue  # one clock is enough: ours goes on between the recorded steps
            name = remap.get(topic, topic)
            try:
                self._publishers[topic] = node.create_publisher(kind, name, publisher_qos(*by_topic[topic]))
            except NameValidationException as error:
                raise BagError(f"{topic} cannot be published as {name}: {error}") from error
        self._latched = [c for own in by_topic.values() if any(map(is_latched, own)) for c in own]
        self._held_out_ns = recording.held_out_stamps(options.hold_out)

    def _types(self) -> dict[str, type[Any]]:
        """Classes of the recorded types by topic. Those that are not known here are left out, and told.

        Raises:
            BagError: nothing is left, or a topic that was asked for by name is of such a type.
        """
        types: dict[str, type[Any]] = {}
        left_out: dict[str, str] = {}
        for connection in self._recording.connections:
            try:
                types[connection.topic] = message_class(connection)
            except BagError as error:
                if connection.topic in self._options.topics:
                    raise
                left_out[f"{connection.topic} ({connection.msgtype})"] = str(error)
        if not types:
            raise BagError(next(iter(left_out.values())))
        if left_out:
            say(f"left out, as their types are not known here: {', '.join(left_out)}")
        return types

    @property
    def is_short(self) -> str | None:
        """What is missing of what the recording promised to hold; ``None`` where nothing is, or it was interrupted."""
        if self.played.interrupted or not self.played.passes:
            return None
        promised = sum(c.msgcount for c in self._recording.connections if c.topic in self._publishers)
        if self._held_out_ns:
            return None if self.played.messages else "nothing was played: less was recorded than is held out"
        played = sum(self.played.messages.values())
        if played >= promised * self.played.passes:
            return None
        return f"{played} messages were played, and {promised} promised: the recording was cut short; copy it again"

    def wait_for_subscribers(self) -> None:
        """Wait until every topic that is waited for has a subscriber; say which have none when the time is over.

        Raises:
            BagError: the node that is waited for takes images, and none of this recording.
        """
        deadline_s = time.monotonic() + self._options.wait_for_subscribers_s
        taken, settled_s = self._taken(), time.monotonic() + DISCOVERY_S
        while time.monotonic() < deadline_s and not self._stop.is_set:
            if (newest := self._taken()) != taken:
                taken, settled_s = newest, time.monotonic() + DISCOVERY_S
            is_settled = not self._options.wait_for_node or time.monotonic() >= settled_s
            if is_settled and (self._takes_others() or not self._unheard()):
                break
            self._stop.sleep_until(time.monotonic() + STOP_CHECK_S)
        if self._options.wait_for_subscribers_s <= 0 or self._stop.is_set:
            return
        if others := self._takes_others():
            raise BagError(others)
        if unheard := self._unheard():
            say(f"nobody subscribes to {', '.join(unheard)}; playing all the same")

    def play(self) -> None:
        """Publish the recording once, or again and again with `Options.loop`, until done or stopped."""
        begin_s = time.monotonic()
        self._stop.sleep_until(begin_s + self._options.start_delay_s)
        try:
            while not self._stop.is_set:
                self._play_once()
                if not self._options.loop:
                    break
            self._wait_for_delivery()
        finally:
            self.played.interrupted = self._stop.is_set
            self.played.seconds = time.monotonic() - begin_s

    def _play_once(self) -> None:
        start_ns, end_ns = self._recording.start_ns, self._recording.end_ns
        counts: dict[str, int] = {}
        self._tick(start_ns)
        early = self._publish_latched()
        # Each pass is timed against its own beginning, so that lateness never adds up.
        begin_s = time.monotonic()
        total_s = (end_ns - start_ns) / 1e9
        look = "{l_bar}{bar}| {n:.1f}/{total:.1f} s"
        with tqdm(total=total_s, bar_format=look, disable=not (self._options.progress and sys.stderr.isatty())) as bar:
            for connection, arrival_ns, raw in self._recording.messages():
                self._wait(begin_s, arrival_ns)
                if self._stop.is_set:
                    return
                self._tick(arrival_ns)
                if early.get(connection.topic, 0) > 0:
                    early[connection.topic] -= 1
                else:
                    self._publish(connection, raw, counts)
                bar.update((arrival_ns - start_ns) / 1e9 - bar.n)
        self._wait(begin_s, max(end_ns, start_ns + MIN_PASS_NS))
        self.played.passes += 1

    def _publish_latched(self) -> dict[str, int]:
        """Publish what must be known from the start; gives how many messages of each topic that were.

        Static transforms hold at all times, so all of them; of any other latched topic the first, because
        later ones are changes that have their time.
        """
        early: dict[str, int] = {}
        for connection, _, raw in self._recording.messages(self._latched) if self._latched else ():
            topic = connection.topic
            if topic == STATIC_TF_TOPIC or topic not in early:
                early[topic] = early.get(topic, 0) + 1
                self._publish(connection, raw, {})
        return early

    def _publish(self, connection: Connection, raw: bytes, counts: dict[str, int]) -> None:
        """Publish one message unless it is held out."""
        topic, is_image = connection.topic, is_picture(connection)
        if topic not in self._publishers:
            return
        if is_image:
            index = counts[topic] = counts.get(topic, -1) + 1
            if is_held_out(index, self._options.hold_out):
                self.played.frames_held_out.add(header_stamp_ns(raw))
                return
        elif connection.msgtype == INFO_TYPE and self._options.hold_out:
            if header_stamp_ns(raw) in self._held_out_ns:
                return
        self._publishers[topic].publish(raw)
        self.played.frames_published += int(is_image)
        self.played.messages[topic] = self.played.messages.get(topic, 0) + 1

    def _wait(self, begin_s: float, arrival_ns: int) -> None:
        """Wait for the moment of a message, with the clock going on meanwhile."""
        rate, start_ns = self._options.rate, self._recording.start_ns
        due_s = begin_s + (arrival_ns - start_ns) / 1e9 / rate
        while self._clock and not self._stop.is_set and (next_s := time.monotonic() + CLOCK_PERIOD_S) < due_s:
            self._stop.sleep_until(next_s)
            self._tick(min(arrival_ns, start_ns + round((time.monotonic() - begin_s) * rate * 1e9)))
        self._stop.sleep_until(due_s)

    def _tick(self, now_ns: int) -> None:
        if self._clock is not None:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(now_ns, 1_000_000_000)
            self._clock.publish(message)

    def _unheard(self) -> list[str]:
        """Topics that are waited for and have no subscriber."""
        publishers = self._all_publishers()
        if self._options.wait_for_node:
            taken = self._taken()
            if self._image_names and self._image_names.isdisjoint(taken):
                return [f"images for {self._options.wait_for_node}"]  # which is not there, or not active yet
            publishers = [(name, publisher) for name, publisher in publishers if publisher.topic_name in taken]
        return [name for name, publisher in publishers if not publisher.get_subscription_count()]

    def _taken(self) -> dict[str, list[str]]:
        """What the node that is waited for subscribes to; nothing where none is."""
        return taken_by(self._node, self._options.wait_for_node) if self._options.wait_for_node else {}

    def _takes_others(self) -> str:
        """What is wrong where the node that is waited for takes images, and none of these; empty where nothing is."""
        listens = {topic for topic, kinds in self._taken().items() if not set(IMAGE_TYPES).isdisjoint(kinds)}
        if not self._image_names or not listens or not self._image_names.isdisjoint(listens):
            return ""
        return (
            f"{self._options.wait_for_node} listens to {', '.join(sorted(listens))}, and the recording has images on "
            f"{', '.join(sorted(self._image_names))}: tell the node of them, or rename them with --remap"
        )

    @property
    def _image_names(self) -> set[str]:
        """Topics that images are published to, as they are called there."""
        kinds = {connection.topic: connection.msgtype for connection in self._recording.connections}
        return {own.topic_name for topic, own in self._publishers.items() if kinds[topic] in IMAGE_TYPES}

    def _all_publishers(self) -> list[tuple[str, Publisher]]:
        """Every publisher with its topic: /clock is waited for, and delivered to the end, as what was recorded is."""
        clock = [("/clock", self._clock)] if self._clock is not None else []
        return clock + list(self._publishers.items())

    def _wait_for_delivery(self) -> None:
        """Give DDS a bounded time to deliver the last messages, which would be lost with the publisher."""
        deadline_s = time.monotonic() + DELIVERY_LIMIT_S
        for topic, publisher in self._all_publishers():
            while not self._stop.is_set and not publisher.wait_for_all_acked(Duration(seconds=STOP_CHECK_S)):
                if time.monotonic() > deadline_s:
                    say(f"not every subscriber of {topic} has taken the last messages")
                    return


def taken_by(node: Node, name: str) -> dict[str, list[str]]:
    """Topics that a node of this full name subscribes to, with their types; none where there is no such node."""
    namespace, _, own = name.rpartition("/")
    try:
        return dict(node.get_subscriber_names_and_types_by_node(own, namespace or "/"))
    except rclpy_implementation.NodeNameNonExistentError:
        return {}


def publisher_qos(*connections: Connection) -> QoSProfile:
    """Reliable, so that nothing is lost on the way, and latched where it was. Args: all of one topic.

    One publisher stands here for all that were recorded, so a latched topic keeps every message it has.
    """
    latched = any(map(is_latched, connections))
    if latched:
        depth = min(max(sum(connection.msgcount for connection in connections), 1), 1000)
    else:
        depth = 30 if connections[0].msgtype in IMAGE_TYPES else 500
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def message_class(connection: Connection) -> type[Any]:
    """The Python class of a recorded type.

    Raises:
        BagError: its package is not installed, or it is of ROS 1 and ROS 2 does not have it.
    """
    if isinstance(connection.ext, ConnectionExtRosbag1):
        raise BagError(
            f"message type {connection.msgtype} of {connection.topic} is of ROS 1, and ROS 2 Jazzy has none of this "
            "name: choose other topics with --topics"
        )
    module, _, name = connection.msgtype.replace("/", ".").rpartition(".")
    try:
        found: type[Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BagError(
            f"message type {connection.msgtype} of {connection.topic} is not installed: install the package "
            f"{module.partition('.')[0]}, or choose other topics with --topics"
        ) from error
    return found


def say(sentence: str) -> None:
    """Tell people, in one line."""
    print("play_bag:", " ".join(sentence.split()), file=sys.stderr)
