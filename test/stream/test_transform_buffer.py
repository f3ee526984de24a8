# SPDX-License-Identifier: Apache-2.0
"""The live transform buffer: the same answers as the tree of a whole recording, for as long as it remembers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.stream import transform_buffer
from fsm_ros.stream.frame import validate_rigid
from fsm_ros.stream.transform_buffer import TransformBuffer
from fsm_ros.stream.transforms import Link, StampedTransform, TransformError, TransformTree

S = 10**9
START_NS = 1_700_000_000_000_000_000


def at_s(seconds: float) -> int:
    return START_NS + round(seconds * S)


def link(
    parent: str,
    child: str,
    seconds: float = 0.0,
    *,
    x: float = 0.0,
    yaw: float = 0.0,
    static: bool = False,
) -> StampedTransform:
    quaternion = (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
    return StampedTransform(parent, child, at_s(seconds), (x, 0.0, 0.0), quaternion, static)


def random_transform(rng: np.random.Generator, parent: str, child: str, stamp_ns: int) -> StampedTransform:
    x, y, z = (float(v) for v in rng.normal(size=3))
    a, b, c, d = (float(v) for v in rng.normal(size=4))
    return StampedTransform(parent, child, stamp_ns, (x, y, z), (a, b, c, d))


def filled(*transforms: StampedTransform, cache_s: float = 10.0) -> TransformBuffer:
    buffer = TransformBuffer(cache_s)
    for transform in transforms:
        buffer.insert(transform)
    return buffer


def x_of(pose: NDArray[np.float64]) -> float:
    return float(pose[0, 3])


# --- the same as the tree ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 12), order=st.randoms(use_true_random=False))
def test_at_before_between_and_after_its_samples_it_answers_like_the_tree(seed: int, n: int, order: object) -> None:
    rng = np.random.default_rng(seed)
    stamps = sorted({START_NS + int(stamp) for stamp in rng.integers(0, 8 * S, n)})
    samples = [random_transform(rng, "map", "base", stamp) for stamp in stamps]
    shuffled = list(samples)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    buffer, tree = filled(*shuffled), TransformTree.of(samples)
    between = [(a + b) // 2 for a, b in zip(stamps, stamps[1:], strict=False)]
    for stamp in (*stamps, *between):
        assert np.array_equal(
            buffer.target_from_source("map", "base", stamp), tree.target_from_source("map", "base", stamp)
        )
    for stamp in (stamps[0] - 1, stamps[-1] + 1, stamps[0] - 3 * S, stamps[-1] + 3 * S):
        with pytest.raises(TransformError) as ours:
            buffer.target_from_source("map", "base", stamp)
        with pytest.raises(TransformError) as theirs:
            tree.target_from_source("map", "base", stamp)
        assert str(ours.value) == str(theirs.value), "the error names the ends of the record"


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), stamp_s=st.floats(0.0, 4.0))
def test_lookups_compose(seed: int, stamp_s: float) -> None:
    rng = np.random.default_rng(seed)
    buffer = TransformBuffer(10.0)
    # map -> odom -> base -> camera, and map -> gripper: a chain and a side branch.
    for parent, child in (("map", "odom"), ("odom", "base"), ("base", "camera"), ("map", "gripper")):
        for i in range(5):
            buffer.insert(random_transform(rng, parent, child, at_s(i)))
    stamp = at_s(stamp_s)
    frames = ["map", "odom", "base", "camera", "gripper"]
    a, b, c = (frames[i] for i in rng.integers(0, 5, 3))
    a_from_b, b_from_c = buffer.target_from_source(a, b, stamp), buffer.target_from_source(b, c, stamp)
    np.testing.assert_allclose(a_from_b @ b_from_c, buffer.target_from_source(a, c, stamp), atol=1e-9)
    np.testing.assert_allclose(a_from_b @ buffer.target_from_source(b, a, stamp), np.eye(4), atol=1e-9)
    validate_rigid(a_from_b)


def test_it_interpolates_linearly_in_place_and_spherically_in_attitude() -> None:
    buffer = filled(link("map", "base", 0.0), link("map", "base", 1.0, x=4.0, yaw=2.0))
    pose = buffer.target_from_source("map", "base", at_s(0.25))
    assert x_of(pose) == pytest.approx(1.0)
    np.testing.assert_allclose(pose[:3, :3], Rotation.from_euler("z", 0.5).as_matrix(), atol=1e-12)


def test_it_takes_the_shorter_way_round() -> None:
    # The same attitude, told with the quaternion's other sign, is no turn.
    flipped = StampedTransform("map", "base", at_s(1.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, -1.0))
    pose = filled(link("map", "base", 0.0), flipped).target_from_source("map", "base", at_s(0.5))
    np.testing.assert_allclose(pose, np.eye(4), atol=1e-12)


def test_a_frame_in_itself_is_the_identity() -> None:
    buffer = filled(link("map", "base", x=3.0))
    np.testing.assert_allclose(buffer.target_from_source("base", "base", at_s(0.0)), np.eye(4))


# --- remembering ------------------------------------------------------------------------------------------------------


def test_only_the_cache_before_the_newest_sample_is_kept() -> None:
    buffer = filled(*(link("map", "base", i, x=float(i)) for i in range(21)), cache_s=5.0)
    assert x_of(buffer.target_from_source("map", "base", at_s(15.0))) == 15.0
    assert x_of(buffer.target_from_source("map", "base", at_s(20.0))) == 20.0
    with pytest.raises(TransformError, match=r"known from 1700000015\d+ to 1700000020"):
        buffer.target_from_source("map", "base", at_s(14.9))


def test_a_sample_older_than_the_cache_is_forgotten_at_once() -> None:
    buffer = filled(link("map", "base", 20.0, x=20.0), link("map", "base", 1.0, x=1.0), cache_s=5.0)
    with pytest.raises(TransformError):
        buffer.target_from_source("map", "base", at_s(1.0))
    assert x_of(buffer.target_from_source("map", "base", at_s(20.0))) == 20.0


def test_samples_may_arrive_out_of_order() -> None:
    buffer = filled(*(link("map", "base", s, x=s) for s in (2.0, 0.0, 3.0, 1.0)))
    for second in (0.0, 0.5, 1.5, 2.25, 3.0):
        assert x_of(buffer.target_from_source("map", "base", at_s(second))) == pytest.approx(second)


def test_the_last_one_said_at_a_stamp_holds() -> None:
    buffer = filled(link("map", "base", 0.0, x=1.0), link("map", "base", 1.0, x=1.0), link("map", "base", 0.0, x=5.0))
    assert x_of(buffer.target_from_source("map", "base", at_s(0.0))) == 5.0
    assert x_of(buffer.target_from_source("map", "base", at_s(0.5))) == pytest.approx(3.0)


def test_each_frame_has_a_cache_of_its_own() -> None:
    buffer = filled(link("map", "slow", 0.0, x=1.0), link("map", "fast", 100.0), cache_s=5.0)
    assert x_of(buffer.target_from_source("map", "slow", at_s(0.0))) == 1.0


# --- the latest -------------------------------------------------------------------------------------------------------


def test_the_latest_is_the_newest_time_at_which_every_link_on_the_way_is_known() -> None:
    buffer = filled(
        *(link("map", "odom", s, x=s) for s in (0.0, 1.0, 2.0)),
        *(link("odom", "base", s, x=10 * s) for s in (0.0, 1.0, 3.0)),
        link("base", "camera", x=100.0, static=True),
        link("map", "other", 50.0),
    )
    assert x_of(buffer.target_from_source("map", "camera", None)) == pytest.approx(2.0 + 20.0 + 100.0)
    assert x_of(buffer.target_from_source("odom", "camera", None)) == pytest.approx(30.0 + 100.0)
    assert x_of(buffer.target_from_source("camera", "map", None)) == pytest.approx(-122.0)


def test_what_lies_above_the_shared_frame_does_not_limit_the_latest() -> None:
    buffer = filled(
        link("earth", "map", 0.0),
        *(link("map", "left", s, x=s) for s in (1.0, 7.0)),
        *(link("map", "right", s, x=-s) for s in (1.0, 5.0)),
    )
    assert x_of(buffer.target_from_source("left", "right", None)) == pytest.approx(-5.0 - 5.0)


def test_the_latest_needs_times_in_common() -> None:
    buffer = filled(link("map", "odom", 0.0), link("odom", "base", 3.0))
    with pytest.raises(TransformError, match="outside"):
        buffer.target_from_source("map", "base", None)


# --- static frames ----------------------------------------------------------------------------------------------------


def test_a_static_transform_holds_at_any_time_and_the_last_one_said_counts() -> None:
    buffer = filled(link("base", "camera", 5.0, x=1.0, static=True), link("base", "camera", 2.0, x=2.0, static=True))
    for stamp in (0, at_s(-1000.0), at_s(1000.0), None):
        assert x_of(buffer.target_from_source("base", "camera", stamp)) == 2.0


def test_clearing_keeps_what_is_static() -> None:
    buffer = filled(link("map", "base", 0.0), link("base", "camera", x=1.0, static=True))
    buffer.clear()
    assert x_of(buffer.target_from_source("base", "camera", at_s(0.0))) == 1.0
    with pytest.raises(TransformError, match="'map'"):
        buffer.target_from_source("map", "camera", at_s(0.0))
    buffer.insert(link("map", "base", -500.0, x=3.0))
    assert x_of(buffer.target_from_source("map", "camera", at_s(-500.0))) == 4.0, "older than all before, and kept"


def test_a_static_frame_that_begins_to_move_moves() -> None:
    buffer = filled(link("base", "arm", x=1.0, static=True), link("base", "arm", 1.0, x=2.0))
    assert x_of(buffer.target_from_source("base", "arm", at_s(1.0))) == 2.0
    with pytest.raises(TransformError):
        buffer.target_from_source("base", "arm", at_s(0.0))


# --- the tree ---------------------------------------------------------------------------------------------------------


def test_a_frame_that_gets_another_parent_starts_anew() -> None:
    buffer = filled(link("map", "base", 0.0, x=1.0), link("map", "base", 1.0, x=1.0), link("odom", "base", 2.0, x=9.0))
    assert x_of(buffer.target_from_source("odom", "base", at_s(2.0))) == 9.0
    with pytest.raises(TransformError):
        buffer.target_from_source("odom", "base", at_s(1.0))
    with pytest.raises(TransformError, match="'map'"):
        buffer.target_from_source("map", "base", at_s(1.0))


def test_unknown_and_unconnected_frames_are_named() -> None:
    buffer = filled(link("map", "base"), link("other_map", "other_base"))
    with pytest.raises(TransformError, match=r"'nowhere'.*base, map, other_base, other_map"):
        buffer.target_from_source("map", "nowhere", at_s(0.0))
    with pytest.raises(TransformError, match="no transform connects 'map' and 'other_base'"):
        buffer.target_from_source("map", "other_base", at_s(0.0))
    with pytest.raises(TransformError, match="none at all"):
        TransformBuffer(1.0).target_from_source("a", "b", None)


@pytest.mark.parametrize("stamp", [at_s(0.0), None], ids=["at a stamp", "latest"])
def test_a_loop_is_no_tree(stamp: int | None) -> None:
    buffer = filled(link("a", "b"), link("b", "c"), link("c", "a"), link("c", "d"))
    for target, source in (("a", "c"), ("d", "b"), ("a", "d")):
        with pytest.raises(TransformError, match="loop"):
            buffer.target_from_source(target, source, stamp)


def test_a_lookup_costs_only_the_links_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    joints = [link("base", f"joint_{i}", s) for i in range(50) for s in (0.0, 1.0)]
    buffer = filled(*joints, link("map", "base", 0.0), link("map", "base", 1.0), link("base", "camera", static=True))
    built: list[str] = []
    of = Link.of

    def counted(samples: list[StampedTransform]) -> Link:
        built.append(samples[0].child)
        assert len(samples) <= 2
        return of(samples)

    monkeypatch.setattr(transform_buffer.Link, "of", staticmethod(counted))
    buffer.target_from_source("map", "camera", at_s(0.5))
    assert sorted(built) == ["base", "camera"]


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("translation", "quaternion"),
    [
        ((math.nan, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
        ((0.0, math.inf, 0.0), (0.0, 0.0, 0.0, 1.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, math.nan, 1.0)),
        ((0.0, 0.0, 0.0), (1e200, 0.0, 0.0, 0.0)),
    ],
    ids=["nan", "infinite", "zero quaternion", "nan quaternion", "quaternion whose length overflows"],
)
def test_numbers_that_are_no_pose_are_refused_and_the_record_stays(
    translation: tuple[float, float, float], quaternion: tuple[float, float, float, float]
) -> None:
    buffer = filled(link("map", "base", 0.0, x=1.0))
    with pytest.raises(ValueError, match="'map' -> 'base'"):
        buffer.insert(StampedTransform("map", "base", at_s(1.0), translation, quaternion))
    assert x_of(buffer.target_from_source("map", "base", None)) == 1.0


@pytest.mark.parametrize("cache_s", [0.0, -1.0, math.nan])
def test_a_cache_that_keeps_nothing_is_refused(cache_s: float) -> None:
    with pytest.raises(ValueError, match="positive cache"):
        TransformBuffer(cache_s)
