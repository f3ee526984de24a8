# SPDX-License-Identifier: Apache-2.0
"""The calibrations that came lately, for the images that they belong to."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from fsm_ros.messages.calibrations import Calibration, calibration_at, holding_on, kept_with

IN_VAIN = 5
"""After so many images in a row that waited in vain for the calibration of their own stamp the next one waits no more:
this camera's calibration comes otherwise (once, now and then, or without stamps)."""


@dataclass
class _Camera:
    """What is known of one camera.

    Attributes:
        kept: calibrations in the order of their stamps.
        in_vain: images since the last one with a calibration of its own.
        carried_on: stamps of the latest of them.
    """

    kept: list[Calibration] = field(default_factory=list)
    in_vain: int = 0
    carried_on: deque[int] = field(default_factory=lambda: deque(maxlen=IN_VAIN))


class CameraInfos:
    """Recent calibrations of every camera. Not thread-safe: whoever shares it holds a lock.

    An image has the calibration that :func:`fsm_ros.messages.calibrations.calibration_at` says. Where none of its own
    stamp is there it may still be on its way, so the image waits.
    """

    def __init__(self, kept: int, timeout_s: float) -> None:
        """Prepare.

        Args:
            kept: how many of each camera.
            timeout_s: how long an image waits for the calibration of its own stamp.
        """
        self._kept = kept
        self._timeout_s = timeout_s
        self._cameras: dict[str, _Camera] = {}
        self._carried_on = 0

    @property
    def carried_on(self) -> int:
        """Images that had the calibration of another stamp than theirs."""
        return self._carried_on

    def add(self, source: str, calibration: Calibration) -> None:
        """Keep a calibration of a camera."""
        camera = self._cameras.setdefault(source, _Camera())
        camera.kept = kept_with(camera.kept, calibration, self._kept)
        if calibration.stamp_ns in camera.carried_on:
            camera.in_vain = 0  # it comes with its image after all, only later than that waits

    def clear(self) -> None:
        """The clock was set back: the newest of each camera holds on, as of before all that comes."""
        for camera in self._cameras.values():
            camera.kept = holding_on(camera.kept)
            camera.carried_on.clear()

    def find(self, source: str, stamp_ns: int, waited_s: float) -> Calibration | None:
        """The calibration of an image; ``None``: not yet, or none at all."""
        camera = self._cameras.get(source)
        found = None if camera is None else calibration_at(camera.kept, stamp_ns)
        if camera is None or found is None:
            return None
        if found.stamp_ns == stamp_ns:
            camera.in_vain = 0
            return found
        # A camera's calibrations come in order: after one of a later stamp that of this image will not come.
        is_passed = camera.kept[-1].stamp_ns > stamp_ns
        if waited_s < self._timeout_s and camera.in_vain < IN_VAIN and not is_passed:
            return None
        camera.in_vain += 1
        camera.carried_on.append(stamp_ns)
        self._carried_on += 1
        return found
