# SPDX-License-Identifier: Apache-2.0
"""How soon a visitor of the viewer sees a picture after a move, while a camera at 10 Hz is observed.

A node with its viewer, the demo's drive played at 10 Hz, and a client that speaks the page's own protocol in a process
of its own: it moves, rests, moves again, and notes when the first picture and when the full one (320x240) came.

    python benchmarks/viewer_latency.py [--moves 40] [--set NAME=VALUE] [--json FILE]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import msgspec
import numpy as np
import zstandard
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from fsm_ros.replay.demo.bag import write_demo_bag
from fsm_ros.sources.opening import open_rig
from node_beside_camera import node_beside_camera, player_of

RATE_HZ = 10.0
FULL_PIXELS = 320 * 240
READY_S = 90.0
REST_S = 1.2
MOVED_M = 0.02
WIDTHS = (640, 540)


class Visitor:
    """Speaks what the page in a browser would."""

    def __init__(self, port: int) -> None:
        """Open the page. Args: its port."""
        import viser

        self._socket: ClientConnection = connect(
            f"ws://127.0.0.1:{port}", subprotocols=[f"viser-v{viser.__version__}"], max_size=None, compression=None
        )

    def look(self, pose: np.ndarray, width: int = 640) -> None:
        """Tell where it looks from. Args: ``[4, 4]`` optical frame to the world; columns of the window, of 480 rows."""
        from scipy.spatial.transform import Rotation

        x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat().tolist()
        said = {
            "type": "ViewerCameraMessage",
            "wxyz": [w, x, y, z],
            "position": pose[:3, 3].tolist(),
            "fov": 1.0,
            "near": 0.01,
            "far": 1000.0,
            "image_height": 480,
            "image_width": width,
            "look_at": (pose[:3, 3] + pose[:3, 2]).tolist(),
            "up_direction": [0.0, 0.0, 1.0],
        }
        self._socket.send(msgspec.msgpack.encode(said))

    def picture(self, timeout_s: float, width: int | None = None) -> int | None:
        """Wait for a picture, of a window so wide where that is said; its pixels, ``None`` where none came in time."""
        end_s = time.monotonic() + timeout_s
        while (left_s := end_s - time.monotonic()) > 0:
            try:
                raw = self._socket.recv(timeout=left_s)
            except TimeoutError:
                return None
            assert isinstance(raw, bytes)
            size = int.from_bytes(raw[8:16], "little")
            told = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(raw[16 : 16 + size]))
            for message in told["messages"]:
                if message["type"] == "BackgroundImageMessage" and message["rgb_data"]:
                    columns, rows = Image.open(io.BytesIO(message["rgb_data"])).size
                    if width is None or abs(480 * columns / rows - width) < 0.3 * abs(WIDTHS[1] - WIDTHS[0]):
                        return columns * rows
        return None

    def close(self) -> None:
        """Leave."""
        self._socket.close()


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=40)
    parser.add_argument("--port", type=int, default=18080)
    parser.add_argument("--still", action="store_true", help="the drive is over before the visitor moves")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the node")
    parser.add_argument("--json", type=Path, help="write the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = 20.0 + (0.0 if options.still else (REST_S + 0.6) * options.moves)
        bag = write_demo_bag(Path(folder) / "drive", duration_s=seconds, rate_hz=RATE_HZ)
        parameters = ["viewer.enabled:=true", f"viewer.port:={options.port}", "memory.extent:=4.0"]
        with node_beside_camera([*parameters, *(each.replace("=", ":=", 1) for each in options.set)]):
            found = _measured(bag, options)
    for name, value in found.items():
        print(f"{name}: {value}")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _measured(bag: Path, options: argparse.Namespace) -> dict[str, object]:
    _wait_for_page(options.port)
    frames = [frame for frame in open_rig(bag).frames if frame.world_from_camera is not None]
    poses = np.stack([np.asarray(frame.world_from_camera) for frame in frames])
    first, full = [], []
    with subprocess.Popen(player_of(bag)) as playing:
        time.sleep(15.0)
        if options.still:
            playing.wait()
        visitor = Visitor(options.port)
        rng = np.random.default_rng(0)
        visitor.look(poses[20])
        visitor.picture(READY_S)
        for number in range(options.moves):
            # Whose picture it is, its shape tells: one that was under way may come first.
            width = WIDTHS[number % 2]
            rests_until_s = time.monotonic() + REST_S * rng.uniform(0.7, 1.3)
            while (left_s := rests_until_s - time.monotonic()) > 0:
                visitor.picture(left_s)
            pose = poses[rng.integers(len(poses))].copy()
            pose[:3, 3] += rng.normal(0.0, MOVED_M, 3)
            visitor.look(pose, width)
            moved_s, pixels = time.monotonic(), visitor.picture(READY_S, width)
            first.append(time.monotonic() - moved_s)
            while pixels is not None and pixels < 0.9 * FULL_PIXELS:
                pixels = visitor.picture(READY_S, width)
            full.append(time.monotonic() - moved_s)
        # While it drags: thirty moves a second.
        shown, begun_s, step = 0, time.monotonic(), 0
        while time.monotonic() - begun_s < 5.0:
            pose = poses[10].copy()
            pose[:3, 3] += 0.002 * step
            visitor.look(pose)
            step += 1
            shown += visitor.picture(1 / 30) is not None
        visitor.close()
        still_driving = playing.poll() is None
        playing.send_signal(signal.SIGINT)
    told = {name: 1e3 * np.array(values) for name, values in (("first", first), ("full", full))}
    figures: dict[str, object] = {
        "hardware": f"{os.cpu_count()} cores of an {platform.machine()} CPU",
        "moves": options.moves,
        "images came all the while": still_driving,
    }
    for name, milliseconds in told.items():
        for percentile in (50, 95):
            figures[f"{name} picture, p{percentile} ms"] = round(float(np.percentile(milliseconds, percentile)), 1)
    return figures | {"pictures a second while dragging": round(shown / 5.0, 1)}


def _wait_for_page(port: int) -> None:
    end_s = time.monotonic() + READY_S
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end_s:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
