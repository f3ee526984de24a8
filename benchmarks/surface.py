# SPDX-License-Identifier: Apache-2.0
"""How near exported surfaces are to the true ones, and how much they cover: ``python benchmarks/surface.py --help``.

The drives of ``make_bag --scene``: the images that the node would keep as keyframes are rendered, observed, and the
surfaces exported as the node exports them. The truth is the tracer's: its exact depth in every observed keyframe.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree

from fsm_ros.configuration.model import load_model
from fsm_ros.configuration.settings import Settings
from fsm_ros.replay.recording.bag_writer import EPOCH_NS
from fsm_ros.replay.recording.scene_bag import camera_of, topics_of
from fsm_ros.replay.recording.scene_drive import find_drive
from fsm_ros.replay.recording.scene_robot import Arm
from fsm_ros.replay.recording.scene_world import CLEARANCE_M, SceneWorld
from fsm_ros.replay.recording.settings import SceneBagSettings, image_times_ns
from fsm_ros.spatial.surfaces import Surfaces
from fsm_ros.stream.frame import Photograph, PosedImage
from fsm_ros.surface.cloud import Told, cloud_of
from fsm_ros.surface.mesh import mesh_of
from fsm_ros.training.scenes import Family

CELL = 0.02
"""The true surface is counted in cells of such a share of the scene's size ..."""
SAMPLE = 0.004
"""... and distances to it are measured to points that lie so near to each other."""
NEAR = (0.03, 0.01)
"""What is within such a share of the scene's size is covered."""


@dataclass(frozen=True, eq=False)
class Surveyed:
    """A scene after its drive.

    Attributes:
        size_m: the longest side of the box around it.
        truth: ``[N, 3]`` points of its surfaces that the observed keyframes saw, metres.
        keyframes: how many were observed.
        views: what the kept ones agree on.
        cpu_s: processor time that this took, for each kept one, seconds.
    """

    size_m: float
    truth: NDArray[np.float64]
    keyframes: int
    views: list[Told]
    cpu_s: float


@dataclass(frozen=True)
class Fit:
    """How exported points fit the true surface, in shares of the scene's size.

    Attributes:
        count: of points.
        mean: distance from an exported point to the true surface.
        largest: of 95 % of the points.
        covered: of the seen true surface, with an exported point within each of :data:`NEAR`.
    """

    count: int
    mean: float
    largest: float
    covered: tuple[float, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="*", default=["room:0"], metavar="FAMILY:SEED", help="(room:0)")
    parser.add_argument("--duration", type=float, default=46.0, help="of each drive, seconds (%(default)s)")
    parser.add_argument("--difficulty", type=float, default=0.4, help="of each scene (%(default)s)")
    parser.add_argument("--cameras", type=int, default=2, choices=(1, 2))
    parser.add_argument("--min-confidence", type=float, default=Settings().serving.surfaces.min_confidence)
    options = parser.parse_args(arguments)
    columns = ["scene", "size, m", "keyframes", "kept", "CPU s each", "", "CPU s", "points", "mean distance, %"]
    columns += ["95 % below, %", *(f"covered within {100 * share:g} %, %" for share in NEAR)]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for scene in options.scenes:
        family, _, seed = scene.partition(":")
        bag = SceneBagSettings(
            family=Family(family),
            seed=int(seed or 0),
            duration_s=options.duration,
            difficulty=options.difficulty,
            cameras=options.cameras,
        )
        surveyed = survey(bag, Settings())
        head = (
            f"| {scene} | {surveyed.size_m:.1f} | {surveyed.keyframes} | {len(surveyed.views)} | {surveyed.cpu_s:.2f}"
        )
        for kind, make in (("PLY", _cloud), ("GLB", _mesh)):
            started_s = time.process_time()
            found = make(surveyed.views, options.min_confidence)
            cpu_s = time.process_time() - started_s
            fit = fit_of(found, surveyed)
            shares = (fit.mean, fit.largest, *fit.covered)
            print(
                f"{head} | {kind} | {cpu_s:.1f} | {fit.count} | "
                + " | ".join(f"{100 * share:.2f}" for share in shares)
                + " |"
            )
        sys.stdout.flush()
    return 0


def _cloud(views: Sequence[Told], min_confidence: float) -> NDArray[np.float32]:
    return cloud_of(views, min_confidence).points


def _mesh(views: Sequence[Told], min_confidence: float) -> NDArray[np.float32]:
    return mesh_of(views, min_confidence).vertices


def survey(bag: SceneBagSettings, settings: Settings) -> Surveyed:
    """Drive through a scene, observe it as the node would, and work out what the kept keyframes agree on."""
    world, frames = _drive(bag)
    loaded = load_model(settings)
    memory = loaded.new_memory(settings.memory)
    intake = settings.new_intake()
    truth, count = [], 0
    for pose, time_ns, source in frames:
        stamp_ns = EPOCH_NS + time_ns
        if not intake.judge_pose(pose, stamp_ns, source)[0].accepted:
            continue
        image = world.render(camera_of(bag), pose[None], [time_ns / 1e9])[0]
        keyframe = intake.rectify(PosedImage(image, camera_of(bag), pose, stamp_ns, source))
        truth.append(_true_points(world, keyframe, time_ns / 1e9))
        count += 1
        chunk = intake.keep(keyframe, time_ns / 1e9)
        if chunk is not None:
            memory.observe(chunk)
    rest = intake.flush()
    if rest is not None:
        memory.observe(rest)
    surfaces, started_s = Surfaces(), time.process_time()
    while memory.survey(surfaces):
        pass
    views = surfaces.views()
    cpu_s = (time.process_time() - started_s) / max(1, len(views))
    size_m = float((np.array(world.spec.high) - np.array(world.spec.low)).max())
    return Surveyed(size_m, np.concatenate(truth), count, views, cpu_s)


def fit_of(points: NDArray[np.float32], surveyed: Surveyed) -> Fit:
    """How exported points fit the scene that they were exported from."""
    size_m = surveyed.size_m
    away = KDTree(_one_a_cell(surveyed.truth, SAMPLE * size_m)).query(points)[0] / size_m
    left = KDTree(points).query(_one_a_cell(surveyed.truth, CELL * size_m))[0] / size_m
    covered = tuple(float((left < share).mean()) for share in NEAR)
    return Fit(len(points), float(away.mean()), float(np.quantile(away, 0.95)), covered)


def _drive(bag: SceneBagSettings) -> tuple[SceneWorld, Iterator[tuple[NDArray[np.float64], int, str]]]:
    """A scene, and the poses, moments and cameras of the images of its drive."""
    times_ns = image_times_ns(bag.duration_s, bag.rate_hz)
    world, robot = find_drive(bag.family, bag.seed, duration_s=bag.duration_s, difficulty=bag.difficulty)
    names = [topics.name for topics in topics_of(bag)]
    arm = None
    if bag.cameras == 2:
        last_s = times_ns[-1] / 1e9
        arm = Arm.around(robot, world.clearance_m, least_m=CLEARANCE_M, duration_s=last_s)

    def frames() -> Iterator[tuple[NDArray[np.float64], int, str]]:
        for time_ns in times_ns:
            pose = robot.map_from_camera(time_ns / 1e9)
            yield pose, time_ns, names[0]
            if arm is not None:
                yield pose @ arm.first_from_second(time_ns / 1e9), time_ns, names[1]

    return world, frames()


def _true_points(world: SceneWorld, keyframe: PosedImage, time_s: float) -> NDArray[np.float64]:
    """``[N, 3]`` what a keyframe's photograph saw, in the world, metres; skies are left out."""
    camera = (keyframe.photograph or Photograph(keyframe.image, keyframe.camera)).camera
    pose = keyframe.world_from_camera
    _, depth = world.worlds.render_with_depth(
        torch.zeros(1, dtype=torch.long),
        torch.from_numpy(pose)[None],
        torch.from_numpy(camera.fxfycxcy)[None],
        torch.tensor([world.start_s + time_s]),
        camera.height,
        camera.width,
    )
    depth_m = depth[0].double().numpy()
    column, row = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    slopes = np.stack([(column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy, np.ones_like(row)], axis=-1)
    points = (depth_m[..., None] * slopes) @ pose[:3, :3].T + pose[:3, 3]
    size_m = np.linalg.norm(np.array(world.spec.high) - np.array(world.spec.low))
    return np.asarray(points[depth_m < size_m], dtype=np.float64)


def _one_a_cell(points: NDArray[np.float64], cell_m: float) -> NDArray[np.float64]:
    """The first point of every cell of a grid."""
    _, first = np.unique(np.floor(points / cell_m).astype(np.int64), axis=0, return_index=True)
    return points[first]


if __name__ == "__main__":
    sys.exit(main())
