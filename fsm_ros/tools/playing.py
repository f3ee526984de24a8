# SPDX-License-Identifier: Apache-2.0
"""What `play_bag` does: it opens a recording, plays it until its end or a signal, and reports."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rclpy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown

from fsm_ros.sources.bags.messages import BagError
from fsm_ros.tools.player import Played, Player, StopSignal
from fsm_ros.tools.recording import open_recording

if TYPE_CHECKING:
    from fsm_ros.tools.play_bag import Options


def play(options: Options, ros_arguments: Sequence[str]) -> None:
    """Play a recording; SIGINT and SIGTERM end it.

    Raises:
        BagError: it cannot be played, or held less than it promised.
        OSError: a file that cannot be read, or a report that cannot be written.
    """
    stop = StopSignal()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop.set)
    try:
        with open_recording(options.path, options.topics) as recording:
            rclpy.init(args=list(ros_arguments), signal_handler_options=SignalHandlerOptions.NO)
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
    finally:
        try_shutdown()


def write_report(path: Path, played: Played) -> None:
    """Write what was played as JSON, whole or not at all: another process may be waiting for the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    content = {**vars(played), "frames_held_out": sorted(played.frames_held_out)}
    draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
