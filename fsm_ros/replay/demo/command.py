# SPDX-License-Identifier: Apache-2.0
"""The command line of the demo: `scripts/demo`, ``python -m fsm_ros.replay.demo``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fsm_ros.command_line import Assignments, option, parse
from fsm_ros.configuration.viewer import ViewerSettings
from fsm_ros.errors import FsmError

FAILED = 1


@dataclass(frozen=True)
class Options:
    """Show the memory a stream, and ask it for withheld views.

    Attributes:
        bag: a rosbag2 folder or file.
        out: folder for the results.
        rate: speed of the replay.
        hold_out: withhold every N-th frame.
        view: show the memory in the browser meanwhile and afterwards, until it is told to end.
        port: of the page, on this machine; 0: any that is free.
        assignments: set a parameter of the node; may be repeated.
    """

    bag: Annotated[Path | None, option("BAG", default="a procedural room, made on the spot")] = None
    out: Annotated[Path, option("DIR")] = Path("out/demo")
    rate: float = 1.0
    hold_out: Annotated[int, option("N")] = 8
    view: bool = False
    port: int = ViewerSettings.port
    assignments: Assignments = ()

    def __post_init__(self) -> None:
        """Refuse what makes no demo.

        Raises:
            ValueError: nothing would be seen, or played.
        """
        if self.hold_out < 2:
            raise ValueError("--hold-out must be at least 2: at 1 the memory would see nothing")
        if not self.rate > 0:
            raise ValueError("--rate must be positive")


def main(arguments: Sequence[str] | None = None, prog: str = "demo") -> int:
    """Run the demo; exit code 0 where every withheld view was answered."""
    options = parse(Options, arguments, prog)
    from fsm_ros.replay.demo.run import run

    try:
        return run(options)
    except (FsmError, ValueError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
    except subprocess.TimeoutExpired as error:
        print(f"{prog}: gave up after {error.timeout:g} s, the logs are in {options.out}: {error.cmd}", file=sys.stderr)
    return FAILED
