"""sensor_msgs/Image and CompressedImage to RGB arrays, of a live topic and of a recording alike."""

from __future__ import annotations

import array
from typing import Protocol, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from fsm_ros.messages.compressed import CompressedError, check_whole, decode_compressed
from fsm_ros.messages.encodings import Encoding, EncodingError
from fsm_ros.messages.stamps import Header
from fsm_ros.stream.ledger import Refusal

Bytes: TypeAlias = "bytes | array.array[int] | NDArray[np.uint8]"
"""Of rclpy an array, of rosbags NumPy's."""


class Stamped(Protocol):
    """Anything with a header."""

    @property
    def header(self) -> Header:
        """Stamp and frame."""


class RawImage(Stamped, Protocol):
    """sensor_msgs/Image."""

    @property
    def height(self) -> int:
        """Rows."""

    @property
    def width(self) -> int:
        """Columns."""

    @property
    def encoding(self) -> str:
        """See :mod:`fsm_ros.messages.encodings`."""

    @property
    def is_bigendian(self) -> int:
        """How samples of two bytes are stored."""

    @property
    def step(self) -> int:
        """Bytes from row to row."""

    @property
    def data(self) -> Bytes:
        """A buffer of bytes."""


class CompressedImage(Stamped, Protocol):
    """sensor_msgs/CompressedImage."""

    @property
    def format(self) -> str:
        """See :mod:`fsm_ros.messages.compressed`."""

    @property
    def data(self) -> Bytes:
        """A buffer of bytes."""


ImageMessage: TypeAlias = RawImage | CompressedImage


class ImageRefusedError(ValueError):
    """A message that holds no image we can use.

    Attributes:
        refusal: the reason under which the frame is counted.
    """

    def __init__(self, refusal: Refusal, message: str) -> None:
        """Args: the reason to count, and the cause for people."""
        super().__init__(message)
        self.refusal = refusal


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
    try:
        check_whole(_bytes(compressed), compressed.format)
    except EncodingError as error:
        raise ImageRefusedError(Refusal.UNSUPPORTED_ENCODING, str(error)) from error
    except CompressedError as error:
        raise ImageRefusedError(Refusal.UNREADABLE_IMAGE, str(error)) from error


def decode(message: ImageMessage) -> NDArray[np.uint8]:
    """The image of a message, ``[height, width, 3]`` uint8, RGB, as the camera saw it (EXIF turns nothing).

    Raises:
        ImageRefusedError: it cannot be decoded.
    """
    check_message(message)
    raw, compressed = _either(message)
    if raw is not None:
        return _decode_raw(raw)
    try:
        return decode_compressed(_bytes(compressed), compressed.format)
    except EncodingError as error:
        raise ImageRefusedError(Refusal.UNSUPPORTED_ENCODING, str(error)) from error
    except CompressedError as error:
        raise ImageRefusedError(Refusal.UNREADABLE_IMAGE, str(error)) from error


def _check_raw(message: RawImage) -> None:
    width, height, step = int(message.width), int(message.height), int(message.step)
    if width == 0 or height == 0:
        raise ImageRefusedError(Refusal.UNREADABLE_IMAGE, f"image of {width}x{height} pixels")
    encoding = _encoding(message)
    needed, rows = encoding.row_bytes(width), encoding.rows(height)
    if step < needed:
        raise ImageRefusedError(
            Refusal.UNREADABLE_IMAGE,
            f"step {step} is too small for {width} {message.encoding} pixels ({needed} bytes)",
        )
    length = len(_bytes(message))
    if length < step * (rows - 1) + needed:
        raise ImageRefusedError(Refusal.UNREADABLE_IMAGE, f"{length} bytes are too few for {rows} rows of {step} bytes")


def _decode_raw(message: RawImage) -> NDArray[np.uint8]:
    encoding, width = _encoding(message), int(message.width)
    shape = encoding.rows(int(message.height)), encoding.row_bytes(width)
    # Rows may be padded by any number of bytes, and the last one need not be.
    rows = np.lib.stride_tricks.as_strided(_bytes(message), shape, (int(message.step), 1), writeable=False)
    try:
        found = encoding.rgb(np.ascontiguousarray(rows), width, big_endian=bool(message.is_bigendian))
    except cv2.error as error:
        raise ImageRefusedError(Refusal.UNSUPPORTED_ENCODING, f"encoding {message.encoding!r}: {error}") from error
    # What is handed out is never a view of the message, which its owner may use again.
    return found.copy() if np.shares_memory(found, _bytes(message)) else found


def _encoding(message: RawImage) -> Encoding:
    try:
        encoding = Encoding.of(message.encoding)
        encoding.check_size(int(message.width), int(message.height))
    except EncodingError as error:
        raise ImageRefusedError(Refusal.UNSUPPORTED_ENCODING, str(error)) from error
    return encoding


def _either(message: ImageMessage) -> tuple[RawImage | None, CompressedImage]:
    """A message as what it is: classes of messages are made anew for every recording, fields are not."""
    raw = cast("RawImage", message) if hasattr(message, "encoding") else None
    return raw, cast("CompressedImage", message)


def _bytes(message: ImageMessage) -> NDArray[np.uint8]:
    return np.frombuffer(message.data, np.uint8)
