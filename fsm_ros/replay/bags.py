"""One camera of a rosbag2 recording: its images, intrinsics and poses, read without ROS."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from rosbags.image import message_to_cvimage
from rosbags.image.image import convert_color, is_compressed, to_cvtype
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.stores.ros2_jazzy import (
    builtin_interfaces__msg__Time as Time,
)
from rosbags.typesys.stores.ros2_jazzy import (
    sensor_msgs__msg__CameraInfo as CameraInfo,
)
from rosbags.typesys.stores.ros2_jazzy import (
    sensor_msgs__msg__CompressedImage as CompressedImage,
)
from rosbags.typesys.stores.ros2_jazzy import (
    sensor_msgs__msg__Image as Image,
)
from rosbags.typesys.stores.ros2_jazzy import (
    tf2_msgs__msg__TFMessage as TFMessage,
)

from fsm_ros.stream.calibration import delivered_camera, distortion_from_name
from fsm_ros.stream.frame import Camera, PosedImage
from fsm_ros.stream.transforms import StampedTransform, TransformError, TransformTree

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
TF_TYPE = "tf2_msgs/msg/TFMessage"
STATIC_TF_TOPIC = "/tf_static"


class BagError(RuntimeError):
    """A recording that cannot give what was asked of it; the message names the cause and the remedy."""


@dataclass(frozen=True)
class CameraBag:
    """Where the recording of one camera is.

    Attributes:
        path: a rosbag2 folder, or a single .mcap or .db3 file.
        image_topic: raw or compressed images.
        info_topic: the CameraInfo that belongs to them.
    """

    path: Path
    image_topic: str
    info_topic: str


@dataclass(frozen=True, eq=False)
class BagFrame:
    """A decoded image and what its messages say of it.

    Attributes:
        index: how many images of the topic come before it in the recording.
        stamp_ns: acquisition time of its header, nanoseconds.
        frame_id: the camera's optical frame.
        image: ``[height, width, 3]`` uint8, RGB.
        camera: its intrinsics.
    """

    index: int
    stamp_ns: int
    frame_id: str
    image: NDArray[np.uint8]
    camera: Camera


def find_camera(path: Path, image_topic: str | None = None) -> CameraBag:
    """Find the image topic of a recording and the camera info that goes with it.

    Args:
        path: a rosbag2 folder or file.
        image_topic: which one, where the recording has several; raw is preferred to its compressed twin.

    Raises:
        BagError: the recording cannot be read, or what it holds leaves no choice or more than one.
    """
    with open_bag(path) as reader:
        images = sorted({c.topic for c in reader.connections if c.msgtype in IMAGE_TYPES and c.msgcount})
        infos = sorted({c.topic for c in reader.connections if c.msgtype == INFO_TYPE and c.msgcount})
        every = ", ".join(sorted(f"{c.topic} ({c.msgtype})" for c in reader.connections)) or "nothing"
    if image_topic is None:
        bases = {_camera_name(topic) for topic in images}
        if not images:
            raise BagError(f"{path} has no images; it holds {every}: record the camera's image topic")
        if len(bases) > 1:
            raise BagError(f"{path} has several image topics ({', '.join(images)}): choose one of them")
        image_topic = min(images, key=len)
    elif image_topic not in images:
        choice = ", ".join(images) or f"its topics, {every}"
        raise BagError(f"{path} has no images on {image_topic}: choose one of {choice}")
    sibling = _camera_name(image_topic).rsplit("/", 1)[0] + "/camera_info"
    if sibling in infos:
        return CameraBag(path, image_topic, sibling)
    if len(infos) == 1:
        return CameraBag(path, image_topic, infos[0])
    raise BagError(
        f"{path} has no camera info on {sibling} (it has {', '.join(infos) or 'none'}): record the "
        f"calibration together with {image_topic}"
    )


def read_stamps(bag: CameraBag) -> tuple[int, ...]:
    """Header stamps of all images in the order of the recording, nanoseconds; nothing is decoded.

    Raises:
        BagError: the recording cannot be read.
    """
    return tuple(_stamp_ns(message.header.stamp) for message in _images(bag))


def read_frames(bag: CameraBag, stamps_ns: Collection[int] | None = None) -> Iterator[BagFrame]:
    """Decoded images in the order of the recording.

    Each comes with the camera info of its own stamp, else the latest before it, else the first there is.

    Args:
        bag: see `find_camera`.
        stamps_ns: only the images with these header stamps; None for all.

    Raises:
        BagError: the recording, an image or the calibration cannot be read, or a stamp is not in it.
    """
    infos = _read_infos(bag)
    known = sorted(infos)
    missing = set() if stamps_ns is None else set(stamps_ns)
    for index, message in enumerate(_images(bag)):
        stamp_ns = _stamp_ns(message.header.stamp)
        if stamps_ns is not None and stamp_ns not in stamps_ns:
            continue
        missing.discard(stamp_ns)
        image = decode_image(message)
        info = infos[known[max(0, bisect_right(known, stamp_ns) - 1)]]
        camera = camera_from_info(info, image.shape[1], image.shape[0])
        yield BagFrame(index, stamp_ns, message.header.frame_id.lstrip("/"), image, camera)
    if missing:
        raise BagError(
            f"{bag.path} has no image on {bag.image_topic} with stamp {min(missing)} ns ({len(missing)} "
            "such): ask for stamps of this very recording"
        )


def read_posed_images(
    bag: CameraBag, world_frame: str = "map", stamps_ns: Collection[int] | None = None
) -> Iterator[PosedImage]:
    """Images together with the recorded pose of the camera at their stamps.

    Args:
        bag: see `find_camera`.
        world_frame: frame that the poses are expressed in.
        stamps_ns: only the images with these header stamps; None for all.

    Raises:
        BagError: the recording cannot be read, or has no pose for one of these images. Where some may lack a
            pose, go through `read_frames` and `read_transforms` one by one.
    """
    transforms = read_transforms(bag.path)
    for frame in read_frames(bag, stamps_ns):
        try:
            world_from_camera = transforms.target_from_source(world_frame, frame.frame_id, frame.stamp_ns)
        except TransformError as error:
            raise BagError(f"{bag.path} has no pose for the image at {frame.stamp_ns} ns: {error}") from error
        yield PosedImage(frame.image, frame.camera, world_from_camera, frame.stamp_ns, source=frame.frame_id)


def read_transforms(path: Path) -> TransformTree:
    """Everything the recording says on its TF topics; those named ``tf_static`` hold at all times.

    Raises:
        BagError: the recording cannot be read, or a frame in it has two parents.
    """
    transforms: list[StampedTransform] = []
    for topic, message in _messages(path, (TF_TYPE,)):
        for stamped in cast("TFMessage", message).transforms:
            move, turn = stamped.transform.translation, stamped.transform.rotation
            transforms.append(
                StampedTransform(
                    parent=stamped.header.frame_id.lstrip("/"),
                    child=stamped.child_frame_id.lstrip("/"),
                    stamp_ns=_stamp_ns(stamped.header.stamp),
                    translation=(move.x, move.y, move.z),
                    quaternion=(turn.x, turn.y, turn.z, turn.w),
                    is_static=topic.endswith(STATIC_TF_TOPIC),
                )
            )
    try:
        return TransformTree.of(transforms)
    except TransformError as error:
        raise BagError(f"the transforms of {path} are no tree: {error}") from error


def decode_image(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """``[height, width, 3]`` uint8 RGB of an image in any encoding that rosbags-image converts.

    Raises:
        BagError: the image is damaged or its encoding unknown.
    """
    try:
        if is_compressed(message):
            pixels = message_to_cvimage(message)
            pixels = convert_color(pixels, "mono8" if pixels.ndim == 2 else "bgr8", "rgb8")
        else:
            pixels = message_to_cvimage(_without_padding(cast("Image", message)), "rgb8")
    except Exception as error:  # whatever the decoders make of damaged bytes
        stamp_ns = _stamp_ns(message.header.stamp)
        raise BagError(
            f"the image at {stamp_ns} ns cannot be decoded ({type(error).__name__}: {error}): record rgb8, "
            "bgr8, mono8, a Bayer or YUV encoding, JPEG or PNG"
        ) from error
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def camera_from_info(info: CameraInfo, image_width: int, image_height: int) -> Camera:
    """Intrinsics of an image of the given size in pixels, from the CameraInfo that comes with it (REP-104).

    Raises:
        BagError: not calibrated, a distortion model that is not known, or of an image of another size.
    """
    roi = info.roi
    try:
        return delivered_camera(
            width=info.width,
            height=info.height,
            k=[float(number) for number in info.k],
            distortion=distortion_from_name(info.distortion_model),
            coefficients=[float(coefficient) for coefficient in info.d],
            binning=(info.binning_x, info.binning_y),
            roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
            image_width=image_width,
            image_height=image_height,
        )
    except ValueError as error:
        stamp_ns = _stamp_ns(info.header.stamp)
        raise BagError(f"the camera info at {stamp_ns} ns cannot be used: {error}") from error


@contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """A reader of a rosbag2 folder or file.

    Raises:
        BagError: there is none, or it is damaged, or of ROS 1.
    """
    if not path.exists():
        raise BagError(f"there is no recording at {path}: give a rosbag2 folder, or a .mcap or .db3 file")
    if path.suffix == ".bag":
        raise BagError(f"{path} is of ROS 1: convert it, with rosbags-convert --src {path} --dst FOLDER")
    try:
        reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        reader.open()
    except Exception as error:
        raise _damaged(path, error) from error
    try:
        yield reader
    finally:
        reader.close()


def _damaged(path: Path, error: Exception) -> BagError:
    # A damaged file makes the parsers fail in as many ways as there are bytes; all mean the same here.
    return BagError(
        f"{path} cannot be read ({type(error).__name__}: {error}): it is no rosbag2 recording or was cut "
        "short; copy it again, or repair it (mcap recover, ros2 bag reindex)"
    )


def _messages(path: Path, types: tuple[str, ...], topic: str | None = None) -> Iterator[tuple[str, object]]:
    """Topic and deserialized message, in the order of the recording."""
    with open_bag(path) as reader:
        wanted: list[Connection] = [c for c in reader.connections if c.msgtype in types and topic in (None, c.topic)]
        if not wanted:
            return
        messages = reader.messages(wanted)
        while True:
            try:
                connection, _, raw = next(messages)
                message = reader.deserialize(raw, connection.msgtype)
            except StopIteration:
                return
            except Exception as error:
                raise _damaged(path, error) from error
            yield connection.topic, message


def _images(bag: CameraBag) -> Iterator[Image | CompressedImage]:
    for _, message in _messages(bag.path, IMAGE_TYPES, bag.image_topic):
        yield cast("Image | CompressedImage", message)


def _read_infos(bag: CameraBag) -> dict[int, CameraInfo]:
    """Camera infos by header stamp."""
    infos: dict[int, CameraInfo] = {}
    for _, message in _messages(bag.path, (INFO_TYPE,), bag.info_topic):
        info = cast("CameraInfo", message)
        infos[_stamp_ns(info.header.stamp)] = info
    if not infos:
        raise BagError(f"{bag.path} has no camera info on {bag.info_topic}: find_camera names what it has")
    return infos


def _without_padding(message: Image) -> Image:
    """The same image with no gaps between its rows, which is all that rosbags-image reads."""
    bits, _, _, channels = to_cvtype(message.encoding)
    row_bytes = message.width * channels * bits // 8
    if message.step <= row_bytes:
        return message
    data = np.asarray(message.data).reshape(message.height, message.step)[:, :row_bytes]
    return replace(message, data=np.ascontiguousarray(data).reshape(-1), step=row_bytes)


def _camera_name(image_topic: str) -> str:
    """The raw topic that a compressed one belongs to (image_transport appends the transport's name)."""
    return image_topic.removesuffix("/compressed")


def _stamp_ns(stamp: Time) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec
