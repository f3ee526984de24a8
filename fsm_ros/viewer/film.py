# SPDX-License-Identifier: Apache-2.0
"""A visitor's flight as a film: noted while they fly, rendered afterwards, every picture full."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fsm_ros.engine import MemoryEngine
from fsm_ros.h264 import write_h264
from fsm_ros.spatial.results import Failure, FailureKind
from fsm_ros.viewer.pictures import Picture, picture
from fsm_ros.viewer.subject import Post
from fsm_ros.viewer.wish import Look, Mode, Wish

FPS = 15
LONGEST_S = 120.0


class Film:
    """Where a visitor was, picture by picture; belongs to the viewer's thread."""

    def __init__(self) -> None:
        """Begin with nothing noted."""
        self._stops: list[tuple[Look, int | None]] = []
        self._next_s: float | None = None
        self._images: list[NDArray[np.uint8]] = []

    def note(self, look: Look, stamp_ns: int | None, now_s: float) -> None:
        """Note where the visitor is, as often as pictures are due; nothing more after `LONGEST_S`."""
        if self._next_s is None:
            self._next_s = now_s
        while now_s >= self._next_s and not self._is_long_enough:
            self._stops.append((look, stamp_ns))
            self._next_s += 1 / FPS

    def due_in_s(self, now_s: float) -> float:
        """Seconds until the next picture is to be noted; infinite: none is any more."""
        if self._next_s is None:
            return 0.0
        return math.inf if self._is_long_enough else max(0.0, self._next_s - now_s)

    @property
    def _is_long_enough(self) -> bool:
        return len(self._stops) >= LONGEST_S * FPS

    def told(self) -> str:
        """How long it is, in words."""
        return f"{len(self._stops)} pictures, {len(self._stops) / FPS:.1f} s"

    def develop(
        self,
        engine: MemoryEngine,
        mode: Mode,
        pixels: int,
        post: Post,
        progressed: Callable[[int, int], bool],
        came: Callable[[bytes | Failure], None],
    ) -> None:
        """Render it picture by picture, others' wishes between them, and write it. Returns at once.

        Args:
            engine: who owns the memory.
            mode: what of the views is shown.
            pixels: of a picture, about.
            post: has something done on the viewer's thread.
            progressed: told how many of how many pictures are there; whether the film is still wanted.
            came: given the content of the MP4 file, or why there is none.
        """
        if not self._stops:
            came(Failure(FailureKind.BAD_REQUEST, "nothing was recorded: fly a little before you stop"))
            return
        # A film is of one size, whatever became of the window meanwhile.
        aspect = self._stops[0][0].aspect
        wishes = [Wish(replace(look, aspect=aspect), stamp_ns, mode) for look, stamp_ns in self._stops]

        def next_one() -> None:
            wish = wishes[len(self._images)]
            engine.ask(lambda memory: picture(memory, wish, pixels)).add_done_callback(arrived)

        def arrived(done: Future[Picture | Failure]) -> None:
            post(lambda: take(done.result()))

        def take(found: Picture | Failure) -> None:
            if isinstance(found, Failure):
                came(found)
                return
            self._images.append(_even(found.image))
            if not progressed(len(self._images), len(wishes)):
                return
            if len(self._images) < len(wishes):
                next_one()
            else:
                came(self._written())

        next_one()

    def _written(self) -> bytes | Failure:
        try:
            # Its index stands before the pictures, for which the file is opened twice.
            with tempfile.TemporaryDirectory(prefix="fsm-ros-") as folder:
                file = Path(folder) / "path.mp4"
                write_h264(file, self._images, Fraction(FPS))
                return file.read_bytes()
        except (ImportError, OSError, ValueError) as error:
            return Failure(FailureKind.FILE, str(error))


def png(image: NDArray[np.uint8]) -> bytes:
    """``[height, width, 3]`` uint8 RGB as a PNG file's content."""
    written, content = cv2.imencode(".png", image[..., ::-1])
    if not written:
        raise ValueError(f"an image of {image.shape} cannot be written as PNG")
    return content.tobytes()


def _even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = (side - side % 2 for side in image.shape[:2])
    return image[:height, :width]
