# SPDX-License-Identifier: Apache-2.0
"""The stream's decisions in one place: which frames become keyframes, and which keyframes a chunk."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fsm_ros.stream.frame import Camera, PosedImage
from fsm_ros.stream.intake import KEYFRAME_REFUSALS, STAMP_REFUSALS, Intake, IntakeSettings
from fsm_ros.stream.keyframes import KeyframeDecision, KeyframePolicy
from fsm_ros.stream.stamps import StampVerdict

CAMERA = Camera(32, 24, 20.0, 20.0, 16.0, 12.0)
SECOND = 10**9


def intake(views: int = 2, timeout_s: float = 0.0) -> Intake:
    policy = KeyframePolicy(translation_m=0.5, interval_s=0.0, static_interval_s=0.0)
    return Intake(IntakeSettings(policy, 2.0, 2.0, timeout_s, 1.0), 16, 16, views)


def at(x: float) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[0, 3] = x
    return pose


def frame(x: float, stamp_s: float) -> PosedImage:
    return PosedImage(np.full((24, 32, 3), 7, np.uint8), CAMERA, at(x), round(stamp_s * SECOND))


def test_every_verdict_is_good_or_has_a_reason() -> None:
    assert set(StampVerdict) - STAMP_REFUSALS.keys() == {StampVerdict.GOOD, StampVerdict.JUMPED_BACK}
    assert {decision for decision in KeyframeDecision if not decision.accepted} == KEYFRAME_REFUSALS.keys()


def test_keyframes_fill_a_chunk_in_their_order() -> None:
    stream = intake()
    chunks = []
    for number, x in enumerate((0.0, 0.1, 0.6, 0.7, 1.2, 1.8)):
        new = frame(x, float(number))
        assert stream.judge_stamp(new.stamp_ns, 0, "camera") is StampVerdict.GOOD
        decision, jump = stream.judge_pose(new.world_from_camera, new.stamp_ns, "camera")
        assert jump is None
        if decision.accepted:
            chunks.append(stream.keep(stream.rectify(new), float(number)))
    assert [None if chunk is None else [kept.position[0] for kept in chunk.frames] for chunk in chunks] == [
        None,
        [0.0, 0.6],
        None,
        [1.2, 1.8],
    ]
    assert chunks[1] is not None
    assert chunks[1].frames[0].image.shape == (16, 16, 3)


def test_a_frame_that_was_judged_but_not_kept_changes_nothing() -> None:
    stream = intake()
    stream.keep(stream.rectify(frame(0.0, 0.0)), 0.0)
    for number in range(1, 4):
        decision, _ = stream.judge_pose(at(0.6), number * SECOND, "camera")
        assert decision is KeyframeDecision.TRANSLATION
    assert stream.pending == 1


def test_a_partial_chunk_comes_out_when_it_is_due_and_when_it_is_asked_for() -> None:
    stream = intake(views=4, timeout_s=5.0)
    stream.keep(stream.rectify(frame(0.0, 0.0)), 10.0)
    assert stream.flush_due(14.9) is None
    due = stream.flush_due(15.0)
    assert due is not None
    assert stream.flush() is None
    stream.keep(stream.rectify(frame(1.0, 1.0)), 16.0)
    assert stream.flush() is not None
    stream.keep(stream.rectify(frame(2.0, 2.0)), 17.0)
    assert stream.discard() == 1
    assert stream.pending == 0


def test_a_jump_is_told_once_and_a_new_beginning_compares_nothing_with_before() -> None:
    stream = intake()
    stream.judge_pose(at(0.0), SECOND, "camera")
    _, jump = stream.judge_pose(at(9.0), 2 * SECOND, "camera")
    assert jump is not None
    _, again = stream.judge_pose(at(9.1), 3 * SECOND, "camera")
    assert again is None
    stream.keep(stream.rectify(frame(9.1, 3.0)), 0.0)
    stream.begin_anew("camera")
    decision, jump = stream.judge_pose(at(0.0), 4 * SECOND, "camera")
    assert decision is KeyframeDecision.FIRST
    assert jump is None
    assert stream.judge_stamp(SECOND, 0, "camera") is StampVerdict.GOOD
    assert stream.judge_stamp(SECOND, 0, "camera") is StampVerdict.REPEATED
    stream.forget_stamps()
    assert stream.judge_stamp(SECOND, 0, "camera") is StampVerdict.GOOD


@pytest.mark.parametrize("bad", [0, -1])
def test_settings_that_mean_nothing_are_refused(bad: int) -> None:
    with pytest.raises(ValueError, match="at least one view"):
        intake(views=bad)
