"""The cameras of a rosbag as a rig: what its topics and transforms say, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from fsm_ros.sources.bag_cameras import BagTopics, CameraBag, choose_cameras
from fsm_ros.sources.bag_index import BagIndex, ImageRecord, read_index, read_record
from fsm_ros.sources.bag_messages import BagError, camera_of, decode_image
from fsm_ros.sources.bag_poses import BagPoses
from fsm_ros.sources.bag_reading import open_bag, open_reader
from fsm_ros.sources.process_local import ProcessLocal
from fsm_ros.sources.rig import Rig, RigFrame
from fsm_ros.stream.frame import Camera, validate_rigid
from fsm_ros.stream.transforms import TransformError


class BagReader:
    """Decodes the images of some cameras of a bag; see `rig.FrameReader`."""

    def __init__(self, path: Path, bags: Mapping[str, CameraBag], index: BagIndex, *, rectified: bool = False) -> None:
        """Take what one pass over the recording found.

        Args:
            path: of the recording.
            bags: where each camera is, by its name.
            index: of their images and calibrations.
            rectified: the images are rectified: their intrinsics are those of ``CameraInfo.p``.

        Raises:
            BagError: a calibration has no such intrinsics.
        """
        self._bags = dict(bags)
        self._records = {name: index.records[bag.image_topic] for name, bag in bags.items()}
        calibrations = {name: index.calibrations[bag.info_topic] for name, bag in bags.items()}
        self._calibrations = {name: own.rectified() if rectified else own for name, own in calibrations.items()}
        self._reader = ProcessLocal(partial(open_reader, path), AnyReader.close)

    def decode(self, frame: RigFrame) -> tuple[NDArray[np.uint8], Camera]:
        """``[height, width, 3]`` uint8 RGB, and its camera.

        Raises:
            BagError: the image or its calibration cannot be used, or the recording was changed meanwhile.
        """
        record = self._records[frame.camera][frame.index]
        image = decode_image(read_record(self._reader.get(), self._bags[frame.camera], record))
        return image, camera_of(self._calibrations[frame.camera].at(record.stamp_ns), image.shape[1], image.shape[0])

    def size(self, camera: str) -> tuple[int, int]:
        """Width and height in pixels of a camera's first image.

        Raises:
            BagError: its calibration cannot be used, or is of another size.
        """
        record = self._records[camera][0]
        calibration = self._calibrations[camera].at(record.stamp_ns)
        size = record.size or calibration.delivered_size
        camera_of(calibration, *size)
        return size

    def close(self) -> None:
        """Close the recording until it is read again."""
        self._reader.close()


def open_bag_rig(path: Path, cameras: Sequence[str], world_frame: str | None, *, rectified: bool = False) -> Rig:
    """Open some cameras of a bag; see `rig.open_rig`.

    Raises:
        BagError: as there.
    """
    with open_bag(path) as reader:
        bags = choose_cameras(BagTopics.of(reader, path), cameras)
        index = read_index(
            reader,
            path,
            image_topics={bag.image_topic for bag in bags.values()},
            info_topics={bag.info_topic for bag in bags.values()},
            with_transforms=True,
        )
    decoder = BagReader(path, bags, index, rectified=rectified)
    sizes = {name: decoder.size(name) for name in bags}
    poses = BagPoses(index.transforms)
    records = {name: index.records[bag.image_topic] for name, bag in bags.items()}
    camera_frames = {name: sorted({record.frame_id for record in own}) for name, own in records.items()}
    if world_frame is None:
        world_frame = poses.find_world_frame(path, [frame for own in camera_frames.values() for frame in own])
    else:
        poses.check_world_frame(path, world_frame)
    start_ns = min(record.stamp_ns for own in records.values() for record in own)
    frames = [
        _frame(name, number, record, poses, world_frame, start_ns)
        for name, own in records.items()
        for number, record in enumerate(own)
    ]
    if all(frame.world_from_camera is None for frame in frames):
        causes = "; ".join(dict.fromkeys(frame.why_no_pose for frame in frames))
        raise BagError(f"{path} has no pose in '{world_frame}' for any of its {len(frames)} images: {causes}")
    parts = [
        f"{len(records[name])} images on {bag.image_topic} ({sizes[name][0]}x{sizes[name][1]}, "
        f"{' and '.join(camera_frames[name])}), calibration on {bag.info_topic}"
        for name, bag in bags.items()
    ]
    name = path.resolve().stem
    if len(parts) == 1:
        told = f"{name}: {parts[0]}, poses in {world_frame}"
    else:
        named = "; ".join(f"{camera}: {part}" for camera, part in zip(bags, parts, strict=True))
        told = f"{name}: {len(parts)} cameras, poses in {world_frame}; {named}"
    return Rig(name, told, tuple(bags), world_frame, frames, decoder)


def _frame(camera: str, number: int, record: ImageRecord, poses: BagPoses, world_frame: str, start_ns: int) -> RigFrame:
    pose, why_not = None, ""
    silence = poses.silence(world_frame, record.frame_id, record.stamp_ns)
    try:
        if silence is None:
            pose = poses.tree.target_from_source(world_frame, record.frame_id, record.stamp_ns)
            validate_rigid(pose)  # links that are sound may add up to more than a float holds
        else:
            why_not = silence.told(start_ns)
    except (TransformError, ValueError) as error:
        pose, why_not = None, str(error)
    return RigFrame(camera, number, record.arrival_ns, record.stamp_ns, pose, why_not, record.frame_id)
