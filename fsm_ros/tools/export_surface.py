# SPDX-License-Identifier: Apache-2.0
"""A saved memory's surfaces as coloured points (PLY) or a mesh (GLB), without ROS.

export_surface room.safetensors room.ply
export_surface room.safetensors room.glb --resolution 0.04
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from fsm_ros.configuration.files import parse_assignment, read_parameter_file
from fsm_ros.configuration.model import load_model
from fsm_ros.configuration.settings import Settings
from fsm_ros.configuration.table import settings_from
from fsm_ros.errors import FsmError
from fsm_ros.spatial.surfaces import Surfaces
from fsm_ros.surface.files import check_suffix, write_surface

GOOD, FAILED = 0, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Export from the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _exported(options)
    except (FsmError, ValueError, OSError) as error:
        return _failed(str(error))


def _exported(options: argparse.Namespace) -> int:
    out: Path = options.out
    check_suffix(out)
    if options.resolution < 0.0:
        raise ValueError(
            f"--resolution is an edge in metres, got {options.resolution:g}: use 0 for as fine as it is known"
        )
    settings = _settings(options)
    loaded = load_model(settings)
    memory = loaded.new_memory(settings.memory)
    scene = memory.load(options.memory)
    if not len(scene.keyframes):
        return _failed(
            f"{options.memory} keeps no photographs, which surfaces are seen in: set recall.keyframes above 0"
        )
    surfaces = Surfaces()
    with tqdm(desc="looking at keyframes", unit="step", total=2 * len(scene.keyframes), disable=None) as bar:
        while memory.survey(surfaces):
            bar.update()
    least = settings.serving.surfaces.min_confidence if options.min_confidence is None else options.min_confidence
    written = write_surface(out, surfaces.views(), least, options.resolution)
    triangles = f", {written.triangles} triangles" if written.triangles else ""
    print(f"wrote {written.path}: {written.points} points{triangles}, {written.size} bytes")
    return GOOD


def _settings(options: argparse.Namespace) -> Settings:
    values: dict[str, object] = {}
    for file in options.params:
        values |= read_parameter_file(file)
    return settings_from(values | dict(map(parse_assignment, options.set)))


def _failed(why: str) -> int:
    print(f"export_surface: {why}", file=sys.stderr)
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("memory", type=Path, help="a file that ~/save_memory wrote")
    parser.add_argument("out", type=Path, help="the file to write: .ply for points, .glb for a mesh")
    parser.add_argument(
        "--resolution",
        type=float,
        default=0.0,
        metavar="M",
        help="edge of the cells of which each holds one point; 0: as fine as it is known (default)",
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        metavar="C",
        help="0 to 1: surer points than this only (default: points.min_confidence)",
    )
    parser.add_argument(
        "--params", action="append", default=[], type=Path, metavar="FILE", help="parameters that it was observed with"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="one such parameter; may be repeated"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
