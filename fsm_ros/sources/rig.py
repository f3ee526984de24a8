"""Every image of a recording, of one camera or several, in the order of arrival: as a live node would meet them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fsm_ros.sources.opening import SourceKind, needs_rosbags, open_source, source_kind
from fsm_ros.sources.source import PosedSource, SourceError
from fsm_ros.stream.frame import Camera, PosedImage

ONLY_CAMERA = "camera"
"""Name of the camera of a recording that is no bag."""

_ANY = ("all", ONLY_CAMERA)
_NS = 1e9


@dataclass(frozen=True, eq=False)
class RigFrame:
    """One image of a recording; nothing is decoded.

    Attributes:
        camera: name of the camera.
        index: number among the images of its camera in the recording, those without pose counted.
        arrival_ns: when it was recorded, nanoseconds; where files do not tell, the stamp.
        stamp_ns: acquisition time of its header, nanoseconds.
        world_from_camera: ``[4, 4]`` float64, rigid: optical frame to world, metres; None where TF does not say.
        why_no_pose: what TF does not say, and the remedy; empty where there is a pose.
        frame_id: the optical frame, as its header names it; empty where files have none.
    """

    camera: str
    index: int
    arrival_ns: int
    stamp_ns: int
    world_from_camera: NDArray[np.float64] | None
    why_no_pose: str = ""
    frame_id: str = ""


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


class FrameReader(Protocol):
    """Decodes images of a recording."""

    def decode(self, frame: RigFrame) -> tuple[NDArray[np.uint8], Camera]:
        """``[height, width, 3]`` uint8 RGB, and its camera. Raises SourceError where it cannot."""

    def close(self) -> None:
        """Give back files that are open; decoding on opens them again."""


class Rig:
    """The cameras of a recording; `open_rig` opens one.

    It may be pickled, and used on in a forked process, which opens the files anew. It is not for several threads at
    once.
    """

    def __init__(
        self,
        name: str,
        told: str,
        cameras: Sequence[str],
        world_frame: str,
        frames: Sequence[RigFrame],
        reader: FrameReader,
    ) -> None:
        """Put it together.

        Args:
            name: of the recording.
            told: see `told`.
            cameras: names.
            world_frame: see `world_frame`.
            frames: of all cameras, at least one; they are sorted by arrival.
            reader: of their images.
        """
        self._name, self._told, self._cameras, self._world_frame = name, told, tuple(cameras), world_frame
        self._frames = tuple(sorted(frames, key=lambda frame: frame.arrival_ns))
        self._start_ns = min(frame.stamp_ns for frame in self._frames)
        self._reader = reader

    @property
    def name(self) -> str:
        """Name of the recording's folder or file; not necessarily unique."""
        return self._name

    @property
    def told(self) -> str:
        """What was found in it, in one line: images, topics, frames."""
        return self._told

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return self._cameras

    @property
    def world_frame(self) -> str:
        """TF frame that poses are expressed in; empty for files that have one world only."""
        return self._world_frame

    @property
    def frames(self) -> tuple[RigFrame, ...]:
        """Images of all cameras in ascending arrival; their stamps need not ascend."""
        return self._frames

    @property
    def start_ns(self) -> int:
        """The earliest stamp of all images, nanoseconds."""
        return self._start_ns

    def read(self, frame: RigFrame) -> PosedImage:
        """Decode one of `frames`; its source is the camera's name.

        Raises:
            SourceError: it has no pose, cannot be decoded, or its calibration cannot be used.
        """
        if frame.world_from_camera is None:
            raise SourceError(f"image {frame.index} of {frame.camera} in {self._name} has no pose: {frame.why_no_pose}")
        image, camera = self._reader.decode(frame)
        return PosedImage(image, camera, frame.world_from_camera.copy(), frame.stamp_ns, source=frame.camera)

    def gaps(self) -> tuple[Gap, ...]:
        """Stretches without pose, camera by camera in the order of arrival."""
        found = []
        for camera in self._cameras:
            own = [frame for frame in self._frames if frame.camera == camera]
            for cause, stretch in groupby(own, key=lambda frame: frame.why_no_pose):
                if cause:
                    seconds = [(frame.stamp_ns - self._start_ns) / _NS for frame in stretch]
                    found.append(Gap(camera, seconds[0], seconds[-1], len(seconds), cause))
        return tuple(found)

    def close(self) -> None:
        """Close the recording until it is read again."""
        self._reader.close()


def open_rig(
    path: Path,
    *,
    cameras: Sequence[str] = (),
    world_frame: str | None = None,
    frame_rate_hz: float | None = None,
    duration_s: float | None = None,
    rectified: bool = False,
) -> Rig:
    """Open the recording at a path.

    Args:
        path: see `opening.ACCEPTED`.
        cameras: which cameras of a bag: image topics, names, last parts of names where these are unique, or ``all``;
            empty for the only one that there is.
        world_frame: of a bag: the TF frame that poses are expressed in; None for ``map``, ``odom``, ``world``, or the
            root of the tree, the first that TF connects to the cameras.
        frame_rate_hz: of frames without time stamps, see `opening.open_sources`; without meaning in a bag.
        duration_s: of a folder: how long ``time`` takes from 0 to 1, seconds.
        rectified: of a bag: its images are rectified, and their intrinsics are those of ``CameraInfo.p``.

    Raises:
        ValueError: a rate or duration is not positive.
        SourceError: nothing that is known, it cannot be read, has no images, no calibration, no pose for any image,
            several scenes, several cameras and none chosen, or not the camera or frame that was asked for.
    """
    if source_kind(path) is SourceKind.BAG:
        try:
            from fsm_ros.sources.bag_rig import open_bag_rig
        except ModuleNotFoundError as error:
            raise needs_rosbags(path, error) from error
        return open_bag_rig(path, cameras, world_frame, rectified=rectified)
    if rectified:
        raise SourceError(f"{path} is no rosbag, and says itself which lens its images have: leave input.rectified out")
    if unknown := [camera for camera in cameras if camera not in _ANY]:
        raise SourceError(f"{path} is no rosbag, and has no camera {', '.join(unknown)}: leave --camera out")
    if world_frame is not None:
        raise SourceError(f"{path} has one world, which has no name, and no frame '{world_frame}': leave --frame out")
    source = open_source(path, frame_rate_hz=frame_rate_hz, duration_s=duration_s)
    frames = [
        RigFrame(ONLY_CAMERA, index, int(stamp_ns), int(stamp_ns), pose)
        for index, (stamp_ns, pose) in enumerate(zip(source.stamps_ns, source.world_from_camera, strict=True))
    ]
    return Rig(source.name, _told(source, path), (ONLY_CAMERA,), "", frames, _SourceReader(source))


class _SourceReader:
    """The images of a source that is no bag."""

    def __init__(self, source: PosedSource) -> None:
        self._source = source

    def decode(self, frame: RigFrame) -> tuple[NDArray[np.uint8], Camera]:
        posed = self._source.read(frame.index)
        return posed.image, posed.camera

    def close(self) -> None:
        self._source.close()


def _told(source: PosedSource, path: Path) -> str:
    sizes = sorted({(camera.width, camera.height) for camera in map(source.camera, range(len(source)))})
    told = ", ".join(f"{width}x{height}" for width, height in sizes)
    notes = "".join(f"; {note}" for note in source.notes)
    return f"{source.name}: {len(source)} images ({told}) with poses, as {source_kind(path).told} has them{notes}"
