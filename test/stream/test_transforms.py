# SPDX-License-Identifier: Apache-2.0
"""One tree of transforms: followed exactly, never extrapolated, and wrong only where it lies on the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from fsm_ros.stream.transforms import StampedTransform, TransformError, TransformTree

START_NS = 1_748_779_200_000_000_000


def link(
    parent: str, child: str, stamp_ns: int, x: float = 0.0, yaw_rad: float = 0.0, **changes: object
) -> StampedTransform:
    quaternion = tuple(Rotation.from_euler("z", yaw_rad).as_quat().tolist())
    return replace(StampedTransform(parent, child, stamp_ns, (x, 0.0, 0.0), quaternion), **changes)


finite = st.floats(-10.0, 10.0)
quaternions = st.tuples(finite, finite, finite, finite).filter(lambda q: np.linalg.norm(q) > 0.1)


class TestTransforms:
    def test_even_motion_is_followed_exactly_between_stamps(self) -> None:
        tree = TransformTree.of([link("map", "base", START_NS, 0.0, 0.0), link("map", "base", START_NS + 10, 2.0, 1.0)])
        pose = tree.target_from_source("map", "base", START_NS + 3)
        assert np.allclose(pose[:3, 3], [0.6, 0.0, 0.0])
        assert np.allclose(pose[:3, :3], Rotation.from_euler("z", 0.3).as_matrix())

    @given(st.tuples(finite, finite, finite), quaternions, st.tuples(finite, finite, finite), quaternions)
    def test_looking_up_both_ways_gives_inverses(
        self,
        place: tuple[float, float, float],
        quaternion: tuple[float, float, float, float],
        other_place: tuple[float, float, float],
        other_quaternion: tuple[float, float, float, float],
    ) -> None:
        tree = TransformTree.of(
            [
                StampedTransform("map", "left", 5, place, quaternion),
                StampedTransform("map", "right", 5, other_place, other_quaternion),
                StampedTransform("left", "left_camera", 0, other_place, quaternion, is_static=True),
            ]
        )
        there, back = (
            tree.target_from_source(*pair, 5) for pair in (("left_camera", "right"), ("right", "left_camera"))
        )
        assert np.allclose(there @ back, np.eye(4), atol=1e-9)
        through_map = tree.target_from_source("right", "map", 5) @ tree.target_from_source("map", "left_camera", 5)
        assert np.allclose(back, through_map, atol=1e-9)

    def test_a_frame_is_where_it_is(self) -> None:
        tree = TransformTree.of([link("map", "base", 5, 1.0)])
        assert np.array_equal(tree.target_from_source("base", "base", 10**18), np.eye(4))

    @pytest.mark.parametrize("stamp_ns", [9, 21])
    def test_nothing_is_extrapolated(self, stamp_ns: int) -> None:
        tree = TransformTree.of([link("map", "base", 10), link("map", "base", 20)])
        with pytest.raises(TransformError, match="'map' -> 'base' is known from 10 to 20 ns"):
            tree.target_from_source("map", "base", stamp_ns)

    def test_links_above_both_frames_need_not_be_known_at_that_time(self) -> None:
        tree = TransformTree.of([link("map", "odom", 500), link("odom", "base", 5, 1.0), link("odom", "tag", 5, 3.0)])
        assert np.allclose(tree.target_from_source("base", "tag", 5)[:3, 3], [2.0, 0.0, 0.0])

    def test_static_transforms_hold_at_all_times_and_the_last_one_wins(self) -> None:
        samples = [link("base", "camera", stamp_ns, x, is_static=True) for stamp_ns, x in ((7, 1.0), (3, 2.0))]
        for stamp_ns in (-(10**18), 0, 10**18):
            assert TransformTree.of(samples).target_from_source("base", "camera", stamp_ns)[0, 3] == 2.0

    def test_the_order_of_arrival_does_not_matter(self) -> None:
        samples = [link("map", "base", stamp_ns, float(stamp_ns)) for stamp_ns in (30, 10, 20)]
        assert np.isclose(TransformTree.of(samples).target_from_source("map", "base", 15)[0, 3], 15.0)

    @pytest.mark.parametrize("quaternion", [(0.0, 0.0, 0.0, 0.0), (np.nan, 0.0, 0.0, 1.0)])
    def test_what_is_no_pose_is_left_out_and_reported(
        self, quaternion: tuple[float, float, float, float], caplog: pytest.LogCaptureFixture
    ) -> None:
        good = [link("map", "base", 0, 0.0), link("map", "base", 20, 2.0)]
        tree = TransformTree.of([*good, link("map", "base", 10, 99.0, quaternion=quaternion)])
        assert np.isclose(tree.target_from_source("map", "base", 10)[0, 3], 1.0)
        assert "1 transforms of 'base'" in caplog.text

    def test_separate_trees_are_named_by_their_roots(self) -> None:
        tree = TransformTree.of([link("map", "tag", 5), link("odom", "base", 5)])
        with pytest.raises(TransformError, match="their trees end in 'map' and 'odom'"):
            tree.target_from_source("tag", "base", 5)

    @pytest.mark.parametrize(
        ("extra", "target", "source", "words"),
        [
            (
                [("map", "base"), ("odom", "base")],
                "map",
                "base",
                "'base' has several parents .map, odom",
            ),
            ([("map", "base"), ("odom", "base"), ("base", "camera")], "map", "camera", "several parents"),
            ([("a", "b"), ("b", "a")], "a", "b", "loop"),
            ([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")], "a", "d", "loop"),
        ],
    )
    def test_two_parents_or_a_loop_on_the_way_are_an_error(
        self, extra: list[tuple[str, str]], target: str, source: str, words: str
    ) -> None:
        tree = TransformTree.of([link(parent, child, 5) for parent, child in extra])
        with pytest.raises(TransformError, match=words):
            tree.target_from_source(target, source, 5)

    @pytest.mark.parametrize(
        "extra",
        [
            [("map", "tag"), ("odom", "tag")],  # beside the way
            [("earth", "map"), ("utm", "map")],  # above it
            [("a", "b"), ("b", "a")],  # elsewhere
            [("map", "loop"), ("loop", "map")],  # above it, and round
            [("base", "arm"), ("camera", "arm"), ("arm", "hand")],  # below it
        ],
    )
    def test_two_parents_or_a_loop_off_the_way_matter_to_nobody(self, extra: list[tuple[str, str]]) -> None:
        way = [link("map", "base", 5, 1.0), link("base", "camera", 5, 2.0)]
        tree = TransformTree.of([*way, *(link(parent, child, 5) for parent, child in extra)])
        assert tree.target_from_source("map", "camera", 5)[0, 3] == 3.0
