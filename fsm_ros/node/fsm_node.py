# SPDX-License-Identifier: Apache-2.0
"""The console script `fsm_node`: runs the managed node until it is told to end."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from fsm_ros.allocator import keep_freed_memory
from fsm_ros.node.absent import why

if TYPE_CHECKING:
    from rclpy.executors import SingleThreadedExecutor

    from fsm_ros.node.lifecycle import FsmNode

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SOURCE_LINE = re.compile(r",? at \S+\.c:\d+")
"""Where in its own source rcl met what it tells of."""
USAGE = """usage: {prog} --ros-args [-r FROM:=TO ...] [-p NAME:=VALUE ...] [--params-file FILE ...]

The fast spatial memory: learns a scene from posed camera images and renders it from anywhere.

  in        image_raw or image_raw/compressed, camera_info, /tf and /tf_static: remap them to those of the camera
  out       ~/render, ~/recall, ~/render_trajectory, ~/save_memory, ~/load_memory; /diagnostics tells what is missing
  set up    config/fsm.yaml of the package lists all parameters with their defaults (--params-file, -p)
  ends      0 when it was told to end, 1 when it cannot start or, with autostart, cannot be configured

example:  {prog} --ros-args -r image_raw:=/camera/image_raw -r camera_info:=/camera/camera_info
"""
PATIENCE_S = 3.0  # launch systems kill after 5 s what they have told to end


class _End:
    """What SIGINT and SIGTERM do: they end the process, once.

    Attributes:
        is_asked: whether one of them came.
        at_once: whether it is left to SystemExit, wherever that is raised, to end it; else to rclpy's own handlers,
            which end the executor between two callbacks.
    """

    def __init__(self) -> None:
        self.is_asked = False
        self.at_once = True

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.is_asked = True
        if self.at_once:
            _ignore_signals()
            sys.exit(0)


@dataclass(frozen=True)
class Options:
    """Run the memory node. All that it is told stands behind --ros-args."""


def main(arguments: Sequence[str] | None = None, prog: str = "ros2 run fsm_ros fsm_node") -> int:
    """Run the node; SIGINT and SIGTERM end it with exit code 0, an autostart that fails with 1."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    own = words[: words.index("--ros-args")] if "--ros-args" in words else words
    if "-h" in own or "--help" in own:
        print(USAGE.format(prog=prog), end="")
        return 0
    if own:
        return _refused(f"no argument {own[0]} is known: ROS arguments stand behind --ros-args; see --help")
    keep_freed_memory()
    end = _End()
    # Importing PyTorch and loading weights take seconds, in which nothing listens to rclpy's handlers.
    for number in SIGNALS:
        signal.signal(number, end)
    try:
        return _run(arguments, end)
    except Exception:
        # C code that was interrupted, or found the ROS context gone, has its own ways to say so.
        if end.is_asked:
            return 0
        raise


def _run(arguments: Sequence[str] | None, end: _End) -> int:
    try:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.impl.implementation_singleton import rclpy_implementation

        from fsm_ros.node.lifecycle import FsmNode
    except ImportError as error:
        return _refused(why(error))
    from fsm_ros.node.parameters import ParameterError

    try:
        rclpy.init(args=None if arguments is None else list(arguments))
        node = FsmNode()
    except (rclpy_implementation.RCLError, rclpy_implementation.UnknownROSArgsError) as error:
        return _refused(f"the ROS arguments cannot be used: {_SOURCE_LINE.sub('', str(error))}")
    except ParameterError as error:
        rclpy.try_shutdown()
        return _refused(str(error))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if not node.autostart():
            return 0 if end.is_asked else 1
        end.at_once = False
        _spin(executor, node)
    finally:
        _ignore_signals()
        worker_ended = node.close(PATIENCE_S)
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
        _ignore_signals()  # rclpy has put the handlers back that it found
        if not worker_ended:
            # A thread that is inside PyTorch when the interpreter goes takes the process down with an abort.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    return 0


def _refused(why: str) -> int:
    print(f"fsm_node: {' '.join(why.split())}", file=sys.stderr)
    return 1


def _spin(executor: SingleThreadedExecutor, node: FsmNode) -> None:
    """Spin until the process is told to end. What a callback raises is told with its traceback, and it goes on."""
    import traceback

    from rclpy.executors import ExternalShutdownException

    while True:
        try:
            executor.spin()
        except ExternalShutdownException:
            return  # the way to end it
        except Exception:
            if not node.context.ok():
                raise
            node.get_logger().error(f"a callback met a fault of this node, which goes on:\n{traceback.format_exc()}")
        else:
            return


def _ignore_signals() -> None:
    """A second signal, as a terminal and a launch system give together, must not interrupt an orderly end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
