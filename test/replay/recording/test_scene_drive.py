# SPDX-License-Identifier: Apache-2.0
"""Drives through procedural scenes: clear of everything, always under way, and back again."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from fsm_ros.replay.recording.free_space import FreeSpace
from fsm_ros.replay.recording.loops import METRES_PER_RADIAN
from fsm_ros.replay.recording.scene_drive import FEWEST_OBJECTS, SceneDrive, find_drive
from fsm_ros.replay.recording.scene_robot import ARM_REACH_M, ARM_TURN_RAD, PACE_M, Arm
from fsm_ros.replay.recording.scene_world import CLEARANCE_M
from fsm_ros.stream.rigid import distance_m, turn_rad
from fsm_ros.training.scenes import Family
from fsm_ros.training.scenes.spec import terrain_height_m

DRIVE_S = 30.0
FAMILIES = pytest.mark.parametrize("family", list(Family), ids=[family.value for family in Family])


@cache
def drive_of(family: Family) -> SceneDrive:
    return find_drive(family, 1, duration_s=DRIVE_S, difficulty=0.3)


@cache
def arm_of(family: Family) -> Arm:
    drive = drive_of(family)
    return Arm.around(drive.robot, drive.world.clearance_m, least_m=CLEARANCE_M, duration_s=DRIVE_S)


def moments(count: int) -> list[float]:
    return np.linspace(0.0, DRIVE_S, count).tolist()


@pytest.mark.slow
@FAMILIES
def test_both_cameras_keep_clear_of_everything_that_stands_and_moves(family: Family) -> None:
    drive, arm = drive_of(family), arm_of(family)
    for time_s in moments(151):
        first = drive.robot.map_from_camera(time_s)
        for pose in (first, first @ arm.first_from_second(time_s)):
            assert drive.world.clearance_m(pose[:3, 3], time_s) >= CLEARANCE_M - 0.05, "between two looks it is not far"


@pytest.mark.slow
@FAMILIES
def test_the_robot_goes_on_all_the_time_at_an_even_pace(family: Family) -> None:
    robot, step_s = drive_of(family).robot, 0.02
    bases = [robot.map_from_camera(time_s) for time_s in np.arange(0.0, robot.lap_s, step_s)]
    pairs = list(zip(bases, bases[1:], strict=False))
    metres, radians = (np.array([measure(a, b) for a, b in pairs]) for measure in (distance_m, turn_rad))
    assert metres.max() <= 1.05 * PACE_M * step_s
    assert radians.max() <= 3.0 * PACE_M / METRES_PER_RADIAN * step_s, "turns and glances are no jerks"
    assert (metres + METRES_PER_RADIAN * radians).min() > 0.1 * PACE_M * step_s


@pytest.mark.slow
@FAMILIES
def test_it_goes_somewhere_and_comes_back_looking_another_way(family: Family) -> None:
    robot = drive_of(family).robot
    places = np.stack([robot.map_from_camera(time_s)[:2, 3] for time_s in moments(200)])
    assert np.ptp(places, axis=0).max() > 1.2
    turns = []
    for time_s in np.linspace(0.0, robot.lap_s, 9).tolist():
        now, later = robot.map_from_camera(time_s), robot.map_from_camera(time_s + robot.lap_s)
        assert distance_m(now, later) < 1e-6
        turns.append(turn_rad(now, later))
    assert max(turns) > 0.2


@FAMILIES
def test_something_travels_from_the_first_image_to_the_last(family: Family) -> None:
    drive = drive_of(family)
    spec = drive.world.spec
    assert spec.family is family and len(spec.things) >= FEWEST_OBJECTS
    end_s = drive.world.start_s + DRIVE_S
    there = [t for t in spec.things if t.visible_s[0] <= drive.world.start_s and t.visible_s[1] > end_s]
    assert max(np.linalg.norm(thing.sweep) for thing in there) > 0.05


@FAMILIES
def test_the_free_space_is_never_larger_than_it_is(family: Family) -> None:
    drive = drive_of(family)
    spec = drive.world.spec
    height_m = drive.robot.height_m
    space = FreeSpace.of(spec, height_m)
    rng = np.random.default_rng(0)
    for place in rng.uniform(space.low, space.high, (100, 2)):
        ground = float(terrain_height_m(spec.terrain, *place))
        solid = drive.world.clearance_m(np.array([*place, ground + 0.5 * height_m]), float(rng.uniform(0.0, DRIVE_S)))
        said = float(space.clearance_m(place[None])[0])
        # Where no object is near, the floor is what is nearest, and the plan does not know it.
        assert said <= 0.15 or solid >= min(said - 0.1, 0.25)


@pytest.mark.slow
def test_the_arm_swings_out_and_turns_but_never_further_than_it_says() -> None:
    arm = arm_of(Family.ROOM)
    offsets = [arm.first_from_second(time_s) for time_s in moments(300)]
    reach, turn = (np.array([measure(np.eye(4), pose) for pose in offsets]) for measure in (distance_m, turn_rad))
    assert reach.min() < 0.02 and 0.5 < reach.max() <= ARM_REACH_M + 1e-9
    assert turn.min() < 0.05 and 0.5 < turn.max() <= ARM_TURN_RAD + 1e-9
    assert np.abs(np.diff([pose[:3, 3] for pose in offsets], axis=0)).max() < 0.1, "it does not jump"


def test_an_arm_without_room_stays_in() -> None:
    drive = drive_of(Family.ROOM)
    arm = Arm.around(drive.robot, lambda place, time_s: 0.1, least_m=CLEARANCE_M, duration_s=5.0)
    assert not arm.shares.any()


def test_a_seed_without_a_drive_is_given_up_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsm_ros.replay.recording.scene_drive.CANDIDATES", 3)
    monkeypatch.setattr("fsm_ros.replay.recording.scene_drive.FEWEST_OBJECTS", 1000)
    with pytest.raises(ValueError, match="none of the first 3 room scenes of seed 5 .* take another seed"):
        find_drive(Family.ROOM, 5, duration_s=1.0, difficulty=0.3)
