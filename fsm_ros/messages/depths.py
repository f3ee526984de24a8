# SPDX-License-Identifier: Apache-2.0
"""Depth images (REP-118) to metres, of a live topic and of a recording alike, and which camera they are of.

16UC1 is in millimetres and 0 where nothing was measured; 32FC1 is in metres, and there not finite or not positive.
``compressedDepth`` is that of ROS's compressed_depth_image_transport: twelve bytes (an int32, and two float32 that
quantise 32FC1 as ``a / (value - b)``), then a PNG of 16 bits.
"""

from __future__ import annotations

import struct
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from fsm_ros.messages.calibrations import Calibration
from fsm_ros.messages.encodings import DEPTH_ENCODINGS
from fsm_ros.messages.fields import CompressedImage, ImageMessage, RawImage
from fsm_ros.messages.refused import unreadable, unsupported
from fsm_ros.messages.rows import bytes_of, check_rows, rows_of
from fsm_ros.stream.frame import Camera

_SAMPLE = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
"""mono16 is what 16UC1 becomes in some drivers and recordings; nobody measures brightness on a depth topic."""
_HEADER = struct.Struct("<iff")
_MM = 1e-3


def decode_depth(message: ImageMessage) -> NDArray[np.float32]:
    """Depth along the optical axis, ``[height, width]`` float32 metres; NaN where nothing was measured.

    Raises:
        ImageRefusedError: too little data, a step that does not fit, or no depth.
    """
    if hasattr(message, "encoding"):
        return _in_metres(_raw(cast("RawImage", message)))
    return _compressed(message)


def depth_camera(
    depth: Calibration | None, colour: Calibration, *, same_frame: bool, width: int, height: int
) -> Camera:
    """The camera of a depth image of a size in pixels.

    Depth is of rectified images (REP-118), so that the projection ``P`` holds and no lens; but a depth image that is
    registered pixel by pixel to colours that are not rectified says so by the colours' own frame and calibration.

    Args:
        depth: of the depth image's topic; ``None``: none has come.
        colour: of the colour image.
        same_frame: whether both images have the same optical frame.
        width: columns.
        height: rows.

    Raises:
        fsm_ros.stream.calibration.SizeMismatchError: the image has another size than the calibration says.
        ValueError: not calibrated.
    """
    if same_frame and (depth is None or _is_same_lens(depth, colour)):
        return colour.camera(width, height)
    if depth is None:
        raise ValueError("no camera_info of the depth image has come: publish it beside the depth image (camera_info)")
    return (depth.rectified() if any(depth.p) else depth).camera(width, height)


def _is_same_lens(one: Calibration, other: Calibration) -> bool:
    return (one.width, one.height, one.k, one.d) == (other.width, other.height, other.k, other.d)


def _raw(message: RawImage) -> NDArray[Any]:
    sample = _SAMPLE.get(message.encoding)
    if sample is None:
        raise unsupported(
            f"encoding {message.encoding!r} is not that of depth (REP-118: {' or '.join(DEPTH_ENCODINGS)}): is the "
            "depth topic that of a depth image?"
        )
    width, height = int(message.width), int(message.height)
    if width == 0 or height == 0:
        raise unreadable(f"depth image of {width}x{height} pixels")
    dtype = np.dtype((">" if message.is_bigendian else "<") + sample)
    check_rows(message, height, width * dtype.itemsize)
    return rows_of(message, height, width * dtype.itemsize).view(dtype)


def _in_metres(values: NDArray[Any]) -> NDArray[np.float32]:
    metres = values.astype(np.float32)
    if values.dtype.kind == "u":
        metres *= np.float32(_MM)
    metres[~(np.isfinite(metres) & (metres > 0))] = np.nan
    return metres


def _compressed(message: CompressedImage) -> NDArray[np.float32]:
    format_ = message.format
    encoding = format_.partition(";")[0].strip()
    is_transport = "compressedDepth" in format_
    if encoding not in DEPTH_ENCODINGS or "rvl" in format_ or not (is_transport or encoding == "16UC1"):
        raise unsupported(
            f"format {format_!r} is no depth that is read here: 16UC1 or 32FC1 as compressedDepth png, or 16UC1 as png"
        )
    data = bytes_of(message)
    if is_transport and len(data) <= _HEADER.size:
        raise unreadable(f"compressed depth image of {len(data)} bytes is cut short")
    _, quant_a, quant_b = _HEADER.unpack(data[: _HEADER.size].tobytes()) if is_transport else (0, 0.0, 0.0)
    try:
        found = cv2.imdecode(data[_HEADER.size if is_transport else 0 :], cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise unreadable(f"compressed depth image: {error}") from error
    if found is None:
        raise unreadable(f"{len(data)} bytes of format {format_!r} hold no PNG image")
    values = np.asarray(found)
    if values.ndim != 2 or values.dtype != np.uint16:
        raise unsupported(f"a compressed depth image of {values.dtype} {values.shape} is none: 16 bits, one channel")
    if encoding == "16UC1":
        return _in_metres(values)
    steps = values.astype(np.float32)
    with np.errstate(divide="ignore"):
        return _in_metres(
            np.where(values == 0, np.float32(np.nan), np.float32(quant_a) / (steps - np.float32(quant_b)))
        )
