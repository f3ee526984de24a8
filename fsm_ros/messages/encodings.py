# SPDX-License-Identifier: Apache-2.0
"""Encodings of raw images: sensor_msgs/image_encodings, and OpenCV's names that it takes over.

Every conversion is one of OpenCV's. Colours of 16 bits are brought to 8 by rounding; YUV is that of ITU-R BT.601 in
studio range, as image_proc and cv_bridge take it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fsm_ros.messages.refused import unsupported

DEPTH_ENCODINGS = ("16UC1", "32FC1")
"""What depth images have (REP-118)."""

_BAYER = {  # OpenCV calls a pattern by its second row
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
_COLOURS = {
    "rgb": (3, None),
    "bgr": (3, cv2.COLOR_BGR2RGB),
    "rgba": (4, cv2.COLOR_RGBA2RGB),
    "bgra": (4, cv2.COLOR_BGRA2RGB),
    "mono": (1, cv2.COLOR_GRAY2RGB),
}
_GENERIC = {1: "mono", 3: "bgr", 4: "bgra"}
"""Nobody says what the channels of an 8UC3 are; cv_bridge and OpenCV take them for BGR."""
_OPENCV_NAME = re.compile(r"(8|16|32|64)[USF]C\d+")
_TO_EIGHT_BITS = ((np.arange(65536, dtype=np.uint32) + 128) // 257).astype(np.uint8)


@dataclass(frozen=True)
class Encoding:
    """How the pixels of an image lie in its rows.

    Attributes:
        name: as in the message.
        sample_bytes: 1 or 2.
        channels: samples that a pixel takes in a row.
        conversion: OpenCV's code to RGB; ``None``: it is RGB.
        even_width: whether the width must be even.
        chroma_rows: rows of colour that follow the image's own, for two of these; the height must be even then.
    """

    name: str
    sample_bytes: int
    channels: int
    conversion: int | None
    even_width: bool = False
    chroma_rows: int = 0

    @classmethod
    def of(cls, name: str) -> Encoding:
        """The encoding that a message names.

        Raises:
            ImageRefusedError: it is not known, or holds no picture.
        """
        if name in _NAMED:
            return _NAMED[name]
        if name in DEPTH_ENCODINGS:
            raise unsupported(f"encoding {name!r} is that of depth (REP-118), not of a picture: take a colour topic")
        if _OPENCV_NAME.fullmatch(name) is None:
            raise unsupported(f"encoding {name!r} is unknown")
        raise unsupported(f"encoding {name!r} is no colour format")

    def row_bytes(self, width: int) -> int:
        """Bytes that a row takes, without padding."""
        return width * self.channels * self.sample_bytes

    def rows(self, height: int) -> int:
        """Rows of a message, those of colour included."""
        return height + self.chroma_rows * height // 2

    def check_size(self, width: int, height: int) -> None:
        """Check that an image may have this size.

        Raises:
            ImageRefusedError: it may not.
        """
        if (self.even_width and width % 2) or (self.chroma_rows and height % 2):
            raise unsupported(f"encoding {self.name!r} shares colours between pixels: {width}x{height} is odd")

    def rgb(self, rows: NDArray[np.uint8], width: int, *, big_endian: bool) -> NDArray[np.uint8]:
        """The picture, ``[height, width, 3]`` uint8.

        Args:
            rows: ``[rows, row_bytes]`` uint8, contiguous.
            width: columns.
            big_endian: how samples of two bytes are stored.

        Raises:
            cv2.error: OpenCV cannot convert a picture of this size.
        """
        samples = rows
        if self.sample_bytes == 2:
            samples = rows.view(">u2" if big_endian else "<u2").astype(np.uint16)
        samples = samples.reshape(len(rows), width, *([self.channels] if self.channels > 1 else []))
        colours = samples if self.conversion is None else cv2.cvtColor(samples, self.conversion)
        return in_eight_bits(np.asarray(colours))


_BITS = (8, 16)
_NAMED = {
    encoding.name: encoding
    for encoding in (
        *(Encoding(f"{family}{bits}", bits // 8, *how) for family, how in _COLOURS.items() for bits in _BITS),
        *(Encoding(f"{bits}UC{n}", bits // 8, *_COLOURS[family]) for n, family in _GENERIC.items() for bits in _BITS),
        *(Encoding(f"bayer_{name}{bits}", bits // 8, 1, code) for name, code in _BAYER.items() for bits in _BITS),
        *(Encoding(name, 1, 2, cv2.COLOR_YUV2RGB_UYVY, even_width=True) for name in ("uyvy", "yuv422")),
        *(Encoding(name, 1, 2, cv2.COLOR_YUV2RGB_YUY2, even_width=True) for name in ("yuyv", "yuv422_yuy2")),
        Encoding("nv12", 1, 1, cv2.COLOR_YUV2RGB_NV12, even_width=True, chroma_rows=1),
        Encoding("nv21", 1, 1, cv2.COLOR_YUV2RGB_NV21, even_width=True, chroma_rows=1),
    )
    if encoding.name not in DEPTH_ENCODINGS
}


def in_eight_bits(colours: NDArray[Any]) -> NDArray[np.uint8]:
    """The same picture with 8 bits a channel, rounded; uint8 stays as it is.

    Raises:
        ImageRefusedError: neither 8 nor 16 bits.
    """
    if colours.dtype == np.uint8:
        return np.ascontiguousarray(colours, dtype=np.uint8)
    if colours.dtype != np.uint16:
        raise unsupported(f"channels of {colours.dtype} are no colours")
    return np.ascontiguousarray(_TO_EIGHT_BITS[colours])


def demosaiced(mosaic: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """The colours ``[height, width, 3]`` behind a Bayer pattern ``[height, width]``.

    Raises:
        ImageRefusedError: no such pattern.
    """
    pattern = name.removeprefix("bayer_").rstrip("0123456789")
    if pattern not in _BAYER:
        raise unsupported(f"encoding {name!r} is unknown")
    return np.asarray(cv2.cvtColor(mosaic, _BAYER[pattern]), dtype=np.uint8)
