# SPDX-License-Identifier: Apache-2.0
"""Recordings of rigs made by hand: cameras that are called by their namespaces, on a base that moves along x."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from recordings import Message, camera_info, colours, compressed_image, raw_image, transform

SECOND = 10**9
LATENCY_NS = 30_000_000


def image_of(camera: str, n: int, stamp_ns: int, frame: str = "", arrival_ns: int | None = None) -> Message:
    """Image number n of a camera whose optical frame is called by its topics' namespace."""
    topic, kind, _, message = raw_image(colours() + np.uint8(n), stamp_ns=stamp_ns, topic=f"/{camera}/image_raw")
    message.header.frame_id = frame or camera.rpartition("/")[2]  # type: ignore[attr-defined]
    return topic, kind, stamp_ns + LATENCY_NS if arrival_ns is None else arrival_ns, message


def compressed_twin(image: Message) -> Message:
    """The same as PNG, on the topic of the compressed transport."""
    topic, _, arrival_ns, message = image
    pixels = message.data.reshape(message.height, message.width, 3)  # type: ignore[attr-defined]
    data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()
    twin = compressed_image(data)[3]
    twin.header = message.header  # type: ignore[attr-defined]
    return f"{topic}/compressed", "sensor_msgs/msg/CompressedImage", arrival_ns, twin


def info_of(camera: str, fx: float = 50.0) -> Message:
    topic, kind, stamp_ns, message = camera_info(16, 12, 0, fx=fx)
    return f"/{camera}/camera_info" if camera else "/camera_info", kind, stamp_ns, message


def mount(parent: str, child: str, x: float = 0.0) -> Message:
    """A transform that holds at all times."""
    _, kind, stamp_ns, message = transform(parent, child, 0, x)
    return "/tf_static", kind, stamp_ns, message


def motion(
    parent: str = "map", child: str = "base", first_s: float = 0.0, last_s: float = 4.0, step_s: float = 0.1
) -> list[Message]:
    """A frame that moves along x at a metre a second."""
    times = np.round(np.arange(first_s, last_s + step_s / 2, step_s) * 1e9).astype(int)
    return [transform(parent, child, int(time_ns), x=time_ns / 1e9) for time_ns in times]


def a_rig(cameras: Sequence[str] = ("rig/front", "rig/left"), count: int = 4) -> list[Message]:
    """Cameras that see in turn, a second apart, from half a metre beside each other."""
    messages = [*motion(last_s=count + 1.0)]
    for number, camera in enumerate(cameras):
        name = camera.rpartition("/")[2]
        messages += [info_of(camera, fx=50.0 + number), mount("base", name, x=0.5 * number)]
        messages += [image_of(camera, 10 * number + n, n * SECOND + number * 100_000_000) for n in range(count)]
    return sorted(messages, key=lambda message: message[2])


def one_camera(count: int = 4, first_s: float = 0.0, last_s: float = 4.0, step_s: float = 0.1) -> list[Message]:
    """A camera that moves, and takes an image a second."""
    images = [image_of("camera", n, n * SECOND) for n in range(count)]
    return sorted(
        [info_of("camera"), *motion("map", "camera", first_s, last_s, step_s), *images], key=lambda message: message[2]
    )
