# SPDX-License-Identifier: Apache-2.0
"""The ledger adds up: received = keyframes + pending + all refused, whoever counts and in whatever order."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fsm_ros.stream.ledger import FrameLedger, LedgerSnapshot, Refusal

REASONS = {
    "unreadable_image",
    "unsupported_encoding",
    "bad_calibration",
    "size_mismatch",
    "no_camera_info",
    "no_transform",
    "bad_transform",
    "stamp_too_old",
    "stamp_in_future",
    "stamp_repeated",
    "not_moved",
    "too_soon",
    "queue_full",
    "paused",
    "chunk_dropped",
    "discarded",
    "observe_failed",
    "internal_error",
}


def test_the_reasons_have_fixed_names_on_the_wire() -> None:
    assert {refusal.value for refusal in Refusal} == REASONS
    assert all(Refusal(name).name == name.upper() for name in REASONS)


@pytest.mark.parametrize("refusal", list(Refusal))
def test_every_reason_has_a_remedy_of_one_line_of_its_own(refusal: Refusal) -> None:
    assert ": " in refusal.remedy and "\n" not in refusal.remedy and refusal.remedy.endswith(".")
    assert sum(other.remedy == refusal.remedy for other in Refusal) == 1


def test_a_frame_is_pending_until_it_is_settled() -> None:
    ledger = FrameLedger()
    ledger.receive(5)
    ledger.keyframe(2)
    ledger.refuse(Refusal.NOT_MOVED)
    snapshot = ledger.snapshot()
    assert (snapshot.received, snapshot.keyframes, snapshot.pending) == (5, 2, 2)
    assert snapshot.refused[Refusal.NOT_MOVED] == 1
    assert snapshot.refused[Refusal.PAUSED] == 0


def test_a_keyframe_whose_chunk_is_dropped_is_refused_after_all() -> None:
    ledger = FrameLedger()
    ledger.receive(8)
    ledger.keyframe(8)
    ledger.demote(Refusal.CHUNK_DROPPED, 8)
    snapshot = ledger.snapshot()
    assert (snapshot.keyframes, snapshot.refused[Refusal.CHUNK_DROPPED], snapshot.pending) == (0, 8, 0)


def test_a_snapshot_does_not_change_afterwards() -> None:
    ledger = FrameLedger()
    ledger.receive()
    before = ledger.snapshot()
    ledger.refuse(Refusal.PAUSED)
    assert (before.pending, before.refused[Refusal.PAUSED]) == (1, 0)


def test_a_reset_begins_at_zero() -> None:
    ledger = FrameLedger()
    ledger.receive(3)
    ledger.refuse(Refusal.PAUSED, 2)
    ledger.reset()
    assert ledger.snapshot() == LedgerSnapshot(0, 0, dict.fromkeys(Refusal, 0))


@pytest.mark.parametrize(
    "misuse",
    [
        lambda ledger: ledger.keyframe(2),
        lambda ledger: ledger.refuse(Refusal.PAUSED, 2),
        lambda ledger: ledger.demote(Refusal.CHUNK_DROPPED),
    ],
)
def test_counting_a_frame_that_is_not_there_raises_and_counts_nothing(
    misuse: Callable[[FrameLedger], None],
) -> None:
    ledger = FrameLedger()
    ledger.receive()
    before = ledger.snapshot()
    with pytest.raises(RuntimeError, match="frame ledger"):
        misuse(ledger)
    assert ledger.snapshot() == before


@pytest.mark.parametrize(
    "misuse",
    [
        lambda ledger: ledger.receive(-1),
        lambda ledger: ledger.keyframe(-1),
        lambda ledger: ledger.refuse(Refusal.PAUSED, -1),
        lambda ledger: ledger.demote(Refusal.PAUSED, -1),
    ],
)
def test_a_negative_count_raises(misuse: Callable[[FrameLedger], None]) -> None:
    with pytest.raises(ValueError, match="negative"):
        misuse(FrameLedger())


def test_threads_that_count_at_once_lose_nothing() -> None:
    ledger = FrameLedger()

    def drive() -> None:
        for i in range(300):
            ledger.receive()
            if i % 3 == 0:
                ledger.refuse(Refusal.NOT_MOVED)
            else:
                ledger.keyframe()
                if i % 3 == 1:
                    ledger.demote(Refusal.QUEUE_FULL)
            assert ledger.snapshot().pending >= 0

    threads = [threading.Thread(target=drive) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = ledger.snapshot()
    assert (snapshot.received, snapshot.keyframes, snapshot.pending) == (1200, 400, 0)
    assert snapshot.refused[Refusal.NOT_MOVED] == snapshot.refused[Refusal.QUEUE_FULL] == 400


def some_pending(machine: LedgerMachine) -> bool:
    return machine.pending > 0


def some_keyframes(machine: LedgerMachine) -> bool:
    # Not lambdas: the Hypothesis of Ubuntu 24.04 parses this file for the text of one at every step.
    return machine.keyframes > 0


class LedgerMachine(RuleBasedStateMachine):
    """Any interleaving of proper use, next to a plain count of each frame's fate."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = FrameLedger()
        self.pending = 0
        self.keyframes = 0
        self.refused = dict.fromkeys(Refusal, 0)

    @rule(n=st.integers(0, 9))
    def receive(self, n: int) -> None:
        self.ledger.receive(n)
        self.pending += n

    @precondition(some_pending)
    @rule(data=st.data())
    def keyframe(self, data: st.DataObject) -> None:
        n = data.draw(st.integers(0, self.pending))
        self.ledger.keyframe(n)
        self.pending -= n
        self.keyframes += n

    @precondition(some_pending)
    @rule(data=st.data(), reason=st.sampled_from(Refusal))
    def refuse(self, data: st.DataObject, reason: Refusal) -> None:
        n = data.draw(st.integers(0, self.pending))
        self.ledger.refuse(reason, n)
        self.pending -= n
        self.refused[reason] += n

    @precondition(some_keyframes)
    @rule(data=st.data(), reason=st.sampled_from(Refusal))
    def demote(self, data: st.DataObject, reason: Refusal) -> None:
        n = data.draw(st.integers(0, self.keyframes))
        self.ledger.demote(reason, n)
        self.keyframes -= n
        self.refused[reason] += n

    @invariant()
    def adds_up(self) -> None:
        snapshot = self.ledger.snapshot()
        assert (snapshot.keyframes, snapshot.pending) == (self.keyframes, self.pending)
        assert snapshot.refused == self.refused
        assert snapshot.received == snapshot.keyframes + snapshot.pending + sum(snapshot.refused.values())


TestLedgerMachine = LedgerMachine.TestCase
