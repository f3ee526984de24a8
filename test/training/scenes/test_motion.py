# SPDX-License-Identifier: Apache-2.0
"""Cameras move as robots do and stay in free space; objects move, appear and vanish; difficulty is monotone."""

import numpy as np
import pytest
from training_scenes import SIZE, look_from, of, plain, room, source, view, worlds

from fsm_ros.stream.frame import validate_rigid
from fsm_ros.training.scenes import Family, Split
from fsm_ros.training.scenes.difficulty import Difficulty
from fsm_ros.training.scenes.spec import Kind, Thing
from fsm_ros.training.scenes.trajectory import Move

FAMILIES = pytest.mark.parametrize("family", list(Family), ids=lambda family: family.value)
LENS = np.array([24.0, 24.0, 16.0, 16.0])


@FAMILIES
def test_cameras_are_rigid_and_see_50_to_100_degrees(family: Family) -> None:
    for way in of(family).trajectories(range(20)):
        for pose in way.world_from_camera:
            validate_rigid(pose)
        fx, fy, cx, cy = way.fxfycxcy(48, 64)[0]
        assert 50.0 <= np.rad2deg(2 * np.arctan(32 / fx)) <= 100.0
        assert fx == fy, "pixels are square"
        assert abs(cx - 32) <= 0.06 * 64 and abs(cy - 24) <= 0.06 * 64


@FAMILIES
def test_time_runs_forward_for_4_to_60_s(family: Family) -> None:
    for way in of(family, frames=48).trajectories(range(20)):
        assert (np.diff(way.stamps_ns) > 0).all()
        assert way.stamps_ns[0] > 0
        assert 4.0 * 0.85 < way.times_s[-1] - way.times_s[0] < 60.0 * 1.15
        np.testing.assert_allclose(way.stamps_ns * 1e-9, way.times_s, atol=1e-9)


@FAMILIES
def test_consecutive_frames_are_a_keyframe_step_apart(family: Family) -> None:
    for way in of(family, frames=48).trajectories(range(30)):
        pose = way.world_from_camera
        moved = np.linalg.norm(np.diff(pose[:, :3, 3], axis=0), axis=1)
        relative = np.einsum("fji,fjk->fik", pose[:-1, :3, :3], pose[1:, :3, :3])
        turned = np.arccos(np.clip((np.trace(relative, axis1=1, axis2=2) - 1) / 2, -1, 1))
        step = np.maximum(moved, turned)
        assert 0.03 < step.mean() < 0.3, way.move
        assert step.max() < 0.5, way.move


@pytest.mark.slow
@FAMILIES
def test_cameras_keep_clear_of_everything_solid(family: Family) -> None:
    supply = of(family, frames=24)
    numbers = range(12)
    world = supply.worlds(numbers)
    for scene, way in enumerate(supply.trajectories(numbers)):
        for pose, time in zip(way.world_from_camera, way.times_s, strict=True):
            assert world.clearance_m(scene, pose[:3, 3], time) > 0.05, (scene, way.move)


def test_every_kind_of_move_occurs() -> None:
    moves = {way.move for way in source(frames=3).trajectories(range(120))}
    assert moves == set(Move)


def thing(**motion: object) -> Thing:
    return Thing(Kind.SPHERE, np.full(3, 0.3), np.array([1.0, 0.0, 1.0]), plain(0, 1, 0), occludes=0.0, **motion)


def green_at(time_s: float, **motion: object) -> np.ndarray:
    """``[2]`` mean column and row of the sphere, or nothing where it is not seen."""
    image = view(worlds(room([thing(**motion)])), look_from((-1.0, 0.0, 1.0), 0.0), LENS, time_s)
    rows, columns = np.nonzero(image[..., 1] > 0.5)
    return np.array([columns.mean(), rows.mean()]) if len(rows) else np.array([])


def test_what_moves_is_where_its_motion_says() -> None:
    sideways = {"sweep": np.array([0.0, 0.5, 0.0]), "period_s": 4.0}
    rest, left, right = (green_at(time, **sideways) for time in (0.0, 1.0, 3.0))
    np.testing.assert_allclose(rest, [15.5, 15.5], atol=0.6)
    np.testing.assert_allclose(left - rest, [-6.0, 0.0], atol=0.8)  # 0.5 m at 2 m with a focal length of 24
    np.testing.assert_allclose(right - rest, [6.0, 0.0], atol=0.8)
    np.testing.assert_array_equal(green_at(4.0, **sideways), rest)


def test_bouncing_runs_at_constant_speed() -> None:
    bouncing = {"sweep": np.array([0.0, 0.5, 0.0]), "period_s": 8.0, "bounces": True}
    columns = [green_at(time, **bouncing)[0] for time in (0.0, 1.0, 2.0, 3.0, 4.0)]
    np.testing.assert_allclose(np.diff(columns), np.diff(columns)[0], atol=0.8)
    assert abs(np.diff(columns)[0]) > 2.0


def test_what_turns_shows_another_side() -> None:
    faces = Thing(Kind.BOX, np.full(3, 0.4), np.array([1.0, 0.0, 1.0]), plain(0, 1, 0), occludes=0.0, spin=np.pi / 4)
    world = worlds(room([faces]))
    pose = look_from((-1.0, 0.0, 1.0), 0.0)
    width = [(view(world, pose, LENS, time)[16, :, 1] > 0.5).sum() for time in (0.0, 1.0, 2.0)]
    assert width[1] > width[0] == width[2]


def test_what_vanishes_is_gone_and_what_appears_was_not_there() -> None:
    interval = {"visible_s": (2.0, 5.0)}
    assert [len(green_at(time, **interval)) > 0 for time in (1.9, 2.0, 4.9, 5.0)] == [False, True, True, False]


def test_drawn_scenes_contain_motion_of_every_kind() -> None:
    things = [t for spec in source(difficulty=(1.0, 1.0)).worlds(range(40)).specs for t in spec.things]
    assert any(np.any(t.sweep) and t.bounces for t in things)
    assert any(np.any(t.sweep) and not t.bounces for t in things)
    assert any(t.spin for t in things) and any(t.swing for t in things)
    assert any(t.visible_s[0] > 0 for t in things) and any(0 < t.visible_s[1] < 1e6 for t in things)
    assert any(not t.moves for t in things)
    assert {t.kind for t in things} == {Kind.BOX, Kind.SPHERE, Kind.CYLINDER}


def test_contact_shadows_darken_the_floor_near_an_object() -> None:
    ball = Thing(Kind.SPHERE, np.full(3, 0.4), np.array([1.0, 0.0, 0.4]), plain(0, 1, 0))
    floor = room([ball], faces=[plain(0.5, 0, 0.5)] * 6)
    image = view(worlds(floor), look_from((-1.0, 0.0, 1.2), 0.0, -0.4), LENS)
    floor_only = image[image[..., 1] == 0.0]
    assert floor_only[:, 0].max() > 0.49
    assert floor_only[:, 0].min() < 0.35


QUANTITIES = {
    "objects": +1,
    "panels": +1,
    "size_scale": -1,
    "moving_fraction": +1,
    "speed": +1,
    "vanishing_fraction": +1,
    "octaves_blurred": -1,
    "texture_repeats": +1,
    "contrast": +1,
    "photograph_fraction": +1,
    "turn_step_rad": +1,
    "drive_step_m": +1,
}


@pytest.mark.parametrize(("name", "sign"), QUANTITIES.items())
def test_every_quantity_is_monotone_in_difficulty(name: str, sign: int) -> None:
    values = np.array([np.atleast_1d(getattr(Difficulty(d), name)) for d in np.linspace(0, 1, 21)], dtype=float)
    assert (sign * np.diff(values, axis=0) >= 0).all()
    assert (sign * (values[-1] - values[0]) > 0).all()


def test_no_quantity_of_difficulty_is_forgotten_here() -> None:
    assert set(QUANTITIES) == {name for name, value in vars(Difficulty).items() if isinstance(value, property)}


def test_drawn_scenes_grow_harder_with_difficulty() -> None:
    def count(difficulty: float) -> tuple[float, float, float]:
        specs = source(Split.TRAIN, difficulty=(difficulty, difficulty)).worlds(range(40)).specs
        things = [t for spec in specs for t in spec.things]
        moving = sum(t.moves for t in things) / len(specs)
        return len(things) / len(specs), moving, -float(np.mean([t.surface.blur for t in things]))

    easy, middle, hard = (np.array(count(difficulty)) for difficulty in (0.0, 0.5, 1.0))
    assert (easy < middle).all() and (middle < hard).all()


def test_a_difficulty_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match="difficulty"):
        Difficulty(1.5)


def test_the_view_is_as_large_as_asked() -> None:
    assert view(worlds(room([])), look_from((0.0, 0.0, 1.0), 0.0), LENS).shape == (SIZE, SIZE, 3)
