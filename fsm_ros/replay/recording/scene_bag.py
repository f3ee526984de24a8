# SPDX-License-Identifier: Apache-2.0
"""Records a drive through a procedural scene as a rosbag2: what a robot with one camera or two would have recorded.

TF is that of a robot: localisation (``map`` to ``odom``), odometry (``odom`` to ``base_link``) and the mounts, each at
a rate of its own, none at the moment of an exposure. The world of ``map`` is the scene's: z up, metres.

With two cameras, ``front`` is the one that drives its way through the scene, and ``side`` is held by an arm that
swings out by up to 0.8 m and turns by up to 0.6 rad. Both take their images at the same moments. So the images of
``side``, withheld, are the truth of views off the observed way at observed times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from fsm_ros.replay.recording.bag_writer import (
    EPOCH_NS,
    STATIC_TF_TOPIC,
    TF_TOPIC,
    TF_TYPE,
    BagWriter,
    transform,
    transforms,
)
from fsm_ros.replay.recording.camera_topics import CameraTopics
from fsm_ros.replay.recording.robot import Robot
from fsm_ros.replay.recording.scene_drive import find_drive
from fsm_ros.replay.recording.scene_robot import Arm
from fsm_ros.replay.recording.scene_world import CLEARANCE_M, SceneWorld
from fsm_ros.replay.recording.settings import CAMERA_NAME, SceneBagSettings, image_times_ns
from fsm_ros.replay.recording.tf_motion import MARGIN_NS, FrameMotion, moving_transforms
from fsm_ros.stream.frame import Camera, Distortion
from fsm_ros.training.scene_settings import DepthInput
from fsm_ros.training.scenes.depth_sensor import measured

FIELD_OF_VIEW_RAD = np.deg2rad(75.0)
"""Horizontal."""
LENS = (-0.11, 0.025, 0.0009, -0.0007, 0.0)
"""Coefficients of a small camera's lens (plumb_bob)."""

DEPTH_FOCAL_RATIO = 0.9
"""Focal length of a depth camera over that of the camera it is beside."""
DEPTH_MOUNT = np.eye(4)
"""Its optical frame in that camera's: 5 cm to the left, not turned."""
DEPTH_MOUNT[0, 3] = -0.05

_MAP_PERIOD_NS, _MAP_PHASE_NS = 100_000_000, 53_000_000
_ODOM_PERIOD_NS, _ODOM_PHASE_NS = 20_000_000, 7_000_000
_ARM_PERIOD_NS, _ARM_PHASE_NS = 20_000_000, 13_000_000
_IMAGE_LATENCY_NS = 18_000_000
_BATCH = 8


def camera_of(settings: SceneBagSettings) -> Camera:
    """Intrinsics of every camera, the middle of the image on the optical axis, and its lens."""
    focal = 0.5 * settings.width / float(np.tan(0.5 * FIELD_OF_VIEW_RAD))
    pinhole = Camera(settings.width, settings.height, focal, focal, 0.5 * settings.width, 0.5 * settings.height)
    return replace(pinhole, distortion=Distortion.PLUMB_BOB, coefficients=LENS) if settings.lens else pinhole


def topics_of(settings: SceneBagSettings) -> tuple[CameraTopics, ...]:
    """Of each camera, the one that drives its way first."""
    names = (CAMERA_NAME,) if settings.cameras == 1 else ("front", "side")
    with_depth = settings.depth is not DepthInput.NONE
    return tuple(CameraTopics(name, settings.codec, settings.quality, with_depth) for name in names)


def depth_camera(camera: Camera) -> Camera:
    """The pinhole of the depth camera beside a camera: of as many pixels, and a somewhat wider view."""
    focal = DEPTH_FOCAL_RATIO * camera.fx
    return Camera(camera.width, camera.height, focal, focal, 0.5 * camera.width, 0.5 * camera.height)


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
    times_ns = image_times_ns(settings.duration_s, settings.rate_hz)
    last_s = times_ns[-1] / 1e9
    with BagWriter(path) as bag:
        world, robot = find_drive(
            settings.family, settings.seed, duration_s=settings.duration_s, difficulty=settings.difficulty
        )
        arm = None
        if settings.cameras == 2:
            arm = Arm.around(robot, world.clearance_m, least_m=CLEARANCE_M, duration_s=last_s)
        write_drive(
            bag,
            world,
            robot,
            topics_of(settings),
            camera_of(settings),
            times_ns,
            arm=arm,
            depth=settings.depth,
            progress=progress,
        )
    return Recorded(path, len(times_ns), last_s, bag.counts, world.number, last_s / robot.lap_s)


def write_drive(
    bag: BagWriter,
    world: SceneWorld,
    robot: Robot,
    topics: Sequence[CameraTopics],
    camera: Camera,
    times_ns: Sequence[int],
    *,
    arm: Arm | None = None,
    depth: DepthInput = DepthInput.NONE,
    progress: bool = False,
) -> None:
    """Write TF, images and calibrations of a drive, in the order of their arrival.

    Args:
        bag: open, with nothing declared.
        world: what the cameras see.
        robot: where they are.
        topics: of each camera, the robot's first.
        camera: size, intrinsics and lens of all.
        times_ns: moments of the images since the first, which has the stamp `EPOCH_NS`.
        arm: holds the second camera, where there is one.
        depth: what the depth cameras measure of those topics that have one.
        progress: whether to show a bar, on a terminal.
    """
    bag.declare(STATIC_TF_TOPIC, TF_TYPE, depth=1, latched=True)
    bag.declare(TF_TOPIC, TF_TYPE, depth=100)
    for each in topics:
        each.declare(bag)
    stamps_ns = [EPOCH_NS + time_ns for time_ns in times_ns]
    begin_ns = stamps_ns[0] - MARGIN_NS
    mount = transform("base_link", topics[0].frame_id, robot.base_from_camera, begin_ns)
    static = [mount, *(transform(t.frame_id, t.depth_frame_id, DEPTH_MOUNT, begin_ns) for t in topics if t.with_depth)]
    motions = [
        FrameMotion("map", "odom", robot.map_from_odom, _MAP_PERIOD_NS, _MAP_PHASE_NS),
        FrameMotion("odom", "base_link", robot.odom_from_base, _ODOM_PERIOD_NS, _ODOM_PHASE_NS),
    ]
    if arm is not None:
        first, second = (each.frame_id for each in topics)
        motions.append(FrameMotion(first, second, arm.first_from_second, _ARM_PERIOD_NS, _ARM_PHASE_NS))
    # Everything but the images is small: gathered, then sorted into the order of arrival.
    messages: list[tuple[int, str | CameraTopics, object]] = [(begin_ns, STATIC_TF_TOPIC, transforms(*static))]
    messages += moving_transforms(motions, stamps_ns[0], stamps_ns[-1])
    messages += [
        (EPOCH_NS + time_ns + _IMAGE_LATENCY_NS, each, EPOCH_NS + time_ns) for time_ns in times_ns for each in topics
    ]
    with tqdm(
        total=len(topics) * len(times_ns), desc="rendering", unit="image", disable=None if progress else True
    ) as bar:
        images = _images(world, robot, arm, camera, np.array(times_ns) / 1e9)
        eye, rng = depth_camera(camera), torch.Generator().manual_seed(world.number)
        for arrival_ns, topic, message in sorted(messages, key=lambda entry: entry[0]):
            if isinstance(message, int) and isinstance(topic, CameraTopics):
                topic.write(bag, arrival_ns, next(images), camera, message)
                if topic.with_depth:
                    time_s = (message - EPOCH_NS) / 1e9
                    pose = robot.map_from_camera(time_s)
                    if arm is not None and topic is topics[1]:
                        pose = pose @ arm.first_from_second(time_s)
                    depth_m = world.depth_m(eye, pose @ DEPTH_MOUNT, time_s)
                    seen = measured(depth, depth_m[None], torch.from_numpy(eye.fxfycxcy)[None], rng)[0]
                    topic.write_depth(bag, arrival_ns, seen.numpy(), eye, message)
                bar.update()
            else:
                bag.write(str(topic), arrival_ns, message)


def _images(
    world: SceneWorld, robot: Robot, arm: Arm | None, camera: Camera, times_s: NDArray[np.float64]
) -> Iterator[NDArray[np.uint8]]:
    """``[height, width, 3]`` uint8 RGB of every moment and camera in turn, rendered a few moments at a time."""
    for first in range(0, len(times_s), _BATCH):
        moments = times_s[first : first + _BATCH]
        poses: list[NDArray[np.float64]] = []
        for time_s in moments.tolist():
            pose = robot.map_from_camera(time_s)
            poses += [pose] if arm is None else [pose, pose @ arm.first_from_second(time_s)]
        yield from world.render(camera, np.stack(poses), moments.repeat(1 if arm is None else 2))
