# SPDX-License-Identifier: Apache-2.0
"""RGB arrays and numbers to sensor_msgs/Image, and numbers back; what cameras send is read in ``fsm_ros.messages``."""

from __future__ import annotations

import array

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from fsm_ros.messages.refused import unreadable, unsupported


def encode(image: NDArray[np.uint8], frame_id: str, stamp: Time) -> Image:
    """An rgb8 message of an ``[height, width, 3]`` uint8 image."""
    message = Image(height=image.shape[0], width=image.shape[1], encoding="rgb8", step=3 * image.shape[1])
    message.header.frame_id = frame_id
    message.header.stamp = stamp
    # An array.array is taken over as it is; anything else is copied byte by byte in Python.
    message.data = array.array("B", np.ascontiguousarray(image).tobytes())
    return message


def encode_floats(values: NDArray[np.float32], frame_id: str, stamp: Time) -> Image:
    """``[height, width]`` as a 32FC1 image, such as depth in metres (REP-118)."""
    height, width = values.shape
    image = Image(height=height, width=width, encoding="32FC1", is_bigendian=0, step=4 * width)
    image.data = array.array("B", np.ascontiguousarray(values, dtype="<f4").tobytes())
    image.header.frame_id = frame_id
    image.header.stamp = stamp
    return image


def decode_floats(message: Image) -> NDArray[np.float32]:
    """The values of a 32FC1 image without padding, as :func:`encode_floats` makes it; ``[height, width]`` float32.

    Raises:
        ImageRefusedError: it is of another kind, or cut short.
    """
    if message.encoding != "32FC1" or message.is_bigendian or message.step != 4 * message.width:
        raise unsupported(
            f"expected little-endian 32FC1 in rows of {4 * message.width} bytes, found {message.encoding!r} in rows of "
            f"{message.step}",
        )
    needed = message.step * message.height
    if len(message.data) < needed:
        raise unreadable(f"{len(message.data)} bytes are too few for {needed} of 32FC1 values")
    values = np.frombuffer(message.data, "<f4", count=message.width * message.height)
    return values.reshape(message.height, message.width).astype(np.float32)
