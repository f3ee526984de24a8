# SPDX-License-Identifier: Apache-2.0
"""A saved memory or a recording in the browser, without ROS: ``view_memory room.safetensors``, ``view_memory BAG``."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

GOOD, FAILED = 0, 1
SAVED_SUFFIX = ".safetensors"


def main(arguments: Sequence[str] | None = None) -> int:
    """View from the command line; returns the exit code. Ends with SIGINT or SIGTERM."""
    options = _parser().parse_args(arguments)
    from fsm_ros.errors import FsmError

    try:
        return _viewed(options)
    except (FsmError, ImportError, OSError, ValueError) as error:
        print(f"view_memory: {error}", file=sys.stderr)
        return FAILED


def _viewed(options: argparse.Namespace) -> int:
    from fsm_ros.configuration.files import parse_assignment, read_parameter_file
    from fsm_ros.configuration.table import settings_from

    try:
        from fsm_ros.viewer.viewer import Viewer
    except ModuleNotFoundError as error:
        if error.name != "viser":
            raise
        raise ImportError(f"the viewer needs viser ({error}): pip install 'fsm_ros[viewer]'") from error
    from fsm_ros.tools.viewed import KeptMemory, PlayedRecording

    values: dict[str, object] = {}
    for file in options.params:
        values |= read_parameter_file(file)
    settings = settings_from(values | dict(map(parse_assignment, options.set)))
    wanted = replace(settings.serving.viewer, host=options.host, port=options.port, read_only=options.read_only)
    path: Path = options.source
    subject = (
        KeptMemory(path, settings) if path.suffix == SAVED_SUFFIX else PlayedRecording(path, settings, options.rate)
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with subject:
        viewer = Viewer(subject, wanted, settings.serving.viewer.pixels)
        print(f"open {viewer.url}   (Ctrl-C ends it)", flush=True)
        ended.wait()
        viewer.stop()
    return GOOD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="view_memory", description=__doc__)
    parser.add_argument("source", type=Path, help="a file that ~/save_memory wrote, or a recording: bag, folder, video")
    parser.add_argument("--host", default="127.0.0.1", help="where it listens; 0.0.0.0: everywhere, without a password")
    parser.add_argument("--port", type=int, default=8080, help="0: any that is free")
    parser.add_argument("--read-only", action="store_true", help="nobody changes the memory from the page")
    parser.add_argument("--rate", type=float, default=1.0, help="of a recording: times real time; 0: without waiting")
    parser.add_argument("--params", type=Path, action="append", default=[], help="a parameter file, as the node's")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
    return parser


if __name__ == "__main__":
    sys.exit(main())
