# SPDX-License-Identifier: Apache-2.0
"""`python -m fsm_ros.tools.ask_views REQUESTS.json --out DIR`: asks a running memory for many views and keeps notes.

For evaluations, from a process of its own. It listens to `~/memory` and `/diagnostics` from its start, prints `ready`
once the node serves, waits for a line on standard input (the stream has ended), lets the node finish what it has, then
asks for every view, one after the other. DIR gets one PNG a view and `answers.json`.

A request is `{"name", "frame_id", "stamp_ns", "position": [3], "quaternion": [4], "camera": {"width", "height", "fx",
"fy", "cx", "cy"}}`, the principal point with pixel centres at half-integers.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.client import Client
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from tyro.conf import Positional

from fsm_ros.command_line import option, parse
from fsm_ros.messages.images import decode
from fsm_ros.node.calibration import info_from_camera
from fsm_ros.node.conversions import ns_to_stamp
from fsm_ros.stream.frame import Camera
from fsm_ros.tools import MEMORY_NODE
from fsm_ros_msgs.msg import MemoryDiagnostics
from fsm_ros_msgs.srv import RenderView

SETTLED_REPORTS = 2


@dataclass(frozen=True)
class Options:
    """Ask a running memory for many views.

    Attributes:
        requests: JSON file with the wanted views.
        out: folder for the answers.
        node: the memory node.
        timeout_s: how long to wait for anything, seconds.
    """

    requests: Positional[Path]
    out: Annotated[Path, option("DIR")]
    node: str = MEMORY_NODE
    timeout_s: Annotated[float, option("S", name="timeout")] = 60.0


class Notebook:
    """What the node published while it was listened to."""

    def __init__(self, node: Node, name: str) -> None:
        """Args: whose subscriptions; the full name of the memory node."""
        self.observed: list[MemoryDiagnostics] = []
        self.statuses: dict[str, dict[str, str]] = {}
        self.settled = 0
        self._name = name.strip("/")
        node.create_subscription(MemoryDiagnostics, f"{name}/memory", self.observed.append, QoSProfile(depth=1000))
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=10))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            node, _, part = status.name.partition(": ")
            if node == self._name:
                self.statuses[part] = {item.key: item.value for item in status.values}
        busy = [
            self.statuses.get(part, {}).get(key, "?") != "0"
            for part, key in (
                ("input", "frames_pending"),
                ("input", "views_pending"),
                ("memory", "chunks_waiting"),
            )
        ]
        busy.append(float(self.statuses.get("device", {}).get("busy_s", "inf")) > 0)
        self.settled = 0 if any(busy) else self.settled + 1


def main(arguments: list[str] | None = None) -> int:
    """Listen, ask, write; the exit code is 0 where every view was asked for, answered well or not."""
    options = parse(Options, arguments, "ask_views")
    requests = json.loads(options.requests.read_text())
    options.out.mkdir(parents=True, exist_ok=True)
    rclpy.init()
    node = rclpy.create_node("ask_views")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=_spin, args=(executor,), daemon=True)
    spinner.start()
    try:
        notebook = Notebook(node, options.node)
        client = node.create_client(RenderView, f"{options.node}/render")
        if not client.wait_for_service(timeout_sec=options.timeout_s):
            print(f"ask_views: no service {options.node}/render after {options.timeout_s:g} s", file=sys.stderr)
            return 1
        print("ready", flush=True)
        sys.stdin.readline()
        if not _wait_until_settled(notebook, options.timeout_s):
            print(
                f"ask_views: the node was still busy after {options.timeout_s:g} s: {notebook.statuses}",
                file=sys.stderr,
            )
            return 1
        answers = [_ask(client, request, options) for request in requests]
        notes = {
            "answers": answers,
            "observe_s": [message.observe_time for message in notebook.observed],
            "prediction_psnr": [message.prediction_psnr for message in notebook.observed],
            "retention_psnr": [message.retention_psnr for message in notebook.observed],
            "elastic_ratio": [[layer.elastic_ratio for layer in message.layers] for message in notebook.observed],
            "statuses": notebook.statuses,
        }
        (options.out / "answers.json").write_text(json.dumps(notes, indent=1))
        return 0
    except KeyboardInterrupt:
        return 130
    finally:
        executor.shutdown()
        spinner.join()  # a thread that still spins while the context dies aborts the process
        node.destroy_node()
        rclpy.try_shutdown()


def _spin(executor: SingleThreadedExecutor) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        return


def _wait_until_settled(notebook: Notebook, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    notebook.settled = 0
    while notebook.settled < SETTLED_REPORTS:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _ask(client: Client, request: dict[str, Any], options: Options) -> dict[str, Any]:
    stamp = ns_to_stamp(request["stamp_ns"])
    message = RenderView.Request(scene_time=stamp)
    message.pose.header.frame_id = request["frame_id"]
    # The pose is given in the memory's frame or another that does not move, so the latest transform will do.
    position, orientation = message.pose.pose.position, message.pose.pose.orientation
    position.x, position.y, position.z = request["position"]
    orientation.x, orientation.y, orientation.z, orientation.w = request["quaternion"]
    message.camera_info = info_from_camera(Camera(**request["camera"]), request["frame_id"], stamp)
    asked = time.monotonic()
    future = client.call_async(message)
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    answer: dict[str, Any] = {"name": request["name"], "success": False}
    if not done.wait(options.timeout_s):
        return answer | {"message": f"no answer within {options.timeout_s:g} s"}
    response = future.result()
    answer |= {
        "success": response.success,
        "message": response.message,
        "chunks_observed": response.chunks_observed,
        "render_s": response.render_time,
        "answer_s": time.monotonic() - asked,
    }
    if response.success:
        path = options.out / f"{request['name']}.png"
        if not cv2.imwrite(str(path), cv2.cvtColor(decode(response.image), cv2.COLOR_RGB2BGR)):
            raise OSError(f"{path} could not be written")
    return answer


if __name__ == "__main__":
    sys.exit(main())
