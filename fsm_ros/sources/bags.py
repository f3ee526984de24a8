"""One camera of a rosbag2 recording: its images, intrinsics and poses, read without ROS."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore
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

from fsm_ros.sources.bag_messages import BagError, Calibration, decode_image, stamp_of
from fsm_ros.stream.frame import Camera, PosedImage
from fsm_ros.stream.transforms import StampedTransform, TransformError, TransformTree

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
TF_TYPE = "tf2_msgs/msg/TFMessage"
STATIC_TF_TOPIC = "/tf_static"


@dataclass(frozen=True)
class CameraBag:
    """Where the recording of one camera is.

    Attributes:
        path: a rosbag2 folder, or a single .mcap or .db3 file.
        image_topic: raw or compressed images.
        info_topic: the CameraInfo that belongs to them.
    """

    path: Path
    image_topic: str
    info_topic: str


@dataclass(frozen=True, eq=False)
class BagFrame:
    """A decoded image and what its messages say of it.

    Attributes:
        index: how many images of the topic come before it in the recording.
        stamp_ns: acquisition time of its header, nanoseconds.
        frame_id: the camera's optical frame.
        image: ``[height, width, 3]`` uint8, RGB.
        camera: its intrinsics.
    """

    index: int
    stamp_ns: int
    frame_id: str
    image: NDArray[np.uint8]
    camera: Camera


@dataclass(frozen=True)
class ImageRecord:
    """Where in a recording an image is, and what its header says; nothing is decoded.

    Attributes:
        arrival_ns: when it was recorded, nanoseconds; recordings are indexed by that.
        repeat: how many images of the topic come before it with the same arrival.
        stamp_ns: acquisition time of its header, nanoseconds.
        frame_id: the camera's optical frame.
    """

    arrival_ns: int
    repeat: int
    stamp_ns: int
    frame_id: str


@dataclass(frozen=True)
class Calibrations:
    """The camera infos of a recording, each of which holds until the next.

    Attributes:
        calibrations: in the order of their stamps, at least one.
    """

    calibrations: tuple[Calibration, ...]

    def at(self, stamp_ns: int) -> Calibration:
        """That of the very stamp, else the latest before it, else the first there is."""
        after = bisect_right(self.calibrations, stamp_ns, key=lambda calibration: calibration.stamp_ns)
        return self.calibrations[max(0, after - 1)]


def find_camera(path: Path, image_topic: str | None = None) -> CameraBag:
    """Find the image topic of a recording and the camera info that goes with it.

    Args:
        path: a rosbag2 folder or file.
        image_topic: which one, where the recording has several; raw is preferred to its compressed twin.

    Raises:
        BagError: the recording cannot be read, or what it holds leaves no choice or more than one.
    """
    with open_bag(path) as reader:
        images = sorted({c.topic for c in reader.connections if c.msgtype in IMAGE_TYPES and c.msgcount})
        infos = sorted({c.topic for c in reader.connections if c.msgtype == INFO_TYPE and c.msgcount})
        every = ", ".join(sorted(f"{c.topic} ({c.msgtype})" for c in reader.connections)) or "nothing"
    if image_topic is None:
        bases = {_camera_name(topic) for topic in images}
        if not images:
            raise BagError(f"{path} has no images; it holds {every}: record the camera's image topic")
        if len(bases) > 1:
            raise BagError(f"{path} has several image topics ({', '.join(images)}): choose one of them")
        image_topic = min(images, key=len)
    elif image_topic not in images:
        choice = ", ".join(images) or f"its topics, {every}"
        raise BagError(f"{path} has no images on {image_topic}: choose one of {choice}")
    sibling = _camera_name(image_topic).rsplit("/", 1)[0] + "/camera_info"
    if sibling in infos:
        return CameraBag(path, image_topic, sibling)
    if len(infos) == 1:
        return CameraBag(path, image_topic, infos[0])
    raise BagError(
        f"{path} has no camera info on {sibling} (it has {', '.join(infos) or 'none'}): record the "
        f"calibration together with {image_topic}"
    )


def read_stamps(bag: CameraBag) -> tuple[int, ...]:
    """Header stamps of all images in the order of the recording, nanoseconds; nothing is decoded.

    Raises:
        BagError: the recording cannot be read.
    """
    return tuple(stamp_of(message.header.stamp) for _, message in _images(bag))


def read_records(bag: CameraBag) -> tuple[ImageRecord, ...]:
    """All images in the order of the recording, in one pass; nothing is decoded.

    Raises:
        BagError: the recording cannot be read.
    """
    records: list[ImageRecord] = []
    for arrival_ns, message in _images(bag):
        repeat = records[-1].repeat + 1 if records and records[-1].arrival_ns == arrival_ns else 0
        header = message.header
        records.append(ImageRecord(arrival_ns, repeat, stamp_of(header.stamp), header.frame_id.lstrip("/")))
    return tuple(records)


def read_record(reader: AnyReader, bag: CameraBag, record: ImageRecord) -> Image | CompressedImage:
    """The message of one image, found by its arrival.

    Args:
        reader: of this recording, see `open_reader`.
        bag: the camera.
        record: one of `read_records`.

    Raises:
        BagError: the recording cannot be read, or has changed since.
    """
    connections = [c for c in reader.connections if c.topic == bag.image_topic and c.msgtype in IMAGE_TYPES]
    try:
        found = reader.messages(connections, start=record.arrival_ns, stop=record.arrival_ns + 1)
        for repeat, (connection, _, raw) in enumerate(found):
            if repeat == record.repeat:
                return cast("Image | CompressedImage", reader.deserialize(raw, connection.msgtype))
    except Exception as error:
        raise _damaged(bag.path, error) from error
    raise BagError(f"{bag.path} has no image at {record.arrival_ns} ns any more: open it again, it was changed")


def read_frames(bag: CameraBag, stamps_ns: Collection[int] | None = None) -> Iterator[BagFrame]:
    """Decoded images in the order of the recording.

    Each comes with the camera info of its own stamp, else the latest before it, else the first there is.

    Args:
        bag: see `find_camera`.
        stamps_ns: only the images with these header stamps; None for all.

    Raises:
        BagError: the recording, an image or the calibration cannot be read, or a stamp is not in it.
    """
    calibrations = read_calibrations(bag)
    missing = set() if stamps_ns is None else set(stamps_ns)
    for index, (_, message) in enumerate(_images(bag)):
        stamp_ns = stamp_of(message.header.stamp)
        if stamps_ns is not None and stamp_ns not in stamps_ns:
            continue
        missing.discard(stamp_ns)
        image = decode_image(message)
        camera = calibrations.at(stamp_ns).camera(image.shape[1], image.shape[0])
        yield BagFrame(index, stamp_ns, message.header.frame_id.lstrip("/"), image, camera)
    if missing:
        raise BagError(
            f"{bag.path} has no image on {bag.image_topic} with stamp {min(missing)} ns ({len(missing)} "
            "such): ask for stamps of this very recording"
        )


def read_posed_images(
    bag: CameraBag, world_frame: str = "map", stamps_ns: Collection[int] | None = None
) -> Iterator[PosedImage]:
    """Images together with the recorded pose of the camera at their stamps.

    Args:
        bag: see `find_camera`.
        world_frame: frame that the poses are expressed in.
        stamps_ns: only the images with these header stamps; None for all.

    Raises:
        BagError: the recording cannot be read, or has no pose for one of these images. Where some may lack a
            pose, go through `read_frames` and `read_transforms` one by one.
    """
    transforms = read_transforms(bag.path)
    for frame in read_frames(bag, stamps_ns):
        try:
            world_from_camera = transforms.target_from_source(world_frame, frame.frame_id, frame.stamp_ns)
        except TransformError as error:
            raise BagError(f"{bag.path} has no pose for the image at {frame.stamp_ns} ns: {error}") from error
        yield PosedImage(frame.image, frame.camera, world_from_camera, frame.stamp_ns, source=frame.frame_id)


def read_calibrations(bag: CameraBag) -> Calibrations:
    """Camera infos in the order of their stamps; of two with the same stamp the later one.

    Raises:
        BagError: the recording cannot be read, or has none on this topic.
    """
    by_stamp: dict[int, Calibration] = {}
    for _, _, message in _messages(bag.path, (INFO_TYPE,), bag.info_topic):
        calibration = Calibration.of(cast("CameraInfo", message))
        by_stamp[calibration.stamp_ns] = calibration
    if not by_stamp:
        raise BagError(f"{bag.path} has no camera info on {bag.info_topic}: find_camera names what it has")
    return Calibrations(tuple(by_stamp[stamp_ns] for stamp_ns in sorted(by_stamp)))


def read_transforms(path: Path) -> TransformTree:
    """Everything the recording says on its TF topics; those named ``tf_static`` hold at all times.

    Raises:
        BagError: the recording cannot be read, or a frame in it has two parents.
    """
    transforms: list[StampedTransform] = []
    for topic, _, message in _messages(path, (TF_TYPE,)):
        for stamped in cast("TFMessage", message).transforms:
            move, turn = stamped.transform.translation, stamped.transform.rotation
            transforms.append(
                StampedTransform(
                    parent=stamped.header.frame_id.lstrip("/"),
                    child=stamped.child_frame_id.lstrip("/"),
                    stamp_ns=stamp_of(stamped.header.stamp),
                    translation=(move.x, move.y, move.z),
                    quaternion=(turn.x, turn.y, turn.z, turn.w),
                    is_static=topic.endswith(STATIC_TF_TOPIC),
                )
            )
    try:
        return TransformTree.of(transforms)
    except TransformError as error:
        raise BagError(f"the transforms of {path} are no tree: {error}") from error


@contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """A reader of a rosbag2 folder or file, for as long as the context lasts.

    Raises:
        BagError: there is none, or it is damaged, or of ROS 1.
    """
    reader = open_reader(path)
    try:
        yield reader
    finally:
        reader.close()


def open_reader(path: Path) -> AnyReader:
    """A reader of a rosbag2 folder or file, open.

    Raises:
        BagError: there is none, or it is damaged, or of ROS 1.
    """
    if not path.exists():
        raise BagError(f"there is no recording at {path}: give a rosbag2 folder, or a .mcap or .db3 file")
    if path.suffix == ".bag":
        raise BagError(f"{path} is of ROS 1: convert it, with rosbags-convert --src {path} --dst FOLDER")
    try:
        reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        reader.open()
    except Exception as error:
        raise _damaged(path, error) from error
    return reader


def _damaged(path: Path, error: Exception) -> BagError:
    # A damaged file makes the parsers fail in as many ways as there are bytes; all mean the same here.
    return BagError(
        f"{path} cannot be read ({type(error).__name__}: {error}): it is no rosbag2 recording or was cut "
        "short; copy it again, or repair it (mcap recover, ros2 bag reindex)"
    )


def _messages(path: Path, types: tuple[str, ...], topic: str | None = None) -> Iterator[tuple[str, int, object]]:
    """Topic, arrival in nanoseconds and deserialized message, in the order of the recording."""
    with open_bag(path) as reader:
        wanted: list[Connection] = [c for c in reader.connections if c.msgtype in types and topic in (None, c.topic)]
        if not wanted:
            return
        messages = reader.messages(wanted)
        while True:
            try:
                connection, arrival_ns, raw = next(messages)
                message = reader.deserialize(raw, connection.msgtype)
            except StopIteration:
                return
            except Exception as error:
                raise _damaged(path, error) from error
            yield connection.topic, arrival_ns, message


def _images(bag: CameraBag) -> Iterator[tuple[int, Image | CompressedImage]]:
    """Arrival in nanoseconds, and image."""
    for _, arrival_ns, message in _messages(bag.path, IMAGE_TYPES, bag.image_topic):
        yield arrival_ns, cast("Image | CompressedImage", message)


def _camera_name(image_topic: str) -> str:
    """The raw topic that a compressed one belongs to (image_transport appends the transport's name)."""
    return image_topic.removesuffix("/compressed")
