# SPDX-License-Identifier: Apache-2.0
"""Small drives to evaluate, whole and damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from fsm_ros.replay.demo.bag import write_demo_bag
from fsm_ros.stream.frame import Camera, Distortion

SMALL = Camera(96, 72, 61.0, 61.2, 48.3, 35.8, Distortion.PLUMB_BOB, (-0.11, 0.025, 0.0009, -0.0007, 0.0))
QUICK: dict[str, object] = {
    "model.threads": 1,
    "memory.extent": 1.0,
    "keyframes.translation": 0.07,
    "keyframes.rotation": 0.2,
}
"""Parameters under which every image of these drives is a keyframe, nearly."""


def drive(path: Path, *, duration_s: float = 6.0, rate_hz: float = 5.0, seed: int = 0) -> Path:
    """A robot in a room, with a lens, odometry that drifts, and TF at its own rates."""
    return write_demo_bag(path, duration_s=duration_s, rate_hz=rate_hz, camera=SMALL, seed=seed)


Change = Callable[[str, int, Any], Any]
"""What becomes of a message (topic, arrival in ns, message): another, or None where it is left out."""


def changed(path: Path, into: Path, change: Change) -> Path:
    """A copy of a recording whose messages are changed or left out."""
    store = get_typestore(Stores.ROS2_JAZZY)
    with (
        AnyReader([path], default_typestore=store) as reader,
        Writer(into, version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        connections = {c.topic: writer.add_connection(c.topic, c.msgtype, typestore=store) for c in reader.connections}
        for connection, arrival_ns, raw in reader.messages():
            message = change(connection.topic, arrival_ns, reader.deserialize(raw, connection.msgtype))
            if message is not None:
                data = store.serialize_cdr(message, connection.msgtype)
                writer.write(connections[connection.topic], arrival_ns, data)
    return into
