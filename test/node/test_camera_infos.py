# SPDX-License-Identifier: Apache-2.0
"""Which calibration an image waits for, and when it waits no more."""

from __future__ import annotations

from fsm_ros.messages.calibrations import Calibration
from fsm_ros.node.camera_infos import IN_VAIN, CameraInfos

K = (500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0)
TIMEOUT_S = 0.5


def said_at(stamp_ns: int) -> Calibration:
    return Calibration(stamp_ns, 640, 480, K, "", ())


def infos(*stamps: int, kept: int = 8) -> CameraInfos:
    found = CameraInfos(kept, TIMEOUT_S)
    for stamp in stamps:
        found.add("front", said_at(stamp))
    return found


def stamp_found(store: CameraInfos, stamp_ns: int, waited_s: float = 0.0) -> int | None:
    found = store.find("front", stamp_ns, waited_s)
    return None if found is None else found.stamp_ns


def test_an_image_waits_for_the_calibration_of_its_stamp_and_then_takes_the_one_before() -> None:
    store = infos(10)
    assert stamp_found(store, 20) is None
    assert stamp_found(store, 20, TIMEOUT_S) == 10
    assert store.carried_on == 1
    store.add("front", said_at(30))
    assert stamp_found(store, 30) == 30 and store.carried_on == 1


def test_without_any_calibration_there_is_none_however_long_one_waits() -> None:
    assert stamp_found(infos(), 20, 60.0) is None
    assert infos(10).find("rear", 20, 60.0) is None, "that of another camera is no help"


def test_after_a_later_calibration_nobody_waits_for_an_earlier_one() -> None:
    """Or frames between two calibrations of 1 Hz would be overtaken by those that have one of their own."""
    assert stamp_found(infos(10, 50), 20) == 10


def test_a_camera_whose_calibration_comes_otherwise_keeps_nobody_waiting() -> None:
    store = infos(0)
    for stamp in range(1, IN_VAIN + 1):
        assert stamp_found(store, stamp) is None
        assert stamp_found(store, stamp, TIMEOUT_S) == 0
    assert stamp_found(store, 100) == 0, "without a wait"


def test_calibrations_that_come_after_their_images_are_waited_for_again() -> None:
    store = infos(0)
    for stamp in range(1, IN_VAIN + 1):
        stamp_found(store, stamp, TIMEOUT_S)
    store.add("front", said_at(IN_VAIN))  # late, but that image's own
    assert stamp_found(store, 100) is None


def test_the_newest_is_kept_though_it_has_no_stamp() -> None:
    store = infos(10, 20, 30, 0, kept=3)
    assert stamp_found(store, 5, TIMEOUT_S) == 0
    assert stamp_found(store, 40, TIMEOUT_S) == 30


def test_a_clock_that_was_set_back_leaves_the_newest_in_force() -> None:
    store = infos(10, 1000)
    store.clear()
    found = store.find("front", 500, TIMEOUT_S)
    assert found is not None and found.k == K
