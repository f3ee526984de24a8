# SPDX-License-Identifier: Apache-2.0
"""Opens rosbags, of ROS 2 and of ROS 1, and reads messages out of them; damage of any kind has one error.

ROS 1 names its types, topics and fields nearly as ROS 2 does; rosbags makes the types' names alike
(``sensor_msgs/Image`` is ``sensor_msgs/msg/Image``), what else differs is told where it is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

from fsm_ros.sources.bags.files import open_any
from fsm_ros.sources.bags.messages import BagError

ROS_1_SUFFIX = ".bag"


@contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """A reader of a recording, for as long as the context lasts.

    Raises:
        BagError: there is none, or it is damaged.
    """
    reader = open_reader(path)
    try:
        yield reader
    finally:
        reader.close()


def open_reader(path: Path) -> AnyReader:
    """A reader of a rosbag2 folder or file, or of a ROS 1 bag, open.

    Raises:
        BagError: there is none, or it is damaged.
    """
    if not path.exists():
        raise BagError(
            f"there is no recording at {path}: give a rosbag2 folder, a .mcap or .db3 file, or a .bag of ROS 1"
        )
    if path.is_dir() and path.suffix == ROS_1_SUFFIX:
        raise BagError(
            f"{path} is a folder that has the name of a ROS 1 file, and rosbags takes it for one: name it otherwise, "
            f"mv {path} {path.with_suffix('')}"
        )
    try:
        for database in path.glob("*.db3") if path.is_dir() else [path] if path.suffix == ".db3" else []:
            _check_whole_pages(database)
        reader = open_any(path)
    except Exception as error:
        raise damaged(path, error) from error
    return reader


def damaged(path: Path, error: Exception) -> BagError:
    """What to say of bytes that cannot be read.

    A damaged file makes the parsers fail in as many ways as there are bytes; all mean the same here.
    """
    kind = "ROS 1" if path.suffix == ROS_1_SUFFIX else "rosbag2"
    return BagError(
        f"{path} cannot be read ({type(error).__name__}: {error}): it is no {kind} recording or was cut short; copy "
        f"it again, or repair it ({_repair(path)})"
    )


def connections_of(
    reader: AnyReader, types: Collection[str], topics: Collection[str] | None = None
) -> list[Connection]:
    """What the recording has of some types, on all topics or only on some."""
    return [c for c in reader.connections if c.msgtype in types and (topics is None or c.topic in topics)]


def messages(reader: AnyReader, path: Path, wanted: Sequence[Connection]) -> Iterator[tuple[Connection, int, object]]:
    """Connection, arrival in nanoseconds and deserialized message, in the order of the recording.

    Raises:
        BagError: it is damaged, or has fewer messages than it says itself.
    """
    if not wanted:  # to rosbags that would mean everything
        return
    found, left = reader.messages(wanted), sum(connection.msgcount for connection in wanted)
    while True:
        try:
            connection, arrival_ns, raw = next(found)
            message = reader.deserialize(raw, connection.msgtype)
        except StopIteration:
            break
        except Exception as error:
            raise damaged(path, error) from error
        left -= 1
        yield connection, arrival_ns, message
    if left > 0:
        topics = ", ".join(sorted({connection.topic for connection in wanted}))
        raise BagError(
            f"{path} says that it has {left} messages more on {topics} than there are: it was cut short, or changed "
            f"since; copy it again, or repair it ({_repair(path)})"
        )


def _check_whole_pages(path: Path) -> None:
    """Check that a database does not end within a page, which SQLite would fill with zeros.

    Source: SQLite, "Database File Format", 1.2 (the header) and 1.3.2 (page size).

    Raises:
        ValueError: it does.
    """
    with path.open("rb") as file:
        page_bytes = int.from_bytes(file.read(18)[16:], "big")
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    if page_bytes and path.stat().st_size % page_bytes:
        raise ValueError(f"{path.name} ends within a page of {page_bytes} bytes")


def _repair(path: Path) -> str:
    return "rosbag reindex" if path.suffix == ROS_1_SUFFIX else "mcap recover, ros2 bag reindex"
