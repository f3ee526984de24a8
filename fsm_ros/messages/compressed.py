# SPDX-License-Identifier: Apache-2.0
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

from fsm_ros.messages.encodings import DEPTH_ENCODINGS, demosaiced, in_eight_bits
from fsm_ros.messages.refused import unreadable, unsupported

_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG", b"IEND\xaeB`\x82"
_TAIL = 64
"""A file mostly ends so near to its end mark; only where it does not all of it is looked through."""
_VIDEO = re.compile(r"(?<![a-z0-9])(h\.?26[345]|hevc|avc1?|av1|vp[89]|mpeg-?[124]|theora|libx26[45])(?![a-z0-9])")


def check_whole(data: NDArray[np.uint8], format_: str) -> None:
    """Checks that need no decoding.

    Args:
        data: ``[n]`` uint8, of the message.
        format_: of the message.

    Raises:
        ImageRefusedError: there is nothing, it was cut short, depth, or a video.
    """
    encoding = format_.partition(";")[0].strip()
    if "compressedDepth" in format_ or encoding in DEPTH_ENCODINGS:
        raise unsupported(f"format {format_!r} is that of depth (REP-118), not of a picture: take a colour topic")
    start = data[:4].tobytes()
    is_jpeg, is_png = start.startswith(_JPEG_START), start.startswith(_PNG_START)
    video = _VIDEO.search(format_.lower())
    if video is not None and not (is_jpeg or is_png):
        raise unsupported(
            f"format {format_!r} is a video's ({video[0]}), whose images cannot be decoded one by one: republish it as "
            "raw or jpeg (ros2 run image_transport republish)"
        )
    if len(data) == 0 or (is_jpeg and not _is_whole_jpeg(data)) or (is_png and not _is_whole_png(data)):
        raise unreadable(f"compressed image of {len(data)} bytes is cut short")


def decode_compressed(data: NDArray[np.uint8], format_: str) -> NDArray[np.uint8]:
    """``[height, width, 3]`` uint8 RGB, not turned by EXIF, transparency left out.

    Args:
        data: ``[n]`` uint8, of the message; see :func:`check_whole`.
        format_: of the message.

    Raises:
        ImageRefusedError: no image that OpenCV reads, or pixels that are no colours.
    """
    try:
        found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise unreadable(f"compressed image: {error}") from error
    if found is None:
        raise unreadable(f"{len(data)} bytes of format {format_!r} are no JPEG or PNG image")
    pixels = np.asarray(found)
    encoding, _, how = (part.strip() for part in format_.partition(";"))
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        grey = pixels.reshape(pixels.shape[:2])
        if encoding.startswith("bayer_"):
            return demosaiced(in_eight_bits(grey), encoding)
        return np.repeat(in_eight_bits(grey)[..., None], 3, axis=2)
    if pixels.shape[2] not in (3, 4):
        raise unsupported(f"a compressed image of {pixels.shape[2]} channels is no picture")
    colours = in_eight_bits(pixels[..., :3])
    if "compressed rgb" in how:
        return colours
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _is_whole_jpeg(data: NDArray[np.uint8]) -> bool:
    """Whether an end follows the last scan. Behind it lies padding or the driver's own; a thumbnail ends before it."""
    for part in (data[-_TAIL:], data):
        seen = part.tobytes()
        if (end := seen.rfind(_JPEG_END)) >= 0:
            return end > seen.rfind(_JPEG_SCAN)
    return False


def _is_whole_png(data: NDArray[np.uint8]) -> bool:
    return any(_PNG_END in part.tobytes() for part in (data[-_TAIL:], data))
