# SPDX-License-Identifier: Apache-2.0
"""play_bag: publishes a recording in real time (mcap, sqlite3, or a .bag of ROS 1), needing no rosbag2 installed.

Messages go out as the bytes that were recorded, so whatever the recorder saw the subscribers see; those of ROS 1 as the
bytes that ROS 2 would have recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown

from fsm_ros.sources.bags.messages import BagError
from fsm_ros.tools.player import Options, Played, Player, StopSignal, say
from fsm_ros.tools.recording import open_recording


def write_report(path: Path, played: Played) -> None:
    """Write what was played as JSON, whole or not at all: another process may be waiting for the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    content = {**vars(played), "frames_held_out": sorted(played.frames_held_out)}
    draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def parse_options(arguments: Sequence[str]) -> Options:
    """Options from the command line; ends the process with exit code 2 where they make no sense."""
    parser = argparse.ArgumentParser(prog="play_bag", description="Publish a recording of ROS 2 or ROS 1.")
    seconds: dict[str, Any] = {"type": float, "default": 0.0, "metavar": "S"}
    parser.add_argument("bag", type=Path, help="rosbag2 folder, a .mcap or .db3 file, or a .bag of ROS 1")
    parser.add_argument("--rate", type=_positive, default=1.0, help="speed (default: 1.0, real time)")
    parser.add_argument("--clock", action="store_true", help="publish /clock in bag time, for use_sim_time")
    parser.add_argument("--loop", action="store_true", help="begin again at the end; time jumps back with it")
    parser.add_argument("--hold-out", type=int, default=0, metavar="N", help="withhold every N-th image")
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="play only these")
    parser.add_argument("--remap", nargs="+", default=[], metavar="FROM:=TO", help="new topic names")
    parser.add_argument("--start-delay", **seconds, help="wait before the first message")
    parser.add_argument("--wait-for-subscribers", **seconds, help="wait so long for one on every topic")
    parser.add_argument(
        "--wait-for-node", default="", metavar="NODE", help="wait for this one only, on the topics that it takes"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what was played as JSON")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    parsed = parser.parse_args(arguments)
    if parsed.hold_out < 0:
        parser.error(f"--hold-out must be 0 or more, got {parsed.hold_out}")
    pairs = [tuple(rule.split(":=")) for rule in parsed.remap]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        parser.error(f"--remap takes FROM:=TO, got {' '.join(parsed.remap)}")
    return Options(
        path=parsed.bag,
        rate=parsed.rate,
        clock=parsed.clock,
        loop=parsed.loop,
        hold_out=parsed.hold_out,
        topics=tuple(parsed.topics),
        remap=tuple((source, target) for source, target in pairs),
        start_delay_s=parsed.start_delay,
        wait_for_subscribers_s=parsed.wait_for_subscribers,
        wait_for_node=parsed.wait_for_node,
        report=parsed.report,
        progress=not parsed.no_progress and sys.stderr.isatty(),
    )


def _positive(text: str) -> float:
    number = float(text)
    if not 0.0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0 and finite, got {text}")
    return number


def split_ros_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and those between ``--ros-args`` and ``--``.

    Unlike rclpy's own filter this leaves FROM:=TO outside of ``--ros-args`` alone, which is ours.
    """
    own: list[str] = []
    ros: list[str] = []
    is_ros = False
    for word in arguments:
        is_ros = is_ros or word == "--ros-args"
        (ros if is_ros else own).append(word)
        is_ros = is_ros and word != "--"
    return own, ros


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a recording; returns the exit code: 0 when done or interrupted, 2 when it cannot be played as promised."""
    own_arguments, ros_arguments = split_ros_arguments(sys.argv[1:] if arguments is None else arguments)
    options = parse_options(own_arguments)
    stop = StopSignal()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop.set)
    try:
        with open_recording(options.path, options.topics) as recording:
            rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
            node = rclpy.create_node("play_bag", start_parameter_services=False)
            player = Player(node, recording, options, stop)
            player.wait_for_subscribers()
            try:
                player.play()
            finally:
                if options.report is not None:
                    write_report(options.report, player.played)
            if player.is_short is not None:
                raise BagError(player.is_short)
    except (BagError, OSError) as error:
        say(str(error))
        return 2
    finally:
        try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
