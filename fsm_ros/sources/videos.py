# SPDX-License-Identifier: Apache-2.0
"""The training data of the paper's release: videos, and beside each a JSON file with the pose of every frame.

The format, as the loaders of the release read it and its one example shows it:

- A **data set** is a JSON file with a list of paths, one a scene: ``["static/datasets/example/scene.jsonl"]``.
- A **scene** is a JSON object; its file ends in .jsonl, though the object is spread over many lines (one object a line
  is read as well, each of them a scene). ``video_path`` names the video, ``frames`` lists the frames; ``scene_name``
  is optional.
- A **frame** has ``frame_idx``, its number in the video from 0; ``w2c``, 4x4, row by row: world to camera, camera axes
  x right, y down, z forward (OpenCV's, which are those of REP-103's optical frames); ``fx``, ``fy``, ``cx``, ``cy`` in
  pixels of the video's frames, the ray of a pixel going through its index plus one half, which is `Camera`'s own
  convention; ``w`` and ``h``, optional here, the video's size. There is no distortion.
- The unit and the axes of the world are the scene's own (structure-from-motion), and kept.
- Time is ``frame_idx`` alone: the loaders turn it into the model's time. Here it is divided by a frame rate.
- Paths are relative to the folder that the release's trainer is started in, which no file tells. They are looked for
  beside the file that names them, in every folder above it, and at last by their bare name beside it.

Not used, as by the loaders in training: ``num_video_frames``, a frame's ``timestamp`` (of no documented unit), and
``index_plan`` (which frames an evaluation of the release gives, and which it asks for). The release's second kind of
scene, which lists image files with ``file_path`` instead of a video, is refused with a message.

Sources: github.com/Mars-tin/fast-spatial-mem at commit 499464e, ``fsm/data/dataset_fromvid.py``,
``fsm/data/data_mixer.py``, ``fsm/model/utils_graphics.py`` (rays) and ``static/datasets/example``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.json_files import list_of_objects, load_json, load_json_lines, number, text, whole_number
from fsm_ros.sources.poses import invert_rigid, rigid_pose
from fsm_ros.sources.process_local import ProcessLocal
from fsm_ros.sources.recorded import RecordedCamera, in_file
from fsm_ros.sources.video_frames import VideoFrames
from fsm_ros.stream.frame import Camera

_NS = 1e9


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """What a scene says of one frame.

    Attributes:
        number: of the frame in the video, from 0.
        camera: intrinsics.
        world_from_camera: ``[4, 4]`` float64, rigid.
    """

    number: int
    camera: Camera
    world_from_camera: NDArray[np.float64]


class SceneVideo:
    """The frames of a scene in its video; see `recorded.FrameReader`."""

    def __init__(self, video: Path, frames: Sequence[VideoFrame]) -> None:
        """Args: the file, which is opened when the first frame is read, and the frames in the order of the scene."""
        self._frames = tuple(frames)
        self._reader = ProcessLocal(partial(VideoFrames, video), VideoFrames.close)

    def camera(self, index: int) -> Camera:
        """Intrinsics; nothing is decoded."""
        return self._frames[index].camera

    def decode(self, index: int) -> tuple[NDArray[np.uint8], Camera]:
        """``[height, width, 3]`` uint8 RGB, and its camera.

        Raises:
            SourceError: the video ends before it or is damaged.
        """
        return self._reader.get().read(self._frames[index].number), self._frames[index].camera

    def close(self) -> None:
        """Close the video until it is read again."""
        self._reader.close()


def read_scenes(path: Path, *, frame_rate_hz: float | None = None) -> list[RecordedCamera]:
    """All scenes that a file has or lists: the frames of each in the order of the file.

    Stamps count from the first frame of the video, which may have more frames than the scene. Poses are in the scene's
    world, in the scene's unit. The name is ``scene_name``, else that of the video. Every video is
    opened once, for its size and frame rate, and closed.

    Args:
        path: a scene (.jsonl), or a data set (.json with a list of scenes).
        frame_rate_hz: of all videos, frames a second; None for what each of them says.

    Raises:
        ValueError: the frame rate is not positive.
        SourceError: a file cannot be used; the message names the scene and the frame.
    """
    if frame_rate_hz is not None and not (math.isfinite(frame_rate_hz) and frame_rate_hz > 0):
        raise ValueError(f"frame_rate_hz must be positive, got {frame_rate_hz}")
    if is_data_set(path):
        names = load_json(path)
        files = [_find(name, path, f"{path}: the scene {name}") for name in names]
    else:
        files = [path]
    scenes = []
    for file in files:
        values = load_json_lines(file)
        for index, values_of_scene in enumerate(values):
            where = str(file) if len(values) == 1 else f"{file}: scene {index}"
            scenes.append(_scene(values_of_scene, file, where, frame_rate_hz))
    return scenes


def is_data_set(path: Path) -> bool:
    """Whether a file is a list of paths.

    Raises:
        SourceError: it is named .json and is no JSON.
    """
    if path.suffix != ".json":
        return False
    values = load_json(path)
    return isinstance(values, list) and bool(values) and all(isinstance(value, str) for value in values)


def _scene(values: object, file: Path, where: str, frame_rate_hz: float | None) -> RecordedCamera:
    if not isinstance(values, Mapping):
        raise SourceError(f"{where}: a scene must be a JSON object with 'video_path' and 'frames'")
    frames = list_of_objects(values, "frames", where)
    if "video_path" not in values:
        remedy = "; scenes that list images ('file_path') are not read: give a transforms.json instead"
        raise SourceError(f"{where}: there is no 'video_path'{remedy if 'file_path' in frames[0] else ': add it'}")
    video_name = text(values, "video_path", where)
    video = _find(video_name, file, f"{where}: the video {video_name}")
    opened = VideoFrames(video)
    size, rate_hz = opened.size, frame_rate_hz or opened.frame_rate_hz
    opened.close()
    if rate_hz is None:
        raise SourceError(f"{video} does not say its frame rate: give frame_rate_hz")
    name = text(values, "scene_name", where) if "scene_name" in values else video.stem
    parsed = [_frame(frame, size, video, f"{where}: frame {index}") for index, frame in enumerate(frames)]
    stamps_ns = np.round([frame.number * (_NS / rate_hz) for frame in parsed]).astype(np.int64)
    poses = np.stack([frame.world_from_camera for frame in parsed])
    return in_file(name, stamps_ns, poses, SceneVideo(video, parsed))


def _frame(values: Mapping[str, Any], size: tuple[int, int], video: Path, where: str) -> VideoFrame:
    said = tuple(
        whole_number(values, key, where) if key in values else side for key, side in zip("wh", size, strict=True)
    )
    if said != size:
        raise SourceError(
            f"{where}: its intrinsics are of {said[0]}x{said[1]} pixels, but {video} has {size[0]}x{size[1]}: "
            "give the video that they are of, or scale fx, fy, cx, cy, w and h"
        )
    if "w2c" not in values:
        raise SourceError(f"{where}: there is no 'w2c': leave frames without a pose out of the file")
    camera_from_world = rigid_pose(values["w2c"], f"{where}: w2c")
    fx, fy, cx, cy = (number(values, key, where) for key in ("fx", "fy", "cx", "cy"))
    try:
        camera = Camera(width=size[0], height=size[1], fx=fx, fy=fy, cx=cx, cy=cy)
    except ValueError as error:
        raise SourceError(f"{where}: {error}") from error
    return VideoFrame(whole_number(values, "frame_idx", where), camera, invert_rigid(camera_from_world))


def _find(name: str, beside: Path, what: str) -> Path:
    """The file that is meant by a path in another file."""
    folder = beside.resolve().parent
    for candidate in (*(above / name for above in (folder, *folder.parents)), folder / Path(name).name):
        if candidate.is_file():
            return candidate
    raise SourceError(
        f"{what} is neither in {folder}, nor in a folder above it, nor there by its bare name: copy it along"
    )
