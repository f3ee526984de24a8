# SPDX-License-Identifier: Apache-2.0
"""What the memory shows where the camera is now: `~/preview` and `~/preview/difference`."""

from __future__ import annotations

import math
import time
from concurrent.futures import Future
from dataclasses import dataclass

from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle.publisher import LifecyclePublisher

from fsm_ros.messages.refused import ImageRefusedError
from fsm_ros.node.conversions import ns_to_stamp
from fsm_ros.node.gate import ViewGate
from fsm_ros.node.images import encode, encode_floats
from fsm_ros.node.live_frames import LiveView
from fsm_ros.spatial.preview import Preview, previewed
from fsm_ros.spatial.results import Failure, FailureKind, RequestFailedError
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.rectify import Rectifier


@dataclass(frozen=True)
class PreviewPublishers:
    """Where previews go."""

    image: LifecyclePublisher
    difference: LifecyclePublisher


class PreviewServer:
    """Previews the newest frame at a rate: nothing queues, and a chunk that waits goes first."""

    def __init__(
        self,
        node: LifecycleNode,
        gate: ViewGate,
        rate_hz: float,
        settings: MemorySettings,
        publishers: PreviewPublishers,
    ) -> None:
        """Begin with nothing seen.

        Args:
            node: whose log tells what cannot be previewed.
            gate: to the memory.
            rate_hz: previews a second at most; 0: none.
            settings: how the memory is kept.
            publishers: where previews go.
        """
        self._node = node
        self._gate = gate
        self._period_s = 1.0 / rate_hz if rate_hz > 0 else math.inf
        # One of its own: that of the stream belongs to another thread.
        self._rectifier = Rectifier(settings.width, settings.height, settings.keyframes.photograph_size)
        self._publishers = publishers
        self._job: Future[Preview | Failure] | None = None
        self._begun_s = -math.inf
        self._last: LiveView | None = None
        self.difference = math.nan
        """Of the last preview, mean over the view; NaN before the first."""

    def tick(self, newest: LiveView | None, is_idle: bool) -> None:
        """Publish what is ready, and begin with the newest frame where it is time; to be called from a timer.

        Args:
            newest: the newest frame whose pose is known.
            is_idle: whether no chunk waits for the worker.
        """
        if self._job is not None:
            if not self._job.done():
                return
            preview, self._job = self._job.result(), None
            self._tell(preview)
        is_due = time.monotonic() - self._begun_s >= self._period_s
        if newest is None or newest is self._last or not (is_due and is_idle):
            return
        if self._gate.is_open and self._gate.scene is not None:
            self._begun_s, self._last = time.monotonic(), newest
            self._job = self._gate.begin(lambda memory: self._preview(memory, newest))

    def forget(self) -> None:
        """Leave what was under way, and what was seen."""
        self._job, self._last, self.difference = None, None, math.nan

    def _preview(self, memory: SpatialMemory, live: LiveView) -> Preview:
        try:
            frame = self._rectifier.rectify(live.decoded())
        except (ImageRefusedError, ValueError) as error:
            raise RequestFailedError(FailureKind.BAD_REQUEST, str(error)) from error
        return previewed(memory, frame)

    def _tell(self, preview: Preview | Failure) -> None:
        if isinstance(preview, Failure):
            self._node.get_logger().warning(
                f"the live view could not be previewed: {preview.message}", throttle_duration_sec=30.0
            )
            return
        self.difference = preview.mean_difference
        frame_id = self._last.frame_id if self._last is not None else self._gate.memory_frame
        stamp = ns_to_stamp(preview.rendered.stamp_ns)
        self._publishers.image.publish(encode(preview.rendered.image, frame_id, stamp))
        self._publishers.difference.publish(encode_floats(preview.difference, frame_id, stamp))
