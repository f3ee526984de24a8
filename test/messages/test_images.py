# SPDX-License-Identifier: Apache-2.0
"""Images from messages: one table through the message classes of rclpy and of rosbags, equal to the bit or refused."""

from __future__ import annotations

import array
import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from rosbags.typesys.stores import ros2_jazzy as ros

from fsm_ros.messages.fields import ImageMessage
from fsm_ros.messages.images import decode, image_size
from fsm_ros.messages.refused import ImageRefusedError
from fsm_ros.stream.ledger import Refusal

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
WIDE = RNG.integers(0, 65536, (4, 6, 3), dtype=np.uint16)
ALPHA = np.full((4, 6, 1), 7, np.uint8)
UNREADABLE, UNSUPPORTED = Refusal.UNREADABLE_IMAGE, Refusal.UNSUPPORTED_ENCODING


def by_rosbags_raw(fields: dict[str, Any], data: bytes) -> ImageMessage:
    header = ros.std_msgs__msg__Header(ros.builtin_interfaces__msg__Time(1, 2), "camera")
    return ros.sensor_msgs__msg__Image(header=header, data=np.frombuffer(data, np.uint8), **fields)


def by_rclpy_raw(fields: dict[str, Any], data: bytes) -> ImageMessage:
    messages = pytest.importorskip("sensor_msgs.msg", reason="needs the ROS messages")
    message = messages.Image(**fields)
    message.data = array.array("B", data)
    return message


def by_rosbags_compressed(fields: dict[str, Any], data: bytes) -> ImageMessage:
    header = ros.std_msgs__msg__Header(ros.builtin_interfaces__msg__Time(1, 2), "camera")
    return ros.sensor_msgs__msg__CompressedImage(header=header, data=np.frombuffer(data, np.uint8), **fields)


def by_rclpy_compressed(fields: dict[str, Any], data: bytes) -> ImageMessage:
    messages = pytest.importorskip("sensor_msgs.msg", reason="needs the ROS messages")
    return messages.CompressedImage(**fields, data=array.array("B", data))


def eight(wide: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.round(wide / 257.0).astype(np.uint8)


def grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(pixels[..., None], 3, axis=2)


def padded(pixels: NDArray[Any], padding: int, *, last: bool = True) -> tuple[bytes, int]:
    """Rows with so many bytes behind each, or behind each but the last; and the step."""
    rows = [row.tobytes() for row in np.ascontiguousarray(pixels)]
    data = b"".join(row + b"\xaa" * padding for row in rows)
    return (data if last else data[: len(data) - padding]), len(rows[0]) + padding


def planar(seed: int, order: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image of 4x6 whose chroma follows its luma, and what it shows."""
    values = np.random.default_rng(seed).integers(16, 236, (6, 6), dtype=np.uint8)
    code = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}[order]
    return values, np.asarray(cv2.cvtColor(values, code))


MOSAIC = RNG.integers(0, 256, (8, 6), dtype=np.uint8)
TWO = RNG.integers(16, 236, (4, 6, 2), dtype=np.uint8)
NV12, NV12_RGB = planar(1, "nv12")
NV21, NV21_RGB = planar(2, "nv21")

EXACT: dict[str, tuple[str, NDArray[Any], NDArray[np.uint8]]] = {
    "rgb8": ("rgb8", RGB, RGB),
    "bgr8": ("bgr8", RGB[..., ::-1], RGB),
    "rgba8": ("rgba8", np.concatenate([RGB, ALPHA], axis=2), RGB),
    "bgra8": ("bgra8", np.concatenate([RGB[..., ::-1], ALPHA], axis=2), RGB),
    "mono8": ("mono8", RGB[..., 0], grey(RGB[..., 0])),
    "8UC1": ("8UC1", RGB[..., 0], grey(RGB[..., 0])),
    "8UC3 is BGR": ("8UC3", RGB[..., ::-1], RGB),
    "8UC4 is BGRA": ("8UC4", np.concatenate([RGB[..., ::-1], ALPHA], axis=2), RGB),
    "mono16": ("mono16", WIDE[..., 0], grey(eight(WIDE[..., 0]))),
    "rgb16": ("rgb16", WIDE, eight(WIDE)),
    "bgr16": ("bgr16", WIDE[..., ::-1], eight(WIDE)),
    "rgba16": ("rgba16", np.concatenate([WIDE, WIDE[..., :1]], axis=2), eight(WIDE)),
    "bgra16": ("bgra16", np.concatenate([WIDE[..., ::-1], WIDE[..., :1]], axis=2), eight(WIDE)),
    "16UC3 is BGR": ("16UC3", WIDE[..., ::-1], eight(WIDE)),
    "bayer_rggb8": ("bayer_rggb8", MOSAIC, cv2.cvtColor(MOSAIC, cv2.COLOR_BayerBG2RGB)),
    "bayer_bggr8": ("bayer_bggr8", MOSAIC, cv2.cvtColor(MOSAIC, cv2.COLOR_BayerRG2RGB)),
    "bayer_gbrg8": ("bayer_gbrg8", MOSAIC, cv2.cvtColor(MOSAIC, cv2.COLOR_BayerGR2RGB)),
    "bayer_grbg8": ("bayer_grbg8", MOSAIC, cv2.cvtColor(MOSAIC, cv2.COLOR_BayerGB2RGB)),
    "bayer_grbg16": (
        "bayer_grbg16",
        MOSAIC.astype(np.uint16) * 256,
        eight(cv2.cvtColor(MOSAIC.astype(np.uint16) * 256, cv2.COLOR_BayerGB2RGB)),
    ),
    "uyvy": ("uyvy", TWO, cv2.cvtColor(TWO, cv2.COLOR_YUV2RGB_UYVY)),
    "yuv422": ("yuv422", TWO, cv2.cvtColor(TWO, cv2.COLOR_YUV2RGB_UYVY)),
    "yuyv": ("yuyv", TWO, cv2.cvtColor(TWO, cv2.COLOR_YUV2RGB_YUY2)),
    "yuv422_yuy2": ("yuv422_yuy2", TWO, cv2.cvtColor(TWO, cv2.COLOR_YUV2RGB_YUY2)),
    "nv12": ("nv12", NV12, NV12_RGB),
    "nv21": ("nv21", NV21, NV21_RGB),
}


@pytest.mark.parametrize("message_of", [by_rclpy_raw, by_rosbags_raw])
@pytest.mark.parametrize("last", [True, False], ids=["padded last row", "bare last row"])
@pytest.mark.parametrize("padding", [0, 1, 2, 5, 58], ids="padded by {}".format)
@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("name", list(EXACT))
def test_raw_images_come_out_equal_to_the_bit(
    name: str, big_endian: bool, padding: int, last: bool, message_of: Callable[..., ImageMessage]
) -> None:
    encoding, pixels, expected = EXACT[name]
    stored = pixels.astype(pixels.dtype.newbyteorder(">")) if big_endian else pixels
    data, step = padded(stored, padding, last=last)
    height, width = expected.shape[:2]
    fields = {"height": height, "width": width, "encoding": encoding, "is_bigendian": int(big_endian), "step": step}
    message = message_of(fields, data)
    found = decode(message)
    assert np.array_equal(found, expected) and found.dtype == np.uint8 and found.flags.c_contiguous
    assert image_size(message) == (width, height)
    assert not np.shares_memory(found, np.frombuffer(message.data, np.uint8)), "its owner may use the message again"


def raw(encoding: str, data: bytes, *, width: int = 6, height: int = 4, step: int = 18) -> tuple[dict[str, Any], bytes]:
    return {"height": height, "width": width, "encoding": encoding, "is_bigendian": 0, "step": step}, data


REFUSED_RAW: dict[str, tuple[tuple[dict[str, Any], bytes], Refusal, str]] = {
    "depth in millimetres": (raw("16UC1", bytes(400)), UNSUPPORTED, r"'16UC1' is that of depth \(REP-118\)"),
    "depth in metres": (raw("32FC1", bytes(400), step=24), UNSUPPORTED, r"'32FC1' is that of depth"),
    "floats": (raw("32FC3", bytes(400), step=72), UNSUPPORTED, "'32FC3' is no colour format"),
    "two channels": (raw("8UC2", bytes(400)), UNSUPPORTED, "'8UC2' is no colour format"),
    "a name nobody knows": (raw("rgb9", bytes(400)), UNSUPPORTED, "'rgb9' is unknown"),
    "no name": (raw("", bytes(400)), UNSUPPORTED, "'' is unknown"),
    "shared colours of an odd width": (raw("yuyv", bytes(400), width=5), UNSUPPORTED, "6?5x4 is odd"),
    "shared colours of an odd height": (raw("nv12", bytes(400), height=3), UNSUPPORTED, "6x3 is odd"),
    "planar without its colours": (raw("nv12", bytes(24), step=6), UNREADABLE, "24 bytes are too few for 6 rows"),
    "a step that is too small": (raw("rgb8", bytes(400), step=17), UNREADABLE, "step 17 is too small for 6 rgb8"),
    "a step of 0": (raw("rgb8", bytes(400), step=0), UNREADABLE, "step 0 is too small"),
    "a row too few": (raw("rgb8", bytes(71)), UNREADABLE, "71 bytes are too few for 4 rows of 18 bytes"),
    "no columns": (raw("rgb8", bytes(71), width=0), UNREADABLE, "image of 0x4 pixels"),
}


@pytest.mark.parametrize("message_of", [by_rclpy_raw, by_rosbags_raw])
@pytest.mark.parametrize("name", list(REFUSED_RAW))
def test_raw_images_are_refused_in_the_same_words(name: str, message_of: Callable[..., ImageMessage]) -> None:
    what, refusal, words = REFUSED_RAW[name]
    with pytest.raises(ImageRefusedError, match=words) as refused:
        decode(message_of(*what))
    assert refused.value.refusal is refusal


SMOOTH = np.stack(np.meshgrid(np.arange(0, 240, 10), np.arange(0, 160, 10), [60]), axis=-1)[:, :, 0].astype(np.uint8)
DEEP = SMOOTH.astype(np.uint16) * 257 + 100


def file_of(pixels: NDArray[np.uint8], format_: str, **options: object) -> bytes:
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, format_, **options)
    return file.getvalue()


def png16(pixels: NDArray[np.uint16]) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def jpeg_rgb(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def turned() -> bytes:
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # "turn me by a quarter"
    return file_of(SMOOTH, "JPEG", quality=100, subsampling=0, exif=exif)


JPEG, PNG = file_of(SMOOTH, "JPEG", quality=95), file_of(SMOOTH, "PNG")
WITH_THUMBNAIL = JPEG[:2] + b"\xff\xe1\x00\x0c" + b"Exif\0\0\xff\xd8\xff\xd9" + JPEG[2:]
COMPRESSED: dict[str, tuple[str, bytes, NDArray[np.uint8]]] = {
    "jpeg": ("jpeg", JPEG, jpeg_rgb(JPEG)),
    "png": ("png", PNG, SMOOTH),
    "the format is not what decides": ("rgb8; jpeg compressed bgr8", PNG, SMOOTH),
    "nothing is said of the format": ("", PNG, SMOOTH),
    "bgr8 compressed": ("bgr8; png compressed bgr8", PNG, SMOOTH),
    "rgb8 compressed as it is": ("rgb8; png compressed rgb8", file_of(SMOOTH[..., ::-1], "PNG"), SMOOTH),
    "grey": ("mono8; png compressed mono8", file_of(SMOOTH[..., 0], "PNG"), grey(SMOOTH[..., 0])),
    "16-bit grey": ("mono16; png compressed ", png16(DEEP[..., 0]), grey(eight(DEEP[..., 0]))),
    "16-bit colours": ("bgr16; png compressed bgr16", png16(DEEP[..., ::-1]), eight(DEEP)),
    "a Bayer pattern": (
        "bayer_rggb8; png compressed ",
        file_of(MOSAIC, "PNG"),
        cv2.cvtColor(MOSAIC, cv2.COLOR_BayerBG2RGB),
    ),
    "a Bayer pattern that was made colours": ("bayer_rggb8; png compressed bgr8", PNG, SMOOTH),
    "transparency": ("png", file_of(np.concatenate([SMOOTH, SMOOTH[..., :1]], axis=2), "PNG"), SMOOTH),
    "EXIF that would turn it": ("jpeg", turned(), jpeg_rgb(file_of(SMOOTH, "JPEG", quality=100, subsampling=0))),
    "zeros behind its end": ("jpeg", JPEG + bytes(5000), jpeg_rgb(JPEG)),
    "anything behind its end": ("jpeg", JPEG + bytes(range(256)), jpeg_rgb(JPEG)),
    "zeros behind a PNG": ("png", PNG + bytes(5000), SMOOTH),
    "a thumbnail before it": ("jpeg", WITH_THUMBNAIL, jpeg_rgb(JPEG)),
    "a JPEG that is said to be a video": ("h264", JPEG, jpeg_rgb(JPEG)),
}


@pytest.mark.parametrize("message_of", [by_rclpy_compressed, by_rosbags_compressed])
@pytest.mark.parametrize("name", list(COMPRESSED))
def test_compressed_images_come_out_equal_to_the_bit(name: str, message_of: Callable[..., ImageMessage]) -> None:
    format_, data, expected = COMPRESSED[name]
    message = message_of({"format": format_}, data)
    assert np.array_equal(decode(message), expected)
    assert image_size(message) is None


REFUSED_COMPRESSED: dict[str, tuple[str, bytes, Refusal, str]] = {
    "depth as compressedDepth": ("16UC1; compressedDepth png", b"\0" * 12 + PNG, UNSUPPORTED, "compressedDepth png'"),
    "depth as floats": ("32FC1; compressedDepth", bytes(40), UNSUPPORTED, "is that of depth"),
    "depth as PNG": ("16UC1; png compressed ", png16(DEEP[..., 0]), UNSUPPORTED, "is that of depth"),
    "a video": ("h264", b"\0\0\0\1\x67" + bytes(60), UNSUPPORTED, r"a video's \(h264\).*republish"),
    "a video by its other name": ("HEVC", b"\0\0\0\1\x67" + bytes(60), UNSUPPORTED, r"a video's \(hevc\)"),
    "a video with more words": ("bgr8; av1 yuv420p", bytes(60), UNSUPPORTED, r"a video's \(av1\)"),
    "nothing": ("jpeg", b"", UNREADABLE, "0 bytes is cut short"),
    "half a JPEG": ("jpeg", JPEG[: len(JPEG) // 2], UNREADABLE, "cut short"),
    "half a JPEG behind a thumbnail": ("jpeg", WITH_THUMBNAIL[:-40], UNREADABLE, "cut short"),
    "half a PNG": ("png", PNG[: len(PNG) // 2], UNREADABLE, "cut short"),
    "text": ("jpeg", b"not an image at all", UNREADABLE, "no JPEG or PNG"),
}


@pytest.mark.parametrize("message_of", [by_rclpy_compressed, by_rosbags_compressed])
@pytest.mark.parametrize("name", list(REFUSED_COMPRESSED))
def test_compressed_images_are_refused_in_the_same_words(name: str, message_of: Callable[..., ImageMessage]) -> None:
    format_, data, refusal, words = REFUSED_COMPRESSED[name]
    with pytest.raises(ImageRefusedError, match=words) as refused:
        decode(message_of({"format": format_}, data))
    assert refused.value.refusal is refusal
