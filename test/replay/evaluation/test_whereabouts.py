# SPDX-License-Identifier: Apache-2.0
"""Where views lie: on hand-made paths, and by laws that hold on any path."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.replay.evaluation.results import Novelty, PathSide
from fsm_ros.replay.evaluation.whereabouts import (
    SMALLEST_INTERVAL_S,
    SMALLEST_STEP,
    STEPS,
    ObservedPath,
    bins,
)
from fsm_ros.stream.rigid import camera_distance_m, camera_distances, distance_m, turn_rad

Poses = NDArray[np.float64]
SECOND = 1_000_000_000


def pose(x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0) -> Poses:
    made = np.eye(4)
    made[:3, :3] = Rotation.from_euler("y", yaw).as_matrix()
    made[:3, 3] = (x, y, z)
    return made


def line(count: int = 11, step: float = 0.5) -> Poses:
    return np.stack([pose(x=step * i) for i in range(count)])


def path_of(poses: Poses, every_s: float = 1.0, source: str = "camera") -> ObservedPath:
    stamps = [round(i * every_s * SECOND) for i in range(len(poses))]
    return ObservedPath(poses, stamps, [source] * len(poses))


# --- a straight line: a keyframe every 0.5 m and every second ---------------------------------------------------------


def test_the_thresholds_are_the_median_step_and_interval() -> None:
    straight = path_of(line())
    assert straight.step == pytest.approx(0.5)
    assert straight.interval_s == pytest.approx(1.0)
    uneven = ObservedPath(line(4)[[0, 1, 3]], [0, SECOND, 7 * SECOND], ["camera"] * 3)
    assert uneven.step == pytest.approx(0.75)
    assert uneven.interval_s == pytest.approx(3.5)


@pytest.mark.parametrize("x", [0.0, 0.25, 2.1, 4.999])
def test_a_view_between_keyframes_is_inside_and_nothing_new(x: float) -> None:
    found = path_of(line()).locate(pose(x=x), round(2 * x * SECOND))
    assert found.side is PathSide.INSIDE and found.novelty is Novelty.NEITHER
    assert found.metres == pytest.approx(abs(x - 0.5 * round(2 * x)))
    assert found.radians == pytest.approx(0.0, abs=1e-9)
    assert found.off_path <= 0.5 / STEPS / 2 + 1e-9
    assert found.seconds == pytest.approx(abs(2 * x - round(2 * x)), abs=1e-8)


def test_a_view_ahead_of_the_path_is_outside() -> None:
    straight = path_of(line())
    near = straight.locate(pose(x=5.2), 10 * SECOND)
    assert near.side is PathSide.INSIDE, "less than half a step ahead"
    ahead = straight.locate(pose(x=5.3), 10 * SECOND)
    assert ahead.side is PathSide.OUTSIDE and ahead.novelty is Novelty.NEITHER
    assert ahead.off_path == pytest.approx(0.3) == ahead.metres
    far = straight.locate(pose(x=7.0), 10 * SECOND)
    assert far.side is PathSide.OUTSIDE and far.novelty is Novelty.VIEW
    assert far.metres == pytest.approx(2.0) == far.off_path


def test_a_view_beside_the_path_is_outside() -> None:
    found = path_of(line()).locate(pose(x=2.25, y=0.3), round(4.5 * SECOND))
    assert found.side is PathSide.OUTSIDE
    assert found.off_path == pytest.approx(0.3), "perpendicular, as the path is interpolated"
    assert found.metres == pytest.approx(math.hypot(0.25, 0.3)), "and not from the path"
    assert path_of(line()).locate(pose(x=2.25, y=0.2), 0).side is PathSide.INSIDE


def test_looking_elsewhere_is_as_new_as_standing_elsewhere() -> None:
    found = path_of(line()).locate(pose(x=2.0, yaw=0.6), 4 * SECOND)
    assert found.metres == pytest.approx(0.0, abs=1e-9) and found.radians == pytest.approx(0.6)
    assert found.off_path == pytest.approx(0.6)
    assert found.side is PathSide.OUTSIDE and found.novelty is Novelty.VIEW


def test_a_place_at_another_time_is_a_novel_time() -> None:
    straight = path_of(line())
    again = straight.locate(pose(x=2.0), 30 * SECOND)
    assert again.novelty is Novelty.TIME and again.side is PathSide.INSIDE
    assert again.seconds == pytest.approx(26.0), "since that camera"
    assert again.seconds_from_observed == pytest.approx(20.0), "since any"
    earlier = straight.locate(pose(x=2.0), -5 * SECOND)
    assert earlier.novelty is Novelty.TIME and earlier.seconds_from_observed == pytest.approx(5.0)
    elsewhere = straight.locate(pose(x=2.0, y=3.0), 30 * SECOND)
    assert elsewhere.novelty is Novelty.BOTH
    meanwhile = straight.locate(pose(x=0.0), 10 * SECOND)
    assert meanwhile.novelty is Novelty.NEITHER, "while the camera was elsewhere, a moment was observed all the same"
    assert meanwhile.seconds == pytest.approx(10.0) and meanwhile.seconds_from_observed == 0.0


def test_stamps_of_today_keep_their_nanoseconds() -> None:
    start = 1_790_000_000_000_000_000
    found = ObservedPath(line(2), [start, start + SECOND], ["camera"] * 2).locate(pose(), start + 3)
    assert found.seconds == pytest.approx(3e-9, rel=1e-9)


# --- a circle: looking outwards, 24 keyframes of 15 degrees -----------------------------------------------------------


def circle(count: int = 24, radius: float = 2.0) -> Poses:
    angles = np.linspace(0.0, 2 * np.pi, count, endpoint=False)
    return np.stack([pose(radius * math.sin(a), 0.0, radius * math.cos(a), yaw=a) for a in angles])


def test_on_a_circle_metres_and_radians_add() -> None:
    round_path = path_of(circle(), every_s=0.5)
    chord, turn = 4.0 * math.sin(math.pi / 24), 2 * math.pi / 24
    assert round_path.step == pytest.approx(chord + turn)
    assert round_path.interval_s == pytest.approx(0.5)


def test_on_a_circle_the_path_turns_with_the_camera() -> None:
    halfway = path_of(circle()).locate(
        pose(2.0 * math.sin(math.pi / 24), 0.0, 2.0 * math.cos(math.pi / 24), math.pi / 24), 0
    )
    assert halfway.radians == pytest.approx(math.pi / 24)
    sagitta = 2.0 * (1.0 - math.cos(math.pi / 24))
    assert halfway.off_path == pytest.approx(sagitta, rel=1e-6), "the chord's middle looks where the view looks"
    assert halfway.side is PathSide.INSIDE


def test_the_middle_of_a_circle_is_outside() -> None:
    found = path_of(circle()).locate(pose(), 0)
    assert found.side is PathSide.OUTSIDE and found.novelty is Novelty.VIEW
    assert found.off_path == pytest.approx(2.0, abs=0.02)


def test_half_a_turn_is_interpolated_as_a_turn() -> None:
    turning = path_of(np.stack([pose(yaw=0.0), pose(yaw=2.8)]))
    assert turning.locate(pose(yaw=1.4), 0).off_path == pytest.approx(0.0, abs=1e-9)
    assert turning.locate(pose(yaw=-0.5), 0).off_path == pytest.approx(0.5)


# --- paths that hardly are any ----------------------------------------------------------------------------------------


def test_a_standing_camera_has_the_smallest_step() -> None:
    standing = path_of(np.stack([pose(1.0, 2.0, 3.0)] * 5))
    assert standing.step == SMALLEST_STEP and standing.interval_s == pytest.approx(1.0)
    found = standing.locate(pose(1.0, 2.0, 3.0), 3 * SECOND)
    assert found.side is PathSide.INSIDE and found.novelty is Novelty.NEITHER
    assert found.seconds == 0.0, "of cameras that stand alike, the one nearest in time"
    assert standing.locate(pose(1.1, 2.0, 3.0), 0).side is PathSide.OUTSIDE
    assert standing.locate(pose(1.1, 2.0, 3.0), 0).novelty is Novelty.VIEW
    assert standing.locate(pose(1.0, 2.0, 3.0), 9 * SECOND).novelty is Novelty.TIME


def test_one_keyframe_is_a_path() -> None:
    alone = path_of(line(1))
    assert alone.step == SMALLEST_STEP and alone.interval_s == SMALLEST_INTERVAL_S
    assert alone.locate(pose(), 0).novelty is Novelty.NEITHER
    far = alone.locate(pose(z=1.0), SECOND)
    assert far.side is PathSide.OUTSIDE and far.novelty is Novelty.BOTH
    assert (far.metres, far.off_path, far.seconds) == pytest.approx((1.0, 1.0, 1.0))


# --- rigs -------------------------------------------------------------------------------------------------------------


def rig(offset_ns: int = 0) -> ObservedPath:
    """Two cameras, 1 m apart, looking 2 rad apart; keyframes every second."""
    left, right = line(6), line(6) @ pose(z=1.0, yaw=2.0)
    poses = np.stack([left, right], axis=1).reshape(-1, 4, 4)
    stamps = [i * SECOND + k * offset_ns for i in range(6) for k in range(2)]
    return ObservedPath(poses, stamps, ["left", "right"] * 6)


def test_the_path_of_a_rig_is_that_of_each_camera() -> None:
    both = rig()
    assert both.step == pytest.approx(0.5), "not from one camera to the other"
    assert both.locate(line(6)[2] @ pose(z=1.0, yaw=2.0), 2 * SECOND).off_path == pytest.approx(0.0, abs=1e-9)
    between = both.locate(line(6)[2] @ pose(z=0.5, yaw=1.0), 2 * SECOND)
    assert between.off_path == pytest.approx(1.5), "nobody moved from one camera to the other"
    assert between.side is PathSide.OUTSIDE


def test_cameras_that_are_not_triggered_together_have_the_interval_of_each() -> None:
    assert rig(offset_ns=5_000_000).interval_s == pytest.approx(1.0)


def test_keyframes_are_taken_in_the_order_of_their_time() -> None:
    poses, stamps = line(), np.arange(11) * SECOND
    mixed = np.random.default_rng(0).permutation(11)
    ordered, other = path_of(poses), ObservedPath(poses[mixed], stamps[mixed].tolist(), ["camera"] * 11)
    view = pose(x=1.3, y=0.4, yaw=0.2)
    assert other.step == ordered.step and other.interval_s == ordered.interval_s
    assert other.locate(view, 17) == ordered.locate(view, 17)


# --- laws -------------------------------------------------------------------------------------------------------------

numbers = st.floats(-50.0, 50.0)


@st.composite
def any_pose(draw: st.DrawFn) -> Poses:
    made = np.eye(4)
    made[:3, :3] = Rotation.from_rotvec([draw(st.floats(-3.0, 3.0)) for _ in range(3)]).as_matrix()
    made[:3, 3] = [draw(numbers) for _ in range(3)]
    return made


@st.composite
def any_path(draw: st.DrawFn) -> tuple[ObservedPath, Poses, list[int]]:
    count = draw(st.integers(1, 6))
    poses = np.stack([draw(any_pose()) for _ in range(count)])
    stamps = sorted(draw(st.lists(st.integers(0, 100 * SECOND), min_size=count, max_size=count)))
    sources = draw(st.lists(st.sampled_from(["left", "right"]), min_size=count, max_size=count))
    return ObservedPath(poses, stamps, sources), poses, stamps


@given(any_path())
def test_an_observed_camera_at_its_own_time_is_where_it_was(path: tuple[ObservedPath, Poses, list[int]]) -> None:
    observed, poses, stamps = path
    for seen, stamp_ns in zip(poses, stamps, strict=True):
        found = observed.locate(seen, stamp_ns)
        assert found.metres + found.radians + found.off_path == pytest.approx(0.0, abs=1e-7)
        assert found.seconds == found.seconds_from_observed == 0.0
        assert found.side is PathSide.INSIDE and found.novelty is Novelty.NEITHER


@given(any_path(), any_pose(), st.integers(-SECOND, 200 * SECOND))
def test_what_is_told_of_a_view_hangs_together(
    path: tuple[ObservedPath, Poses, list[int]], view: Poses, stamp_ns: int
) -> None:
    observed, poses, stamps = path
    found = observed.locate(view, stamp_ns)
    closest = min(camera_distance_m(seen, view) for seen in poses)
    assert found.metres + found.radians == pytest.approx(closest, abs=1e-7)
    assert found.off_path <= closest + 1e-9, "the keyframes are on the path"
    assert found.seconds >= found.seconds_from_observed
    assert found.seconds_from_observed == pytest.approx(min(abs(stamp_ns - seen) for seen in stamps) / SECOND)
    assert (found.side is PathSide.INSIDE) == (found.off_path <= observed.step / 2)
    assert (found.novelty in (Novelty.VIEW, Novelty.BOTH)) == (closest > observed.step)
    assert (found.novelty in (Novelty.TIME, Novelty.BOTH)) == (found.seconds_from_observed > observed.interval_s)


@pytest.mark.slow
@given(any_path(), any_pose(), any_pose())
def test_moving_the_whole_world_changes_nothing(
    path: tuple[ObservedPath, Poses, list[int]], view: Poses, other_from_world: Poses
) -> None:
    _, poses, stamps = path
    here = ObservedPath(poses, stamps, ["camera"] * len(stamps))
    there = ObservedPath(other_from_world @ poses, stamps, ["camera"] * len(stamps))
    a, b = here.locate(view, 0), there.locate(other_from_world @ view, 0)
    # Half a turn has two ways round, and rounding picks one.
    if all(turn_rad(before, after) < 3.1 for before, after in zip(poses, poses[1:], strict=False)):
        assert a.off_path == pytest.approx(b.off_path, abs=1e-6)
    assert a.metres + a.radians == pytest.approx(b.metres + b.radians, abs=1e-6)


@given(st.lists(any_pose(), min_size=1, max_size=5), any_pose())
def test_distances_at_once_are_those_one_by_one(poses: list[Poses], view: Poses) -> None:
    metres, radians = camera_distances(np.stack(poses), view)
    np.testing.assert_allclose(metres, [distance_m(seen, view) for seen in poses], atol=1e-9)
    np.testing.assert_allclose(radians, [turn_rad(seen, view) for seen in poses], atol=1e-9)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("poses", "stamps", "sources"),
    [
        (np.empty((0, 4, 4)), [], []),
        (line(2), [0], ["a", "a"]),
        (line(2), [0, 1], ["a"]),
        (np.eye(4), [0] * 4, ["a"] * 4),
    ],
    ids=["nothing", "stamps", "sources", "one matrix"],
)
def test_a_path_needs_a_pose_a_moment_and_a_source_each(poses: Poses, stamps: list[int], sources: list[str]) -> None:
    with pytest.raises(ValueError, match="an observed path needs keyframes"):
        ObservedPath(poses, stamps, sources)


def test_poses_are_rigid() -> None:
    with pytest.raises(ValueError, match="rotation of a pose"):
        ObservedPath(2.0 * line(2) - np.diag([0.0, 0.0, 0.0, 1.0]), [0, 1], ["a", "a"])
    with pytest.raises(ValueError, match="finite"):
        path_of(line()).locate(np.full((4, 4), np.nan), 0)


# --- bins -------------------------------------------------------------------------------------------------------------


def test_bins_hold_equally_many_in_the_order_of_their_places() -> None:
    where = [9.0, 0.0, 1.0, 2.0, 10.0, 11.0]
    found = bins([30.0, 10.0, 12.0, 14.0, 30.0, 30.0], where, edges_count=3)
    assert [(b.where, b.mean, b.size) for b in found] == [(1.0, 12.0, 3), (10.0, 30.0, 3)]
    assert found[0].error == pytest.approx(2.0 / math.sqrt(3)) and found[1].error == 0.0


def test_there_are_fewer_bins_where_they_would_hold_too_few() -> None:
    assert [b.size for b in bins(range(30), range(30))] == [6] * 5
    assert [b.size for b in bins(range(7), range(7))] == [3, 4]
    assert [b.size for b in bins(range(3), range(3))] == [3]
    assert bins(range(2), range(2)) == []
    assert bins([], []) == []


def test_equal_places_stay_together() -> None:
    found = bins(range(20), [0.0] * 17 + [1.0, 2.0, 3.0])
    assert [(b.where, b.size) for b in found] == [(0.0, 17), (2.0, 3)]
    assert [b.size for b in bins(range(20), [0.0] * 18 + [1.0, 2.0])] == [20], "two are too few for a bin of their own"
    assert [b.size for b in bins(range(20), [5.0] * 20)] == [20]


def test_what_is_not_known_is_left_out() -> None:
    (found,) = bins([1.0, math.nan, 3.0, 5.0, 7.0], [0.0, 0.0, 1.0, 2.0, math.inf])
    assert (found.where, found.mean, found.size) == (1.0, 3.0, 3)


def test_a_bin_of_one_has_no_error() -> None:
    (found,) = bins([4.0], [2.0], fewest=1)
    assert found[:2] == (2.0, 4.0) and math.isnan(found.error) and found.size == 1


@given(
    st.lists(st.tuples(st.floats(-10, 10), st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0])), max_size=60),
    st.integers(2, 9),
    st.integers(1, 5),
)
def test_bins_lose_nothing(pairs: list[tuple[float, float]], edges_count: int, fewest: int) -> None:
    values, where = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = bins(values, where, edges_count, fewest)
    assert len(found) <= edges_count - 1
    assert all(b.size >= fewest for b in found)
    assert [b.where for b in found] == sorted(b.where for b in found)
    if len(pairs) >= fewest:
        assert sum(b.size for b in found) == len(pairs)
        assert sum(b.size * b.mean for b in found) == pytest.approx(sum(values), abs=1e-9)
        assert sum(b.size * b.where for b in found) == pytest.approx(sum(where), abs=1e-9)
    else:
        assert found == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(([1.0], []), "1 values and 0 places"), (([], [], 1), "edges_count=1"), (([], [], 6, 0), "fewest=0")],
)
def test_what_makes_no_bin_is_an_error(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bins(*arguments)  # type: ignore[arg-type]
