# SPDX-License-Identifier: Apache-2.0
"""Frames of a live camera: waiting for calibration and pose, located, and decoded where that is worth it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsm_ros.messages.calibrations import Calibration
from fsm_ros.messages.fields import ImageMessage
from fsm_ros.messages.images import decode
from fsm_ros.stream.frame import Camera, PosedImage


@dataclass(frozen=True)
class WaitingFrame:
    """An image that came.

    Attributes:
        message: as it came.
        source: the camera.
        stamp_ns: when it was taken.
        arrived_s: when it came, by the steady clock.
    """

    message: ImageMessage
    source: str
    stamp_ns: int
    arrived_s: float


@dataclass(frozen=True, eq=False)
class LocatedFrame:
    """What is known of a frame before it is decoded.

    Attributes:
        camera: its lens, as far as the message tells its size.
        calibration: that it comes from.
        world_from_camera: ``[4, 4]`` rigid, optical frame to the memory's, metres.
    """

    camera: Camera
    calibration: Calibration
    world_from_camera: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LiveView:
    """A frame whose pose is known, not yet decoded.

    Attributes:
        frame: the image.
        located: what is known of it.
    """

    frame: WaitingFrame
    located: LocatedFrame

    @property
    def frame_id(self) -> str:
        """Of the camera's optical frame."""
        return str(self.frame.message.header.frame_id)

    def decoded(self) -> PosedImage:
        """The frame with its pixels.

        Raises:
            ImageRefusedError: it cannot be decoded.
            ValueError: the calibration does not go with it.
        """
        frame, camera = self.frame, self.located.camera
        image = decode(frame.message)
        height, width = image.shape[:2]
        if (width, height) != (camera.width, camera.height):
            camera = self.located.calibration.camera(width, height)
        return PosedImage(image, camera, self.located.world_from_camera, frame.stamp_ns, frame.source)
