# SPDX-License-Identifier: Apache-2.0
"""A saved memory's surfaces as coloured points (PLY) or a mesh (GLB), without ROS.

export_surface room.safetensors room.ply
export_surface room.safetensors room.glb --resolution 0.04
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from fsm_ros.command_line import Assignments, ParameterFiles, option, parse
from fsm_ros.errors import FsmError

GOOD, FAILED = 0, 1


@dataclass(frozen=True)
class Options:
    """Export a saved memory's surfaces as coloured points or a mesh.

    Attributes:
        memory: a file that ~/save_memory wrote.
        out: the file to write: .ply for points, .glb for a mesh.
        resolution_m: edge of the cells of which each holds one point, metres; 0: as fine as it is known.
        min_confidence: 0 to 1: surer points than this only.
        parameter_files: parameters that it was observed with; may be repeated.
        assignments: one such parameter; may be repeated.
    """

    memory: Positional[Path]
    out: Positional[Path]
    resolution_m: Annotated[float, option("M", name="resolution")] = 0.0
    min_confidence: Annotated[float | None, option("C", default="the parameter points.min_confidence")] = None
    parameter_files: ParameterFiles = ()
    assignments: Assignments = ()


def main(arguments: Sequence[str] | None = None, prog: str = "export_surface") -> int:
    """Export from the command line; returns the exit code."""
    options = parse(Options, arguments, prog)
    from fsm_ros.tools.exporting import export

    try:
        print(export(options))
    except (FsmError, ValueError, OSError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return FAILED
    return GOOD


if __name__ == "__main__":
    sys.exit(main())
