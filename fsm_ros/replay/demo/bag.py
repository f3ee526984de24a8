"""Writes the demo's recording: a robot that drives a small loop in a room where things move.

The recording is what a real robot would give: raw images through a distorting lens, their CameraInfo, and TF
from three sources (localisation, odometry, the mount), none of which speaks at the moment of an exposure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.replay.demo.world import find_demo_world
from fsm_ros.replay.recording.bag_writer import (
    EPOCH_NS,
    IMAGE_TYPE,
    INFO_TYPE,
    STATIC_TF_TOPIC,
    TF_TOPIC,
    TF_TYPE,
    BagWriter,
    camera_info,
    image,
    transform,
    transforms,
)
from fsm_ros.replay.recording.tf_motion import MARGIN_NS, FrameMotion, moving_transforms
from fsm_ros.stream.frame import Camera, Distortion

IMAGE_TOPIC = "/camera/image_raw"
INFO_TOPIC = "/camera/camera_info"
CAMERA_FRAME = "camera_optical_frame"
START_NS = EPOCH_NS
DEFAULT_DURATION_S = 11.0
TURN_RAD = np.deg2rad(300.0)

# Pixel centres at half-integers, as everywhere in this project; the message gets 0.5 less.
DEMO_CAMERA = Camera(
    width=320,
    height=240,
    fx=204.0,
    fy=204.6,
    cx=161.8,
    cy=119.1,
    distortion=Distortion.PLUMB_BOB,
    coefficients=(-0.11, 0.025, 0.0009, -0.0007, 0.0),
)

_ODOM_PERIOD_NS, _ODOM_PHASE_NS = 20_000_000, 7_000_000
_MAP_PERIOD_NS, _MAP_PHASE_NS = 100_000_000, 53_000_000
_IMAGE_LATENCY_NS = 18_000_000
_LOOP_RADIUS_M = 0.25


@dataclass(frozen=True)
class DemoRobot:
    """Where the robot is: the truth that the images are taken from, and odometry, which drifts away from it.

    Times count from the first image, and may be negative.

    Attributes:
        duration_s: in which it turns by `TURN_RAD`.
    """

    duration_s: float

    def map_from_base(self, time_s: float) -> NDArray[np.float64]:
        """``[4, 4]`` true pose of base_link: on a circle around the middle of the room, not at even speed."""
        progress = time_s / self.duration_s
        angle = TURN_RAD * (progress + 0.02 * np.sin(4.0 * np.pi * progress))
        place = (_LOOP_RADIUS_M * np.cos(angle), _LOOP_RADIUS_M * np.sin(angle), 0.0)
        return _pose(place, angle + np.pi / 2.0)

    def map_from_odom(self, time_s: float) -> NDArray[np.float64]:
        """``[4, 4]`` what localisation has to say about the drift of the odometry; small and slow."""
        place = (0.012 * time_s, 0.03 * np.sin(0.4 * time_s), 0.0)
        return _pose(place, np.deg2rad(1.5) * np.sin(0.3 * time_s))

    def odom_from_base(self, time_s: float) -> NDArray[np.float64]:
        """``[4, 4]`` what the wheels believe."""
        return np.linalg.inv(self.map_from_odom(time_s)) @ self.map_from_base(time_s)

    @property
    def base_from_camera(self) -> NDArray[np.float64]:
        """``[4, 4]`` the mount: level, forward, a metre above the floor (optical axes, REP-103)."""
        mount = _pose((0.08, 0.0, 1.0), 0.0)
        mount[:3, :3] = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
        return mount

    def map_from_camera(self, time_s: float) -> NDArray[np.float64]:
        """``[4, 4]`` true pose of the optical frame."""
        return self.map_from_base(time_s) @ self.base_from_camera


def write_demo_bag(
    path: Path,
    *,
    seed: int = 0,
    duration_s: float = DEFAULT_DURATION_S,
    rate_hz: float = 10.0,
    camera: Camera = DEMO_CAMERA,
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
    if not (duration_s > 0 and rate_hz > 0 and duration_s * rate_hz >= 1):
        raise ValueError(f"a recording needs at least one image, got {duration_s} s at {rate_hz} Hz")
    with BagWriter(path) as bag:
        bag.declare(STATIC_TF_TOPIC, TF_TYPE, depth=1, latched=True)
        bag.declare(TF_TOPIC, TF_TYPE, depth=100)
        bag.declare(INFO_TOPIC, INFO_TYPE)
        bag.declare(IMAGE_TOPIC, IMAGE_TYPE)
        robot = DemoRobot(duration_s)
        image_count = int(np.floor(duration_s * rate_hz + 1e-9))
        stamps_ns = [START_NS + round(index * 1e9 / rate_hz) for index in range(image_count)]
        # Everything but the images is small: gathered, then sorted into the order of arrival.
        messages = [*_transforms(robot, stamps_ns[0], stamps_ns[-1])]
        messages += [(s + _IMAGE_LATENCY_NS, INFO_TOPIC, camera_info(camera, s, CAMERA_FRAME)) for s in stamps_ns]
        messages += [(s + _IMAGE_LATENCY_NS, IMAGE_TOPIC, s) for s in stamps_ns]
        world = find_demo_world(seed, robot.map_from_camera, duration_s)
        for arrival_ns, topic, message in sorted(messages, key=lambda entry: entry[0]):
            if isinstance(message, int):
                time_s = (message - START_NS) / 1e9
                pixels = world.render(camera, robot.map_from_camera(time_s), time_s)
                message = image(pixels, message, CAMERA_FRAME)
            bag.write(topic, arrival_ns, message)
    return path


def _transforms(robot: DemoRobot, first_ns: int, last_ns: int) -> Iterator[tuple[int, str, object]]:
    """TF from half a second before the first image to half a second after the last."""
    begin_ns = first_ns - MARGIN_NS
    yield begin_ns, STATIC_TF_TOPIC, transforms(transform("base_link", CAMERA_FRAME, robot.base_from_camera, begin_ns))
    motions = (
        FrameMotion("map", "odom", robot.map_from_odom, _MAP_PERIOD_NS, _MAP_PHASE_NS),
        FrameMotion("odom", "base_link", robot.odom_from_base, _ODOM_PERIOD_NS, _ODOM_PHASE_NS),
    )
    yield from moving_transforms(motions, first_ns, last_ns)


def _pose(place: tuple[float, float, float], yaw_rad: float) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("z", yaw_rad).as_matrix()
    pose[:3, 3] = place
    return pose


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a recording from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="demo_bag", description="Write the demo's recording.")
    parser.add_argument("--out", type=Path, required=True, help="folder to create")
    parser.add_argument("--seed", type=int, default=0, help="which scene (default: 0)")
    parser.add_argument("--duration", type=float, default=DEFAULT_DURATION_S, help="seconds (%(default)s)")
    parsed = parser.parse_args(arguments)
    try:
        write_demo_bag(parsed.out, seed=parsed.seed, duration_s=parsed.duration)
    except (ValueError, OSError) as error:
        print(f"demo_bag: {error}", file=sys.stderr)
        return 2
    print(f"wrote {parsed.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
