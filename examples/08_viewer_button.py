# SPDX-License-Identifier: Apache-2.0
"""A viewer with a button of one's own: it says how surely the memory knows what you look at.

    python examples/08_viewer_button.py [MEMORY.safetensors [PORT]]

Opens out/room.safetensors, which example 04 writes, and serves a page until Ctrl-C. Needs fsm_ros[viewer].
"""

import sys
import threading
from pathlib import Path

import viser

import fsm_ros
from fsm_ros.configuration.viewer import ViewerSettings
from fsm_ros.tools.viewed import KeptMemory
from fsm_ros.viewer.viewer import Viewer
from fsm_ros.viewer.wish import Look

path = Path(sys.argv[1] if len(sys.argv) > 1 else "out/room.safetensors")
port = int(sys.argv[2]) if len(sys.argv) > 2 else 8080

with KeptMemory(path, fsm_ros.Settings()) as kept:
    viewer = Viewer(kept, ViewerSettings(port=port))
    button = viewer.server.gui.add_button("How sure is this?", icon=viser.Icon.QUESTION_MARK)

    @button.on_click
    def _(event: viser.GuiEvent) -> None:
        client = event.client
        camera = client.camera
        look = Look(tuple(camera.position), tuple(camera.wxyz), camera.fov, camera.aspect)
        # The memory belongs to a worker: it is asked, and answers when it can.
        asked = kept.engine.ask(lambda memory: memory.render(look.world_from_camera, None, look.camera(64 * 48)))
        view = asked.result()
        if isinstance(view, fsm_ros.Rendered):
            client.add_notification("Confidence", f"{100 * view.confidence.mean():.0f} %", auto_close_seconds=6)
        else:
            client.add_notification("It cannot be rendered", view.message)

    print(f"open {viewer.url}   (Ctrl-C ends it)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        viewer.stop()
