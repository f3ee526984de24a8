# SPDX-License-Identifier: Apache-2.0
"""What `make_bag` does: it converts a folder, or records a scene, and tells what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fsm_ros.replay.recording.camera_topics import CameraTopics
from fsm_ros.replay.recording.convert import DEFAULT_TOPICS, convert
from fsm_ros.replay.recording.scene_bag import record_scene
from fsm_ros.replay.recording.settings import METRES_PER_UNIT, WORLD_FRAME, Codec, SceneBagSettings
from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.opening import SourceKind, open_rig, source_kind
from fsm_ros.training.scene_settings import DepthInput, Family

if TYPE_CHECKING:
    from fsm_ros.replay.recording.make_bag import Options

T = TypeVar("T")


def make(options: Options) -> str:
    """Write the recording; returns what was written, in a line.

    Raises:
        FsmError: what is to be converted cannot be read.
        ValueError: a setting makes no sense.
        OSError: it cannot be written.
    """
    if options.scene is not None:
        return _record(options, options.scene)
    if options.folder is None:
        raise ValueError("there is nothing to convert")
    return _convert(options, options.folder)


def _or(given: T | None, default: T) -> T:
    """What is given, 0 and the empty text too, or else the default."""
    return default if given is None else given


def _codec(options: Options, default: Codec | None) -> Codec | None:
    if options.raw:
        return None
    if options.png:
        return Codec.PNG
    return Codec.JPEG if options.jpeg else default


def _convert(options: Options, folder: Path) -> str:
    if source_kind(folder) is SourceKind.BAG:
        raise SourceError(f"{folder} is a rosbag already: evaluate it as it is")
    topics = CameraTopics(
        _or(options.camera_name, DEFAULT_TOPICS.name),
        _codec(options, DEFAULT_TOPICS.codec),
        _or(options.quality, DEFAULT_TOPICS.quality),
    )
    rig = open_rig(
        folder,
        frame_rate_hz=options.rate_hz,
        duration_s=options.duration_s,
        image_folder=options.images,
    )
    (source,) = rig.recorded.values()
    try:
        done = convert(
            source,
            options.out,
            topics=topics,
            world_frame=_or(options.world_frame, WORLD_FRAME),
            metres_per_unit=_or(options.unit_m, METRES_PER_UNIT),
            progress=not options.quiet,
        )
    finally:
        source.close()
    notes = "".join(f"; {note}" for note in source.notes)
    if done.moved_apart:
        notes += f"; {done.moved_apart} that had the moment of another were moved on by a microsecond each"
    return f"{_told(done.path, done.images, done.duration_s, done.topics)}{notes}"


def _record(options: Options, family: Family) -> str:
    default = SceneBagSettings
    width, height = options.size or (default.width, default.height)
    settings = SceneBagSettings(
        family=family,
        seed=_or(options.seed, default.seed),
        duration_s=_or(options.duration_s, default.duration_s),
        rate_hz=_or(options.rate_hz, default.rate_hz),
        width=width,
        height=height,
        difficulty=_or(options.difficulty, default.difficulty),
        cameras=_or(options.cameras, default.cameras),
        lens=options.lens,
        codec=_codec(options, default.codec),
        quality=_or(options.quality, default.quality),
        depth=default.depth if options.depth is None else DepthInput(options.depth),
    )
    done = record_scene(options.out, settings, progress=not options.quiet)
    told = _told(done.path, done.images, done.duration_s, done.topics)
    return f"{told}; {settings.family.value} {done.scene} of seed {settings.seed}, {done.laps:.1f} laps"


def _told(path: Path, images: int, duration_s: float, topics: Mapping[str, int]) -> str:
    cameras = [topic for topic in topics if "image_raw" in topic]
    each = "" if len(cameras) == 1 else " of each camera"
    return f"wrote {path}: {images} images{each} over {duration_s:.1f} s on {', '.join(topics)}"
