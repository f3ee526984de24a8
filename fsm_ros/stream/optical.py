# SPDX-License-Identifier: Apache-2.0
"""Whether images come in an optical frame (z forward), or in that of a body (x forward, z up) by mistake; REP-103."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UP_RAD = math.radians(20.0)
"""How far the z axis of a body frame leans from the world's on slopes and in turns."""
FIRST_FRAMES = 10
"""So many frames of a camera are looked at before anything is said."""


def body_frame_hint(frame_id: str, first_poses: Sequence[NDArray[np.float64]]) -> str:
    """What to say of an image frame that is a body's; empty where it is optical, or too little is known.

    An optical frame looks along its z axis, so a body's makes the camera look straight up. A camera that is meant to do
    so is rare, and believed where its frame is called optical, or one of its first frames looks elsewhere.

    Args:
        frame_id: of the images' headers.
        first_poses: ``[4, 4]`` each: that frame to a world whose z axis points up (REP-105).
    """
    looks_up = (pose[2, 2] > math.cos(UP_RAD) for pose in first_poses)
    if "optical" in frame_id.lower() or len(first_poses) < FIRST_FRAMES or not all(looks_up):
        return ""
    return (
        f"image frame {frame_id!r} seems to be that of a body (x forward, z up; REP-103), which makes the camera "
        f"look straight up: set the camera driver's frame_id to its optical frame (z forward, {frame_id}_optical say), "
        "and publish the static transform to it; where the camera does look up, call its frame *_optical"
    )


class FrameWatch:
    """Looks at the first frames of every camera.

    Attributes:
        hints: of `body_frame_hint`, one for each image frame that has one.
    """

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._first: dict[str, list[NDArray[np.float64]]] = {}
        self.hints: list[str] = []

    def note(self, frame_id: str, world_from_camera: NDArray[np.float64]) -> None:
        """Look at one frame, in the order of arrival. Args: of its header; its ``[4, 4]`` pose."""
        first = self._first.setdefault(frame_id, [])
        if len(first) < FIRST_FRAMES:
            first.append(world_from_camera)
            if hint := body_frame_hint(frame_id, first):
                self.hints.append(hint)
