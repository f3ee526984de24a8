# SPDX-License-Identifier: Apache-2.0
"""Writes the demo's recording: a robot that drives a small loop in a room where things move.

The recording is what a real robot would give: raw images through a distorting lens, their CameraInfo, and TF
from three sources (localisation, odometry, the mount), none of which speaks at the moment of an exposure.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fsm_ros.replay.recording.bag_writer import EPOCH_NS, BagWriter
from fsm_ros.replay.recording.camera_topics import CameraTopics
from fsm_ros.replay.recording.robot import Robot, level_pose
from fsm_ros.replay.recording.scene_bag import LENS, write_drive
from fsm_ros.replay.recording.scene_world import SceneWorld, lively_worlds
from fsm_ros.replay.recording.settings import image_times_ns
from fsm_ros.stream.frame import Camera, Distortion
from fsm_ros.training.scenes import Family, SceneSettings, SceneSource, Split

START_NS = EPOCH_NS
TOPICS = CameraTopics("camera")
# Pixel centres at half-integers, as everywhere in this project; the message gets 0.5 less.
DEMO_CAMERA = Camera(320, 240, 204.0, 204.6, 161.8, 119.1, Distortion.PLUMB_BOB, LENS)

SETTINGS = SceneSettings(families=((Family.ROOM, 1.0),), difficulty=(0.25, 0.35), photographs=False, sensor=0.0)
"""Clean pictures of rooms, a third of whose objects move; no photographs, so that scikit-image is not needed."""
FEWEST_OBJECTS = 7
LEAST_TRAVEL_M = 0.2
CANDIDATES = 500
"""Scenes that are looked at, at most, before a seed is given up."""

_TURN_RAD = np.deg2rad(300.0)
_LOOP_RADIUS_M = 0.25


@dataclass(frozen=True)
class DemoRobot(Robot):
    """A robot that turns on a circle around the middle of the room, not at even speed; see `Robot`.

    Attributes:
        duration_s: in which it turns by 300 degrees.
    """

    duration_s: float

    def map_from_base(self, time_s: float) -> NDArray[np.float64]:
        """See `Robot`."""
        progress = time_s / self.duration_s
        angle = _TURN_RAD * (progress + 0.02 * np.sin(4.0 * np.pi * progress))
        place = (_LOOP_RADIUS_M * np.cos(angle), _LOOP_RADIUS_M * np.sin(angle), 0.0)
        return level_pose(place, angle + np.pi / 2.0)

    def map_from_odom(self, time_s: float) -> NDArray[np.float64]:
        """See `Robot`."""
        place = (0.012 * time_s, 0.03 * np.sin(0.4 * time_s), 0.0)
        return level_pose(place, np.deg2rad(1.5) * np.sin(0.3 * time_s))

    @property
    def base_from_camera(self) -> NDArray[np.float64]:
        """See `Robot`: level, forward, a metre above the floor."""
        mount = level_pose((0.08, 0.0, 1.0), 0.0)
        mount[:3, :3] = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
        return mount


def write_demo_bag(
    path: Path, *, seed: int = 0, duration_s: float = 11.0, rate_hz: float = 10.0, camera: Camera = DEMO_CAMERA
) -> Path:
    """Write a rosbag2 folder (mcap) of one drive; equal arguments give equal messages.

    Args:
        path: folder to create; it appears only when it is complete.
        seed: of the scene.
        duration_s: time between the first image and the end, seconds; the robot turns by 300 degrees in it.
        rate_hz: images a second; images are `duration_s * rate_hz` in number.
        camera: size, intrinsics and lens.

    Returns:
        `path`.

    Raises:
        ValueError: duration or rate is not positive, or no image fits.
        FileExistsError: there is something at `path`.
    """
    times_ns, robot = image_times_ns(duration_s, rate_hz), DemoRobot(duration_s)
    with BagWriter(path) as bag:
        write_drive(bag, find_demo_world(seed, robot, duration_s), robot, (TOPICS,), camera, times_ns)
    return path


def find_demo_world(seed: int, robot: Robot, duration_s: float) -> SceneWorld:
    """The world of a seed: the first of its scenes that is lively, and leaves the robot its way.

    The scenes are numbers 0, 1, 2, ... of the supply ``SceneSource(seed, Split.REPORT, SETTINGS)``, so worlds of
    different seeds share nothing.

    Args:
        seed: of the supply, not negative.
        robot: that drives its way there.
        duration_s: of the recording, seconds.

    Raises:
        ValueError: a negative seed, or none of the first `CANDIDATES` scenes fits.
    """
    source = SceneSource(seed, Split.REPORT, SETTINGS, torch.device("cpu"))
    for world in lively_worlds(
        source, CANDIDATES, duration_s, fewest_objects=FEWEST_OBJECTS, least_travel_m=LEAST_TRAVEL_M
    ):
        if world.keeps_clear(robot, duration_s):
            return world
    raise ValueError(
        f"none of the first {CANDIDATES} scenes of seed {seed} leaves the robot its way of {duration_s:g} s: take "
        "another seed, a shorter recording or a smaller way"
    )
