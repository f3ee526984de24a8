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
_OPENCV_NAME = re.compile(r"(8|16|32|64)([USF])C(\d+)")
_TO_EIGHT_BITS = ((np.arange(65536, dtype=np.uint32) + 128) // 257).astype(np.uint8)


class EncodingError(ValueError):
    """An encoding that is not known, or that holds no picture."""


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
            EncodingError: it is not known, or holds no picture.
        """
        if name in _PACKED:
            return _PACKED[name]
        if name in DEPTH_ENCODINGS:
            raise EncodingError(
                f"encoding {name!r} is that of depth (REP-118), not of a picture: take the colour image"
            )
        for family, (channels, conversion) in _COLOURS.items():
            for bits in (8, 16):
                if name == f"{family}{bits}":
                    return cls(name, bits // 8, channels, conversion)
        for pattern, conversion in _BAYER.items():
            for bits in (8, 16):
                if name == f"bayer_{pattern}{bits}":
                    return cls(name, bits // 8, 1, conversion)
        generic = _OPENCV_NAME.fullmatch(name)
        if generic is None:
            raise EncodingError(f"encoding {name!r} is unknown")
        bits, kind, channels = int(generic[1]), generic[2], int(generic[3][:3])
        if kind != "U" or bits > 16 or channels not in _GENERIC:
            raise EncodingError(f"encoding {name!r} is no colour format")
        return cls(name, bits // 8, *_COLOURS[_GENERIC[channels]])

    def row_bytes(self, width: int) -> int:
        """Bytes that a row takes, without padding."""
        return width * self.channels * self.sample_bytes

    def rows(self, height: int) -> int:
        """Rows of a message, those of colour included."""
        return height + self.chroma_rows * height // 2

    def check_size(self, width: int, height: int) -> None:
        """Check that an image may have this size.

        Raises:
            EncodingError: it may not.
        """
        if (self.even_width and width % 2) or (self.chroma_rows and height % 2):
            raise EncodingError(f"encoding {self.name!r} shares colours between pixels: {width}x{height} is odd")

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


_PACKED = {
    **{name: Encoding(name, 1, 2, cv2.COLOR_YUV2RGB_UYVY, even_width=True) for name in ("uyvy", "yuv422")},
    **{name: Encoding(name, 1, 2, cv2.COLOR_YUV2RGB_YUY2, even_width=True) for name in ("yuyv", "yuv422_yuy2")},
    "nv12": Encoding("nv12", 1, 1, cv2.COLOR_YUV2RGB_NV12, even_width=True, chroma_rows=1),
    "nv21": Encoding("nv21", 1, 1, cv2.COLOR_YUV2RGB_NV21, even_width=True, chroma_rows=1),
}


def in_eight_bits(colours: NDArray[Any]) -> NDArray[np.uint8]:
    """The same picture with 8 bits a channel, rounded; uint8 stays as it is.

    Raises:
        EncodingError: neither 8 nor 16 bits.
    """
    if colours.dtype == np.uint8:
        return np.ascontiguousarray(colours, dtype=np.uint8)
    if colours.dtype != np.uint16:
        raise EncodingError(f"channels of {colours.dtype} are no colours")
    return np.ascontiguousarray(_TO_EIGHT_BITS[colours])


def demosaiced(mosaic: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """The colours ``[height, width, 3]`` behind a Bayer pattern ``[height, width]``.

    Raises:
        EncodingError: no such pattern.
    """
    pattern = name.removeprefix("bayer_").rstrip("0123456789")
    if pattern not in _BAYER:
        raise EncodingError(f"encoding {name!r} is unknown")
    return np.asarray(cv2.cvtColor(mosaic, _BAYER[pattern]), dtype=np.uint8)
