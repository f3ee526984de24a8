# SPDX-License-Identifier: Apache-2.0
"""Look-ups of poses in a live node, with tf2's buffer and with our own: the same answers, and never anything else.

Where tf2_ros is not installed (it is not on PyPI) a stand-in has its interface, its exceptions and its numbers:
sums that no float holds come out as infinities, without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS")
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.time import Time  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from fsm_ros.node import poses  # noqa: E402
from fsm_ros.node.conversions import ns_to_stamp  # noqa: E402
from fsm_ros.node.delivery import Delivery  # noqa: E402
from fsm_ros.node.poses import PipBackend, PoseSource  # noqa: E402
from fsm_ros.stream.transforms import BadTransformError, TransformError  # noqa: E402

SECOND = 10**9
LEVEL = (0.0, 0.0, 0.0, 1.0)
HUGE = 1.7e308


class TransformException(Exception):
    """As tf2_ros has it."""


class LookupException(TransformException):
    """Likewise."""


class StandInBuffer:
    """tf2_ros.Buffer, as far as it is used."""

    def __init__(self, cache_time: Duration) -> None:
        self._kept = PipBackend(cache_time.nanoseconds / 1e9)

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        assert authority
        self._kept.insert(transform, is_static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        assert authority
        self._kept.insert(transform, is_static=True)

    def lookup_transform(self, target: str, source: str, time: Time) -> TransformStamped:
        if target.startswith("/") or source.startswith("/"):
            raise LookupException("frame names must not begin with a slash")
        try:
            with np.errstate(all="ignore"):
                found = self._kept.lookup(target, source, time.nanoseconds or None)
        except TransformError as error:
            raise LookupException(str(error)) from error
        x, y, z = (float(value) for value in found[:3, 3])
        answer = TransformStamped()
        answer.transform.translation = Vector3(x=x, y=y, z=z)
        answer.transform.rotation = Quaternion(w=1.0)  # the transforms of these tests do not turn
        return answer


@pytest.fixture(params=["tf2", "own"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[PoseSource]:
    if request.param == "own":
        monkeypatch.setattr(poses, "tf2_ros", None)
    elif poses.tf2_ros is None:
        stand_in = SimpleNamespace(Buffer=StandInBuffer, TransformException=TransformException)
        monkeypatch.setattr(poses, "tf2_ros", stand_in)
    context = Context()
    rclpy.init(context=context)
    node = Node("tf", context=context, use_global_arguments=False, enable_rosout=False)
    try:
        yield PoseSource(node, 10.0, "rendered", Delivery(node))
    finally:
        node.destroy_node()
        context.try_shutdown()


def say(
    source: PoseSource, parent: str, child: str, stamp_ns: int = 0, x: float = 0.0, *, is_static: bool = False
) -> None:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp = ns_to_stamp(stamp_ns)
    message.transform.translation = Vector3(x=x, y=0.0, z=0.0)
    message.transform.rotation = Quaternion(x=LEVEL[0], y=LEVEL[1], z=LEVEL[2], w=LEVEL[3])
    source._on_message(TFMessage(transforms=[message]), is_static=is_static)  # noqa: SLF001  # as DDS does


def test_links_are_interpolated_and_chained(source: PoseSource) -> None:
    say(source, "map", "base", SECOND, 1.0)
    say(source, "map", "base", 2 * SECOND, 3.0)
    say(source, "base", "camera", x=0.5, is_static=True)
    assert source.lookup("map", "camera", 3 * SECOND // 2)[0, 3] == pytest.approx(2.5)
    assert source.lookup("map", "camera", None)[0, 3] == pytest.approx(3.5)
    assert source.lookup("camera", "map", 2 * SECOND)[0, 3] == pytest.approx(-3.5)


def test_a_slash_before_a_name_is_that_of_tf_before_tf2(source: PoseSource) -> None:
    say(source, "/map", "/camera", x=2.0, is_static=True)
    for target in ("map", "/map"):
        for frame in ("camera", "/camera"):
            assert source.lookup(target, frame, SECOND)[0, 3] == 2.0


@pytest.mark.parametrize(
    ("target", "frame", "stamp_ns"),
    [
        ("map", "nowhere", SECOND),
        ("nowhere", "camera", SECOND),
        ("map", "camera", 9 * SECOND),  # never extrapolated
        ("map", "satellite", SECOND),  # another tree
        ("map", "", SECOND),
    ],
)
def test_what_is_not_known_is_a_transform_error(source: PoseSource, target: str, frame: str, stamp_ns: int) -> None:
    say(source, "map", "camera", SECOND, 1.0)
    say(source, "map", "camera", 2 * SECOND, 1.0)
    say(source, "orbit", "satellite", is_static=True)
    with pytest.raises(TransformError):
        source.lookup(target, frame, stamp_ns)


@pytest.mark.parametrize("stamp_ns", [SECOND, None], ids=["at a stamp", "latest"])
def test_links_that_add_up_to_more_than_a_float_holds_are_an_error_and_no_pose(
    source: PoseSource, stamp_ns: int | None
) -> None:
    """A request in such a frame must be answered, not end the process."""
    say(source, "map", "half_way", x=HUGE, is_static=True)
    say(source, "half_way", "far", x=HUGE, is_static=True)
    with pytest.raises(BadTransformError, match="a pose must be finite|not finite"):
        source.lookup("map", "far", stamp_ns)


def test_what_is_no_pose_is_refused_and_remembered_as_the_reason(source: PoseSource) -> None:
    say(source, "map", "camera", SECOND, float("nan"))
    assert source.refused == 1
    assert "not finite" in (source.bad_reason("map", "camera") or "")
    say(source, "map", "camera", 2 * SECOND, 1.0)
    assert source.bad_reason("map", "camera") is None
