# SPDX-License-Identifier: Apache-2.0
"""The demo's world: every time the same, clear of the robot, moving, and seen through the lens as calibrated."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import training_scenes
from numpy.typing import NDArray

from fsm_ros.replay.demo.bag import CANDIDATES, DEMO_CAMERA, FEWEST_OBJECTS, SETTINGS, DemoRobot, find_demo_world
from fsm_ros.replay.recording.scene_world import CLEARANCE_M, SceneWorld
from fsm_ros.stream.frame import Camera, Distortion
from fsm_ros.training.scenes import Family, SceneSource, Split
from fsm_ros.training.scenes.spec import Kind, Thing

DURATION_S = 4.0
ROBOT = DemoRobot(DURATION_S)
SMALL = Camera(width=32, height=24, fx=20.4, fy=20.4, cx=16.0, cy=12.0)
FISHEYE = Camera(160, 120, 110.0, 111.0, 79.0, 61.0, Distortion.EQUIDISTANT, (-0.02, 0.004, 0.0, 0.0))
SKEWED = Camera(160, 120, 90.0, 84.0, 70.0, 66.0, Distortion.PLUMB_BOB, (-0.2, 0.04, 0.004, -0.006, 0.0))


@cache
def world_of(seed: int) -> SceneWorld:
    return find_demo_world(seed, ROBOT, DURATION_S)


def view(seed: int, time_s: float, *, at_s: float | None = None, camera: Camera = SMALL) -> NDArray[np.uint8]:
    """What the robot sees from where it is at `at_s`, at `time_s`."""
    return seen(world_of(seed), camera, ROBOT.map_from_camera(time_s if at_s is None else at_s), time_s)


def seen(world: SceneWorld, camera: Camera, pose: NDArray[np.float64], time_s: float) -> NDArray[np.uint8]:
    (image,) = world.render(camera, pose[None], [time_s])
    return image


def test_an_image_is_uint8_rgb_of_the_cameras_size_and_shows_something() -> None:
    image = view(0, 0.0)
    assert image.shape == (24, 32, 3) and image.dtype == np.uint8
    assert image.std() > 5


@pytest.mark.slow
def test_equal_seeds_give_equal_pixels_and_other_seeds_other_ones() -> None:
    again = find_demo_world(0, ROBOT, DURATION_S)
    assert np.array_equal(view(0, 1.5), seen(again, SMALL, ROBOT.map_from_camera(1.5), 1.5))
    assert len({view(seed, 1.5).tobytes() for seed in (0, 1, 2)}) == 3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_robot_stays_clear_of_everything_all_the_way(seed: int) -> None:
    for time_s in np.linspace(0.0, DURATION_S, 33):
        camera = ROBOT.map_from_camera(time_s)[:3, 3]
        for height in (CLEARANCE_M, 0.6, 1.0):
            clearance = world_of(seed).clearance_m(np.array([*camera[:2], height]), time_s)
            assert clearance >= CLEARANCE_M - 0.05, "what comes between two looks does not come far"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_things_travel_past_a_room_that_stands_still(seed: int) -> None:
    assert len(world_of(seed).spec.things) >= FEWEST_OBJECTS
    places = np.linspace(0.0, DURATION_S, 6)
    changed = [(view(seed, time_s) != view(seed, time_s + 0.8, at_s=time_s)).any(axis=2).mean() for time_s in places]
    assert 0.02 < max(changed) < 0.9


@pytest.mark.slow
def test_the_worlds_are_rooms_that_training_never_sees() -> None:
    world = world_of(0)
    held_out = SceneSource(0, Split.REPORT, SETTINGS, torch.device("cpu"))
    starts = [way.times_s[0] for way in held_out.trajectories(range(CANDIDATES))]
    assert starts.index(world.start_s) == world.number
    (spec,) = held_out.worlds([world.number]).specs
    assert spec.family is Family.ROOM
    assert np.array_equal(spec.high, world.spec.high)


@pytest.mark.slow
@pytest.mark.parametrize("camera", [DEMO_CAMERA, SKEWED, FISHEYE], ids=["demo", "skewed", "fisheye"])
@pytest.mark.parametrize("place", [(2.0, 0.0, 1.0), (1.9, 0.95, 1.5), (1.9, -0.9, 0.5), (1.8, 1.0, 0.45)])
def test_a_point_lands_where_the_lens_says(camera: Camera, place: tuple[float, float, float]) -> None:
    bead = Thing(Kind.SPHERE, np.full(3, 0.05), np.array(place), training_scenes.plain(1.0, 1.0, 1.0), occludes=0.0)
    black = [training_scenes.plain(0.0, 0.0, 0.0)] * 6
    world = SceneWorld(training_scenes.worlds(training_scenes.room([bead], black)))
    eye = np.array([0.1, -0.05, 1.05])
    pose = training_scenes.look_from(tuple(eye), yaw=0.05, pitch=-0.03)
    brightness = seen(world, camera, pose, 0.0).astype(float).sum(axis=2)
    rows, columns = np.indices(brightness.shape) + 0.5
    landed = np.array([(columns * brightness).sum(), (rows * brightness).sum()]) / brightness.sum()
    assert np.abs(landed - projected(camera, pose[:3, :3].T @ (np.array(place) - eye))).max() < 0.25


def projected(camera: Camera, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """(column, row) of a point in the optical frame; the formulas of REP-104 and Kannala and Brandt, written down."""
    x, y = point[:2] / point[2]
    r2 = x * x + y * y
    if camera.distortion is Distortion.EQUIDISTANT:
        angle = np.arctan(np.sqrt(r2))
        bent = angle * (1 + sum(k * angle ** (2 * i + 2) for i, k in enumerate(camera.coefficients))) / np.sqrt(r2)
        x, y = x * bent, y * bent
    else:
        k1, k2, p1, p2, k3 = camera.coefficients
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        x, y = (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )
    return np.array([camera.fx * x + camera.cx, camera.fy * y + camera.cy])


def test_without_a_lens_nothing_is_resampled() -> None:
    """The picture is the scene supply's own, with 2x2 rays a pixel, wherever the principal point is."""
    camera, pose, time_s = replace(SMALL, cx=15.3, cy=12.9), ROBOT.map_from_camera(2.0), 2.0
    world = world_of(0)
    (expected,) = world.worlds.render(
        torch.zeros(1, dtype=torch.long),
        torch.from_numpy(pose)[None],
        torch.from_numpy(camera.fxfycxcy)[None],
        torch.tensor([world.start_s + time_s], dtype=torch.float64),
        camera.height,
        camera.width,
        samples=2,
    )
    difference = seen(world, camera, pose, time_s) - 255.0 * expected.permute(1, 2, 0).numpy()
    assert np.abs(difference).max() <= 0.51


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_camera_outside_the_room_is_refused() -> None:
    outside = ROBOT.map_from_camera(0.0)
    outside[0, 3] = 5.0
    with pytest.raises(ValueError, match="inside the room"):
        seen(world_of(0), SMALL, outside, 0.0)


def test_a_pose_that_is_not_rigid_is_refused() -> None:
    with pytest.raises(ValueError, match="orthonormal"):
        seen(world_of(0), SMALL, np.diag([2.0, 1.0, 1.0, 1.0]), 0.0)


def test_lenses_that_fold_the_image_or_see_too_far_are_refused() -> None:
    folding = replace(SMALL, distortion=Distortion.PLUMB_BOB, coefficients=(-3.0, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="no ray for some pixels: take weaker coefficients"):
        view(0, 0.0, camera=folding)
    with pytest.raises(ValueError, match="more than 60 degrees to a side: take a longer focal length"):
        view(0, 0.0, camera=replace(SKEWED, fx=45.0, fy=45.0))


@pytest.mark.slow
def test_a_way_that_no_room_has_space_for_is_refused() -> None:
    class IntoTheWall(DemoRobot):
        def map_from_base(self, time_s: float) -> NDArray[np.float64]:
            pose = ROBOT.map_from_base(0.0)
            pose[0, 3] += 10.0 * time_s
            return pose

    with pytest.raises(ValueError, match="none of the first 500 scenes of seed 4 leaves the robot its way of 1 s"):
        find_demo_world(4, IntoTheWall(1.0), 1.0)


@pytest.mark.slow
def test_a_world_is_one_scene() -> None:
    room = training_scenes.room([])
    with pytest.raises(ValueError, match="a world is one scene, got 2"):
        SceneWorld(training_scenes.worlds(room, room))
