"""One camera of a rosbag: its images, intrinsics and poses, in the order of the recording, read without ROS."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys.stores.ros2_jazzy import (
    sensor_msgs__msg__CompressedImage as CompressedImage,
)
from rosbags.typesys.stores.ros2_jazzy import (
    sensor_msgs__msg__Image as Image,
)

from fsm_ros.messages.stamps import stamp_to_ns
from fsm_ros.sources.bag_cameras import IMAGE_TYPES, CameraBag, find_camera
from fsm_ros.sources.bag_index import Calibrations, ImageRecord, read_index
from fsm_ros.sources.bag_messages import BagError, camera_of, decode_image
from fsm_ros.sources.bag_poses import BagPoses
from fsm_ros.sources.bag_reading import connections_of, messages, open_bag
from fsm_ros.stream.frame import Camera, PosedImage
from fsm_ros.stream.transforms import TransformError, TransformTree

__all__ = [
    "BagFrame",
    "CameraBag",
    "find_camera",
    "read_calibrations",
    "read_frames",
    "read_posed_images",
    "read_records",
    "read_stamps",
    "read_transforms",
]


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


def read_stamps(bag: CameraBag) -> tuple[int, ...]:
    """Header stamps of all images in the order of the recording, nanoseconds; nothing is decoded.

    Raises:
        BagError: the recording cannot be read.
    """
    return tuple(record.stamp_ns for record in read_records(bag))


def read_records(bag: CameraBag) -> tuple[ImageRecord, ...]:
    """All images in the order of the recording, in one pass; nothing is decoded.

    Raises:
        BagError: the recording cannot be read.
    """
    with open_bag(bag.path) as reader:
        return read_index(reader, bag.path, image_topics=(bag.image_topic,)).records[bag.image_topic]


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
    for index, message in enumerate(_images(bag)):
        stamp_ns = stamp_to_ns(message.header.stamp)
        if stamps_ns is not None and stamp_ns not in stamps_ns:
            continue
        missing.discard(stamp_ns)
        image = decode_image(message)
        camera = camera_of(calibrations.at(stamp_ns), image.shape[1], image.shape[0])
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
    with open_bag(bag.path) as reader:
        return read_index(reader, bag.path, info_topics=(bag.info_topic,)).calibrations[bag.info_topic]


def read_transforms(path: Path) -> TransformTree:
    """Everything the recording says on its TF topics; those named ``tf_static`` hold at all times.

    Raises:
        BagError: the recording cannot be read, or a frame in it has two parents.
    """
    with open_bag(path) as reader:
        return BagPoses(read_index(reader, path, with_transforms=True).transforms).tree


def _images(bag: CameraBag) -> Iterator[Image | CompressedImage]:
    with open_bag(bag.path) as reader:
        for _, _, message in messages(reader, bag.path, connections_of(reader, IMAGE_TYPES, (bag.image_topic,))):
            yield cast("Image | CompressedImage", message)
