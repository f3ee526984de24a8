# SPDX-License-Identifier: Apache-2.0
"""The cameras of a rosbag as a rig: what its topics and transforms say, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from fsm_ros.sources.bags.cameras import BagTopics, CameraBag, choose_cameras
from fsm_ros.sources.bags.depths import BagDepth
from fsm_ros.sources.bags.index import BagIndex, Calibrations, ImageRecord, read_index, read_record
from fsm_ros.sources.bags.messages import BagError, camera_of, decode_image
from fsm_ros.sources.bags.poses import BagPoses
from fsm_ros.sources.bags.reading import open_bag, open_reader
from fsm_ros.sources.process_local import ProcessLocal
from fsm_ros.sources.recorded import RecordedCamera, RecordedFrame
from fsm_ros.sources.rig import Rig
from fsm_ros.stream.frame import Camera
from fsm_ros.stream.transforms import TransformError


@dataclass(frozen=True, eq=False)
class BagImages:
    """Decodes the images of one camera of a bag; see `recorded.FrameReader`.

    Attributes:
        bag: where the camera is.
        records: of its images.
        calibrations: of its images; those of ``CameraInfo.p`` where they are rectified.
        reader: of the recording, which its cameras share.
    """

    bag: CameraBag
    records: Sequence[ImageRecord]
    calibrations: Calibrations
    reader: ProcessLocal[AnyReader]

    def camera(self, index: int) -> Camera:
        """Intrinsics and lens of one image, which is decoded where it is compressed, and does not tell its size.

        Raises:
            BagError: as `decode`.
        """
        record = self.records[index]
        if record.size is None:
            return self.decode(index)[1]
        return camera_of(self.calibrations.at(record.stamp_ns), *record.size)

    def decode(self, index: int) -> tuple[NDArray[np.uint8], Camera]:
        """``[height, width, 3]`` uint8 RGB, and its camera.

        Raises:
            BagError: the image or its calibration cannot be used, or the recording was changed meanwhile.
        """
        record = self.records[index]
        image = decode_image(read_record(self.reader.get(), self.bag, record))
        return image, camera_of(self.calibrations.at(record.stamp_ns), image.shape[1], image.shape[0])

    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the first image; nothing is decoded.

        Raises:
            BagError: its calibration cannot be used, or is of another size.
        """
        record = self.records[0]
        calibration = self.calibrations.at(record.stamp_ns)
        size = record.size or calibration.delivered_size
        camera_of(calibration, *size)
        return size

    def close(self) -> None:
        """Close the recording until it is read again."""
        self.reader.close()


def open_bag_rig(path: Path, cameras: Sequence[str], world_frame: str | None, *, rectified: bool = False) -> Rig:
    """Open some cameras of a bag; see `opening.open_rig`.

    Raises:
        BagError: as there.
    """
    with open_bag(path) as reader:
        topics = BagTopics.of(reader, path)
        bags = choose_cameras(topics, cameras)
        depths = {name: depth for name, bag in bags.items() if (depth := topics.depth_of(bag.image_topic)) is not None}
        index = read_index(
            reader,
            path,
            image_topics={*(bag.image_topic for bag in bags.values()), *(bag.image_topic for bag in depths.values())},
            info_topics={bag.info_topic for bag in (*bags.values(), *depths.values()) if bag.info_topic},
            with_transforms=True,
        )
    opened = ProcessLocal(partial(open_reader, path), AnyReader.close)
    readers = {name: _images(bag, index, opened, rectified) for name, bag in bags.items()}
    sizes = {name: images.size() for name, images in readers.items()}
    whole = BagPoses(index.transforms)
    optical_frames = {name: sorted({each.frame_id for each in images.records}) for name, images in readers.items()}
    if world_frame is None:
        world_frame = whole.find_world_frame(path, [frame for own in optical_frames.values() for frame in own])
    else:
        whole.check_world_frame(path, world_frame)
    poses = _poses(index, whole)
    frames = _frames(path, readers, poses, world_frame)
    measured = {
        name: BagDepth(
            depth,
            index.records[depth.image_topic],
            index.calibrations.get(depth.info_topic),
            readers[name].records,
            readers[name].calibrations,
            poses,
            world_frame,
            min(record.stamp_ns for record in readers[name].records),
            opened,
        )
        for name, depth in depths.items()
    }
    parts = [
        f"{len(images.records)} images on {images.bag.image_topic} ({sizes[name][0]}x{sizes[name][1]}, "
        f"{' and '.join(optical_frames[name])}), calibration on {images.bag.info_topic}"
        f"{f', {measured[name].told}' if name in measured else ''}"
        for name, images in readers.items()
    ]
    name = path.resolve().stem
    if len(parts) == 1:
        told = f"{name}: {parts[0]}, poses in {world_frame}"
    else:
        named = "; ".join(f"{camera}: {part}" for camera, part in zip(bags, parts, strict=True))
        told = f"{name}: {len(parts)} cameras, poses in {world_frame}; {named}"
    recorded = [
        RecordedCamera(
            name,
            camera,
            frames[camera],
            readers[camera],
            _notes(frames[camera]),
            image_topic=bag.image_topic,
            info_topic=bag.info_topic,
            depth=measured.get(camera),
        )
        for camera, bag in bags.items()
    ]
    return Rig(told, recorded, world_frame)


def _images(bag: CameraBag, index: BagIndex, opened: ProcessLocal[AnyReader], rectified: bool) -> BagImages:
    calibrations = index.calibrations[bag.info_topic]
    return BagImages(
        bag, index.records[bag.image_topic], calibrations.rectified() if rectified else calibrations, opened
    )


def _poses(index: BagIndex, whole: BagPoses) -> dict[int, BagPoses]:
    """The transforms of each round in which there are images."""
    rounds = {record.round for records in index.records.values() for record in records}
    is_one = {*rounds, *index.transform_rounds} <= {0, None}
    return {0: whole} if is_one else {number: BagPoses(index.transforms_of(number)) for number in rounds}


def _frames(
    path: Path, readers: Mapping[str, BagImages], poses: Mapping[int, BagPoses], world_frame: str
) -> dict[str, tuple[RecordedFrame, ...]]:
    """The images of every camera, each with its pose by the transforms of its own round.

    Raises:
        BagError: none has a pose.
    """
    every = [record for images in readers.values() for record in images.records]
    start_ns = min(record.stamp_ns for record in every)

    def frame(camera: str, number: int, record: ImageRecord) -> RecordedFrame:
        pose, why = None, ""
        try:
            pose = poses[record.round].world_from_camera(world_frame, record.frame_id, record.stamp_ns, start_ns)
        except TransformError as error:
            why = str(error)
        return RecordedFrame(camera, number, record.arrival_ns, record.stamp_ns, pose, why, record.frame_id)

    frames = {
        name: tuple(frame(name, number, record) for number, record in enumerate(images.records))
        for name, images in readers.items()
    }
    causes = dict.fromkeys(each.why_no_pose for own in frames.values() for each in own)
    if "" not in causes:
        raise BagError(f"{path} has no pose in '{world_frame}' for any of its {len(every)} images: {'; '.join(causes)}")
    return frames


def _notes(frames: Sequence[RecordedFrame]) -> tuple[str, ...]:
    causes = [frame.why_no_pose for frame in frames if frame.why_no_pose]
    if not causes:
        return ()
    return (f"left out {len(causes)} of {len(frames)} images without a pose (the first: {causes[0]})",)
