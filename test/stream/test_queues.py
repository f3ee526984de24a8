# SPDX-License-Identifier: Apache-2.0
"""The bounded queue keeps the newest and hands back what it drops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_ros.stream.queues import BoundedQueue


def test_the_oldest_makes_room_and_is_handed_back() -> None:
    queue: BoundedQueue[str] = BoundedQueue(2)
    assert [queue.push(item) for item in "abc"] == [None, None, "a"]
    assert [queue.pop(), queue.pop(), queue.pop()] == ["b", "c", None]


def test_clearing_hands_everything_back_oldest_first() -> None:
    queue: BoundedQueue[str] = BoundedQueue(3)
    for item in "abcd":
        queue.push(item)
    assert queue.clear() == ["b", "c", "d"]
    assert (queue.clear(), len(queue)) == ([], 0)


@given(capacity=st.integers(1, 6), pushes=st.lists(st.booleans(), max_size=60))
def test_it_never_outgrows_its_capacity_and_loses_nothing_unseen(capacity: int, pushes: list[bool]) -> None:
    queue: BoundedQueue[int] = BoundedQueue(capacity)
    left = []
    pushed = 0
    for push in pushes:
        out = queue.push(pushed) if push else queue.pop()
        pushed += push
        if out is not None:
            left.append(out)
        assert len(queue) <= capacity
    assert left + queue.clear() == list(range(pushed))


@pytest.mark.parametrize("capacity", [0, -3])
def test_a_queue_needs_room(capacity: int) -> None:
    with pytest.raises(ValueError, match="capacity of at least 1"):
        BoundedQueue(capacity)
