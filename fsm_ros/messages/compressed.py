"""Compressed images: JPEG, PNG and what else OpenCV reads, and what ``format`` says of their colours.

``format`` is that of ROS's compressed_image_transport: ``jpeg`` or ``png``, or the encoding of the raw image, a
semicolon, and ``jpeg compressed bgr8`` or the like. Where it says ``compressed rgb8`` the colours were never brought to
the file's own order, and where a Bayer pattern was compressed the file holds the bare pattern.
"""

from __future__ import annotations

import re

import cv2
import numpy as np
from numpy.typing import NDArray

from fsm_ros.messages.encodings import DEPTH_ENCODINGS, EncodingError, demosaiced, in_eight_bits

_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG", b"IEND\xaeB`\x82"
_VIDEO = re.compile(r"(?<![a-z0-9])(h\.?26[345]|hevc|avc1?|av1|vp[89]|mpeg-?[124]|theora|libx26[45])(?![a-z0-9])")


class CompressedError(ValueError):
    """Bytes that are no image, or only a part of one."""


def check_whole(data: NDArray[np.uint8], format_: str) -> None:
    """Checks that need no decoding.

    Args:
        data: ``[n]`` uint8, of the message.
        format_: of the message.

    Raises:
        CompressedError: there is nothing, or it was cut short.
        EncodingError: depth, or a video.
    """
    whole = data.tobytes()
    encoding = format_.partition(";")[0].strip()
    if "compressedDepth" in format_ or encoding in DEPTH_ENCODINGS:
        raise EncodingError(f"format {format_!r} is that of depth (REP-118), not of a picture: take a colour topic")
    is_jpeg, is_png = whole.startswith(_JPEG_START), whole.startswith(_PNG_START)
    video = _VIDEO.search(format_.lower())
    if video is not None and not (is_jpeg or is_png):
        raise EncodingError(
            f"format {format_!r} is a video's ({video[0]}), whose images cannot be decoded one by one: republish it as "
            "raw or jpeg (ros2 run image_transport republish)"
        )
    # Whatever lies behind the end is padding or the driver's own. A thumbnail ends before the image's scan begins.
    cut_jpeg = is_jpeg and whole.rfind(_JPEG_END) < max(0, whole.rfind(_JPEG_SCAN))
    cut_png = is_png and _PNG_END not in whole
    if not whole or cut_jpeg or cut_png:
        raise CompressedError(f"compressed image of {len(whole)} bytes is cut short")


def decode_compressed(data: NDArray[np.uint8], format_: str) -> NDArray[np.uint8]:
    """``[height, width, 3]`` uint8 RGB, not turned by EXIF, transparency left out.

    Args:
        data: ``[n]`` uint8, of the message; see :func:`check_whole`.
        format_: of the message.

    Raises:
        CompressedError: no image that OpenCV reads.
        EncodingError: pixels that are no colours.
    """
    try:
        found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise CompressedError(f"compressed image: {error}") from error
    if found is None:
        raise CompressedError(f"{len(data)} bytes of format {format_!r} are no JPEG or PNG image")
    pixels = np.asarray(found)
    encoding, _, how = (part.strip() for part in format_.partition(";"))
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        grey = pixels.reshape(pixels.shape[:2])
        if encoding.startswith("bayer_"):
            return demosaiced(in_eight_bits(grey), encoding)
        return np.repeat(in_eight_bits(grey)[..., None], 3, axis=2)
    if pixels.shape[2] not in (3, 4):
        raise EncodingError(f"a compressed image of {pixels.shape[2]} channels is no picture")
    colours = in_eight_bits(pixels[..., :3])
    if "compressed rgb" in how:
        return colours
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_BGR2RGB), dtype=np.uint8)
