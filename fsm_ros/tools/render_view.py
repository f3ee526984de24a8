# SPDX-License-Identifier: Apache-2.0
"""The console script `render_view`: asks a running memory for one view and saves it, with its depth where wanted.

render_view --position 1 0 0.5 --look-at 3 0 0.5 --output view.png --depth depth.tiff --confidence confidence.tiff
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import create_mutex_group

from fsm_ros.command_line import USAGE, numbers, option, parse
from fsm_ros.errors import FsmError
from fsm_ros.node.absent import why
from fsm_ros.tools import MEMORY_NODE
from fsm_ros.tools.ros_arguments import split_ros_arguments

FAILED = 1
_DIRECTION = create_mutex_group(required=False, title="direction")


@dataclass(frozen=True)
class Options:
    """Ask a running memory for one view, and save it.

    Attributes:
        position: of the camera, metres.
        look_at: point to look at, z up.
        quaternion: orientation of the optical frame.
        frame: TF frame of the pose; an optical frame alone is the live view.
        time_s: moment to look at, seconds since the epoch.
        size: pixels.
        fov_deg: horizontal field of view with --size, degrees.
        node: the memory node.
        timeout_s: how long to wait for the node, and for its answer, seconds.
        method: recall, memory or photographs.
        output: file for its colours.
        depth: TIFF for its depth: float32, metres, NaN where it is not known.
        confidence: TIFF for how far its colours can be trusted: float32, 0 to 1.
    """

    position: Annotated[tuple[float, float, float], numbers(float, "X", "Y", "Z")] = (0.0, 0.0, 0.0)
    look_at: Annotated[
        tuple[float, float, float] | None,
        numbers(float, "X", "Y", "Z"),
        option(default="straight ahead, along the frame's z axis"),
        _DIRECTION,
    ] = None
    quaternion: Annotated[
        tuple[float, float, float, float] | None,
        numbers(float, "X", "Y", "Z", "W"),
        option(default="that of the frame"),
        _DIRECTION,
    ] = None
    frame: str = "map"
    time_s: Annotated[float | None, option("S", name="time", default="the newest")] = None
    size: Annotated[tuple[int, int] | None, numbers(int, "W", "H"), option(default="the live camera's view")] = None
    fov_deg: Annotated[float, option("DEGREES", name="fov")] = 70.0
    node: str = MEMORY_NODE
    timeout_s: Annotated[float, option("S", name="timeout")] = 10.0
    method: Annotated[str, option(default="what the parameter render.method says")] = ""
    output: Annotated[Path, option("FILE")] = Path("view.png")
    depth: Annotated[Path | None, option("FILE", default="not written")] = None
    confidence: Annotated[Path | None, option("FILE", default="not written")] = None


def main(arguments: Sequence[str] | None = None, prog: str = "render_view") -> int:
    """Ask and save; the exit code is 0 where the view was rendered."""
    own, ros_arguments = split_ros_arguments(arguments)
    options = parse(Options, own, prog)
    try:
        from fsm_ros.tools.asking import render, request_from
    except ImportError as error:
        print(f"{prog}: {why(error)}", file=sys.stderr)
        return FAILED
    try:
        request = request_from(options)
    except ValueError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return USAGE
    try:
        rendered = render(request, options, ros_arguments)
    except (FsmError, OSError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FAILED
    for told in rendered.notes:
        print(f"{prog}: {told}", file=sys.stderr)
    print(rendered.line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
