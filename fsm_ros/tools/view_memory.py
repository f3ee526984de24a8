# SPDX-License-Identifier: Apache-2.0
"""The console script `view_memory`: a saved memory or a recording in the browser, without ROS.

view_memory room.safetensors
view_memory BAG --rate 2
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from fsm_ros.command_line import Assignments, ParameterFiles, parse
from fsm_ros.configuration.viewer import ViewerSettings
from fsm_ros.errors import FsmError

GOOD, FAILED = 0, 1


@dataclass(frozen=True)
class Options:
    """Look around in a saved memory, or in one that is made of a recording meanwhile, in the browser.

    Attributes:
        source: a file that ~/save_memory wrote, or a recording: bag, folder, COLMAP model, video.
        host: where it listens; 0.0.0.0: for all who reach it, without a password.
        port: of the page; 0: any that is free.
        read_only: nobody changes the memory from the page.
        rate: of a recording: times real time; 0: without waiting.
        parameter_files: parameters of the memory; may be repeated.
        assignments: one such parameter; may be repeated.
    """

    source: Positional[Path]
    host: str = ViewerSettings.host
    port: int = ViewerSettings.port
    read_only: bool = ViewerSettings.read_only
    rate: float = 1.0
    parameter_files: ParameterFiles = ()
    assignments: Assignments = ()


def main(arguments: Sequence[str] | None = None, prog: str = "view_memory") -> int:
    """View from the command line; returns the exit code. SIGINT and SIGTERM end it in good order."""
    options = parse(Options, arguments, prog)
    try:
        from fsm_ros.tools.viewing import view

        view(options)
    except ModuleNotFoundError as error:
        if error.name != "viser":
            raise
        print(f"{prog}: the viewer needs viser ({error}): pip install 'fsm_ros[viewer]'", file=sys.stderr)
        return FAILED
    except (FsmError, OSError, ValueError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return FAILED
    return GOOD


if __name__ == "__main__":
    sys.exit(main())
