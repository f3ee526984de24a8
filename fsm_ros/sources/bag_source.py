"""One camera of a rosbag as frames to pick from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from fsm_ros.sources.bag_cameras import CameraBag, find_camera
from fsm_ros.sources.bag_index import ImageRecord, read_index, read_record
from fsm_ros.sources.bag_messages import BagError, camera_of, decode_image
from fsm_ros.sources.bag_poses import BagPoses
from fsm_ros.sources.bag_reading import open_bag, open_reader
from fsm_ros.sources.process_local import ProcessLocal
from fsm_ros.sources.source import Track, check_index
from fsm_ros.stream.frame import Camera, PosedImage
from fsm_ros.stream.transforms import TransformError

_logger = logging.getLogger(__name__)


class BagSource(Track):
    """The images of one camera that have a pose, in the order of the recording; see `source.PosedSource`.

    Opening it reads the recording once for stamps, calibrations and transforms. An image is then found by its
    arrival in the recording's own index. Stamps are the acquisition times of the headers; poses are those of the
    optical frame in the world frame at the stamps, interpolated, in metres.

    Attributes:
        frames_without_pose: images that were left out, because TF does not say where the camera was.
    """

    def __init__(self, path: Path, *, world_frame: str = "map", image_topic: str | None = None) -> None:
        """Index a recording.

        Args:
            path: a rosbag2 folder or file, or a .bag of ROS 1.
            world_frame: frame that the poses are expressed in.
            image_topic: which camera, where the recording has several.

        Raises:
            BagError: the recording cannot be read, leaves no choice or more than one, or has no pose for any image.
        """
        self._bag = find_camera(path, image_topic)
        topic, info_topic = self._bag.image_topic, self._bag.info_topic
        with open_bag(path) as reader:
            index = read_index(reader, path, image_topics=(topic,), info_topics=(info_topic,), with_transforms=True)
        self._calibrations = index.calibrations[info_topic]
        self._records, poses, self.frames_without_pose = _records_with_pose(
            self._bag, index.records[topic], BagPoses(index.transforms), world_frame
        )
        super().__init__(np.array([record.stamp_ns for record in self._records], dtype=np.int64), np.stack(poses))
        self._reader = ProcessLocal(partial(open_reader, path), AnyReader.close)

    @property
    def name(self) -> str:
        """Name of the folder or file."""
        return self._bag.path.stem

    def camera(self, index: int) -> Camera:
        """Intrinsics and lens of one image, which is decoded for that: a compressed message does not tell its size.

        Raises:
            IndexError: there is no such frame.
            BagError: as `read`.
        """
        return self.read(index).camera

    def read(self, index: int) -> PosedImage:
        """One frame; its source is the camera's frame.

        Raises:
            IndexError: there is no such frame.
            BagError: the image or its calibration cannot be used, or the recording was changed meanwhile.
        """
        check_index(index, len(self), f"{self._bag.path} {self._bag.image_topic}")
        record = self._records[index]
        image = decode_image(read_record(self._reader.get(), self._bag, record))
        camera = camera_of(self._calibrations.at(record.stamp_ns), image.shape[1], image.shape[0])
        return self._posed(index, image, camera, record.frame_id)

    def close(self) -> None:
        """Close the recording until it is read again."""
        self._reader.close()


def _records_with_pose(
    bag: CameraBag, every: Sequence[ImageRecord], where: BagPoses, world_frame: str
) -> tuple[tuple[ImageRecord, ...], list[NDArray[np.float64]], int]:
    """Images with a pose, their poses, and how many have none."""
    kept: list[ImageRecord] = []
    poses: list[NDArray[np.float64]] = []
    first_failure: TransformError | None = None
    for record in every:
        try:
            poses.append(where.world_from_camera(world_frame, record.frame_id, record.stamp_ns, every[0].stamp_ns))
            kept.append(record)
        except TransformError as error:
            first_failure = first_failure or error
    missing = len(every) - len(kept)
    if first_failure is not None:
        if not kept:
            raise BagError(
                f"{bag.path} has no pose for any of its {missing} images: {first_failure}"
            ) from first_failure
        _logger.warning("left out %d of %d images of %s: %s", missing, len(every), bag.path, first_failure)
    return tuple(kept), poses, missing
