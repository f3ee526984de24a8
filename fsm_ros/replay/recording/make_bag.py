# SPDX-License-Identifier: Apache-2.0
"""Command line: make a rosbag2 of a folder of posed images, or of a drive through a procedural scene."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fsm_ros.errors import FsmError
from fsm_ros.replay.recording.bag_writer import DEFAULT_JPEG_QUALITY, Codec
from fsm_ros.replay.recording.camera_topics import CameraTopics
from fsm_ros.replay.recording.convert import convert
from fsm_ros.replay.recording.scene_bag import SceneBagSettings, record_scene
from fsm_ros.sources.errors import SourceError
from fsm_ros.sources.opening import SourceKind, open_rig, source_kind
from fsm_ros.training.scenes import Family
from fsm_ros.training.scenes.depth_sensor import DepthInput

_DESCRIPTION = """\
Make a rosbag2 (mcap) that any ROS tool plays and this package evaluates:

  make_bag FOLDER --out BAG          converts posed images: transforms.json of nerfstudio or
                                     instant-ngp, a COLMAP model, a video with poses (.jsonl)
  make_bag --scene room --out BAG    records a robot's drive through a procedural scene that
                                     training never sees, where things move
"""
_EPILOG = """\
BAG is a folder that must not exist yet. It appears when it is complete; after an error or Ctrl-C there is nothing.
"""
_CONVERTS = ("world_frame", "camera_name", "unit", "images")
_RECORDS = ("seed", "size", "difficulty", "cameras", "lens", "depth")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a recording from the command line; returns the exit code: 2 for a bad input, 130 after Ctrl-C."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    given = {name: value for name, value in vars(parsed).items() if value is not None}
    _check(parser, given)
    try:
        told = _record(given) if "scene" in given else _convert(given)
    except (FsmError, ValueError, OSError) as error:
        print(f"make_bag: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"make_bag: interrupted, {given['out']} was not written", file=sys.stderr)
        return 130
    print(told)
    return 0


def _parser() -> argparse.ArgumentParser:
    """All options default to None: what an option means where it is not given is for the library to say."""
    parser = argparse.ArgumentParser(
        prog="make_bag",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    scene = SceneBagSettings()
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="posed images to convert")
    parser.add_argument("--out", type=Path, required=True, metavar="BAG", help="folder to create")
    images = parser.add_argument_group("images").add_mutually_exclusive_group()
    images.add_argument("--raw", action="store_true", default=None, help="uncompressed, rgb8 (default of a scene)")
    images.add_argument("--jpeg", action="store_true", default=None, help="JPEG (default of a conversion)")
    images.add_argument("--png", action="store_true", default=None, help="PNG: compressed without loss")
    parser.add_argument(
        "--quality", type=int, metavar="1-100", help=f"of JPEG (default: {DEFAULT_JPEG_QUALITY}, as image_transport)"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")

    converts = parser.add_argument_group("converting FOLDER")
    converts.add_argument("--world-frame", metavar="NAME", help="TF frame of the poses (default: map)")
    converts.add_argument(
        "--camera-name",
        metavar="NAME",
        help="the topics are /NAME/image_raw[/compressed] and /NAME/camera_info, the frame NAME_optical_frame "
        "(default: camera)",
    )
    converts.add_argument(
        "--unit", type=float, metavar="METRES", help="length of the world's unit, where it is known (default: 1)"
    )
    converts.add_argument("--images", type=Path, metavar="DIR", help="of a COLMAP model (default: images beside it)")

    records = parser.add_argument_group("recording a scene")
    records.add_argument("--scene", choices=[family.value for family in Family], help="kind of place")
    records.add_argument("--seed", type=int, metavar="N", help=f"which scene and way (default: {scene.seed})")
    records.add_argument(
        "--size", type=_size, metavar="WxH", help=f"of the images, pixels (default: {scene.width}x{scene.height})"
    )
    records.add_argument(
        "--difficulty",
        type=float,
        metavar="0-1",
        help=f"how crowded, restless and finely textured the scene is (default: {scene.difficulty:g})",
    )
    records.add_argument(
        "--cameras",
        type=int,
        choices=(1, 2),
        help="2 for /front and /side: an arm swings side by up to 0.8 m and 0.6 rad away from front, at the same "
        "moments; withheld, it shows views off the observed path (default: 1, /camera)",
    )
    records.add_argument(
        "--depth",
        choices=[each.value for each in DepthInput if each is not DepthInput.NONE],
        help="a depth camera 5 cm beside each camera, /NAME/depth/image_rect_raw (16UC1): exact, or with the noise and "
        "holes of a stereo sensor (default: none)",
    )
    records.add_argument("--lens", action="store_true", default=None, help="images are distorted (plumb_bob)")

    both = parser.add_argument_group("time")
    both.add_argument(
        "--rate",
        type=float,
        metavar="HZ",
        help=f"images a second: of a scene (default: {scene.rate_hz:g}), or of a FOLDER whose frames have no time "
        "(default: 30, or that of the video)",
    )
    both.add_argument(
        "--duration",
        type=float,
        metavar="S",
        help=f"seconds: of a scene (default: {scene.duration_s:g}), or of a FOLDER whose 'time' runs from 0 to 1 "
        "(default: its moments at the rate)",
    )
    return parser


def _size(text: str) -> tuple[int, int]:
    """Width and height of ``WxH``."""
    width, cross, height = text.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"a size is WIDTHxHEIGHT in pixels, like 160x120, got {text!r}")
    return int(width), int(height)


def _check(parser: argparse.ArgumentParser, given: Mapping[str, Any]) -> None:
    """Refuse options that do not go together, as argparse refuses others."""
    if ("folder" in given) == ("scene" in given):
        parser.error("give either a FOLDER to convert or --scene to record")
    wrong = [name for name in (_CONVERTS if "scene" in given else _RECORDS) if name in given]
    if wrong:
        which = "converting a FOLDER" if "scene" in given else "recording a --scene"
        parser.error(f"--{wrong[0].replace('_', '-')} is for {which}")
    if "quality" in given and (given.get("raw") or given.get("png") or ("scene" in given and not given.get("jpeg"))):
        parser.error("--quality is of JPEG images: give --jpeg with it")


def _codec(given: Mapping[str, Any], default: Codec | None) -> Codec | None:
    if given.get("raw"):
        return None
    if given.get("png"):
        return Codec.PNG
    return Codec.JPEG if given.get("jpeg") else default


def _convert(given: Mapping[str, Any]) -> str:
    """Convert a folder; returns what was written, in a line."""
    folder: Path = given["folder"]
    if source_kind(folder) is SourceKind.BAG:
        raise SourceError(f"{folder} is a rosbag already: evaluate it as it is")
    topics = CameraTopics(
        given.get("camera_name", "camera"), _codec(given, Codec.JPEG), given.get("quality", DEFAULT_JPEG_QUALITY)
    )
    rig = open_rig(
        folder,
        frame_rate_hz=given.get("rate"),
        duration_s=given.get("duration"),
        image_folder=given.get("images"),
    )
    (source,) = rig.recorded.values()
    try:
        done = convert(
            source,
            given["out"],
            topics=topics,
            world_frame=given.get("world_frame", "map"),
            metres_per_unit=given.get("unit", 1.0),
            progress=not given["quiet"],
        )
    finally:
        source.close()
    notes = "".join(f"; {note}" for note in source.notes)
    if done.moved_apart:
        notes += f"; {done.moved_apart} that had the moment of another were moved on by a microsecond each"
    return f"{_told(done.path, done.images, done.duration_s, done.topics)}{notes}"


def _record(given: Mapping[str, Any]) -> str:
    """Record a scene; returns what was written, in a line."""
    names = {"duration": "duration_s", "rate": "rate_hz"}
    plain = ("seed", "duration", "rate", "difficulty", "cameras", "lens", "quality")
    values = {names.get(name, name): given[name] for name in plain if name in given}
    if "size" in given:
        values["width"], values["height"] = given["size"]
    if "depth" in given:
        values["depth"] = DepthInput(given["depth"])
    settings = SceneBagSettings(family=Family(given["scene"]), codec=_codec(given, None), **values)
    done = record_scene(given["out"], settings, progress=not given["quiet"])
    told = _told(done.path, done.images, done.duration_s, done.topics)
    return f"{told}; {settings.family.value} {done.scene} of seed {settings.seed}, {done.laps:.1f} laps"


def _told(path: Path, images: int, duration_s: float, topics: Mapping[str, int]) -> str:
    cameras = [topic for topic in topics if "image_raw" in topic]
    each = "" if len(cameras) == 1 else " of each camera"
    return f"wrote {path}: {images} images{each} over {duration_s:.1f} s on {', '.join(topics)}"


if __name__ == "__main__":
    sys.exit(main())
