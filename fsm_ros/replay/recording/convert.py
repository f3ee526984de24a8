# SPDX-License-Identifier: Apache-2.0
"""Converts a recording of posed images that is no bag into a rosbag2: images, calibrations and TF.

What comes out: the images on ``/camera/image_raw/compressed`` (or ``/camera/image_raw``), the lens as it is on
``/camera/camera_info``, and on ``/tf`` the pose of ``camera_optical_frame`` in ``map`` at the very stamp of every
image, so that nothing is interpolated when it is read again.

- **World**: axes and origin are the recording's own. Its unit is taken for metres; a structure-from-motion knows no
  unit, and `convert` can be told how long its own is.
- **Stamps** are the recording's where they begin after 0. Where they begin at 0 or before, which for TF means "the
  newest there is", they are moved so that they begin at `bag_writer.EPOCH_NS`. Images are sorted by them. Images of
  the same moment, which a camera cannot take from two places, are put one microsecond apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fsm_ros.replay.recording.bag_writer import (
    EPOCH_NS,
    LAST_STAMP_NS,
    TF_TOPIC,
    TF_TYPE,
    BagWriter,
    transform,
    transforms,
)
from fsm_ros.replay.recording.camera_topics import CameraTopics
from fsm_ros.replay.recording.settings import CAMERA_NAME, METRES_PER_UNIT, WORLD_FRAME, Codec
from fsm_ros.sources.recorded import RecordedCamera

APART_NS = 1_000
"""Between images of the same moment."""
DEFAULT_TOPICS = CameraTopics(CAMERA_NAME, Codec.JPEG)


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        path: the recording.
        images: how many.
        duration_s: from the first to the last.
        topics: messages, by topic.
        moved_apart: images that had the moment of another.
        began_anew: whether the stamps were moved to begin at `bag_writer.EPOCH_NS`.
    """

    path: Path
    images: int
    duration_s: float
    topics: Mapping[str, int]
    moved_apart: int
    began_anew: bool


def convert(
    source: RecordedCamera,
    path: Path,
    *,
    topics: CameraTopics = DEFAULT_TOPICS,
    world_frame: str = WORLD_FRAME,
    metres_per_unit: float = METRES_PER_UNIT,
    progress: bool = False,
) -> Converted:
    """Write a recording as a rosbag2 folder (mcap).

    Args:
        source: see `fsm_ros.sources.opening.open_rig`.
        path: folder to create; it appears only when it is complete.
        topics: name of the camera, and how its images are stored.
        world_frame: TF frame that poses are expressed in.
        metres_per_unit: how long the unit of the source's world is.
        progress: whether to show a bar, on a terminal.

    Raises:
        ValueError: a frame name or unit that makes no sense, or stamps that no message can hold.
        FileExistsError: there is something at `path`.
        SourceError: an image cannot be read.
    """
    if not world_frame or world_frame.startswith("/") or world_frame == topics.frame_id:
        raise ValueError(
            f"{world_frame!r} cannot be the world's frame: take a name without a leading slash other than "
            f"{topics.frame_id}"
        )
    if not (math.isfinite(metres_per_unit) and metres_per_unit > 0):
        raise ValueError(f"the unit of the world must have a positive length, got {metres_per_unit} m")
    order = np.argsort(source.stamps_ns, kind="stable")
    stamps_ns, moved_apart, began_anew = _stamps(source.stamps_ns[order])
    poses = source.world_from_camera.copy()
    poses[:, :3, 3] *= metres_per_unit
    with BagWriter(path) as bag:
        bag.declare(TF_TOPIC, TF_TYPE, depth=100)
        topics.declare(bag)
        for index, stamp_ns in tqdm(
            zip(order.tolist(), stamps_ns, strict=True),
            total=len(stamps_ns),
            desc=source.name,
            unit="image",
            disable=None if progress else True,
        ):
            frame = source.read(index)
            pose = transform(world_frame, topics.frame_id, poses[index], stamp_ns)
            bag.write(TF_TOPIC, stamp_ns, transforms(pose))  # first: whoever listens can place the image at once
            topics.write(bag, stamp_ns, frame.image, frame.camera, stamp_ns)
    seconds = (stamps_ns[-1] - stamps_ns[0]) / 1e9
    return Converted(path, len(stamps_ns), seconds, bag.counts, moved_apart, began_anew)


def _stamps(sorted_ns: NDArray[np.int64]) -> tuple[Sequence[int], int, bool]:
    """Stamps that a recording can have, how many had to be moved apart, and whether they begin anew."""
    # Python's integers: differences of any two int64 fit.
    values: list[int] = sorted_ns.tolist()
    began_anew = values[0] <= 0
    shift_ns = EPOCH_NS - values[0] if began_anew else 0
    stamps: list[int] = []
    moved_apart = 0
    for value in values:
        stamp_ns = value + shift_ns
        if stamps and stamp_ns <= stamps[-1]:
            stamp_ns = stamps[-1] + APART_NS
            moved_apart += 1
        stamps.append(stamp_ns)
    if stamps[-1] > LAST_STAMP_NS:
        raise ValueError(
            f"the stamps end {stamps[-1] / 1e9:.0f} s after 1970, and those of ROS messages at "
            f"{LAST_STAMP_NS / 1e9:.0f} s (2038): give them in the unit that the format asks for, or counted from the "
            "first image"
        )
    return stamps, moved_apart, began_anew
