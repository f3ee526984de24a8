# SPDX-License-Identifier: Apache-2.0
"""Which cameras a recording has: found by the types of its topics, named by their namespaces."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rosbags.highlevel import AnyReader

from fsm_ros.sources.bags.messages import BagError
from fsm_ros.sources.bags.reading import connections_of

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
ALL_CAMERAS = "all"
NAMELESS = "camera"
"""Name of a camera whose topics have no namespace."""

_COMPRESSED = "/compressed"
_DEPTH = "/compressedDepth"
_REGISTERED = re.compile("aligned|registered")


@dataclass(frozen=True)
class CameraBag:
    """Where the recording of one camera is.

    Attributes:
        path: a rosbag2 folder, or a single .mcap, .db3 or ROS 1 .bag file.
        image_topic: raw or compressed images, of colour or of depth.
        info_topic: the CameraInfo that belongs to them; of depth it is empty where there is none.
    """

    path: Path
    image_topic: str
    info_topic: str


@dataclass(frozen=True)
class BagTopics:
    """What a recording has of interest to cameras: topics with at least one message, sorted.

    Attributes:
        path: of the recording.
        images: topics of images, raw and compressed.
        infos: topics of calibrations.
        depths: topics of depth images, raw and compressed.
        every: all topics and their types, in words.
    """

    path: Path
    images: tuple[str, ...]
    infos: tuple[str, ...]
    every: str
    depths: tuple[str, ...] = ()

    @classmethod
    def of(cls, reader: AnyReader, path: Path) -> BagTopics:
        """What an open reader has."""
        images = {c.topic for c in connections_of(reader, IMAGE_TYPES) if c.msgcount}
        depths = {topic for topic in images if is_depth_topic(topic)}
        infos = {c.topic for c in connections_of(reader, (INFO_TYPE,)) if c.msgcount}
        every = ", ".join(sorted(f"{c.topic} ({c.msgtype})" for c in reader.connections)) or "nothing"
        return cls(path, tuple(sorted(images - depths)), tuple(sorted(infos)), every, tuple(sorted(depths)))

    @property
    def cameras(self) -> Mapping[str, str]:
        """Image topic of every camera by the camera's name; raw is preferred to its compressed twin.

        A camera is called by its namespace, ``rig/front`` for ``/rig/front/image_raw``; where a namespace has several
        image topics (``image_raw`` and ``image_rect``) each is called by its whole topic.
        """
        topics = {base_topic(topic): topic for topic in sorted(self.images, key=len, reverse=True)}
        shared = Counter(_namespace(base) for base in topics)
        return {
            base.lstrip("/") if shared[_namespace(base)] > 1 else _namespace(base): topic
            for base, topic in sorted(topics.items())
        }

    def with_info(self, image_topic: str) -> CameraBag:
        """A camera with its calibration: that of its namespace, else the only one that is no other camera's.

        Raises:
            BagError: there is none.
        """
        sibling = _sibling(image_topic)
        if sibling in self.infos:
            return CameraBag(self.path, image_topic, sibling)
        others = {_sibling(topic) for topic in self.images}
        others |= {f"{_depth_base(topic).rpartition('/')[0]}/camera_info" for topic in self.depths}
        nobodys = [info for info in self.infos if info not in others]
        if len(nobodys) == 1:
            return CameraBag(self.path, image_topic, nobodys[0])
        raise BagError(
            f"{self.path} has no camera info on {sibling} (it has {', '.join(self.infos) or 'none'}): record the "
            f"calibration together with {image_topic}"
        )

    def depth_of(self, image_topic: str) -> CameraBag | None:
        """The depth camera of a camera; None where there is none.

        It is below the camera's namespace, else beside it, as ``camera/depth`` is beside ``camera/color``; of several
        one that is registered to the colours.
        """
        own = base_topic(image_topic).rpartition("/")[0]
        above = own.rpartition("/")[0]
        for namespace in (own, above):
            beside = [topic for topic in self.depths if namespace and topic.startswith(f"{namespace}/")]
            if namespace == above:
                # What is below another camera is that one's.
                others = {base_topic(topic).rpartition("/")[0] for topic in self.images} - {own}
                beside = [topic for topic in beside if not any(topic.startswith(f"{other}/") for other in others)]
            if beside:
                # Raw is preferred to its compressed twin.
                chosen = min(beside, key=lambda name: (not _REGISTERED.search(name), name.endswith(_DEPTH), name))
                info = f"{_depth_base(chosen).rpartition('/')[0]}/camera_info"
                return CameraBag(self.path, chosen, info if info in self.infos else "")
        return None

    def without_images(self) -> BagError:
        """What to say where there are none."""
        return BagError(f"{self.path} has no images; it holds {self.every}: record the camera's image topic")


def is_depth_topic(topic: str) -> bool:
    """Whether a topic of images is of depth, by its name: in a depth camera's namespace, or compressed as depth."""
    return topic.endswith(_DEPTH) or "depth" in _depth_base(topic).rpartition("/")[0].rpartition("/")[2]


def choose_cameras(topics: BagTopics, wanted: Sequence[str]) -> dict[str, CameraBag]:
    """Cameras of a rig by their names, in the order that they are asked for.

    Args:
        topics: of the recording.
        wanted: topics, names, last parts of names where these are unique, or `ALL_CAMERAS`; empty for the only camera
            that there is.

    Raises:
        BagError: no images, several cameras and none chosen, one that does not exist or is meant by the same word as
            another, or a camera without calibration.
    """
    cameras = topics.cameras
    if not cameras:
        raise topics.without_images()
    if not wanted and len(cameras) > 1:
        raise BagError(
            f"{topics.path} has several cameras, {', '.join(cameras)}: choose one, several or '{ALL_CAMERAS}'",
            "cameras",
        )
    if not wanted or ALL_CAMERAS in wanted:
        chosen = dict(cameras)
    else:
        chosen = {}
        for word in wanted:
            name, topic = _meant(word, topics)
            if chosen.setdefault(name, topic) != topic:
                raise BagError(f"{chosen[name]} and {topic} are the same camera, {name}: choose one of the two")
    found = {name: topics.with_info(topic) for name, topic in chosen.items()}
    _check_own_infos(found)
    return found


def base_topic(image_topic: str) -> str:
    """The raw topic that a compressed one belongs to (image_transport appends the transport's name)."""
    return image_topic.removesuffix(_COMPRESSED)


def _meant(word: str, topics: BagTopics) -> tuple[str, str]:
    """Name and image topic of the camera that a word means."""
    cameras, plain = topics.cameras, word.strip("/")
    bases = {base_topic(topic): name for name, topic in cameras.items()}
    if word in topics.images:
        return bases[base_topic(word)], word
    if plain in cameras:
        return plain, cameras[plain]
    by_topic = {base.strip("/"): name for base, name in bases.items()}
    if plain in by_topic:
        return by_topic[plain], cameras[by_topic[plain]]
    ending = [name for name in cameras if name.rpartition("/")[2] == plain]
    if len(ending) == 1:
        return ending[0], cameras[ending[0]]
    if ending:
        raise BagError(f"{topics.path} has several cameras {word}: choose one of {', '.join(ending)}", "cameras")
    raise BagError(
        f"{topics.path} has no camera {word}: choose from {', '.join(cameras)} (with images on "
        f"{', '.join(cameras.values())}), or take '{ALL_CAMERAS}'",
        "cameras",
    )


def _check_own_infos(cameras: Mapping[str, CameraBag]) -> None:
    """Cameras of different namespaces do not share a calibration."""
    owners: dict[str, tuple[str, str]] = {}
    for name, bag in cameras.items():
        first, namespace = owners.setdefault(bag.info_topic, (name, _namespace(base_topic(bag.image_topic))))
        if namespace != _namespace(base_topic(bag.image_topic)):
            raise BagError(
                f"{bag.path} has the calibration {bag.info_topic} for both {first} and {name}: record the camera info "
                f"of each beside its images ({_sibling(bag.image_topic)})"
            )


def _depth_base(topic: str) -> str:
    return base_topic(topic.removesuffix(_DEPTH))


def _namespace(base: str) -> str:
    return base.rpartition("/")[0].strip("/") or NAMELESS


def _sibling(image_topic: str) -> str:
    """Where the calibration of images is published (image_transport's ``getCameraInfoTopic``)."""
    namespace, slash, _ = base_topic(image_topic).rpartition("/")
    return f"{namespace}{slash}camera_info"
