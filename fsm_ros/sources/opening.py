# SPDX-License-Identifier: Apache-2.0
"""Finds out what a path holds, and opens it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

from fsm_ros.sources.colmap import has_model, open_model
from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.folders import FILE_NAME, open_folder
from fsm_ros.sources.frame_rate import DEFAULT_FRAME_RATE_HZ
from fsm_ros.sources.json_files import load_json
from fsm_ros.sources.recorded import ONLY_CAMERA, RecordedCamera
from fsm_ros.sources.rig import Rig
from fsm_ros.sources.videos import is_data_set, read_scenes

ACCEPTED = (
    f"a rosbag2 folder or its .mcap or .db3 file, a .bag of ROS 1, a folder with {FILE_NAME} or such a .json file, a "
    "folder with a COLMAP model (cameras and images, .txt or .bin), or a .jsonl scene (video and poses) or a .json "
    "list of them"
)
"""What may be given, in words."""

_BAG_SUFFIXES = (".mcap", ".db3", ".bag")
_PACKED = (".zstd", ".zst")
_ANY = ("all", ONLY_CAMERA)


class SourceKind(Enum):
    """What a recording is stored as."""

    BAG = "bag"
    FOLDER = "folder"
    COLMAP = "colmap"
    VIDEOS = "videos"

    @property
    def told(self) -> str:
        """In words."""
        return _TOLD[self]


_TOLD = {
    SourceKind.BAG: "a rosbag",
    SourceKind.FOLDER: FILE_NAME,
    SourceKind.COLMAP: "a COLMAP model",
    SourceKind.VIDEOS: "a video's scene file",
}


def source_kind(path: Path) -> SourceKind:
    """What a path holds, by its name and what is in it; only a .json file is read.

    Raises:
        SourceError: nothing that is known; the message names what is.
    """
    if not path.exists():
        raise SourceError(f"there is nothing at {path}: give {ACCEPTED}")
    if path.is_dir():
        return _folder_kind(path)
    if path.suffix in _BAG_SUFFIXES:
        return SourceKind.BAG
    if path.suffix == ".jsonl" or is_data_set(path):
        return SourceKind.VIDEOS
    if path.suffix == ".json":
        values = load_json(path)
        if isinstance(values, Mapping) and "frames" in values:
            return SourceKind.VIDEOS if "video_path" in values else SourceKind.FOLDER
    if path.suffix in _PACKED:
        raise SourceError(f"{path} is compressed as a whole: give its rosbag2 folder, or unpack it first")
    raise SourceError(f"{path} is no recording that is known here: give {ACCEPTED}")


def open_rig(
    path: str | Path,
    *,
    cameras: Sequence[str] = (),
    world_frame: str | None = None,
    frame_rate_hz: float | None = None,
    duration_s: float | None = None,
    rectified: bool = False,
    image_folder: Path | None = None,
) -> Rig:
    """Open the recording at a path.

    Args:
        path: see `ACCEPTED`.
        cameras: which cameras of a bag: image topics, names, last parts of names where these are unique, or ``all``;
            empty for the only one that there is.
        world_frame: of a bag: the TF frame that poses are expressed in; None for ``map``, ``odom``, ``world``, or the
            root of the tree, the first that TF connects to the cameras.
        frame_rate_hz: of frames without time stamps; None for 30 in a folder or COLMAP model, and for its own in a
            video; without meaning in a bag.
        duration_s: of a folder: how long ``time`` takes from 0 to 1, seconds; see `folders.open_folder`.
        rectified: of a bag: its images are rectified, and their intrinsics are those of ``CameraInfo.p``.
        image_folder: of a COLMAP model: where its images are; None to look for them, see `colmap.open_model`.

    Raises:
        ValueError: a rate or duration is not positive.
        SourceError: nothing that is known, it cannot be read, has no images, no calibration, no pose for any image,
            several scenes, several cameras and none chosen, or not the camera or frame that was asked for.
    """
    path = Path(path)
    kind = source_kind(path)
    if image_folder is not None and kind is not SourceKind.COLMAP:
        raise SourceError(f"{path} says itself where its images are: name no folder of them", "image_folder")
    if kind is SourceKind.BAG:
        try:
            from fsm_ros.sources.bags.rig import open_bag_rig
        except ModuleNotFoundError as error:
            raise SourceError(f"{path} is a rosbag, and reading it needs {error.name}: pip install rosbags") from error
        return open_bag_rig(path, cameras, world_frame, rectified=rectified)
    if rectified:
        raise SourceError(f"{path} is no rosbag, and says itself which lens its images have: leave input.rectified out")
    if unknown := [camera for camera in cameras if camera not in _ANY]:
        raise SourceError(f"{path} is no rosbag, and has no camera {', '.join(unknown)}: name none", "cameras")
    if world_frame is not None:
        raise SourceError(
            f"{path} has one world, which has no name, and no frame '{world_frame}': name none", "world_frame"
        )
    found = _cameras(path, kind, frame_rate_hz, duration_s, image_folder)
    if len(found) > 1:
        raise SourceError(f"{path} has {len(found)} scenes, and one is wanted: give the file of one of them")
    return Rig(_told(found[0], kind), found, "")


def open_cameras(
    path: Path,
    *,
    world_frame: str | None = None,
    image_topic: str | None = None,
    frame_rate_hz: float | None = None,
    duration_s: float | None = None,
) -> Sequence[RecordedCamera]:
    """Open everything at a path, each camera by itself: the one of a bag or folder, one for each scene of a data set.

    Args:
        path: see `ACCEPTED`.
        world_frame: see `open_rig`; without meaning where it is no bag.
        image_topic: of a bag: which camera, where it has several; likewise.
        frame_rate_hz: see `open_rig`.
        duration_s: see `open_rig`.

    Raises:
        ValueError: a rate or duration is not positive.
        SourceError: nothing that is known, or it cannot be read.
    """
    kind = source_kind(path)
    if kind is SourceKind.BAG:
        wanted = () if image_topic is None else (image_topic,)
        return [*open_rig(path, cameras=wanted, world_frame=world_frame).recorded.values()]
    return _cameras(path, kind, frame_rate_hz, duration_s, None)


def _cameras(
    path: Path, kind: SourceKind, frame_rate_hz: float | None, duration_s: float | None, image_folder: Path | None
) -> Sequence[RecordedCamera]:
    if kind is SourceKind.VIDEOS:
        return read_scenes(path, frame_rate_hz=frame_rate_hz)
    rate_hz = DEFAULT_FRAME_RATE_HZ if frame_rate_hz is None else frame_rate_hz
    if kind is SourceKind.COLMAP:
        return [open_model(path, frame_rate_hz=rate_hz, image_folder=image_folder)]
    return [open_folder(path, frame_rate_hz=rate_hz, duration_s=duration_s)]


def _told(camera: RecordedCamera, kind: SourceKind) -> str:
    sizes = sorted({(each.width, each.height) for each in map(camera.camera, range(len(camera)))})
    told = ", ".join(f"{width}x{height}" for width, height in sizes)
    notes = "".join(f"; {note}" for note in camera.notes)
    return f"{camera.name}: {len(camera)} images ({told}) with poses, as {kind.told} has them{notes}"


def _folder_kind(path: Path) -> SourceKind:
    if (path / "metadata.yaml").is_file() or any(path.glob("*.mcap")) or any(path.glob("*.db3")):
        return SourceKind.BAG
    if (path / FILE_NAME).is_file():
        return SourceKind.FOLDER
    if has_model(path):
        return SourceKind.COLMAP
    choice = sorted(file.name for pattern in ("transforms*.json", "*.jsonl", "*.bag") for file in path.glob(pattern))
    if choice:
        raise SourceError(f"{path} has no {FILE_NAME}, but {', '.join(choice)}: give one of these files")
    raise SourceError(f"the folder {path} holds no recording that is known here: give {ACCEPTED}")
