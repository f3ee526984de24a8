# SPDX-License-Identifier: Apache-2.0
"""The command that writes a contact sheet of scenes: ``python -m fsm_ros.training.scenes --out sheet.png``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fsm_ros.command_line import USAGE, numbers, option, parse
from fsm_ros.errors import FsmError
from fsm_ros.training.scene_settings import Family, SceneSettings, Split


@dataclass(frozen=True)
class Options:
    """Write a contact sheet of procedural scenes: one row of views per clip.

    Attributes:
        out: picture to write.
        split: of the scenes.
        family: only this one.
        difficulty: range of the scenes', 0 to 1.
        count: clips, one a row.
        first: number of the first clip.
        views: views of each clip.
        size: pixels along each side of a view.
        samples: rays along each side of a pixel.
        sensor: strength of exposure changes and noise.
        seed: of the scenes.
        device: what to compute on.
        photographs: show photographs on surfaces too, beside procedural textures.
    """

    out: Annotated[Path, option("FILE")]
    split: Split = Split.TRAIN
    family: Annotated[Family | None, option(default="all, as training weighs them")] = None
    difficulty: Annotated[tuple[float, float], numbers(float, "LOW", "HIGH")] = SceneSettings.difficulty
    count: Annotated[int, option("N")] = 8
    first: Annotated[int, option("N")] = 0
    views: Annotated[int, option("N")] = 8
    size: Annotated[int, option("PIXELS")] = 128
    samples: Annotated[int, option("N")] = 2
    sensor: float = SceneSettings.sensor
    seed: Annotated[int, option("N")] = 0
    device: str = "cpu"
    photographs: bool = SceneSettings.photographs


def main(arguments: Sequence[str] | None = None, prog: str = "scenes") -> int:
    """Draw from the command line; returns the exit code."""
    options = parse(Options, arguments, prog)
    try:
        from fsm_ros.training.scenes.sheet import draw

        print(draw(options))
    except (FsmError, ImportError, OSError, ValueError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return USAGE
    return 0
