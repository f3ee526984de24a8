# SPDX-License-Identifier: Apache-2.0
"""The console script `save_memory`: asks a running memory to save itself, once it has observed what it was given.

save_memory kitchen --node /robot1/fsm
"""

from __future__ import annotations

import argparse
import sys
import time

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from fsm_ros.tools.ask_views import SETTLED_REPORTS, Notebook
from fsm_ros_msgs.srv import SaveMemory

EXIT_FAILED = 1


def main(arguments: list[str] | None = None) -> int:
    """Wait, ask, tell where it was saved; the exit code is 0 where it was."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    rclpy.init()
    node = rclpy.create_node("save_memory")
    try:
        return _save(node, options)
    except (KeyboardInterrupt, ExternalShutdownException):
        return EXIT_FAILED
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _save(node: Node, options: argparse.Namespace) -> int:
    client = node.create_client(SaveMemory, f"{options.node}/save_memory")
    if not client.wait_for_service(timeout_sec=options.timeout):
        return _failed(f"no service {client.srv_name}: is the node running and active?")
    notebook, deadline_s = Notebook(node, options.node), time.monotonic() + options.settle
    while notebook.settled < SETTLED_REPORTS and time.monotonic() < deadline_s:
        rclpy.spin_once(node, timeout_sec=0.1)
    if notebook.settled < SETTLED_REPORTS and options.settle > 0:
        print(f"save_memory: the node is still busy after {options.settle:g} s; saved as it is", file=sys.stderr)
    future = client.call_async(SaveMemory.Request(path=options.name))
    rclpy.spin_until_future_complete(node, future, timeout_sec=options.timeout)
    response = future.result() if future.done() else None
    if response is None:
        return _failed(f"no answer within {options.timeout:g} s")
    if not response.success:
        return _failed(response.message)
    print(f"{response.path}: {response.size} bytes")
    return 0


def _failed(why: str) -> int:
    print(f"save_memory: {why}", file=sys.stderr)
    return EXIT_FAILED


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="save_memory", description="Ask a running memory to save itself.")
    parser.add_argument("name", help="of the file, below the node's storage_dir")
    parser.add_argument("--node", default="/fsm", help="the memory node (%(default)s)")
    parser.add_argument(
        "--settle",
        type=float,
        default=20.0,
        metavar="S",
        help="wait so long for the node to observe what still waits, the last, partial chunk too (%(default)s)",
    )
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="for the node, and for its answer")
    return parser.parse_args(rclpy.utilities.remove_ros_args(["save_memory", *arguments])[1:])


if __name__ == "__main__":
    sys.exit(main())
