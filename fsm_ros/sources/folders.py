# SPDX-License-Identifier: Apache-2.0
"""Folders of images with ``transforms.json``: the format of instant-ngp and nerfstudio, and of NeRF and D-NeRF before.

What the file says, and what is made of it:

- ``frames``: one entry an image. ``file_path`` is relative to the file; without an extension, .png, .jpg and .jpeg are
  tried, in this order (NeRF's scenes leave out .png). Backslashes are slashes.
- ``transform_matrix``: camera to world, row by row, for column vectors. Its camera axes are OpenGL's (x right, y up,
  z back); they are turned into optical axes (x right, y down, z forward; REP-103) by negating the y and z columns.
- The **world's axes, origin and unit are kept as they are in the file**. ``applied_transform`` and ``applied_scale``
  tell what nerfstudio has done to the world of the structure-from-motion before it wrote the poses: it is in the
  poses already, and neither done again nor undone. ``scale``, ``offset`` and ``aabb_scale`` say how instant-ngp fits
  the scene into its own cube, and are no business of the recording.
- Time: ``timestamp`` is in seconds, and is preferred. ``time``, as D-NeRF has it, runs from 0 to 1 over the recording,
  which lasts as long as it is told to, or as its different times do at the frame rate. With either, which all frames
  must have, frames are sorted by it, equal times (several cameras) staying in the order of the file. Without, frames
  keep the order of the file and follow each other at the frame rate.
- Intrinsics and lens: see `lenses`. Images may differ in size and camera.
- Transparent images are laid over white, as NeRF does with its own.
- Images whose file is absent, and frames without a pose (no matrix, or NaN in it), are left out and told.
- A file of another size than ``w`` and ``h``, smaller or larger by one factor, has its intrinsics scaled, and that is
  told (nerfstudio's ``images_2``, ``images_4``). A file that is not where ``file_path`` says is looked for by its name
  beside ``transforms.json`` and in folders ``images*``.
- Masks and depth images are **not read**, and that is told where there are some.

Sources: nerfstudio ``docs/quickstart/data_conventions.md``, instant-ngp ``docs/nerf_dataset_tips.md``, D-NeRF (arXiv
2011.13961).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.frame_rate import DEFAULT_FRAME_RATE_HZ
from fsm_ros.sources.image_files import ImageFile, ImageFiles
from fsm_ros.sources.images import image_size
from fsm_ros.sources.json_files import list_of_objects, load_json, number, text
from fsm_ros.sources.left_out import LeftOut
from fsm_ros.sources.lenses import camera_of, scaled_camera
from fsm_ros.sources.poses import NoPoseError, rigid_pose
from fsm_ros.sources.recorded import RecordedCamera, in_file

FILE_NAME = "transforms.json"

_EXTENSIONS = (".png", ".jpg", ".jpeg")
_IGNORED = ("mask_path", "depth_file_path", "depth_path")
_NS = 1e9
_LAST_STAMP_S = float(np.iinfo(np.int64).max) / _NS


def open_folder(
    path: Path, *, frame_rate_hz: float = DEFAULT_FRAME_RATE_HZ, duration_s: float | None = None
) -> RecordedCamera:
    """Read ``transforms.json``, and look for its images without decoding them; see the module.

    Stamps ascend where the file has times. Poses are in the file's world, in the file's unit.

    Args:
        path: ``transforms.json`` (or another of its kind), or the folder that it is in.
        frame_rate_hz: of frames that come without a timestamp, frames a second.
        duration_s: how long ``time`` takes from 0 to 1, seconds; None for one frame's period between different
            times, on average.

    Raises:
        ValueError: frame rate or duration is not positive.
        SourceError: the file cannot be used; the message names the frame.
    """
    for value, what in ((frame_rate_hz, "frame_rate_hz"), (duration_s, "duration_s")):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{what} must be positive, got {value}")
    path = path / FILE_NAME if path.is_dir() else path
    top = load_json(path)
    if not isinstance(top, Mapping):
        raise SourceError(f"{path}: it must be a JSON object with 'frames', as nerfstudio writes it")
    frames = list_of_objects(top, "frames", str(path))
    stamps_ns, is_timed = _stamps(frames, path, frame_rate_hz, duration_s)
    order = np.argsort(stamps_ns, kind="stable") if is_timed else np.arange(len(frames))
    files, poses, kept, left_out = [], [], [], LeftOut()
    scaled: Counter[str] = Counter()
    images = _Images(path.parent)
    for index in order:
        frame = frames[index]
        name = text(frame, "file_path", f"{path}: frame {index}")
        where = f"{path}: frame {index} ({name})"
        image = images.find(name)
        if image is None:
            left_out.add("without an image file", images.absent(name, where))
            continue
        try:
            pose = _optical_pose(frame, where)
        except NoPoseError as error:
            left_out.add("without a pose", error)
            continue
        try:
            size = image_size(image)
        except SourceError as error:
            left_out.add("with a file that is no image", error)
            continue
        camera = camera_of(frame, top, None if _has_size(frame, top) else size, where)
        if (smaller := scaled_camera(camera, *size)) is not None:
            scaled[f"{camera.width}x{camera.height} to {size[0]}x{size[1]}"] += 1
            camera = smaller
        files.append(ImageFile(image, camera))
        poses.append(pose)
        kept.append(index)
    left_out.check(len(kept))
    told = left_out.told(len(kept))
    ignored = sorted({key for frame in frames for key in _IGNORED if frame.get(key)})
    notes = (
        *([told] if told else []),
        *(f"intrinsics of {count} images scaled from {sizes}, as the files are" for sizes, count in scaled.items()),
        *([f"{' and '.join(ignored)} are not read; the images are used whole"] if ignored else []),
    )
    reader = ImageFiles(
        files,
        said_by=f"{path} says w, h =",
        remedy="give the images that the intrinsics are of, or scale fl_x, fl_y, cx, cy, w and h with the images",
    )
    return in_file(path.resolve().parent.name, stamps_ns[kept], np.stack(poses), reader, notes, is_timed=is_timed)


def _stamps(
    frames: Sequence[Mapping[str, Any]], path: Path, frame_rate_hz: float, duration_s: float | None
) -> tuple[NDArray[np.int64], bool]:
    """``[n]`` nanoseconds, and whether the file has times."""
    for key in ("timestamp", "time"):
        having = [index for index, frame in enumerate(frames) if key in frame]
        if not having:
            continue
        if len(having) < len(frames):
            lacking = next(index for index, frame in enumerate(frames) if key not in frame)
            raise SourceError(f"{path}: frame {lacking} has no '{key}', but {len(having)} others do: add it to all")
        values = np.array([number(frame, key, f"{path}: frame {index}") for index, frame in enumerate(frames)])
        if key == "time":
            outside = np.flatnonzero((values < 0.0) | (values > 1.0))
            if outside.size:
                raise SourceError(
                    f"{path}: frame {outside[0]}: 'time' runs from 0 to 1, got {values[outside[0]]}: if it is in "
                    "seconds, call it 'timestamp'"
                )
            values = values * ((len(np.unique(values)) - 1) / frame_rate_hz if duration_s is None else duration_s)
        too_late = np.flatnonzero(np.abs(values) >= _LAST_STAMP_S)
        if too_late.size:
            raise SourceError(
                f"{path}: frame {too_late[0]}: 'timestamp' is in seconds, and {values[too_late[0]]} cannot be: divide "
                "nanoseconds by 1e9, microseconds by 1e6"
            )
        return np.round(values * _NS).astype(np.int64), True
    return np.round(np.arange(len(frames)) * (_NS / frame_rate_hz)).astype(np.int64), False


class _Images:
    """The image files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> Path | None:
        """The image that a ``file_path`` means; else one of its name beside the file, or in a folder images*."""
        path = self._path(name)
        places = chain((path,), (folder / path.name for folder in self._elsewhere))
        return next((found for place in places if (found := _with_extension(place)) is not None), None)

    def absent(self, name: str, where: str) -> SourceError:
        """What to say where there is none."""
        return SourceError(
            f"{where}: there is no image at {self._path(name)} (nor with {', '.join(_EXTENSIONS)}): copy the images "
            f"along with the file, or take the frame out of {FILE_NAME}"
        )

    def _path(self, name: str) -> Path:
        return self._folder / name.replace("\\", "/")

    @cached_property
    def _elsewhere(self) -> tuple[Path, ...]:
        return (self._folder, *(other for other in sorted(self._folder.glob("images*")) if other.is_dir()))


def _with_extension(path: Path) -> Path | None:
    candidates = (path, *(path.with_name(path.name + extension) for extension in _EXTENSIONS))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _has_size(frame: Mapping[str, Any], top: Mapping[str, Any]) -> bool:
    return all(key in frame or key in top for key in ("w", "h"))


def _optical_pose(frame: Mapping[str, Any], where: str) -> NDArray[np.float64]:
    """``[4, 4]`` world from optical frame."""
    if frame.get("transform_matrix") is None:
        raise NoPoseError(f"{where}: there is no 'transform_matrix': leave images without a pose out of the file")
    pose = rigid_pose(frame["transform_matrix"], f"{where}: transform_matrix")
    pose[:3, 1:3] *= -1.0
    return pose
