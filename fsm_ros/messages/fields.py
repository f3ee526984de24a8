# SPDX-License-Identifier: Apache-2.0
"""The fields of messages, of rclpy and of rosbags alike.

Read-only, as the classes of rosbags are made anew for every recording and only their fields are the same.
"""

from __future__ import annotations

import array
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = "bytes | array.array[int] | NDArray[np.uint8]"
"""Of rclpy an array, of rosbags NumPy's."""


class Stamp(Protocol):
    """builtin_interfaces/Time."""

    @property
    def sec(self) -> int:
        """Seconds since the epoch."""

    @property
    def nanosec(self) -> int:
        """Nanoseconds of the second."""


class Header(Protocol):
    """std_msgs/Header."""

    @property
    def stamp(self) -> Stamp:
        """When it holds."""

    @property
    def frame_id(self) -> str:
        """Which frame it is about."""


class Stamped(Protocol):
    """Anything with a header."""

    @property
    def header(self) -> Header:
        """Stamp and frame."""


class Sized(Protocol):
    """Anything of a size in pixels."""

    @property
    def width(self) -> int:
        """Columns."""

    @property
    def height(self) -> int:
        """Rows."""


class RawImage(Stamped, Sized, Protocol):
    """sensor_msgs/Image."""

    @property
    def encoding(self) -> str:
        """See :mod:`fsm_ros.messages.encodings`."""

    @property
    def is_bigendian(self) -> int:
        """How samples of two bytes are stored."""

    @property
    def step(self) -> int:
        """Bytes from row to row."""

    @property
    def data(self) -> Bytes:
        """A buffer of bytes."""


class CompressedImage(Stamped, Protocol):
    """sensor_msgs/CompressedImage."""

    @property
    def format(self) -> str:
        """See :mod:`fsm_ros.messages.compressed`."""

    @property
    def data(self) -> Bytes:
        """A buffer of bytes."""


ImageMessage: TypeAlias = RawImage | CompressedImage


class Window(Sized, Protocol):
    """sensor_msgs/RegionOfInterest."""

    @property
    def x_offset(self) -> int:
        """Its leftmost column."""

    @property
    def y_offset(self) -> int:
        """Its uppermost row."""


class CameraInfo(Stamped, Sized, Protocol):
    """sensor_msgs/CameraInfo; of ROS 1 or 2, so that its matrices have no name here."""

    @property
    def distortion_model(self) -> str:
        """The lens model's name."""

    @property
    def binning_x(self) -> int:
        """Columns that are joined."""

    @property
    def binning_y(self) -> int:
        """Rows that are joined."""

    @property
    def roi(self) -> Window:
        """What is delivered."""
