# SPDX-License-Identifier: Apache-2.0
"""When a view was rendered: stamps that TF takes."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from rclpy.clock import Clock

from fsm_ros.node.conversions import ns_to_stamp


class ViewStamps:
    """Stamps by a node's clock that rise with every view.

    TF refuses a transform whose stamp its frame has had already, as it comes about while simulated time stands still,
    and one that is older.
    """

    def __init__(self, clock: Clock) -> None:
        """Args: the node's."""
        self._clock = clock
        self._newest_ns = 0

    def now(self) -> Time:
        """The time, or the nanosecond after the stamp before."""
        self._newest_ns = max(self._clock.now().nanoseconds, self._newest_ns + 1)
        return ns_to_stamp(self._newest_ns)

    def clock_jumped_back(self) -> None:
        """Go back with the clock: those who listen to TF have forgotten what was stamped before."""
        self._newest_ns = 0
