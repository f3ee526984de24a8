# SPDX-License-Identifier: Apache-2.0
"""Frames of a video by their number, exactly."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsm_ros.sources.errors import SourceError

NEAR = 128
"""Frames that are rather skipped one by one than sought."""

_SAME_MS = 0.01


class VideoFrames:
    """An open video, whose frames are counted from 0 in the order that they are shown.

    FFmpeg finds a frame by its time, which names another frame than its number does where the frame rate varies, or
    where a video was cut. So frames are counted: skipped one by one where the wanted one is near, or near the
    beginning. Only beyond that is it sought, and then believed only if it has the time that this very frame has when
    all are counted (once).
    """

    def __init__(self, path: Path) -> None:
        """Open a video file.

        Raises:
            SourceError: OpenCV is not installed, there is no such file, or it is no video that OpenCV can decode.
        """
        self.path = path
        self._cv2 = _import_cv2()
        self._times_ms: NDArray[np.float64] | None = None
        self._next = 0
        self._capture = self._open()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        width, height = (self._cv2.CAP_PROP_FRAME_WIDTH, self._cv2.CAP_PROP_FRAME_HEIGHT)
        return int(self._capture.get(width)), int(self._capture.get(height))

    @property
    def frame_rate_hz(self) -> float | None:
        """Frames a second, on average; None where the file does not say."""
        rate_hz = float(self._capture.get(self._cv2.CAP_PROP_FPS))
        return rate_hz if math.isfinite(rate_hz) and rate_hz > 0 else None

    def read(self, index: int) -> NDArray[np.uint8]:
        """``[height, width, 3]`` uint8 RGB of one frame.

        Raises:
            SourceError: the video ends before it, or is damaged there.
        """
        if not 0 <= index - self._next <= NEAR and not (index > NEAR and self._seek(index)):
            self._rewind()
        while self._next <= index:
            self._grab(index)
        is_decoded, pixels = self._capture.retrieve()
        if not is_decoded:
            raise SourceError(f"{self.path}: frame {index} cannot be decoded: copy the video again")
        return np.asarray(self._cv2.cvtColor(pixels, self._cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def close(self) -> None:
        """Close the file; it cannot be read any more."""
        self._capture.release()

    def _open(self) -> Any:  # noqa: ANN401
        if not self.path.is_file():
            raise SourceError(f"there is no video at {self.path}: copy it along with the file that names it")
        capture = self._cv2.VideoCapture(str(self.path), self._cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise SourceError(
                f"{self.path} is no video that OpenCV can decode: copy it again, or re-encode it as H.264 mp4"
            )
        return capture

    def _rewind(self) -> None:
        self._capture.release()
        self._capture, self._next = self._open(), 0

    def _grab(self, wanted: int) -> None:
        if not self._capture.grab():
            raise SourceError(
                f"{self.path} has no frame {wanted}: it ends after {self._next} frames. Copy it again if it was cut "
                "short, else it is not the video that these frames are of"
            )
        self._next += 1

    def _seek(self, index: int) -> bool:
        """Grab a frame far away; False where this cannot be done for sure."""
        times_ms = self._all_times_ms()
        if index >= len(times_ms) or not self._is_unique(times_ms, index):
            return False
        self._capture.set(self._cv2.CAP_PROP_POS_FRAMES, index)
        if not self._capture.grab() or abs(self._time_ms(self._capture) - times_ms[index]) > _SAME_MS:
            return False
        self._next = index + 1
        return True

    def _all_times_ms(self) -> NDArray[np.float64]:
        """``[n]`` when each frame is shown, by counting all of them."""
        if self._times_ms is None:
            counting, times_ms = self._open(), []
            while counting.grab():
                times_ms.append(self._time_ms(counting))
            counting.release()
            self._times_ms = np.array(times_ms, dtype=np.float64)
        return self._times_ms

    def _time_ms(self, capture: Any) -> float:  # noqa: ANN401
        return float(capture.get(self._cv2.CAP_PROP_POS_MSEC))

    @staticmethod
    def _is_unique(times_ms: NDArray[np.float64], index: int) -> bool:
        return int((np.abs(times_ms - times_ms[index]) <= 2 * _SAME_MS).sum()) == 1


def _import_cv2() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise SourceError(f"reading videos needs OpenCV ({error}): pip install opencv-python-headless") from error
    module: ModuleType = cv2
    return module
