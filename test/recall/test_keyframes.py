# SPDX-License-Identifier: Apache-2.0
"""What is kept: bounded, covering, and newer rather than older."""

from __future__ import annotations

import numpy as np
import pytest
from recall_scenes import keyframe, posed, rotated

from fsm_ros.recall.keyframes import Keyframe, KeyframeLimits, KeyframeStore

MANY = KeyframeLimits(64, 2**30)
ONE_BYTES = keyframe(posed((0, 0, 0))).size_bytes


def stamps(store: KeyframeStore) -> list[int]:
    return [each.stamp_ns for each in store.keyframes]


def a_drive(count: int) -> list[Keyframe]:
    return [keyframe(posed((0.5 * i, 0, 0)), stamp_ns=i) for i in range(count)]


def test_what_fits_is_kept_in_the_order_it_came() -> None:
    store = KeyframeStore().offered(a_drive(3), MANY).offered(a_drive(6)[3:], MANY)
    assert stamps(store) == list(range(6))
    assert [each.number for each in store.keyframes] == list(range(6))
    assert store.size_bytes == 6 * ONE_BYTES


@pytest.mark.parametrize(
    "limits", [KeyframeLimits(4, 2**30), KeyframeLimits(64, 4 * ONE_BYTES), KeyframeLimits(64, 5 * ONE_BYTES - 1)]
)
def test_never_more_than_there_may_be_by_count_and_by_bytes(limits: KeyframeLimits) -> None:
    store = KeyframeStore()
    for each in a_drive(20):
        store = store.offered([each], limits)
        assert len(store) <= limits.count and store.size_bytes <= limits.size_bytes
    assert len(store) == 4
    assert store.next_number == 20


@pytest.mark.parametrize("limits", [KeyframeLimits(0, 2**30), KeyframeLimits(64, 0), KeyframeLimits(64, ONE_BYTES - 1)])
def test_a_limit_that_leaves_no_room_for_one_keeps_none_and_fails_nothing(limits: KeyframeLimits) -> None:
    assert len(KeyframeStore().offered(a_drive(3), limits)) == 0


def test_one_that_is_too_large_goes_and_the_others_stay() -> None:
    large = keyframe(posed((9, 0, 0)), size=(240, 320))
    store = KeyframeStore().offered([*a_drive(2), large], KeyframeLimits(64, 2 * ONE_BYTES))
    assert stamps(store) == [0, 1]


def test_a_camera_that_stands_fills_nothing_and_the_newest_stays() -> None:
    store = KeyframeStore()
    for i in range(30):
        store = store.offered([keyframe(rotated(0, 1e-3 * (i % 3), 0, (1e-3 * (i % 2), 0, 0)), stamp_ns=i)], MANY)
    assert stamps(store) == [29]


def test_coverage_decides_and_not_time() -> None:
    """Ten views of one wall and one of another: the other one stays, though it is the oldest."""
    lonely = keyframe(rotated(0, np.pi, 0, (0, 0, 0)), stamp_ns=0)
    crowd = [keyframe(posed((0.05 * i, 0, 0)), stamp_ns=1 + i) for i in range(10)]
    store = KeyframeStore().offered([lonely, *crowd], KeyframeLimits(4, 2**30))
    assert 0 in stamps(store) and len(store) == 4


def test_of_two_that_show_the_same_the_newer_one_stays() -> None:
    pairs = [
        keyframe(posed((3.0 * place + 0.02 * i, 0, 0)), stamp_ns=2 * place + i) for place in range(3) for i in (0, 1)
    ]
    store = KeyframeStore().offered(pairs, KeyframeLimits(3, 2**30))
    assert stamps(store) == [1, 3, 5]


def test_far_from_the_origin_of_the_world_it_decides_the_same() -> None:
    """Single precision knows 6 cm at the coordinates of a map in metres of a country."""
    near, far = [], []
    for i, x in enumerate((0.0, 0.1, 0.15, 0.9, 1.6, 1.65, 2.4)):
        near.append(keyframe(posed((x, 0, 0)), stamp_ns=i))
        far.append(keyframe(posed((x + 4.5e6, 5.3e6, 0)), stamp_ns=i))
    limits = KeyframeLimits(4, 2**30)
    assert stamps(KeyframeStore().offered(near, limits)) == stamps(KeyframeStore().offered(far, limits))


def test_where_nothing_tells_depth_it_still_decides() -> None:
    unknown = [keyframe(posed((0.5 * i, 0, 0)), stamp_ns=i, depth_m=None) for i in range(8)]
    assert len(KeyframeStore().offered(unknown, KeyframeLimits(3, 2**30))) == 3


@pytest.mark.parametrize("count, size_bytes", [(-1, 0), (0, -1)])
def test_limits_below_zero_are_refused(count: int, size_bytes: int) -> None:
    with pytest.raises(ValueError, match="must be from 0 to"):
        KeyframeLimits(count, size_bytes)
