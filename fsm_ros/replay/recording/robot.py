# SPDX-License-Identifier: Apache-2.0
"""A robot with a camera, as TF tells of it: localisation, odometry and mount."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Doubles = NDArray[np.float64]


class Robot(ABC):
    """Where a robot is at any time since its first image, seconds, which may be negative."""

    @abstractmethod
    def map_from_base(self, time_s: float) -> Doubles:
        """``[4, 4]`` true pose of base_link, which stands on the ground."""

    @abstractmethod
    def map_from_odom(self, time_s: float) -> Doubles:
        """``[4, 4]`` what localisation has to say about the drift of the odometry; small and slow."""

    @property
    @abstractmethod
    def base_from_camera(self) -> Doubles:
        """``[4, 4]`` the first camera's mount (optical axes, REP-103)."""

    def odom_from_base(self, time_s: float) -> Doubles:
        """``[4, 4]`` what the wheels believe."""
        return np.linalg.inv(self.map_from_odom(time_s)) @ self.map_from_base(time_s)

    def map_from_camera(self, time_s: float) -> Doubles:
        """``[4, 4]`` true pose of the first camera's optical frame."""
        return self.map_from_base(time_s) @ self.base_from_camera


def level_pose(place: tuple[float, float, float], yaw_rad: float) -> Doubles:
    """``[4, 4]`` pose of what stands upright at a place, metres."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("z", yaw_rad).as_matrix()
    pose[:3, 3] = place
    return pose
