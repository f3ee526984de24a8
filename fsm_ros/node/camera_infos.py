"""The calibrations that came lately, for the images that they belong to."""

from __future__ import annotations

from collections import deque

from sensor_msgs.msg import CameraInfo

from fsm_ros.node.conversions import stamp_to_ns


class CameraInfos:
    """Recent calibrations of every camera. Not thread-safe: whoever shares it holds a lock."""

    def __init__(self, kept: int, timeout_s: float, tolerance_ns: int) -> None:
        """Prepare.

        Args:
            kept: how many of each camera.
            timeout_s: how long an image waits for the calibration of its own stamp.
            tolerance_ns: how far from its stamp another one may be, once it has waited.
        """
        self._kept = kept
        self._timeout_s = timeout_s
        self._tolerance_ns = tolerance_ns
        self._infos: dict[str, deque[tuple[int, CameraInfo]]] = {}

    def add(self, source: str, info: CameraInfo) -> None:
        """Keep a calibration of a camera."""
        kept = self._infos.setdefault(source, deque(maxlen=self._kept))
        kept.append((stamp_to_ns(info.header.stamp), info))

    def clear(self) -> None:
        """Forget all of them."""
        self._infos.clear()

    def is_over(self, waited_s: float) -> bool:
        """Whether an image has waited long enough."""
        return waited_s >= self._timeout_s

    def find(self, source: str, stamp_ns: int, waited_s: float) -> CameraInfo | None:
        """The calibration of an image: that of its stamp, or after the wait one close to it."""
        kept = self._infos.get(source, ())
        exact = next((info for stamp, info in reversed(kept) if stamp == stamp_ns), None)
        if exact is not None or not self.is_over(waited_s) or not kept:
            return exact
        stamp, nearest = min(kept, key=lambda item: abs(item[0] - stamp_ns))
        return nearest if abs(stamp - stamp_ns) <= self._tolerance_ns else None
