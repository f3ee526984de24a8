# SPDX-License-Identifier: Apache-2.0
"""The rows of pixels of a sensor_msgs/Image, be they colours or depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fsm_ros.messages.fields import ImageMessage, RawImage
from fsm_ros.messages.refused import unreadable


def bytes_of(message: ImageMessage) -> NDArray[np.uint8]:
    """The data of a message, as a view of it."""
    return np.frombuffer(message.data, np.uint8)


def check_rows(message: RawImage, rows: int, row_bytes: int) -> None:
    """Check that a message holds what it says.

    Args:
        message: the image.
        rows: of its data.
        row_bytes: that a row needs.

    Raises:
        ImageRefusedError: the step is too small for a row, or there is too little data.
    """
    step, length = int(message.step), len(bytes_of(message))
    if step < row_bytes:
        raise unreadable(f"step {step} is too small for {message.width} {message.encoding} pixels ({row_bytes} bytes)")
    if length < step * (rows - 1) + row_bytes:
        raise unreadable(f"{length} bytes are too few for {rows} rows of {step} bytes")


def rows_of(message: RawImage, rows: int, row_bytes: int) -> NDArray[np.uint8]:
    """``[rows, row_bytes]`` of a message that was checked, one behind the other without padding."""
    # Rows may be padded by any number of bytes, and the last one need not be.
    padded = np.lib.stride_tricks.as_strided(
        bytes_of(message), (rows, row_bytes), (int(message.step), 1), writeable=False
    )
    return np.ascontiguousarray(padded)
