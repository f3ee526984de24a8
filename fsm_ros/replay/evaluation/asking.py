# SPDX-License-Identifier: Apache-2.0
"""Views asked of a memory, and the truth beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fsm_ros.engine import MemoryEngine
from fsm_ros.replay.evaluation.psnr import psnr
from fsm_ros.sources.recorded import RecordedFrame
from fsm_ros.sources.rig import Rig
from fsm_ros.spatial.results import Failure, FailureKind, Rendered
from fsm_ros.spatial.settings import RenderMethod
from fsm_ros.stream.frame import PosedImage
from fsm_ros.stream.intake import Intake

NEIGHBOURS_KEPT = 64
"""Rectified frames that are kept at hand beside those that are asked for again and again; others are decoded again."""


@dataclass(frozen=True)
class Asked:
    """A frame to be asked for.

    Attributes:
        frame: the frame; it has a pose.
        chunk: number of the chunk that it belongs to.
        psnr_when_new: dB, rendered by the fast weights right after that chunk was observed; NaN where it was not.
    """

    frame: RecordedFrame
    chunk: int
    psnr_when_new: float = float("nan")


def pose_of(frame: RecordedFrame) -> NDArray[np.float64]:
    """``[4, 4]`` pose of a frame that has one.

    Raises:
        ValueError: it has none.
    """
    if frame.world_from_camera is None:
        raise ValueError(f"the image at {frame.stamp_ns} ns of {frame.camera} has no pose: {frame.why_no_pose}")
    return frame.world_from_camera


def place_of(frame: RecordedFrame) -> tuple[float, float, float]:
    """Where the camera was, metres."""
    x, y, z = (float(value) for value in pose_of(frame)[:3, 3])
    return x, y, z


class Asking:
    """Asks through the engine, as a service call does."""

    def __init__(self, rig: Rig, intake: Intake, engine: MemoryEngine, asked_again: int) -> None:
        """Prepare.

        Args:
            rig: the recording.
            intake: rectifies frames as those that are observed.
            engine: holds the memory.
            asked_again: how many frames are asked for over and over. No more than these are kept, as what is kept
                counts as memory of the process that is measured.
        """
        self._engine = engine
        self.render_s: list[float] = []
        """Seconds that each render took that was made as the parameters say."""

        @lru_cache(maxsize=asked_again + NEIGHBOURS_KEPT)
        def truth(frame: RecordedFrame) -> PosedImage:
            return intake.rectify(rig.read(frame))

        self._truth = truth

    def truth(self, frame: RecordedFrame) -> PosedImage:
        """A frame as the memory would have observed it.

        Raises:
            SourceError: it cannot be decoded.
            ValueError: its lens cannot be undistorted.
        """
        return self._truth(frame)

    def render(self, wanted: PosedImage, method: RenderMethod | None = None) -> Rendered | Failure:
        """What the memory answers for a view now; made of what the parameters say, if nothing else is asked for."""
        answer = self._engine.ask(
            lambda memory: memory.render(wanted.world_from_camera, wanted.stamp_ns, wanted.camera, method)
        ).result()
        if isinstance(answer, Rendered):
            if method is None:
                self.render_s.append(answer.render_s)
        elif answer.kind in (FailureKind.STOPPED, FailureKind.INTERNAL):
            raise RuntimeError(f"the memory does not answer: {answer.message}")
        return answer

    def psnr_now(self, frames: Sequence[RecordedFrame]) -> list[float]:
        """PSNR of each observed view, rendered by the fast weights now, dB; NaN where it cannot be rendered.

        A kept photograph would be shown as it is, which says nothing of what is forgotten.
        """
        return [self.psnr_of(self.truth(frame), RenderMethod.MEMORY) for frame in frames]

    def psnr_of(self, wanted: PosedImage, method: RenderMethod | None = None) -> float:
        """PSNR of a truth, rendered now, dB; NaN where it cannot be rendered."""
        answer = self.render(wanted, method)
        return psnr(answer.image, wanted.image) if isinstance(answer, Rendered) else float("nan")
