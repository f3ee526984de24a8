# SPDX-License-Identifier: Apache-2.0
"""How good, how forgetful and how fast is the memory on a recording? One command, one report.

evaluate_bag BAG... --out DIR --hold-out every:8 --compare elastic,plastic,windowed
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction

from fsm_ros.command_line import Assignments, ParameterFiles, option, parse, several, values
from fsm_ros.replay.evaluation.limits import Limits
from fsm_ros.sources.frame_rate import DEFAULT_FRAME_RATE_HZ


def _address(words: Sequence[str]) -> str:
    if len(words) > 1:
        raise ValueError(f"one address at most, and --ray comes last, got {' '.join(words)}")
    return words[0] if words else ""


@dataclass(frozen=True)
class Options:
    """Measure the memory on recordings, and write a report: DIR/report.html.

    The same command goes on where it stopped, and measures again only what has changed. Example:
    evaluate_bag drive.mcap --out report --hold-out every:8 --compare configured,plastic.
    What every figure means: docs/evaluation.md.

    Attributes:
        bags: rosbag2, ROS 1 bag, transforms.json, COLMAP folder or video with poses.
        out: folder for the report.
        hold_out: frames that are kept from the memory, as every:N, block:START-END (seconds since the first image) or
            camera:NAME; several joined by commas.
        compare: settings, each a column, joined by commas: names, parameter files, or NAME=FILE.yaml. Names are
            configured (the parameters as they are), consolidation (one submap, every chunk written together with all
            before it), elastic (one submap, the published elastic prior), plastic (one submap, plain LaCT) and
            windowed (the last chunks encoded again each time).
        parameter_files: parameters that all settings share; may be repeated.
        assignments: one such parameter; may be repeated.
        cameras: image topic or camera, or 'all'; may be repeated.
        frame: TF frame that poses are taken in.
        frame_rate_hz: images a second, of recordings without time stamps.
        duration_s: how long time takes from 0 to 1 in a folder, seconds.
        images: folder of the images of a COLMAP model.
        lpips: AlexNet weights of torchvision, to measure LPIPS.
        views: measure at most so many held-out views.
        matrix_chunks: at most so many rows of the forgetting matrix.
        matrix_views: ask again and again for so many held-out views of each chunk.
        ray: run on Ray: here, or on a cluster (auto, HOST:PORT); put it last.
    """

    bags: Annotated[Positional[tuple[Path, ...]], several("BAG")]
    out: Annotated[Path, option("DIR")]
    hold_out: Annotated[str, option("WHICH")] = "every:8"
    compare: Annotated[str, option("A,B,...")] = "configured"
    parameter_files: ParameterFiles = ()
    assignments: Assignments = ()
    cameras: Annotated[UseAppendAction[tuple[str, ...]], option("NAME", name="camera", default="the only one")] = ()
    frame: Annotated[str | None, option("NAME", default="memory.frame_id, or found")] = None
    frame_rate_hz: Annotated[
        float | None, option("HZ", name="frame-rate", default=f"{DEFAULT_FRAME_RATE_HZ:g}, or the video's own")
    ] = None
    duration_s: Annotated[float | None, option("S", name="duration", default="by the frame rate")] = None
    images: Annotated[Path | None, option("DIR", default="images beside it")] = None
    lpips: Annotated[Path | None, option("FILE", default="not measured")] = None
    views: Annotated[int, option("N")] = Limits.views
    matrix_chunks: Annotated[int, option("N")] = Limits.matrix_chunks
    matrix_views: Annotated[int, option("N")] = Limits.matrix_views
    ray: Annotated[str | None, values(_address, (0, 1), "[ADDRESS]"), option(default="in this process")] = None

    def __post_init__(self) -> None:
        """Refuse to measure nothing.

        Raises:
            ValueError: there is no recording.
        """
        if not self.bags:
            raise ValueError("give a recording at least, BAG")


def main(arguments: Sequence[str] | None = None, prog: str = "evaluate_bag") -> int:
    """Evaluate from the command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(Options, given, prog)
    from fsm_ros.replay.evaluation.evaluating import evaluated

    return evaluated(options, prog, f"{prog} {shlex.join(given)}")


if __name__ == "__main__":
    sys.exit(main())
