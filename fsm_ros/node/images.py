"""sensor_msgs/Image and CompressedImage to RGB arrays, and back."""

from __future__ import annotations

import array
from typing import TypeAlias

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from fsm_ros.stream.ledger import Refusal

try:  # a ROS machine has cv_bridge; it is not on PyPI
    from cv_bridge import CvBridge, CvBridgeError
except ImportError:
    CvBridge = None

ImageMessage: TypeAlias = Image | CompressedImage
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG", b"IEND"
_TAIL = 64  # encoders may pad after the end mark


class ImageRefusedError(ValueError):
    """A message that holds no image we can use.

    Attributes:
        refusal: the reason under which the frame is counted.
    """

    def __init__(self, refusal: Refusal, message: str) -> None:
        """Args: the reason to count, and the cause for people."""
        super().__init__(message)
        self.refusal = refusal


def check_message(message: ImageMessage) -> None:
    """Cheap checks that need no decoding.

    Raises:
        ImageRefusedError: too little data, a step that does not fit, or a compressed image that was cut short
            (decoders fill those up in silence).
    """
    if isinstance(message, CompressedImage):
        data = bytes(message.data[:4]), bytes(message.data[-_TAIL:])
        cut_jpeg = data[0].startswith(_JPEG_START) and _JPEG_END not in data[1]
        cut_png = data[0].startswith(_PNG_START) and _PNG_END not in data[1]
        if len(message.data) == 0 or cut_jpeg or cut_png:
            raise ImageRefusedError(
                Refusal.UNREADABLE_IMAGE, f"compressed image of {len(message.data)} bytes is cut short"
            )
        return
    if message.width == 0 or message.height == 0:
        raise ImageRefusedError(Refusal.UNREADABLE_IMAGE, f"image of {message.width}x{message.height} pixels")
    needed = _bytes_per_row(message)
    if message.step < needed:
        raise ImageRefusedError(
            Refusal.UNREADABLE_IMAGE,
            f"step {message.step} is too small for {message.width} {message.encoding} pixels ({needed} bytes)",
        )
    if len(message.data) < message.step * (message.height - 1) + needed:
        raise ImageRefusedError(
            Refusal.UNREADABLE_IMAGE,
            f"{len(message.data)} bytes are too few for {message.height} rows of {message.step} bytes",
        )


def decode(message: ImageMessage) -> NDArray[np.uint8]:
    """The image of a message, ``[height, width, 3]`` uint8, RGB.

    Raises:
        ImageRefusedError: it cannot be decoded.
    """
    check_message(message)
    if isinstance(message, CompressedImage):
        return _decode_compressed(message)
    if CvBridge is not None:
        try:
            decoded = CvBridge().imgmsg_to_cv2(message, "rgb8")
        except (CvBridgeError, cv2.error, TypeError, ValueError) as error:
            raise ImageRefusedError(Refusal.UNSUPPORTED_ENCODING, f"encoding {message.encoding!r}: {error}") from error
        return np.ascontiguousarray(decoded, dtype=np.uint8)
    return _decode_raw(message)


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
        raise ImageRefusedError(
            Refusal.UNSUPPORTED_ENCODING,
            f"expected little-endian 32FC1 in rows of {4 * message.width} bytes, found {message.encoding!r} in rows of "
            f"{message.step}",
        )
    check_message(message)
    values = np.frombuffer(message.data, "<f4", count=message.width * message.height)
    return values.reshape(message.height, message.width).astype(np.float32)


def _decode_compressed(message: CompressedImage) -> NDArray[np.uint8]:
    try:
        # As the camera saw it: its calibration knows nothing of how a viewer should turn the picture.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        decoded = cv2.imdecode(np.frombuffer(message.data, np.uint8), flags)
    except cv2.error as error:
        raise ImageRefusedError(Refusal.UNREADABLE_IMAGE, f"compressed image: {error}") from error
    if decoded is None:
        raise ImageRefusedError(
            Refusal.UNREADABLE_IMAGE,
            f"{len(message.data)} bytes of format {message.format!r} are no JPEG or PNG image",
        )
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _decode_raw(message: Image) -> NDArray[np.uint8]:
    from rosbags.image import ImageError, message_to_cvimage
    from rosbags.image.image import Format, to_cvtype

    if to_cvtype(message.encoding)[1] is Format.GENERIC:
        # As cv_bridge has it: nobody knows what the channels of an 8UC3 are.
        raise ImageRefusedError(Refusal.UNSUPPORTED_ENCODING, f"encoding {message.encoding!r} is no colour format")
    packed = message
    used = _bytes_per_row(message)
    if message.step != used:
        # The last row may come without its padding.
        rows, last = np.frombuffer(message.data, np.uint8), message.step * (message.height - 1)
        padded = rows[:last].reshape(message.height - 1, message.step)
        packed = Image(
            height=message.height,
            width=message.width,
            encoding=message.encoding,
            is_bigendian=message.is_bigendian,
            step=used,
            data=array.array("B", padded[:, :used].tobytes() + rows[last : last + used].tobytes()),
        )
    try:
        decoded = message_to_cvimage(packed, "rgb8")
    except (ImageError, cv2.error, TypeError, ValueError) as error:
        raise ImageRefusedError(Refusal.UNSUPPORTED_ENCODING, f"encoding {message.encoding!r}: {error}") from error
    # NV12 and NV21 come out with fewer rows than the message has: their chroma was taken for rows.
    if decoded.shape != (message.height, message.width, 3) or decoded.dtype != np.uint8:
        raise ImageRefusedError(
            Refusal.UNSUPPORTED_ENCODING, f"encoding {message.encoding!r} has no conversion to 8-bit RGB"
        )
    return np.ascontiguousarray(decoded, dtype=np.uint8)


def _bytes_per_row(message: Image) -> int:
    """Bytes that the pixels of a row take, without padding (REP-118's encodings and sensor_msgs/image_encodings)."""
    from rosbags.image.image import ImageFormatError, to_cvtype

    try:
        bits, _, _, channels = to_cvtype(message.encoding)
    except ImageFormatError as error:
        raise ImageRefusedError(Refusal.UNSUPPORTED_ENCODING, f"encoding {message.encoding!r} is unknown") from error
    return int(message.width) * channels * bits // 8
