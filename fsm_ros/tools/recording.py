# SPDX-License-Identifier: Apache-2.0
"""A recording as serialized messages of ROS 2, in the order of their arrival."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection, ConnectionExtRosbag2, QosDurability

from fsm_ros.sources.bags.cameras import IMAGE_TYPES, is_depth_topic
from fsm_ros.sources.bags.messages import BagError
from fsm_ros.sources.bags.reading import damaged, open_bag
from fsm_ros.stream.held_out import is_held_out
from fsm_ros.tools.recording_ros1 import Ros1AsRos2

STATIC_TF_TOPIC = "/tf_static"


class Recording:
    """The recorded messages that are to be played, in the order of their arrival."""

    def __init__(self, reader: AnyReader | Ros1AsRos2, path: Path, topics: Sequence[str]) -> None:
        """Choose from an open reader.

        Raises:
            BagError: a topic is not in the recording, or there is nothing to play.
        """
        known = {connection.topic for connection in reader.connections}
        if missing := sorted(set(topics) - known):
            choice = ", ".join(sorted(known)) or "none"
            raise BagError(f"{path} has no topic {', '.join(missing)}: choose from {choice}")
        self.connections = [c for c in reader.connections if c.msgcount and (not topics or c.topic in topics)]
        if not self.connections:
            raise BagError(f"{path} has no messages to play: record it again, or choose other topics")
        self._reader, self._path = reader, path
        self.start_ns, self.end_ns = reader.start_time, reader.end_time

    def messages(self, connections: Sequence[Connection] = ()) -> Iterator[tuple[Connection, int, bytes]]:
        """Connection, time of arrival (ns) and serialized message (CDR).

        Raises:
            BagError: the file is damaged.
        """
        messages = self._reader.messages(connections or self.connections)
        while True:
            try:
                connection, arrival_ns, raw = next(messages)
            except StopIteration:
                return
            except Exception as error:
                raise damaged(self._path, error) from error
            yield connection, arrival_ns, bytes(raw)

    def held_out_stamps(self, every: int) -> frozenset[int]:
        """Header stamps (ns) of every N-th image of each image topic: those of index N-1, 2N-1, and so on."""
        images = [c for c in self.connections if is_picture(c)]
        if every == 0 or not images:
            return frozenset()
        counts: dict[str, int] = {}
        stamps: set[int] = set()
        for connection, _, raw in self.messages(images):
            index = counts[connection.topic] = counts.get(connection.topic, -1) + 1
            if is_held_out(index, every):
                stamps.add(header_stamp_ns(raw))
        return frozenset(stamps)


def is_picture(connection: Connection) -> bool:
    """Whether it is of images that may be held out: a depth camera's images belong to them."""
    return connection.msgtype in IMAGE_TYPES and not is_depth_topic(connection.topic)


def is_latched(connection: Connection) -> bool:
    """Whether late subscribers get what was said before: /tf_static, and what was recorded so."""
    recorded = connection.ext.offered_qos_profiles if isinstance(connection.ext, ConnectionExtRosbag2) else []
    return connection.topic == STATIC_TF_TOPIC or any(
        qos.durability is QosDurability.TRANSIENT_LOCAL for qos in recorded
    )


def header_stamp_ns(raw: bytes) -> int:
    """Stamp of a serialized message that begins with a std_msgs/Header (CDR: 4 bytes of encapsulation first).

    Raises:
        BagError: too short to have one.
    """
    if len(raw) < 12:
        raise BagError(f"a message of {len(raw)} bytes has no header: the recording is damaged")
    sec, nanosec = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)
    return int(sec) * 1_000_000_000 + int(nanosec)


@contextmanager
def open_recording(path: Path, topics: Sequence[str] = ()) -> Iterator[Recording]:
    """Open a recording, for as long as the context lasts.

    Raises:
        BagError: there is none, or it is damaged or cut short.
    """
    with open_bag(path) as reader:
        yield Recording(reader if reader.is2 else Ros1AsRos2(reader), path, topics)
