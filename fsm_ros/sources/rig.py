# SPDX-License-Identifier: Apache-2.0
"""The cameras of a recording together, in the order of arrival: as a live node would meet their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from fsm_ros.sources.recorded import RecordedCamera, RecordedFrame
from fsm_ros.stream.frame import PosedImage

_NS = 1e9


@dataclass(frozen=True)
class Gap:
    """A stretch of a camera's images that have no pose, for one reason.

    Attributes:
        camera: name of the camera.
        first_s: moment of its first image, seconds since the recording's earliest (`Rig.start_ns`).
        last_s: of its last.
        count: how many images.
        cause: why, and the remedy, in words.
    """

    camera: str
    first_s: float
    last_s: float
    count: int
    cause: str


class Rig:
    """The cameras of a recording; `opening.open_rig` opens one.

    It may be pickled, and used on in a forked process, which opens the files anew. It is not for several threads at
    once.

    Attributes:
        name: of the recording's folder or file; not necessarily unique.
        told: what was found in it, in one line: images, topics, frames.
        recorded: its cameras by their names.
        world_frame: TF frame that poses are expressed in; empty for files that have one world only.
        frames: images of all cameras in ascending arrival; their stamps need not ascend.
        start_ns: the earliest stamp of all images, nanoseconds.
    """

    def __init__(self, told: str, cameras: Sequence[RecordedCamera], world_frame: str) -> None:
        """Put it together.

        Args:
            told: see `told`.
            cameras: of one recording, at least one, with at least one image.
            world_frame: see `world_frame`.
        """
        self.name, self.told, self.world_frame = cameras[0].name, told, world_frame
        self.recorded = {camera.camera_name: camera for camera in cameras}
        every = (frame for camera in cameras for frame in camera.frames)
        self.frames: tuple[RecordedFrame, ...] = tuple(sorted(every, key=lambda frame: frame.arrival_ns))
        self.start_ns = min(frame.stamp_ns for frame in self.frames)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return tuple(self.recorded)

    @property
    def posed(self) -> tuple[RecordedFrame, ...]:
        """Those of `frames` that have a pose."""
        return tuple(frame for frame in self.frames if frame.world_from_camera is not None)

    @property
    def is_timed(self) -> bool:
        """Whether stamps are moments, and not only numbers of images."""
        return all(camera.is_timed for camera in self.recorded.values())

    def read(self, frame: RecordedFrame) -> PosedImage:
        """Decode one of `frames`; its source is the camera's name.

        Raises:
            SourceError: it has no pose, cannot be decoded, or its calibration cannot be used.
        """
        return self.recorded[frame.camera].decode(frame)

    def gaps(self) -> tuple[Gap, ...]:
        """Stretches without pose, camera by camera in the order of arrival."""
        found = []
        for name, camera in self.recorded.items():
            for cause, stretch in groupby(camera.frames, key=lambda frame: frame.why_no_pose):
                if cause:
                    seconds = [(frame.stamp_ns - self.start_ns) / _NS for frame in stretch]
                    found.append(Gap(name, seconds[0], seconds[-1], len(seconds), cause))
        return tuple(found)

    def close(self) -> None:
        """Close the recording until it is read again."""
        for camera in self.recorded.values():
            camera.close()
