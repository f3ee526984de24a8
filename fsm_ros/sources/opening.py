"""Finds out what a path holds, and opens it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from fsm_ros.sources.colmap import ColmapSource, has_model
from fsm_ros.sources.folders import DEFAULT_FRAME_RATE_HZ, FILE_NAME, FolderSource
from fsm_ros.sources.json_files import load_json
from fsm_ros.sources.source import PosedSource, SourceError
from fsm_ros.sources.videos import is_data_set, read_scenes

ACCEPTED = (
    f"a rosbag2 folder or its .mcap or .db3 file, a .bag of ROS 1, a folder with {FILE_NAME} or such a .json file, a "
    "folder with a COLMAP text model (cameras.txt and images.txt), or a .jsonl scene (video and poses) or a .json list "
    "of them"
)
"""What may be given, in words."""

_BAG_SUFFIXES = (".mcap", ".db3", ".bag")
_PACKED = (".zstd", ".zst")


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
    SourceKind.COLMAP: "a COLMAP text model",
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


def open_sources(
    path: Path,
    *,
    world_frame: str = "map",
    image_topic: str | None = None,
    frame_rate_hz: float | None = None,
    duration_s: float | None = None,
) -> list[PosedSource]:
    """Open everything at a path: one source of a bag or a folder, one for each scene of the release's format.

    Args:
        path: see `ACCEPTED`.
        world_frame: of a bag: the frame that poses are expressed in.
        image_topic: of a bag: which camera, where it has several.
        frame_rate_hz: of frames without time stamps; None for 30 in a folder or COLMAP model, and for its own in a
            video.
        duration_s: of a folder: how long ``time`` takes from 0 to 1, seconds; see `FolderSource`.

    Raises:
        ValueError: a rate or duration is not positive.
        SourceError: nothing that is known, or it cannot be read.
    """
    kind = source_kind(path)
    if kind is SourceKind.BAG:
        return [_open_bag(path, world_frame, image_topic)]
    rate_hz = DEFAULT_FRAME_RATE_HZ if frame_rate_hz is None else frame_rate_hz
    if kind is SourceKind.COLMAP:
        return [ColmapSource(path, frame_rate_hz=rate_hz)]
    if kind is SourceKind.FOLDER:
        return [FolderSource(path, frame_rate_hz=rate_hz, duration_s=duration_s)]
    return [*read_scenes(path, frame_rate_hz=frame_rate_hz)]


def open_source(
    path: Path,
    *,
    world_frame: str = "map",
    image_topic: str | None = None,
    frame_rate_hz: float | None = None,
    duration_s: float | None = None,
) -> PosedSource:
    """Open the one recording at a path; see `open_sources`.

    Raises:
        ValueError: a rate or duration is not positive.
        SourceError: nothing that is known, it cannot be read, or there are several scenes.
    """
    sources = open_sources(
        path, world_frame=world_frame, image_topic=image_topic, frame_rate_hz=frame_rate_hz, duration_s=duration_s
    )
    if len(sources) > 1:
        raise SourceError(f"{path} has {len(sources)} scenes, and one is wanted: give the file of one of them")
    return sources[0]


def needs_rosbags(path: Path, error: ModuleNotFoundError) -> SourceError:
    """What to say where a bag cannot be read for want of a package."""
    return SourceError(f"{path} is a rosbag, and reading it needs {error.name}: pip install rosbags")


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


def _open_bag(path: Path, world_frame: str, image_topic: str | None) -> PosedSource:
    try:
        from fsm_ros.sources.bag_source import BagSource
    except ModuleNotFoundError as error:
        raise needs_rosbags(path, error) from error
    return BagSource(path, world_frame=world_frame, image_topic=image_topic)
