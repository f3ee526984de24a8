# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/Image and CompressedImage to RGB arrays, of a live topic and of a recording alike."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from fsm_ros.messages.compressed import check_whole, decode_compressed
from fsm_ros.messages.encodings import Encoding
from fsm_ros.messages.fields import CompressedImage, ImageMessage, RawImage
from fsm_ros.messages.refused import unreadable, unsupported
from fsm_ros.messages.rows import bytes_of, check_rows, rows_of


def image_size(message: ImageMessage) -> tuple[int, int] | None:
    """Width and height in pixels; None for a compressed image, which does not tell before it is decoded."""
    raw, _ = _either(message)
    return None if raw is None else (int(raw.width), int(raw.height))


def check_message(message: ImageMessage) -> None:
    """Cheap checks that need no decoding.

    Raises:
        ImageRefusedError: too little data, a step that does not fit, an encoding that is none of a picture, or a
            compressed image that was cut short (decoders fill those up in silence).
    """
    raw, compressed = _either(message)
    if raw is not None:
        _check_raw(raw)
        return
    check_whole(bytes_of(compressed), compressed.format)


def decode(message: ImageMessage) -> NDArray[np.uint8]:
    """The image of a message, ``[height, width, 3]`` uint8, RGB, as the camera saw it (EXIF turns nothing).

    Raises:
        ImageRefusedError: it cannot be decoded.
    """
    check_message(message)
    raw, compressed = _either(message)
    if raw is not None:
        return _decode_raw(raw)
    return decode_compressed(bytes_of(compressed), compressed.format)


def _check_raw(message: RawImage) -> None:
    width, height = int(message.width), int(message.height)
    if width == 0 or height == 0:
        raise unreadable(f"image of {width}x{height} pixels")
    encoding = _encoding(message)
    check_rows(message, encoding.rows(height), encoding.row_bytes(width))


def _decode_raw(message: RawImage) -> NDArray[np.uint8]:
    encoding, width = _encoding(message), int(message.width)
    rows = rows_of(message, encoding.rows(int(message.height)), encoding.row_bytes(width))
    try:
        found = encoding.rgb(rows, width, big_endian=bool(message.is_bigendian))
    except cv2.error as error:
        raise unsupported(f"encoding {message.encoding!r}: {error}") from error
    # What is handed out is never a view of the message, which its owner may use again.
    return found.copy() if np.shares_memory(found, bytes_of(message)) else found


def _encoding(message: RawImage) -> Encoding:
    encoding = Encoding.of(message.encoding)
    encoding.check_size(int(message.width), int(message.height))
    return encoding


def _either(message: ImageMessage) -> tuple[RawImage | None, CompressedImage]:
    """A message as what it is: classes of messages are made anew for every recording, fields are not."""
    raw = cast("RawImage", message) if hasattr(message, "encoding") else None
    return raw, cast("CompressedImage", message)
