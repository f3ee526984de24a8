# SPDX-License-Identifier: Apache-2.0
"""Everything that a recording says of its cameras, in one pass: where their images are, calibrations and transforms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from rosbags.highlevel import AnyReader
from rosbags.typesys.stores.ros2_jazzy import (
    sensor_msgs__msg__CameraInfo as CameraInfo,
)
from rosbags.typesys.stores.ros2_jazzy import (
    sensor_msgs__msg__CompressedImage as CompressedImage,
)
from rosbags.typesys.stores.ros2_jazzy import (
    sensor_msgs__msg__Image as Image,
)
from rosbags.typesys.stores.ros2_jazzy import (
    tf2_msgs__msg__TFMessage as TFMessage,
)

from fsm_ros.messages.calibrations import Calibration, calibration_at
from fsm_ros.messages.images import image_size
from fsm_ros.messages.stamps import stamp_to_ns
from fsm_ros.sources.bags.cameras import IMAGE_TYPES, INFO_TYPE, CameraBag
from fsm_ros.sources.bags.messages import BagError
from fsm_ros.sources.bags.reading import connections_of, damaged, messages
from fsm_ros.sources.bags.rounds import rounds_of
from fsm_ros.stream.transforms import StampedTransform

TF_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
"""Of tf2, and of its predecessor in ROS 1; the messages are alike."""

STATIC_TF_TOPIC = "tf_static"


@dataclass(frozen=True)
class ImageRecord:
    """Where in a recording an image is, and what its header says; nothing is decoded.

    Attributes:
        arrival_ns: when it was recorded, nanoseconds; recordings are indexed by that.
        repeat: how many images of the topic come before it with the same arrival.
        stamp_ns: acquisition time of its header, nanoseconds.
        frame_id: the camera's optical frame.
        size: width and height in pixels; None for a compressed image, which does not tell.
        round: how often time had begun anew by then; see `rounds`.
    """

    arrival_ns: int
    repeat: int
    stamp_ns: int
    frame_id: str
    size: tuple[int, int] | None
    round: int


@dataclass(frozen=True)
class Calibrations:
    """The camera infos of a recording, each of which holds until the next.

    Attributes:
        calibrations: in the order of their stamps, at least one.
    """

    calibrations: tuple[Calibration, ...]

    def at(self, stamp_ns: int) -> Calibration:
        """See :func:`fsm_ros.messages.calibrations.calibration_at`."""
        found = calibration_at(self.calibrations, stamp_ns)
        if found is None:
            raise ValueError("there is no calibration")
        return found

    def rectified(self) -> Calibrations:
        """Those of the rectified images."""
        return Calibrations(tuple(calibration.rectified() for calibration in self.calibrations))


@dataclass(frozen=True, eq=False)
class BagIndex:
    """What one pass over a recording finds.

    Attributes:
        records: images of each image topic, in the order of the recording.
        calibrations: of each camera info topic.
        transforms: all, in the order of the recording; those on a topic named ``tf_static`` hold at all times.
        transform_rounds: of each: how often time had begun anew by then; None where it holds at all times.
    """

    records: Mapping[str, tuple[ImageRecord, ...]]
    calibrations: Mapping[str, Calibrations]
    transforms: tuple[StampedTransform, ...]
    transform_rounds: tuple[int | None, ...]

    def transforms_of(self, number: int) -> list[StampedTransform]:
        """The transforms of one round, and those that hold at all times.

        Where time began anew for the images only, a link has none: then those of its last round before.
        """
        of_each = [*zip(self.transforms, self.transform_rounds, strict=True)]
        last: dict[str, int] = {}
        for transform, of in of_each:
            if of is not None and of <= number:
                last[transform.child] = max(of, last.get(transform.child, 0))
        return [transform for transform, of in of_each if of in (None, last.get(transform.child, number))]


def read_index(
    reader: AnyReader,
    path: Path,
    *,
    image_topics: Collection[str] = (),
    info_topics: Collection[str] = (),
    with_transforms: bool = False,
) -> BagIndex:
    """Read what is asked for, in one pass; no image is decoded.

    Args:
        reader: of the recording, open.
        path: of the recording.
        image_topics: whose images are listed.
        info_topics: whose calibrations are read; of two with the same stamp the later one.
        with_transforms: whether TF is.

    Raises:
        BagError: the recording cannot be read, or has no calibration on a topic.
    """
    records: dict[str, list[ImageRecord]] = {topic: [] for topic in image_topics}
    stamped: list[tuple[Hashable, int]] = []
    repeats: Counter[tuple[str, int]] = Counter()
    calibrations: dict[str, dict[int, Calibration]] = {topic: {} for topic in info_topics}
    transforms: list[StampedTransform] = []
    wanted = [
        *connections_of(reader, IMAGE_TYPES, image_topics),
        *connections_of(reader, (INFO_TYPE,), info_topics),
        *(connections_of(reader, TF_TYPES) if with_transforms else ()),
    ]
    for connection, arrival_ns, message in messages(reader, path, wanted):
        if connection.msgtype in IMAGE_TYPES:
            image = cast("Image | CompressedImage", message)
            repeat = repeats[connection.topic, arrival_ns]
            repeats[connection.topic, arrival_ns] += 1
            frame_id = image.header.frame_id.lstrip("/")
            stamp_ns = stamp_to_ns(image.header.stamp)
            records[connection.topic].append(
                ImageRecord(arrival_ns, repeat, stamp_ns, frame_id, image_size(image), len(stamped))
            )
            stamped.append((connection.topic, stamp_ns))
        elif connection.msgtype == INFO_TYPE:
            calibration = Calibration.of(cast("CameraInfo", message))
            calibrations[connection.topic][calibration.stamp_ns] = calibration
        else:
            is_static = connection.topic.rpartition("/")[2] == STATIC_TF_TOPIC
            said = _transforms(cast("TFMessage", message), is_static)
            transforms += said
            stamped += [((each.parent, each.child), each.stamp_ns) for each in said if not is_static]
    for topic, by_stamp in calibrations.items():
        if not by_stamp:
            raise BagError(f"{path} has no camera info on {topic}: record it with the images")
    rounds = rounds_of(stamped)
    of_transforms = iter(number for (stream, _), number in zip(stamped, rounds, strict=True) if stream not in records)
    return BagIndex(
        records={
            topic: tuple(replace(record, round=rounds[record.round]) for record in found)
            for topic, found in records.items()
        },
        calibrations={
            topic: Calibrations(tuple(by_stamp[stamp_ns] for stamp_ns in sorted(by_stamp)))
            for topic, by_stamp in calibrations.items()
        },
        transforms=tuple(transforms),
        transform_rounds=tuple(None if each.is_static else next(of_transforms) for each in transforms),
    )


def read_record(reader: AnyReader, bag: CameraBag, record: ImageRecord) -> Image | CompressedImage:
    """The message of one image, found by its arrival.

    Args:
        reader: of this recording, open.
        bag: the camera.
        record: one of its `BagIndex.records`.

    Raises:
        BagError: the recording cannot be read, or has changed since.
    """
    connections = connections_of(reader, IMAGE_TYPES, (bag.image_topic,))
    try:
        found = reader.messages(connections, start=record.arrival_ns, stop=record.arrival_ns + 1) if connections else ()
        for repeat, (connection, _, raw) in enumerate(found):
            if repeat == record.repeat:
                return cast("Image | CompressedImage", reader.deserialize(raw, connection.msgtype))
    except Exception as error:
        raise damaged(bag.path, error) from error
    raise BagError(f"{bag.path} has no image at {record.arrival_ns} ns any more: open it again, it was changed")


def _transforms(message: TFMessage, is_static: bool) -> list[StampedTransform]:
    found = []
    for stamped in message.transforms:
        move, turn = stamped.transform.translation, stamped.transform.rotation
        found.append(
            StampedTransform(
                parent=stamped.header.frame_id.lstrip("/"),
                child=stamped.child_frame_id.lstrip("/"),
                stamp_ns=stamp_to_ns(stamped.header.stamp),
                translation=(move.x, move.y, move.z),
                quaternion=(turn.x, turn.y, turn.z, turn.w),
                is_static=is_static,
            )
        )
    return found
