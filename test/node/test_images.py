# SPDX-License-Identifier: Apache-2.0
"""Images from messages: every usual encoding against known pixels, and every damage under its reason."""

from __future__ import annotations

import array
import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as PillowImage

pytest.importorskip("sensor_msgs", reason="needs the ROS messages")
from builtin_interfaces.msg import Time  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from fsm_ros.messages.images import check_message, decode  # noqa: E402
from fsm_ros.messages.refused import ImageRefusedError  # noqa: E402
from fsm_ros.node.images import decode_floats, encode, encode_floats  # noqa: E402
from fsm_ros.stream.ledger import Refusal  # noqa: E402

RED, GREEN, BLUE, WHITE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (100, 100, 100)
PIXELS = np.array([[RED, GREEN, BLUE], [WHITE, GREY, (1, 2, 3)]], dtype=np.uint8)


def raw(
    encoding: str,
    pixels: NDArray[np.generic] | bytes,
    *,
    size: tuple[int, int] | None = None,
    step: int | None = None,
    big_endian: bool = False,
) -> Image:
    """A message of an array, ``size`` is (height, width) where the data are bytes."""
    if isinstance(pixels, bytes):
        assert size is not None and step is not None
        data = pixels
    else:
        size, data = pixels.shape[:2], pixels.tobytes()
        step = len(data) // pixels.shape[0] if step is None else step
    message = Image(height=size[0], width=size[1], encoding=encoding, step=step, is_bigendian=int(big_endian))
    message.data = array.array("B", data)
    return message


def compressed(data: bytes, format_: str = "jpeg") -> CompressedImage:
    return CompressedImage(format=format_, data=array.array("B", data))


def refusal_of(message: Image | CompressedImage) -> Refusal:
    with pytest.raises(ImageRefusedError) as refused:
        decode(message)
    assert str(refused.value), "says what is wrong"
    return refused.value.refusal


def grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(pixels[..., None], 3, axis=2)


# --- raw --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", PIXELS),
        ("bgr8", PIXELS[..., ::-1]),
        ("rgba8", np.concatenate([PIXELS, np.full((2, 3, 1), 7, np.uint8)], axis=2)),
        ("bgra8", np.concatenate([PIXELS[..., ::-1], np.full((2, 3, 1), 7, np.uint8)], axis=2)),
    ],
    ids=["rgb8", "bgr8", "rgba8", "bgra8"],
)
def test_colours_come_out_as_rgb(encoding: str, pixels: NDArray[np.uint8]) -> None:
    found = decode(raw(encoding, np.ascontiguousarray(pixels)))
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    assert np.array_equal(found, PIXELS)


def test_grey_becomes_three_equal_channels() -> None:
    pixels = np.array([[0, 1, 128], [200, 254, 255]], dtype=np.uint8)
    assert np.array_equal(decode(raw("mono8", pixels)), grey(pixels))


@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
def test_sixteen_bit_grey_keeps_its_range_in_either_byte_order(big_endian: bool) -> None:
    values = np.array([[0, 257, 0x8000], [0x1234, 0xFF00, 0xFFFF]], dtype=">u2" if big_endian else "<u2")
    expected = grey((values.astype(float) * 255 / 65535).round().astype(np.uint8))
    found = decode(raw("mono16", values, big_endian=big_endian))
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert found.min() == 0 and found.max() == 255


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_bayer_pattern_of_one_colour_comes_out_as_that_colour(pattern: str) -> None:
    colour = {"r": 200, "g": 120, "b": 40}
    tile = np.array([colour[letter] for letter in pattern], dtype=np.uint8).reshape(2, 2)
    found = decode(raw(f"bayer_{pattern}8", np.tile(tile, (4, 5))))
    assert found.shape == (8, 10, 3)
    assert np.abs(found[2:-2, 2:-2].astype(int) - (200, 120, 40)).max() <= 1


@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")]
)
def test_yuv422_of_one_colour_comes_out_as_that_colour(encoding: str, order: str) -> None:
    values = {"y": [180, 180], "u": [90], "v": [160]}
    taken = {letter: iter(numbers) for letter, numbers in values.items()}
    pair = np.array([next(taken[letter]) for letter in order], dtype=np.uint8).reshape(1, 2, 2)
    found = decode(raw(encoding, np.tile(pair, (3, 4, 1))))
    # ITU-R BT.601, studio range.
    y, u, v = 1.164 * (180 - 16), 90 - 128, 160 - 128
    expected = (y + 1.596 * v, y - 0.392 * u - 0.813 * v, y + 2.017 * u)
    assert found.shape == (3, 8, 3)
    assert np.abs(found.astype(int) - np.round(expected)).max() <= 2


def test_an_image_that_was_encoded_here_decodes_to_itself() -> None:
    message = encode(PIXELS, "camera", Time(sec=3, nanosec=4))
    assert (message.height, message.width, message.step, message.encoding) == (2, 3, 9, "rgb8")
    assert (message.header.frame_id, message.header.stamp.sec) == ("camera", 3)
    assert np.array_equal(decode(message), PIXELS)
    flipped = PIXELS[:, ::-1]
    assert np.array_equal(decode(encode(flipped, "", Time())), flipped), "a view of an array, too"


def test_what_is_sent_is_what_cv_bridge_would_have_sent() -> None:
    cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge is not on PyPI")
    for message, theirs in (
        (encode(PIXELS, "", Time()), cv_bridge.CvBridge().cv2_to_imgmsg(PIXELS, "rgb8")),
        (
            encode_floats(np.eye(3, dtype=np.float32), "", Time()),
            cv_bridge.CvBridge().cv2_to_imgmsg(np.eye(3, dtype=np.float32), "32FC1"),
        ),
    ):
        names = ("height", "width", "encoding", "is_bigendian", "step")
        assert [getattr(message, name) for name in names] == [getattr(theirs, name) for name in names]
        assert bytes(message.data) == bytes(theirs.data)


@settings(deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 1000))
def test_encoding_then_decoding_changes_nothing(height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(decode(encode(pixels, "", Time())), pixels)


def test_numbers_come_back_as_they_were_sent_unknown_ones_too() -> None:
    metres = np.array([[0.25, np.nan, 1e9], [np.inf, -1.0, 0.1]], dtype=np.float32)
    message = encode_floats(metres, "camera", Time(sec=3))
    assert (message.height, message.width, message.step, message.encoding) == (2, 3, 12, "32FC1")
    assert (message.header.frame_id, message.header.stamp.sec) == ("camera", 3)
    assert np.array_equal(decode_floats(message), metres, equal_nan=True)


@pytest.mark.parametrize(
    ("field", "value"), [("encoding", "rgb8"), ("is_bigendian", 1), ("step", 16), ("data", array.array("B", b"1234"))]
)
def test_numbers_of_another_layout_are_refused(field: str, value: object) -> None:
    message = encode_floats(np.ones((2, 3), dtype=np.float32), "", Time())
    setattr(message, field, value)
    with pytest.raises(ImageRefusedError):
        decode_floats(message)


# --- rows and their padding -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full_last_row", [True, False], ids=["padded last row", "bare last row"])
@pytest.mark.parametrize("height", [1, 2])
def test_the_padding_of_rows_is_skipped(height: int, full_last_row: bool) -> None:
    pixels = PIXELS[:height]
    rows = b"".join(row.tobytes() + b"\xaa" * 7 for row in pixels)
    data = rows if full_last_row else rows[:-7]
    assert np.array_equal(decode(raw("rgb8", data, size=(height, 3), step=16)), pixels)


def test_an_absurd_step_of_a_single_row_costs_no_memory() -> None:
    message = raw("rgb8", PIXELS[:1].tobytes(), size=(1, 3), step=2**32 - 1)
    assert np.array_equal(decode(message), PIXELS[:1])


def test_data_behind_the_last_row_are_ignored() -> None:
    assert np.array_equal(decode(raw("rgb8", PIXELS.tobytes() + b"more", size=(2, 3), step=9)), PIXELS)


@pytest.mark.parametrize(
    "message",
    [
        raw("rgb8", PIXELS.tobytes()[:-1], size=(2, 3), step=9),
        raw("rgb8", b"", size=(2, 3), step=9),
        raw("rgb8", PIXELS.tobytes(), size=(3, 3), step=9),
        raw("rgb8", PIXELS.tobytes(), size=(2, 3), step=8),
        raw("rgb8", PIXELS.tobytes(), size=(2, 3), step=0),
        raw("mono16", PIXELS.tobytes(), size=(2, 3), step=3),
        raw("rgb8", b"", size=(0, 3), step=9),
        raw("rgb8", b"", size=(2, 0), step=0),
        raw("rgb8", PIXELS.tobytes(), size=(2**32 - 1, 2**32 - 1), step=2**32 - 1),
    ],
    ids=[
        "short",
        "empty",
        "too few rows",
        "small step",
        "no step",
        "small step of two bytes",
        "no rows",
        "no columns",
        "huge",
    ],
)
def test_too_little_data_is_an_unreadable_image(message: Image) -> None:
    assert refusal_of(message) is Refusal.UNREADABLE_IMAGE
    with pytest.raises(ImageRefusedError):
        check_message(message)


def test_what_is_refused_says_the_numbers() -> None:
    with pytest.raises(ImageRefusedError, match="17 bytes are too few for 2 rows of 9 bytes"):
        decode(raw("rgb8", PIXELS.tobytes()[:-1], size=(2, 3), step=9))
    with pytest.raises(ImageRefusedError, match="step 8 is too small for 3 rgb8 pixels"):
        decode(raw("rgb8", PIXELS.tobytes(), size=(2, 3), step=8))


@pytest.mark.parametrize("encoding", ["", "rgb9", "RGB8", "jpeg", "8UC", "rgb8; jpeg compressed bgr8", "\N{SNOWMAN}"])
def test_an_unknown_encoding_is_refused_by_name(encoding: str) -> None:
    message = raw(encoding, PIXELS)
    assert refusal_of(message) is Refusal.UNSUPPORTED_ENCODING


@pytest.mark.parametrize("encoding", ["8UC2", "8UC5", "16UC1", "16UC2", "32FC1", "32FC3", "64FC3", "8SC3", "8UC0"])
def test_channels_without_a_colour_are_refused(encoding: str) -> None:
    message = raw(encoding, bytes(2 * 3 * 8 * 4), size=(2, 3), step=3 * 8 * 4)
    assert refusal_of(message) is Refusal.UNSUPPORTED_ENCODING


def test_an_odd_width_that_yuv422_cannot_have_is_refused() -> None:
    assert refusal_of(raw("uyvy", bytes(2 * 3 * 2), size=(2, 3), step=6)) is Refusal.UNSUPPORTED_ENCODING


# --- compressed -------------------------------------------------------------------------------------------------------

SMOOTH = np.stack(np.meshgrid(np.arange(0, 240, 10), np.arange(0, 160, 10), [60]), axis=-1)[:, :, 0].astype(np.uint8)


def file_of(pixels: NDArray[np.uint8], format_: str, **options: object) -> bytes:
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, format_, **options)
    return file.getvalue()


def test_a_png_is_decoded_exactly_in_colour_and_in_grey() -> None:
    assert np.array_equal(decode(compressed(file_of(SMOOTH, "PNG"), "png")), SMOOTH)
    assert np.array_equal(decode(compressed(file_of(SMOOTH[..., 0], "PNG"), "png")), grey(SMOOTH[..., 0]))
    transparent = np.concatenate([SMOOTH, np.full((*SMOOTH.shape[:2], 1), 9, np.uint8)], axis=2)
    assert np.array_equal(decode(compressed(file_of(transparent, "PNG"), "png")), SMOOTH)


def test_a_jpeg_is_decoded_in_colour_and_in_grey() -> None:
    colour = decode(compressed(file_of(SMOOTH, "JPEG", quality=100, subsampling=0)))
    assert colour.shape == SMOOTH.shape and colour.dtype == np.uint8
    assert np.abs(colour.astype(int) - SMOOTH).mean() < 2
    single = decode(compressed(file_of(SMOOTH[..., 1], "JPEG", quality=100)))
    assert np.abs(single.astype(int) - grey(SMOOTH[..., 1])).mean() < 2


def test_the_format_field_is_not_what_decides() -> None:
    assert np.array_equal(decode(compressed(file_of(SMOOTH, "PNG"), "rgb8; jpeg compressed bgr8")), SMOOTH)


def test_a_jpeg_is_taken_as_the_camera_saw_it_and_not_as_a_viewer_would_turn_it() -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # "turn me by a quarter"
    found = decode(compressed(file_of(SMOOTH, "JPEG", quality=100, subsampling=0, exif=exif)))
    assert found.shape == SMOOTH.shape
    assert np.abs(found.astype(int) - SMOOTH).mean() < 2


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_short_is_refused(format_: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    data = file_of(noise, format_)
    message = compressed(data[: int(share * len(data))])
    assert refusal_of(message) is Refusal.UNREADABLE_IMAGE
    with pytest.raises(ImageRefusedError, match="cut short"):
        check_message(message)


def test_padding_behind_the_end_mark_is_allowed() -> None:
    for format_ in ("JPEG", "PNG"):
        data = file_of(SMOOTH, format_) + b"\0" * 16
        assert decode(compressed(data)).shape == SMOOTH.shape


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 200, b"not an image at all", b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\nIEND"]
)
def test_bytes_that_are_no_image_are_unreadable(data: bytes) -> None:
    assert refusal_of(compressed(data)) is Refusal.UNREADABLE_IMAGE


# --- whatever comes ---------------------------------------------------------------------------------------------------

ENCODINGS = st.sampled_from(
    [
        *(
            "rgb8",
            "bgr8",
            "rgba8",
            "bgra8",
            "mono8",
            "mono16",
            "rgb16",
            "bgr16",
            "rgba16",
            "bayer_rggb8",
            "bayer_gbrg16",
        ),
        *("yuv422", "uyvy", "yuyv", "yuv422_yuy2", "nv12", "nv21", "nv24", "8UC1", "8UC3", "16SC3", "32FC3", "64FC4"),
        *("8UC0", "8UC99999999999", "32SC1", "garbage", ""),
    ]
)


def decodes_or_is_refused(message: Image | CompressedImage) -> NDArray[np.uint8] | None:
    try:
        found = decode(message)
    except ImageRefusedError as error:
        assert isinstance(error.refusal, Refusal) and str(error)
        return None
    assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3 and found.size > 0
    return found


@settings(deadline=None, max_examples=400)
@given(
    encoding=ENCODINGS | st.text(max_size=8),
    height=st.integers(0, 9) | st.integers(0, 2**32 - 1),
    width=st.integers(0, 9) | st.integers(0, 2**32 - 1),
    step=st.integers(0, 80) | st.integers(0, 2**32 - 1),
    big_endian=st.booleans(),
    data=st.binary(max_size=700),
)
def test_any_raw_message_is_an_image_or_refused(
    encoding: str, height: int, width: int, step: int, big_endian: bool, data: bytes
) -> None:
    found = decodes_or_is_refused(raw(encoding, data, size=(height, width), step=step, big_endian=big_endian))
    if found is not None:
        assert found.shape == (height, width, 3)


@settings(deadline=None, max_examples=200)
@given(
    encoding=ENCODINGS,
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    pad=st.integers(0, 5),
    extra=st.integers(0, 3),
)
def test_any_sound_layout_is_an_image_or_refused(encoding: str, height: int, width: int, pad: int, extra: int) -> None:
    step = 8 * width + pad  # enough for four channels of two bytes
    data = bytes(i % 251 for i in range(step * height + extra))
    found = decodes_or_is_refused(raw(encoding, data, size=(height, width), step=step))
    assert found is None or found.shape == (height, width, 3)


@settings(deadline=None, max_examples=200)
@given(
    format_=st.sampled_from(["JPEG", "PNG", "BMP", "GIF"]),
    cut=st.floats(0.0, 1.0),
    places=st.lists(st.tuples(st.floats(0.0, 0.999), st.integers(0, 255)), max_size=6),
)
def test_any_damaged_file_is_an_image_or_refused(format_: str, cut: float, places: list[tuple[float, int]]) -> None:
    data = bytearray(file_of(SMOOTH, format_))
    for place, value in places:
        data[int(place * len(data))] = value
    decodes_or_is_refused(compressed(bytes(data[: int(cut * len(data)) + 1])))


@settings(deadline=None, max_examples=200)
@given(
    start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"RIFF"]),
    data=st.binary(max_size=300),
)
def test_any_bytes_are_an_image_or_refused(start: bytes, data: bytes) -> None:
    decodes_or_is_refused(compressed(start + data))


def test_a_size_that_no_memory_holds_is_refused() -> None:
    data = bytearray(file_of(SMOOTH, "PNG"))
    assert data[12:16] == b"IHDR"
    data[16:24] = (2**31 - 1).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    assert refusal_of(compressed(bytes(data), "png")) is Refusal.UNREADABLE_IMAGE
