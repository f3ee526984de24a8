"""Records a drive through a procedural scene as a rosbag2: what a robot with one camera or two would have recorded.

TF is that of a robot: localisation (``map`` to ``odom``), odometry (``odom`` to ``base_link``) and the mounts, each at
a rate of its own, none at the moment of an exposure. The world of ``map`` is the scene's: z up, metres.

With two cameras, ``front`` is the one that drives its way through the scene, and ``side`` is held by an arm that
swings out by up to 0.8 m and turns by up to 0.6 rad. Both take their images at the same moments. So the images of
``side``, withheld, are the truth of views off the observed way at observed times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fsm_ros.replay.recording.bag_writer import (
    DEFAULT_JPEG_QUALITY,
    EPOCH_NS,
    STATIC_TF_TOPIC,
    TF_TOPIC,
    TF_TYPE,
    BagWriter,
    Codec,
    transform,
    transforms,
)
from fsm_ros.replay.recording.camera_topics import CameraTopics
from fsm_ros.replay.recording.scene_drive import CLEARANCE_M, SceneDrive, find_drive
from fsm_ros.replay.recording.scene_robot import Arm
from fsm_ros.replay.recording.tf_motion import MARGIN_NS, FrameMotion, moving_transforms
from fsm_ros.stream.frame import Camera
from fsm_ros.training.scenes import Family

FIELD_OF_VIEW_RAD = np.deg2rad(75.0)
"""Horizontal."""

_MAP_PERIOD_NS, _MAP_PHASE_NS = 100_000_000, 53_000_000
_ODOM_PERIOD_NS, _ODOM_PHASE_NS = 20_000_000, 7_000_000
_ARM_PERIOD_NS, _ARM_PHASE_NS = 20_000_000, 13_000_000
_IMAGE_LATENCY_NS = 18_000_000
_BATCH = 8


@dataclass(frozen=True)
class SceneBagSettings:
    """Which drive is recorded, and how.

    Attributes:
        family: what kind of place.
        seed: of the scene and the way.
        duration_s: time between the first image and the end, seconds.
        rate_hz: images a second, of each camera.
        width: of the images, pixels.
        height: of the images, pixels.
        difficulty: of the scene, in [0, 1]: how crowded, restless and finely textured it is.
        cameras: 1 (``camera``) or 2 (``front`` and ``side``).
        codec: how images are compressed; None stores them raw.
        quality: of JPEG, 1 to 100.
    """

    family: Family = Family.ROOM
    seed: int = 0
    duration_s: float = 60.0
    rate_hz: float = 10.0
    width: int = 160
    height: int = 120
    difficulty: float = 0.3
    cameras: int = 1
    codec: Codec | None = None
    quality: int = DEFAULT_JPEG_QUALITY

    def __post_init__(self) -> None:
        """Refuse what cannot be recorded.

        Raises:
            ValueError: no image fits, a size that is not positive, or another number of cameras.
        """
        finite = np.isfinite((self.duration_s, self.rate_hz)).all()
        if not (finite and self.duration_s > 0 and self.rate_hz > 0 and self.duration_s * self.rate_hz >= 1):
            raise ValueError(
                f"a recording needs at least one image, got {self.duration_s} s at {self.rate_hz} Hz: record longer"
            )
        if self.width < 1 or self.height < 1:
            raise ValueError(f"images need a positive size, got {self.width}x{self.height} pixels")
        if self.cameras not in (1, 2):
            raise ValueError(f"a drive is recorded by 1 or 2 cameras, got {self.cameras}")

    @property
    def camera(self) -> Camera:
        """Intrinsics of every camera: no lens, and the middle of the image on the optical axis."""
        focal = 0.5 * self.width / float(np.tan(0.5 * FIELD_OF_VIEW_RAD))
        return Camera(self.width, self.height, focal, focal, 0.5 * self.width, 0.5 * self.height)

    @property
    def topics(self) -> tuple[CameraTopics, ...]:
        """Of each camera, the one that drives its way first."""
        names = ("camera",) if self.cameras == 1 else ("front", "side")
        return tuple(CameraTopics(name, self.codec, self.quality) for name in names)

    @property
    def times_ns(self) -> tuple[int, ...]:
        """Moments of the images, counted from the first."""
        count = int(np.floor(self.duration_s * self.rate_hz + 1e-9))
        return tuple(round(index * 1e9 / self.rate_hz) for index in range(count))


@dataclass(frozen=True)
class Recorded:
    """What was written.

    Attributes:
        path: the recording.
        images: of each camera.
        duration_s: from the first image to the last.
        topics: messages, by topic.
        scene: number of the scene in the supply of its seed.
        laps: how often the robot came round.
    """

    path: Path
    images: int
    duration_s: float
    topics: Mapping[str, int]
    scene: int
    laps: float


def record_scene(path: Path, settings: SceneBagSettings, *, progress: bool = False) -> Recorded:
    """Write a rosbag2 folder (mcap) of one drive; equal settings give equal messages.

    Args:
        path: folder to create; it appears only when it is complete.
        settings: which drive.
        progress: whether to show a bar, on a terminal.

    Raises:
        ValueError: no scene of the seed leaves room for a drive, or a setting makes no sense.
        FileExistsError: there is something at `path`.
    """
    stamps_ns = [EPOCH_NS + time_ns for time_ns in settings.times_ns]
    topics = {camera.name: camera for camera in settings.topics}
    with BagWriter(path) as bag:
        bag.declare(STATIC_TF_TOPIC, TF_TYPE, depth=1, latched=True)
        bag.declare(TF_TOPIC, TF_TYPE, depth=100)
        for camera in settings.topics:
            camera.declare(bag)
        drive = find_drive(
            settings.family, settings.seed, duration_s=settings.duration_s, difficulty=settings.difficulty
        )
        arm = None
        if settings.cameras == 2:
            arm = Arm.around(
                drive.robot, drive.clearance_m, least_m=CLEARANCE_M, duration_s=settings.times_ns[-1] / 1e9
            )
        # Everything but the images is small: gathered, then sorted into the order of arrival.
        messages: list[tuple[int, str, object]] = [*_transforms(drive, arm, settings.topics, stamps_ns)]
        messages += [(stamp_ns + _IMAGE_LATENCY_NS, name, stamp_ns) for stamp_ns in stamps_ns for name in topics]
        images = _images(drive, arm, settings, progress)
        for arrival_ns, topic, message in sorted(messages, key=lambda entry: entry[0]):
            if isinstance(message, int):
                topics[topic].write(bag, arrival_ns, next(images), settings.camera, message)
            else:
                bag.write(topic, arrival_ns, message)
    seconds = settings.times_ns[-1] / 1e9
    return Recorded(path, len(stamps_ns), seconds, bag.counts, drive.number, seconds / drive.robot.lap_s)


def _transforms(
    drive: SceneDrive, arm: Arm | None, cameras: Sequence[CameraTopics], stamps_ns: Sequence[int]
) -> Iterator[tuple[int, str, object]]:
    """Arrival, topic and message of all transforms."""
    robot = drive.robot
    begin_ns = stamps_ns[0] - MARGIN_NS
    mount = transform("base_link", cameras[0].frame_id, robot.base_from_camera, begin_ns)
    yield begin_ns, STATIC_TF_TOPIC, transforms(mount)
    motions = [
        FrameMotion("map", "odom", robot.map_from_odom, _MAP_PERIOD_NS, _MAP_PHASE_NS),
        FrameMotion("odom", "base_link", robot.odom_from_base, _ODOM_PERIOD_NS, _ODOM_PHASE_NS),
    ]
    if arm is not None:
        first, second = (camera.frame_id for camera in cameras)
        motions.append(FrameMotion(first, second, arm.first_from_second, _ARM_PERIOD_NS, _ARM_PHASE_NS))
    yield from moving_transforms(motions, stamps_ns[0], stamps_ns[-1])


def _images(
    drive: SceneDrive, arm: Arm | None, settings: SceneBagSettings, progress: bool
) -> Iterator[NDArray[np.uint8]]:
    """``[height, width, 3]`` uint8 RGB of every moment and camera in turn, rendered a few moments at a time."""
    times_s = np.array(settings.times_ns) / 1e9
    total, disable = settings.cameras * len(times_s), None if progress else True
    with tqdm(total=total, desc="rendering", unit="image", disable=disable) as bar:
        for first in range(0, len(times_s), _BATCH):
            moments = times_s[first : first + _BATCH]
            poses = []
            for time_s in moments.tolist():
                pose = drive.robot.map_from_camera(time_s)
                poses += [pose] if arm is None else [pose, pose @ arm.first_from_second(time_s)]
            images = drive.render(settings.camera, np.stack(poses), moments.repeat(settings.cameras))
            bar.update(len(images))
            yield from images
