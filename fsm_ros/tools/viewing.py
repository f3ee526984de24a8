# SPDX-License-Identifier: Apache-2.0
"""What `view_memory` does: it opens what is to be looked at, and serves the page until it is told to end."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from fsm_ros.configuration.files import read_changes
from fsm_ros.configuration.table import settings_from
from fsm_ros.tools.viewed import KeptMemory, PlayedRecording
from fsm_ros.viewer.viewer import Viewer

if TYPE_CHECKING:
    from fsm_ros.tools.view_memory import Options

SAVED_SUFFIX = ".safetensors"


def view(options: Options) -> None:
    """Serve the page until SIGINT or SIGTERM.

    Raises:
        FsmError: weights, a memory or a recording that cannot be used, or a page that cannot be served there.
        ValueError: options that make no sense.
    """
    settings = settings_from(read_changes(options.parameter_files, options.assignments))
    wanted = replace(settings.serving.viewer, host=options.host, port=options.port, read_only=options.read_only)
    is_saved = options.source.suffix == SAVED_SUFFIX
    subject = (
        KeptMemory(options.source, settings) if is_saved else PlayedRecording(options.source, settings, options.rate)
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with subject:
        viewer = Viewer(subject, wanted)
        print(f"open {viewer.url}   (Ctrl-C ends it)", flush=True)
        ended.wait()
        viewer.stop()
