# SPDX-License-Identifier: Apache-2.0
"""play_bag: publishes a recording in real time (mcap, sqlite3, or a .bag of ROS 1), needing no rosbag2 installed.

Messages go out as the bytes that were recorded, so whatever the recorder saw the subscribers see; those of ROS 1 as the
bytes that ROS 2 would have recorded.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from fsm_ros.command_line import USAGE, option, parse
from fsm_ros.errors import FsmError
from fsm_ros.node.absent import why
from fsm_ros.tools.ros_arguments import split_ros_arguments

FAILED = 1


@dataclass(frozen=True)
class Options:
    """Publish a recording of ROS 2 or ROS 1.

    Attributes:
        path: rosbag2 folder, a .mcap or .db3 file, or a .bag of ROS 1.
        rate: bag seconds a second; 1 is real time.
        clock: publish /clock in bag time, for use_sim_time.
        loop: begin again at the end, for ever; time jumps back with it.
        hold_out: withhold every N-th image and its camera info; 0: none.
        topics: play only these.
        remap: new names of topics.
        start_delay_s: wait before the first message, seconds.
        wait_for_subscribers_s: wait so long for a subscriber on every topic, seconds; 0: not at all.
        wait_for_node: full name of the one node that is waited for, on the topics that it takes.
        report: file to write what was played to, as JSON.
        progress: draw a progress bar, on a terminal.
    """

    path: Annotated[Positional[Path], option("BAG")]
    rate: float = 1.0
    clock: bool = False
    loop: bool = False
    hold_out: Annotated[int, option("N")] = 0
    topics: Annotated[tuple[str, ...], option("TOPIC ...", default="all")] = ()
    remap: Annotated[tuple[str, ...], option("FROM:=TO ...", default="none")] = ()
    start_delay_s: Annotated[float, option("S", name="start-delay")] = 0.0
    wait_for_subscribers_s: Annotated[float, option("S", name="wait-for-subscribers")] = 0.0
    wait_for_node: Annotated[str, option("NODE", default="nobody in particular, on all topics")] = ""
    report: Annotated[Path | None, option("FILE", default="not written")] = None
    progress: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be played.

        Raises:
            ValueError: a rate or number that is none, or a new name without an old one.
        """
        if not 0.0 < self.rate < math.inf:
            raise ValueError(f"--rate must be above 0 and finite, got {self.rate:g}")
        if self.hold_out < 0:
            raise ValueError(f"--hold-out must be 0 or more, got {self.hold_out}")
        if any(len(names) != 2 or not all(names) for names in (rule.split(":=") for rule in self.remap)):
            raise ValueError(f"--remap takes FROM:=TO, got {' '.join(self.remap)}")

    @property
    def renamed(self) -> Mapping[str, str]:
        """Names of topics to publish, by those of the recording."""
        return {source: target for source, _, target in (rule.partition(":=") for rule in self.remap)}


def main(arguments: Sequence[str] | None = None, prog: str = "play_bag") -> int:
    """Play a recording; returns the exit code: 0 when done or interrupted, 2 when it cannot be played as promised."""
    own, ros_arguments = split_ros_arguments(arguments)
    options = parse(Options, own, prog)
    try:
        from fsm_ros.tools.playing import play
    except ImportError as error:
        print(f"{prog}: {why(error)}", file=sys.stderr)
        return FAILED
    try:
        play(options, ros_arguments)
    except (FsmError, OSError) as error:
        print(f"{prog}: {' '.join(str(error).split())}", file=sys.stderr)
        return USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
