# SPDX-License-Identifier: Apache-2.0
"""One camera of a recording, whatever it is stored as: when and from where each image was taken, and the image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fsm_ros.sources.errors import SourceError
from fsm_ros.stream.frame import Camera, DepthImage, PosedImage


@dataclass(frozen=True, eq=False)
class RecordedFrame:
    """One image of a recording; nothing is decoded.

    Attributes:
        camera: name of the camera.
        index: number among the images of its camera in the recording, those without pose counted.
        arrival_ns: when it was recorded, nanoseconds; where files do not tell, the stamp.
        stamp_ns: acquisition time, nanoseconds; the reader says what it counts from.
        world_from_camera: ``[4, 4]`` float64, rigid: optical frame (x right, y down, z forward; REP-103) to world, in
            the recording's unit; None where it does not say.
        why_no_pose: what it does not say, and the remedy; empty where there is a pose.
        frame_id: of a bag: the optical frame, as the image's header names it; empty where files have none.
    """

    camera: str
    index: int
    arrival_ns: int
    stamp_ns: int
    world_from_camera: NDArray[np.float64] | None
    why_no_pose: str = ""
    frame_id: str = ""


class FrameReader(Protocol):
    """Decodes the images of one camera, by their `RecordedFrame.index`.

    Images may be read in any order, and come out the same; ascending order is the fastest where they are compressed
    together, as in a video. It may be pickled, and used on in a forked process, which opens the files anew. It is not
    for several threads at once.
    """

    def camera(self, index: int) -> Camera:
        """Intrinsics and lens of one image. Raises SourceError where the recording does not say."""

    def decode(self, index: int) -> tuple[NDArray[np.uint8], Camera]:
        """``[height, width, 3]`` uint8 RGB, and its camera. Raises SourceError where it cannot."""

    def close(self) -> None:
        """Give back files that are open; decoding on opens them again."""


class DepthReader(Protocol):
    """Finds and decodes what a depth camera measured with the images of one camera; as a `FrameReader` otherwise."""

    @property
    def told(self) -> str:
        """Where it is, in words."""

    def at(self, frame: RecordedFrame, tolerance_ns: int) -> DepthImage | None:
        """The depth of an image, or None where there is none so near in time. Raises SourceError where it cannot."""


@dataclass(frozen=True, eq=False)
class RecordedCamera:
    """The images of one camera.

    ``len``, `stamps_ns`, `world_from_camera`, `camera` and `read` are of those with a pose.

    Attributes:
        name: of the recording: its folder, file or scene; not necessarily unique.
        camera_name: of the camera.
        frames: all images in the order of arrival, those without a pose too.
        reader: of the images.
        notes: what of the recording was left out or taken otherwise than it says, a line each.
        is_timed: whether stamps are moments; where they only number the images, nobody can judge speeds by them.
        image_topic: of a bag: where the images are; else empty.
        info_topic: of a bag: where the calibration is; else empty.
        depth: of a bag: what a depth camera measured with the images; None where there is none.
    """

    name: str
    camera_name: str
    frames: tuple[RecordedFrame, ...]
    reader: FrameReader
    notes: tuple[str, ...] = ()
    is_timed: bool = True
    image_topic: str = ""
    info_topic: str = ""
    depth: DepthReader | None = None

    @cached_property
    def posed(self) -> tuple[RecordedFrame, ...]:
        """Images with a pose."""
        return tuple(frame for frame in self.frames if frame.world_from_camera is not None)

    @cached_property
    def stamps_ns(self) -> NDArray[np.int64]:
        """``[n]`` int64, read-only: when each was taken, nanoseconds."""
        stamps_ns = np.array([frame.stamp_ns for frame in self.posed], dtype=np.int64)
        stamps_ns.flags.writeable = False
        return stamps_ns

    @cached_property
    def world_from_camera(self) -> NDArray[np.float64]:
        """``[n, 4, 4]`` float64, read-only: optical frame to world."""
        poses = np.array([frame.world_from_camera for frame in self.posed], dtype=np.float64).reshape(-1, 4, 4)
        poses.flags.writeable = False
        return poses

    def __len__(self) -> int:
        """How many images have a pose."""
        return len(self.posed)

    def camera(self, index: int) -> Camera:
        """Intrinsics and lens of one image with a pose.

        Raises:
            IndexError: there is no such image; negative numbers do not count from the end.
            SourceError: the recording does not say.
        """
        return self.reader.camera(self._frame(index).index)

    def read(self, index: int) -> PosedImage:
        """One image with a pose, decoded; its source is the camera's name.

        Raises:
            IndexError: as `camera`.
            SourceError: it cannot be decoded, or its calibration cannot be used.
        """
        return self.decode(self._frame(index))

    def decode(self, frame: RecordedFrame) -> PosedImage:
        """One of `posed`, as `read`.

        Raises:
            SourceError: it has no pose, or as `read`.
        """
        if frame.world_from_camera is None:
            raise SourceError(f"image {frame.index} of {frame.camera} in {self.name} has no pose: {frame.why_no_pose}")
        image, camera = self.reader.decode(frame.index)
        return PosedImage(image, camera, frame.world_from_camera.copy(), frame.stamp_ns, source=frame.camera)

    def close(self) -> None:
        """Close the recording until it is read again."""
        self.reader.close()

    def _frame(self, index: int) -> RecordedFrame:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has frames 0 to {len(self) - 1}, and no frame {index}")
        return self.posed[index]


def in_file(
    name: str,
    stamps_ns: NDArray[np.int64],
    world_from_camera: NDArray[np.float64],
    reader: FrameReader,
    notes: tuple[str, ...] = (),
    *,
    is_timed: bool = True,
) -> RecordedCamera:
    """The only camera of a recording that is no bag: all its images have a pose, and arrive when they are taken.

    Args:
        name: of the recording.
        stamps_ns: ``[n]`` int64, nanoseconds.
        world_from_camera: ``[n, 4, 4]`` float64, rigid.
        reader: of the images, in this order.
        notes: see `RecordedCamera`.
        is_timed: likewise.
    """
    frames = (
        RecordedFrame(ONLY_CAMERA, index, stamp_ns, stamp_ns, pose)
        for index, (stamp_ns, pose) in enumerate(zip(stamps_ns.tolist(), world_from_camera, strict=True))
    )
    return RecordedCamera(name, ONLY_CAMERA, tuple(frames), reader, notes, is_timed)


ONLY_CAMERA = "camera"
"""Name of the camera of a recording that is no bag."""
