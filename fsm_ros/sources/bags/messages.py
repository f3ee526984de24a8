# SPDX-License-Identifier: Apache-2.0
"""What messages of a recording say, with errors that name the recording's remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fsm_ros.messages.calibrations import Calibration
from fsm_ros.messages.images import decode
from fsm_ros.messages.refused import ImageRefusedError
from fsm_ros.messages.stamps import stamp_to_ns
from fsm_ros.sources.errors import SourceError
from fsm_ros.stream.frame import Camera

if TYPE_CHECKING:
    from fsm_ros.messages.fields import ImageMessage


class BagError(SourceError):
    """A rosbag that cannot give what was asked of it; the message names the cause and the remedy."""


def decode_image(message: ImageMessage) -> NDArray[np.uint8]:
    """``[height, width, 3]`` uint8 RGB.

    Raises:
        BagError: the image is damaged or its encoding is none of a picture.
    """
    try:
        return decode(message)
    except ImageRefusedError as error:
        raise BagError(f"the image at {stamp_to_ns(message.header.stamp)} ns cannot be decoded: {error}") from error


def camera_of(calibration: Calibration, image_width: int, image_height: int) -> Camera:
    """Intrinsics of an image of a size in pixels.

    Raises:
        BagError: not calibrated, a distortion model that is not known, or of an image of another size.
    """
    try:
        return calibration.camera(image_width, image_height)
    except ValueError as error:
        raise BagError(f"the camera info at {calibration.stamp_ns} ns cannot be used: {error}") from error
