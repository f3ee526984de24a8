# SPDX-License-Identifier: Apache-2.0
"""Rounds of garbage: the node lives on, says what was wrong with every single frame, and still answers."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from geometry_msgs.msg import TransformStamped
from node_camera import NANOSECONDS, Camera, Frame, camera_info, pixels_of, pose_in, transform
from node_harness import Robot, active_node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

pytestmark = pytest.mark.slow

ROUNDS = 8
NAN = math.nan
BATCH = 10
JPEG = "jpeg"
BLIND = "blind"
PARAMETERS = {
    "cameras": ["", JPEG, BLIND],
    # Every round waits for both; a good frame has to find its calibration and its transform within them.
    "input.info_timeout": 1.0,
    "tf.timeout": 1.0,
    "memory.retention_views": 0,
    "memory.measure_prediction": False,
}

Spoilt = Callable[["Feed"], Counter[str]]
"""Publishes something, and says how many frames were to be refused for which reason."""

KINDS: dict[str, Spoilt] = {}


class Feed:
    """Two cameras, one raw and one compressed, and a TF broadcaster that nobody should trust."""

    def __init__(self, robot: Robot) -> None:
        self.raw = Camera(robot)
        self.jpeg = Camera(
            robot, topics=(f"{JPEG}/image_raw/compressed", f"{JPEG}/camera_info"), frame_id=JPEG, compressed=True
        )
        self.blind = Camera(robot, topics=(f"{BLIND}/image_raw", f"{BLIND}/camera_info"))
        self._transforms = robot.publisher(TFMessage, "/tf")
        self.sent = 0

    def tell(self, *transforms: TransformStamped) -> None:
        self._transforms.publish(TFMessage(transforms=list(transforms)))

    def send(self, camera: Camera, frame: Frame) -> None:
        camera.publish(frame)
        self.sent += 1

    def good(self) -> None:
        self.send(self.raw, self.raw.frame())


def kind(spoilt: Spoilt) -> Spoilt:
    KINDS[spoilt.__name__] = spoilt
    return spoilt


def image_with(reason: str, **fields: object) -> Spoilt:
    """A raw image with other fields."""

    def spoilt(feed: Feed) -> Counter[str]:
        frame = feed.raw.frame()
        assert isinstance(frame.image, Image)
        for name, value in fields.items():
            setattr(frame.image, name, value)
        feed.send(feed.raw, frame)
        return Counter({reason: 1})

    return spoilt


def info_with(reason: str, spoil: Callable[[CameraInfo], object]) -> Spoilt:
    """A calibration that is spoilt."""

    def spoilt(feed: Feed) -> Counter[str]:
        frame = feed.raw.frame()
        assert frame.info is not None
        spoil(frame.info)
        feed.send(feed.raw, frame)
        return Counter({reason: 1})

    return spoilt


def bytes_with(reason: str, spoil: Callable[[bytes], bytes]) -> Spoilt:
    """A compressed image of other bytes."""

    def spoilt(feed: Feed) -> Counter[str]:
        frame = feed.jpeg.frame()
        assert isinstance(frame.image, CompressedImage)
        frame.image.data = spoil(bytes(frame.image.data))
        feed.send(feed.jpeg, frame)
        return Counter({reason: 1})

    return spoilt


def seen_from(reason: str, frame_id: str, *links: tuple[str, str, tuple[float, ...], tuple[float, ...]]) -> Spoilt:
    """A frame of an optical frame of its own, with these links (parent, child, position, quaternion) said of it."""

    def spoilt(feed: Feed) -> Counter[str]:
        frame = feed.raw.frame()
        assert frame.image is not None
        frame.image.header.frame_id = frame_id
        feed.tell(*(transform(parent, child, frame.stamp_ns, *pose) for parent, child, *pose in links))
        feed.send(feed.raw, replace(frame, transform=None))
        return Counter({reason: 1})

    return spoilt


def stamped(reason: str, when_ns: Callable[[Feed], int]) -> Spoilt:
    """A frame of another time, without TF for it."""

    def spoilt(feed: Feed) -> Counter[str]:
        feed.send(feed.raw, replace(feed.raw.frame(when_ns(feed)), transform=None))
        return Counter({reason: 1})

    return spoilt


def set_k(index: int, value: float) -> Callable[[CameraInfo], None]:
    def spoil(info: CameraInfo) -> None:
        info.k[index] = value

    return spoil


def unknown_lens(info: CameraInfo) -> None:
    info.distortion_model, info.d = "mystery", [0.1, 0.0, 0.0, 0.0, 0.0]


LEVEL = (0.0, 0.0, 0.0, 1.0)
HERE = (0.0, 0.0, 0.0)

KINDS |= {
    "a step that is too small": image_with("unreadable_image", step=10),
    "a step that the data does not fill": image_with("unreadable_image", step=100_000),
    "too little data": image_with("unreadable_image", data=b"\x00" * 100),
    "no data": image_with("unreadable_image", data=b""),
    "no columns": image_with("unreadable_image", width=0),
    "more pixels than there are": image_with("unreadable_image", width=2**31, height=2**31),
    "an unknown encoding": image_with("unsupported_encoding", encoding="no_such_encoding"),
    "no encoding": image_with("unsupported_encoding", encoding=""),
    "depth": image_with("unsupported_encoding", encoding="16UC1"),
    "NaN focal length": info_with("bad_calibration", set_k(0, NAN)),
    "infinite principal point": info_with("bad_calibration", set_k(2, math.inf)),
    "focal length 0": info_with("bad_calibration", set_k(4, 0.0)),
    "NaN distortion": info_with("bad_calibration", lambda info: setattr(info, "d", [NAN] * 5)),
    "too few coefficients": info_with("bad_calibration", lambda info: setattr(info, "d", [0.1])),
    "an unknown lens": info_with("bad_calibration", unknown_lens),
    "a calibration of another size": info_with("size_mismatch", lambda info: setattr(info, "width", 100)),
    "a binning that does not fit": info_with("size_mismatch", lambda info: setattr(info, "binning_x", 2)),
    "a truncated JPEG": bytes_with("unreadable_image", lambda data: data[: len(data) // 2]),
    "an empty JPEG": bytes_with("unreadable_image", lambda data: b""),
    "text for a JPEG": bytes_with("unreadable_image", lambda data: b"not an image at all"),
    "a JPEG of nothing": bytes_with("unreadable_image", lambda data: data[:4] + bytes(100) + data[-2:]),
    "NaN TF": seen_from("bad_transform", "nan_camera", ("map", "nan_camera", (NAN, 0.0, 0.0), LEVEL)),
    "infinite TF": seen_from("bad_transform", "inf_camera", ("map", "inf_camera", (0.0, math.inf, 0.0), LEVEL)),
    "zero-quaternion TF": seen_from("bad_transform", "zero_camera", ("map", "zero_camera", HERE, (0.0,) * 4)),
    "a bad link above": seen_from(
        "bad_transform", "wrist", ("arm", "wrist", HERE, LEVEL), ("map", "arm", HERE, (NAN, 0.0, 0.0, 1.0))
    ),
    "links that add up to infinity": seen_from(
        "bad_transform",
        "far",
        ("map", "half_way", (1.5e308, 0.0, 0.0), LEVEL),
        ("half_way", "far", (1.5e308, 0.0, 0.0), LEVEL),
    ),
    "a frame under itself": seen_from("bad_transform", "ouroboros", ("ouroboros", "ouroboros", HERE, LEVEL)),
    "an unknown frame": seen_from("no_transform", "nowhere"),
    "no frame": seen_from("no_transform", ""),
    "another tree": seen_from("no_transform", "satellite", ("orbit", "satellite", HERE, LEVEL)),
    "a stamp from the past": stamped("stamp_too_old", lambda feed: feed.raw.newest_ns - 5 * NANOSECONDS),
    "a stamp from before time": stamped("stamp_too_old", lambda feed: -NANOSECONDS),
    "a stamp from the future": stamped("stamp_in_future", lambda feed: time.time_ns() + 3600 * NANOSECONDS),
    "a repeated stamp": stamped("stamp_repeated", lambda feed: feed.raw.newest_ns),
}


@kind
def no_calibration_ever(feed: Feed) -> Counter[str]:
    feed.send(feed.blind, replace(feed.blind.frame(), info=None))
    return Counter(no_camera_info=1)


@kind
def a_calibration_that_was_lost(feed: Feed) -> Counter[str]:
    """The one before holds on."""
    feed.send(feed.raw, replace(feed.raw.frame(), info=None))
    return Counter()


@kind
def a_calibration_of_another_time(feed: Feed) -> Counter[str]:
    frame = feed.raw.frame()
    feed.send(feed.raw, replace(frame, info=camera_info(*feed.raw.size, frame.stamp_ns - NANOSECONDS)))
    return Counter()


@kind
def another_resolution(feed: Feed) -> Counter[str]:
    feed.raw.size = (48, 40) if feed.raw.size != (48, 40) else (80, 60)
    feed.good()
    return Counter()


@kind
def a_good_jpeg(feed: Feed) -> Counter[str]:
    feed.send(feed.jpeg, feed.jpeg.frame())
    return Counter()


def loop(feed: Feed) -> Counter[str]:
    """The stream begins again: the first two frames may be stragglers, the third is believed."""
    now_ns = time.time_ns()
    for index in range(5):
        feed.send(feed.raw, feed.raw.frame(now_ns - 30 * NANOSECONDS + index * NANOSECONDS // 10))
    return Counter(stamp_too_old=2)


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    with active_node(tmp_path_factory.mktemp("garbage"), PARAMETERS) as robot:
        yield robot


def test_a_node_that_is_fed_garbage_counts_all_of_it_and_still_answers(robot: Robot) -> None:
    feed, expected, order = Feed(robot), Counter[str](), random.Random(0)
    for _ in range(ROUNDS):
        for index, name in enumerate(order.sample(sorted(KINDS), len(KINDS))):
            feed.good()
            expected += KINDS[name](feed)
            if index % BATCH == 0:
                # No faster than the node can follow: what a full queue loses is not told what is wrong with it.
                robot.wait_for_counts(received=feed.sent)
        feed.good()
        robot.wait_until(lambda: is_idle(robot, feed.sent), "all frames of a round settled")
        expected += loop(feed)
        robot.wait_until(lambda: is_idle(robot, feed.sent), "all frames of a loop settled")

    assert robot.refused() == expected
    assert len(expected) == 10
    counts = robot.counts()
    assert counts["received"] == feed.sent == counts["keyframed"] + sum(expected.values())
    chunks = counts["keyframed"] // 2
    robot.wait_until(lambda: robot.heard.memory[-1].chunks_observed == chunks, "the report of the last chunk")
    for report in robot.heard.memory:
        refused = sum(entry.count for entry in report.refused)
        assert report.frames_received == report.frames_keyframed + report.frames_pending + refused
    last = robot.heard.memory[-1]
    assert last.epoch == 0
    for layer in last.layers:
        assert all(math.isfinite(getattr(layer, name)) for name in layer.get_fields_and_field_types())

    view = robot.render(pose_in("map"))
    assert view.success, view.message
    assert pixels_of(view.image).std() > 0
    assert robot.process.is_alive
    assert "Traceback" not in robot.process.log


def is_idle(robot: Robot, sent: int) -> bool:
    """Whether all frames that were sent have arrived, been judged, and been observed."""
    counts = robot.counts()
    waiting = next(int(entry.value) for entry in robot.status("memory").values if entry.key == "chunks_waiting")
    return counts["received"] == sent and counts["pending"] == 0 and waiting == 0
