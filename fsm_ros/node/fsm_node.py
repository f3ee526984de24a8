"""The console script `fsm_node`: runs the managed node until it is told to end."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def main(arguments: list[str] | None = None) -> int:
    """Run the node; SIGINT and SIGTERM end it with exit code 0, an autostart that fails with 1."""
    # Importing PyTorch takes seconds, in which rclpy's own handlers are not there yet.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    from fsm_ros.node.lifecycle import FsmNode

    rclpy.init(args=arguments)
    node = FsmNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if not node.autostart():
            return 1
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # the way to end it
    finally:
        node.close()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
