# SPDX-License-Identifier: Apache-2.0
"""Command line: make a rosbag2 of a folder of posed images, or of a drive through a procedural scene."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, create_mutex_group

from fsm_ros.command_line import USAGE, option, parse, values
from fsm_ros.errors import FsmError
from fsm_ros.replay.recording.settings import (
    CAMERA_NAME,
    DEFAULT_JPEG_QUALITY,
    METRES_PER_UNIT,
    WORLD_FRAME,
    SceneBagSettings,
)
from fsm_ros.sources.frame_rate import DEFAULT_FRAME_RATE_HZ
from fsm_ros.training.scene_settings import Family

_CODEC = create_mutex_group(required=False, title="how images are stored")
_DRIVE = SceneBagSettings
_CONVERTS = ("world_frame", "camera_name", "unit_m", "images")
_RECORDS = ("seed", "size", "difficulty", "cameras", "lens", "depth")
_FLAGS = {"unit_m": "unit"}
"""Of fields that are called otherwise."""


def _size(words: Sequence[str]) -> tuple[int, int]:
    """Width and height of ``WxH``."""
    width, cross, height = words[0].partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise ValueError(f"a size is WIDTHxHEIGHT in pixels, like 160x120, got {words[0]!r}")
    return int(width), int(height)


@dataclass(frozen=True)
class Options:
    """Make a rosbag2 (mcap) that any ROS tool plays and this package evaluates.

    make_bag FOLDER --out BAG converts posed images: transforms.json of nerfstudio or instant-ngp, a COLMAP model, a
    video with poses (.jsonl).

    make_bag --scene room --out BAG records a robot's drive through a procedural scene that training never sees, where
    things move.

    BAG is a folder that must not exist yet. It appears when it is complete; after an error or Ctrl-C there is nothing.

    Attributes:
        folder: posed images to convert.
        out: folder to create.
        raw: uncompressed, rgb8, as a scene is without any of these.
        jpeg: JPEG, as a conversion is without any of these.
        png: PNG, compressed without loss.
        quality: of JPEG, 1 to 100.
        quiet: show no progress bar.
        world_frame: converting: TF frame of the poses.
        camera_name: converting: the topics are /NAME/image_raw[/compressed] and /NAME/camera_info, the frame
            NAME_optical_frame.
        unit_m: converting: length of the world's unit in metres, where it is known.
        images: converting: folder of the images of a COLMAP model.
        scene: kind of place to record.
        seed: of a scene: which one, and which way through it.
        size: of a scene's images, pixels.
        difficulty: of a scene, 0 to 1: how crowded, restless and finely textured it is.
        cameras: of a scene. 2 for /front and /side: an arm swings side by up to 0.8 m and 0.6 rad away from front, at
            the same moments; withheld, it shows views off the observed path. 1 for /camera.
        depth: of a scene: a depth camera 5 cm beside each camera, /NAME/depth/image_rect_raw (16UC1), exact, or with
            the noise and holes of a stereo sensor.
        lens: of a scene: images are distorted (plumb_bob).
        rate_hz: images a second: of a scene, or of a FOLDER whose frames have no time.
        duration_s: seconds: of a scene, or of a FOLDER whose 'time' runs from 0 to 1.
    """

    out: Annotated[Path, option("BAG")]
    folder: Annotated[Positional[Path | None], option("FOLDER", default="--scene says what is recorded")] = None
    raw: Annotated[bool, _CODEC] = False
    jpeg: Annotated[bool, _CODEC] = False
    png: Annotated[bool, _CODEC] = False
    quality: Annotated[int | None, option("N", default=f"{DEFAULT_JPEG_QUALITY}, as image_transport")] = None
    quiet: bool = False
    world_frame: Annotated[str | None, option("NAME", default=WORLD_FRAME)] = None
    camera_name: Annotated[str | None, option("NAME", default=CAMERA_NAME)] = None
    unit_m: Annotated[float | None, option("METRES", name="unit", default=f"{METRES_PER_UNIT:g}")] = None
    images: Annotated[Path | None, option("DIR", default="images beside it")] = None
    scene: Annotated[Family | None, option(default="a FOLDER is converted")] = None
    seed: Annotated[int | None, option("N", default=_DRIVE.seed)] = None
    size: Annotated[
        tuple[int, int] | None, values(_size, 1, "WxH"), option(default=f"{_DRIVE.width}x{_DRIVE.height}")
    ] = None
    difficulty: Annotated[float | None, option("D", default=f"{_DRIVE.difficulty:g}")] = None
    cameras: Annotated[Literal[1, 2] | None, option(default=_DRIVE.cameras)] = None
    depth: Annotated[Literal["exact", "sensor"] | None, option(default=_DRIVE.depth.value)] = None
    lens: bool = _DRIVE.lens
    rate_hz: Annotated[
        float | None,
        option(
            "HZ",
            name="rate",
            default=f"{_DRIVE.rate_hz:g} of a scene; {DEFAULT_FRAME_RATE_HZ:g} of a FOLDER, or that of the video",
        ),
    ] = None
    duration_s: Annotated[
        float | None,
        option("S", name="duration", default=f"{_DRIVE.duration_s:g} of a scene; of a FOLDER, its moments at the rate"),
    ] = None

    def __post_init__(self) -> None:
        """Refuse options that do not go together.

        Raises:
            ValueError: neither or both of a folder and a scene, an option of the other, or a quality of no JPEG.
        """
        if (self.folder is None) == (self.scene is None):
            raise ValueError("give either a FOLDER to convert or --scene to record")
        for field in _RECORDS if self.scene is None else _CONVERTS:
            if getattr(self, field) not in (None, False):
                which = "recording a --scene" if self.scene is None else "converting a FOLDER"
                raise ValueError(f"--{_FLAGS.get(field, field).replace('_', '-')} is for {which}")
        is_jpeg = self.jpeg or (self.scene is None and not (self.raw or self.png))
        if self.quality is not None and not is_jpeg:
            raise ValueError("--quality is of JPEG images: give --jpeg with it")


def main(arguments: Sequence[str] | None = None, prog: str = "make_bag") -> int:
    """Make a recording from the command line; returns the exit code: 2 for a bad input, 130 after Ctrl-C."""
    options = parse(Options, arguments, prog)
    from fsm_ros.replay.recording.making import make

    try:
        print(make(options))
    except (FsmError, ValueError, OSError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print(f"{prog}: interrupted, {options.out} was not written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
