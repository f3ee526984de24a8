# SPDX-License-Identifier: Apache-2.0
"""A recording of ROS 1 as ROS 2 would have made it, converted by rosbags message by message while it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rosbags.convert.converter import LATCH, STATIC_MSGTYPE_RENAMES, migrate_bytes
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection, ConnectionExtRosbag1, ConnectionExtRosbag2
from rosbags.typesys import Stores, get_typestore


class Ros1AsRos2:
    """What a reader of rosbag2 would give.

    Attributes:
        connections: of topics that begin with a slash, latched where they were. Those of a type that ROS 2 does not
            have stay of ROS 1, and have no messages.
        start_time: of the earliest message, nanoseconds.
        end_time: after the latest.
    """

    def __init__(self, reader: AnyReader) -> None:
        """Args: of ROS 1, open for as long as this is used."""
        self._reader = reader
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._defaults: dict[str, object] = {}
        self.connections = [self._as_ros2(connection) for connection in reader.connections]
        self.start_time, self.end_time = reader.start_time, reader.end_time

    def messages(self, connections: Sequence[Connection]) -> Iterator[tuple[Connection, int, memoryview]]:
        """Connection, time of arrival (ns) and message as CDR, in the order of arrival."""
        known = {c.id: c for c in self.connections if isinstance(c.ext, ConnectionExtRosbag2)}
        for source, arrival_ns, raw in self._reader.messages(connections):
            if connection := known.get(source.id):
                stores, types = (self._reader.typestore, self._store), (source.msgtype, connection.msgtype)
                cdr = migrate_bytes(*stores, *types, self._defaults, raw, src_is2=False, dst_is2=True)
                yield connection, arrival_ns, cdr

    def _as_ros2(self, connection: Connection) -> Connection:
        topic = f"/{connection.topic.lstrip('/')}"
        msgtype = STATIC_MSGTYPE_RENAMES.get(connection.msgtype, connection.msgtype)
        if msgtype not in self._store.fielddefs:
            return connection._replace(topic=topic)
        is_latched = isinstance(connection.ext, ConnectionExtRosbag1) and connection.ext.latching
        return connection._replace(
            topic=topic, msgtype=msgtype, ext=ConnectionExtRosbag2("cdr", LATCH if is_latched else [])
        )
