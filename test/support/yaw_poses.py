# SPDX-License-Identifier: Apache-2.0
"""Poses that are turned about the vertical."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation


def turned(yaw_deg: float, *position: float) -> NDArray[np.float64]:
    """``[4, 4]``, with a yaw in degrees and a position in metres."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix()
    pose[:3, 3] = position
    return pose
