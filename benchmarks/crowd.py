# SPDX-License-Identifier: Apache-2.0
"""What a crowd of clients costs a stream.

A node, a camera at 10 Hz whose every frame is a keyframe, and clients that ask for views without pause.

Requests and chunks take turns on the worker, so that chunks should be observed at the rate they come, however many ask.

    python benchmarks/crowd.py [--clients 8] [--seconds 20] [--size 64] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo

from fsm_ros.node.answering import EVERY_REQUEST
from fsm_ros.replay.demo.bag import write_demo_bag
from fsm_ros_msgs.srv import RenderView
from node_beside_camera import node_beside_camera, player_of

RATE_HZ = 10.0
READY_S = 60.0


class Crowd:
    """Clients that ask again as soon as they are answered."""

    def __init__(self, node: Node, count: int, size: int) -> None:
        """Args: where they live, how many, and the side of their views in pixels."""
        self.latencies_s: list[float] = []
        self.failures: list[str] = []
        self.is_over = False
        self._clients = [node.create_client(RenderView, "/fsm/render", qos_profile=EVERY_REQUEST) for _ in range(count)]
        camera = CameraInfo(width=size, height=size)
        camera.k = [0.8 * size, 0.0, size / 2 - 0.5, 0.0, 0.8 * size, size / 2 - 0.5, 0.0, 0.0, 1.0]
        self._request = RenderView.Request(pose=_pose(), camera_info=camera)

    @property
    def is_ready(self) -> bool:
        """Whether everybody can ask."""
        return all(client.service_is_ready() for client in self._clients)

    def begin(self) -> None:
        """Everybody asks."""
        for number in range(len(self._clients)):
            self._ask(number)

    def _ask(self, number: int) -> None:
        asked_s = time.monotonic()

        def answered(future: Future) -> None:
            answer = future.result()
            self.latencies_s.append(time.monotonic() - asked_s)
            if not answer.success:
                self.failures.append(answer.message)
            if not self.is_over:
                self._ask(number)

        self._clients[number].call_async(self._request).add_done_callback(answered)


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--size", type=int, default=64, help="side of the views, pixels (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bag = write_demo_bag(Path(folder) / "drive", duration_s=options.seconds, rate_hz=RATE_HZ)
        parameters = ["keyframes.translation:=0.0", "memory.extent:=4.0", "render.timeout:=60.0"]
        with node_beside_camera(parameters):
            found = _measured(bag, options)
    for name, value in found.items():
        print(f"{name}: {value}")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _measured(bag: Path, options: argparse.Namespace) -> dict[str, object]:
    rclpy.init()
    client = rclpy.create_node("crowd")
    statuses: dict[str, str] = {}

    def heard(array: DiagnosticArray) -> None:
        statuses.update({entry.key: entry.value for status in array.status for entry in status.values})

    client.create_subscription(DiagnosticArray, "/diagnostics", heard, 10)
    crowd = Crowd(client, options.clients, options.size)
    _spin(client, READY_S, lambda: crowd.is_ready and "frames_received" in statuses)
    with subprocess.Popen(player_of(bag)) as playing:
        _spin(client, READY_S, lambda: int(statuses.get("chunks_observed", 0)) > 0)
        crowd.begin()
        _spin(client, options.seconds + READY_S, lambda: playing.poll() is not None)
    crowd.is_over = True
    _spin(client, 3.0, lambda: False)
    milliseconds = 1e3 * np.array(crowd.latencies_s)
    return {
        "clients": options.clients,
        "frames received": int(statuses["frames_received"]),
        "keyframes": int(statuses["frames_keyframed"]),
        "chunks observed": int(statuses["chunks_observed"]),
        "chunks dropped": int(statuses["chunks_dropped"]),
        "answers": len(crowd.latencies_s),
        "failures": crowd.failures[:3],
        "an answer, p50 ms": round(float(np.percentile(milliseconds, 50)), 1),
        "an answer, p95 ms": round(float(np.percentile(milliseconds, 95)), 1),
    }


def _spin(node: Node, limit_s: float, is_done: Callable[[], object]) -> None:
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s and not is_done():
        rclpy.spin_once(node, timeout_sec=0.05)


def _pose() -> PoseStamped:
    pose = PoseStamped()
    pose.header.frame_id = "map"
    pose.pose.position.z = 1.0
    q = pose.pose.orientation
    q.x, q.y, q.z, q.w = -0.5, 0.5, -0.5, 0.5
    return pose


if __name__ == "__main__":
    sys.exit(main())
