# SPDX-License-Identifier: Apache-2.0
"""ROS 1 recordings made by hand, of the messages that `recordings` makes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from recordings import Message
from rosbags.rosbag1 import Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

OLD_TF_TYPE = "tf/msg/tfMessage"
NOETIC = get_typestore(Stores.ROS1_NOETIC)
for _name in (OLD_TF_TYPE, "tf2_msgs/msg/TFMessage"):  # packages of their own, which rosbags does not bring
    NOETIC.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", _name))


def write_ros1_bag(
    path: Path,
    messages: Iterable[Message],
    compression: Writer.CompressionFormat | None = None,
    many_nodes: Collection[str] = (),
) -> Path:
    """A recording of (topic, type, time in ns, message of ROS 2); on some topics every message is of another node."""
    writer = Writer(path)
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        connections = {}
        for number, (topic, msgtype, stamp_ns, message) in enumerate(messages):
            said_by = topic, f"/node{number}" if topic in many_nodes else None
            if said_by not in connections:
                connections[said_by] = writer.add_connection(topic, msgtype, typestore=NOETIC, callerid=said_by[1])
            raw = NOETIC.serialize_ros1(as_ros1(message, msgtype), msgtype)
            writer.write(connections[said_by], stamp_ns, raw)
    return path


def as_ros1(message: Any, msgtype: str | None = None) -> Any:  # noqa: ANN401
    """The same message in ROS 1: headers are numbered, and a calibration's D, K, R, P are capitals."""
    if isinstance(message, list):
        return [as_ros1(entry) for entry in message]
    if not is_dataclass(message):
        return message
    kind: Any = NOETIC.types[msgtype or vars(type(message))["__msgtype__"]]
    return kind(
        **{
            field.name: 0
            if field.name == "seq"
            else as_ros1(getattr(message, field.name, getattr(message, field.name.lower(), None)))
            for field in fields(kind)
            if field.init
        }
    )
