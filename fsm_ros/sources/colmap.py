# SPDX-License-Identifier: Apache-2.0
"""COLMAP's sparse models, ``cameras`` and ``images`` as .txt or .bin, and the images that they are of.

What the files say, and what is made of it:

- Lines that begin with ``#`` are comments. The first ones say how many entries follow, which is checked.
- ``cameras.txt``: CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS. The upper left pixel's centre is (0.5, 0.5): `Camera`'s own
  convention. Models: see `PARAMETERS`.
- ``images.txt``: two lines an image. IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME: the pose is camera from
  world, camera axes x right, y down, z forward. The second line lists points (X, Y, POINT3D_ID for each), may be empty,
  and is not used.
- NAME is relative to the folder of images, which the model does not name: ``images`` beside it, or beside a folder that
  it is in.
- Binary models are written as text by pycolmap, which is an optional package, and then read alike.
- There is no time: frames are put in the natural order of their names (``9.png`` before ``10.png``), and follow each
  other at a frame rate. Images of several cameras follow each other likewise.
- The unit and the axes of the world are the model's own, and kept.

Source: COLMAP ``doc/format.rst``, ``doc/cameras.rst``, ``sensor/models.h`` (order of parameters) and
``scene/reconstruction_io_text.cc``.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.frame_rate import DEFAULT_FRAME_RATE_HZ
from fsm_ros.sources.image_files import ImageFile, ImageFiles
from fsm_ros.sources.json_files import read_text
from fsm_ros.sources.left_out import LeftOut
from fsm_ros.sources.lenses import camera_of
from fsm_ros.sources.poses import ROUNDING, invert_rigid
from fsm_ros.sources.recorded import RecordedCamera, in_file
from fsm_ros.stream.frame import Camera

CAMERAS, IMAGES = "cameras.txt", "images.txt"
MODEL_FOLDERS = (".", "sparse/0", "sparse", "text")
"""Where in a folder a model is looked for."""

IMAGE_FOLDER = "images"

_F, _FXY, _C = ("f",), ("fl_x", "fl_y"), ("cx", "cy")
PARAMETERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "SIMPLE_PINHOLE": ("SIMPLE_PINHOLE", (*_F, *_C)),
    "PINHOLE": ("PINHOLE", (*_FXY, *_C)),
    "SIMPLE_RADIAL": ("SIMPLE_RADIAL", (*_F, *_C, "k1")),
    "RADIAL": ("RADIAL", (*_F, *_C, "k1", "k2")),
    "OPENCV": ("OPENCV", (*_FXY, *_C, "k1", "k2", "p1", "p2")),
    "FULL_OPENCV": ("FULL_OPENCV", (*_FXY, *_C, "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")),
    "SIMPLE_FISHEYE": ("OPENCV_FISHEYE", (*_F, *_C)),
    "FISHEYE": ("OPENCV_FISHEYE", (*_FXY, *_C)),
    "SIMPLE_RADIAL_FISHEYE": ("SIMPLE_RADIAL_FISHEYE", (*_F, *_C, "k1")),
    "RADIAL_FISHEYE": ("RADIAL_FISHEYE", (*_F, *_C, "k1", "k2")),
    "OPENCV_FISHEYE": ("OPENCV_FISHEYE", (*_FXY, *_C, "k1", "k2", "k3", "k4")),
}
"""Models that are read: the name in `lenses.LENS_MODELS`, and the parameters in COLMAP's order. The others (FOV, thin
prisms, division, spherical) are none of REP-104's."""

_TO_TEXT = "colmap model_converter --input_path MODEL --output_path MODEL --output_type TXT"
_UNDISTORT = "undistort the images with colmap image_undistorter, and give the model that it writes (as text)"
_NS = 1e9

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ColmapImage:
    """An entry of ``images.txt``.

    Attributes:
        name: of the file, relative to the folder of images.
        camera_id: entry of ``cameras.txt``.
        world_from_camera: ``[4, 4]`` float64, rigid.
        where: file and line.
    """

    name: str
    camera_id: int
    world_from_camera: NDArray[np.float64]
    where: str


def open_model(
    path: Path, *, frame_rate_hz: float = DEFAULT_FRAME_RATE_HZ, image_folder: Path | None = None
) -> RecordedCamera:
    """Read a model, and look for its images without decoding them; see the module.

    Images come in the order of their names. Stamps count from the first. Poses are in the model's world, in its unit.

    Args:
        path: folder of the model, or one that it is in (see `MODEL_FOLDERS`).
        frame_rate_hz: frames a second.
        image_folder: what names of images are relative to; None for ``images`` beside the model, or beside a
            folder that it is in.

    Raises:
        ValueError: the frame rate is not positive.
        SourceError: the model cannot be used; the message names file and line.
    """
    if not (math.isfinite(frame_rate_hz) and frame_rate_hz > 0):
        raise ValueError(f"frame_rate_hz must be positive, got {frame_rate_hz}")
    model = _find_model(path)
    with _as_text(model) as text:
        images = sorted(read_images(text / IMAGES), key=lambda image: _natural(image.name))
        images = [replace(image, where=image.where.replace(str(text), str(model))) for image in images]
        cameras = read_cameras(text / CAMERAS, {image.camera_id for image in images})
        known = ", ".join(line.split()[0] for _, line in _entries(text / CAMERAS))
    folder = _find_images(model) if image_folder is None else image_folder
    home = (folder if image_folder is None else path).resolve()
    files, kept, left_out = [], [], LeftOut()
    for number, image in enumerate(images):
        if image.camera_id not in cameras:
            raise SourceError(
                f"{image.where}: there is no camera {image.camera_id} in {model / CAMERAS} (it has {known}): give "
                "both files of the same model"
            )
        file = folder / image.name
        if not file.is_file():
            absent = SourceError(
                f"{image.where}: there is no image at {file}: copy the images along with the model, or name their "
                "folder",
                "image_folder",
            )
            left_out.add("without an image file", absent)
            continue
        kept.append(number)
        files.append(ImageFile(file, cameras[image.camera_id]))
    left_out.check(len(kept))
    reader = ImageFiles(
        files, said_by=f"its camera in {model / CAMERAS}", remedy="give the images that the model was made of"
    )
    return in_file(
        home.parent.name if home.name == IMAGE_FOLDER else home.name,
        np.round(np.array(kept) * (_NS / frame_rate_hz)).astype(np.int64),
        np.stack([images[number].world_from_camera for number in kept]),
        reader,
        tuple(told for told in (left_out.told(len(kept)),) if told),
        is_timed=False,
    )


def has_model(path: Path) -> bool:
    """Whether a folder has a model, as text or binary."""
    return any((path / folder / Path(IMAGES).with_suffix(end)).is_file() for folder in MODEL_FOLDERS for end in _ENDS)


def read_cameras(path: Path, needed: Collection[int] | None = None) -> dict[int, Camera]:
    """Cameras by their number.

    Args:
        path: ``cameras.txt``.
        needed: numbers of those that are used; what the others are matters to nobody. None for all.

    Raises:
        SourceError: the file cannot be read, or a line cannot be used.
    """
    cameras: dict[int, Camera] = {}
    for where, line in _entries(path):
        words = line.split()
        if len(words) < 4:
            raise SourceError(f"{where}: a camera has an ID, MODEL, WIDTH, HEIGHT and PARAMS, got {line!r}: {_AGAIN}")
        number, name = _whole(words[0], where), words[1]
        if needed is not None and number not in needed:
            continue
        if number in cameras:
            raise SourceError(f"{where}: there are two cameras {number}: {_AGAIN}")
        if name not in PARAMETERS:
            raise SourceError(
                f"{where}: the camera model {name} cannot be expressed here, {', '.join(PARAMETERS)} can: {_UNDISTORT}"
            )
        model, parameters = PARAMETERS[name]
        if len(words) != 4 + len(parameters):
            raise SourceError(f"{where}: {name} has {len(parameters)} parameters, got {len(words) - 4}: {_AGAIN}")
        values = dict(zip(parameters, _numbers(words[4:], where), strict=True))
        if "f" in values:
            values["fl_x"] = values["fl_y"] = values.pop("f")
        size = _whole(words[2], where), _whole(words[3], where)
        cameras[number] = camera_of({**values, "camera_model": model}, {}, size, where)
    return cameras


def read_images(path: Path) -> list[ColmapImage]:
    """Images in the order of the file, at least one.

    Raises:
        SourceError: the file cannot be read, has none or fewer than it says, or a line cannot be used.
    """
    images = [_image(line, where) for where, line in _entries(path, with_points=True)]
    if not images:
        raise SourceError(f"{path} has no images: give a model in which some are registered")
    seen: dict[str, str] = {}
    for image in images:
        if image.name in seen:
            raise SourceError(f"{image.where}: {image.name} has a pose already ({seen[image.name]}): {_AGAIN}")
        seen[image.name] = image.where
    return images


_ENDS = (".txt", ".bin")
_AGAIN = "export the model again"
_COUNT = re.compile(r"#\s*Number of (?:cameras|images):\s*(\d+)")


def _entries(path: Path, with_points: bool = False) -> Iterator[tuple[str, str]]:
    """Where an entry is, and its line, without comments; with points, every second line is passed over."""
    said, count = None, 0
    lines = enumerate(read_text(path).splitlines(), start=1)
    for number, line in lines:
        stripped = line.strip()
        if stripped.startswith("#"):
            counted = _COUNT.match(stripped)
            said = int(counted[1]) if counted else said
        elif stripped:
            count += 1
            yield f"{path}: line {number}", stripped
            if with_points:
                _check_points(path, *next(lines, (number + 1, "")))
    if said is not None and count < said:
        raise SourceError(
            f"{path} has {count} entries, but says that there are {said}: it was cut short, copy it again; or correct "
            "the number in its comment, where entries were taken out"
        )


def _check_points(path: Path, number: int, line: str) -> None:
    """Check that a line can be a list of points: an image would be taken for one where it is left out."""
    words = line.split()
    if len(words) % 3 or (words and not re.fullmatch(r"-?\d+", words[-1])):
        raise SourceError(
            f"{path}: line {number} should list the points of the image above (X, Y, POINT3D_ID for each): every image "
            "has two lines, of which the second may be empty but not absent"
        )


def _image(line: str, where: str) -> ColmapImage:
    words = line.split(maxsplit=9)
    if len(words) < 10:
        raise SourceError(
            f"{where}: an image has an ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID and NAME, got {line!r}: was the file "
            f"cut short? {_AGAIN}"
        )
    _whole(words[0], where)
    w, x, y, z, *translation = _numbers(words[1:8], where)
    length = math.sqrt(w * w + x * x + y * y + z * z)
    if abs(length - 1.0) > ROUNDING:
        raise SourceError(f"{where}: the quaternion has length {length:.6g}, and a rotation's has 1: {_AGAIN}")
    w, x, y, z = (value / length for value in (w, x, y, z))
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    camera_from_world[:3, 3] = translation
    return ColmapImage(words[9], _whole(words[8], where), invert_rigid(camera_from_world), where)


def _numbers(words: list[str], where: str) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise SourceError(f"{where}: {error}: {_AGAIN}") from None
    if not all(map(math.isfinite, values)):
        raise SourceError(f"{where}: all numbers must be finite, got {' '.join(words)}: {_AGAIN}")
    return values


def _whole(word: str, where: str) -> int:
    if not re.fullmatch(r"\d+", word):
        raise SourceError(f"{where}: expected a whole number, got {word!r}: {_AGAIN}")
    return int(word)


def _find_model(path: Path) -> Path:
    """The folder that the model itself is in."""
    folders = [path / folder for folder in MODEL_FOLDERS]
    for folder in folders:
        lacking = [name for name in (CAMERAS, IMAGES) if not (folder / name).is_file()]
        if not lacking:
            others = sorted(other.name for other in folder.parent.glob("[0-9]*") if (other / IMAGES).is_file())
            if folder == path / "sparse/0" and len(others) > 1:
                _logger.warning("%s has %d models: taking sparse/0", path, len(others))
            return folder
        if len(lacking) == 1:
            raise SourceError(f"{folder} has no {lacking[0]}: copy it along, both are of the same model")
    for folder in folders:
        if (folder / Path(IMAGES).with_suffix(".bin")).is_file():
            return folder
    raise SourceError(f"{path} holds no COLMAP model: give a folder with {CAMERAS} and {IMAGES}")


@contextmanager
def _as_text(model: Path) -> Iterator[Path]:
    """A model's folder where it is text, else a temporary one that it is written to as text.

    Raises:
        SourceError: it is binary, and pycolmap is absent or cannot read it.
    """
    if (model / IMAGES).is_file():
        yield model
        return
    try:
        import pycolmap
    except ImportError as error:
        raise SourceError(
            f"{model} holds a binary COLMAP model, and reading it needs pycolmap ({error}): pip install pycolmap, or "
            f"write it as text: {_TO_TEXT.replace('MODEL', str(model))}"
        ) from error
    with TemporaryDirectory() as folder:
        try:
            pycolmap.Reconstruction(model).write_text(folder)
        except Exception as error:  # what a compiled parser makes of damaged bytes
            raise SourceError(f"{model} cannot be read ({error}): copy it again") from error
        try:
            yield Path(folder)
        except SourceError as error:
            raise SourceError(str(error).replace(folder, str(model)), argument=error.argument) from error


def _find_images(model: Path) -> Path:
    """``images`` beside a model, or beside a folder that it is in."""
    folder = model.resolve()
    candidates = [above / IMAGE_FOLDER for above in (folder, folder.parent, folder.parent.parent)]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise SourceError(
        f"{model / IMAGES} does not say where its images are, and there is no folder "
        f"{', '.join(map(str, candidates))}: copy them there, or name their folder",
        "image_folder",
    )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Numbers in a name count as numbers."""
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]
