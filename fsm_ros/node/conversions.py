# SPDX-License-Identifier: Apache-2.0
"""Small translations between ROS messages and numbers."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, Quaternion, Transform, Vector3
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.messages.stamps import NANOSECONDS

SMALLEST_QUATERNION = 1e-6


def ns_to_stamp(nanoseconds: int) -> Time:
    """The message of a time.

    Raises:
        ValueError: before 1901 or after 2038, which the message cannot say.
    """
    if not -(2**31) <= nanoseconds // NANOSECONDS < 2**31:
        raise ValueError(f"a stamp holds at most 2^31 seconds before or after 1970, got {nanoseconds} ns")
    return Time(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def matrix(translation: Vector3, rotation: Quaternion) -> NDArray[np.float64]:
    """A rigid ``[4, 4]`` matrix.

    Raises:
        ValueError: not finite, or a quaternion of no length or one too large for a float.
    """
    position = np.array([translation.x, translation.y, translation.z], dtype=np.float64)
    quaternion = np.array([rotation.x, rotation.y, rotation.z, rotation.w], dtype=np.float64)
    if not (np.isfinite(position).all() and np.isfinite(quaternion).all()):
        raise ValueError(f"position {position.tolist()} or orientation {quaternion.tolist()} is not finite")
    # The bounds of StampedTransform.is_valid: what passes here must pass there.
    length = float(np.linalg.norm(quaternion))
    if length <= SMALLEST_QUATERNION:
        raise ValueError("the orientation is the zero quaternion: set w to 1 for no rotation")
    if length == np.inf:
        raise ValueError(f"the orientation {quaternion.tolist()} is too large: bring it to length 1")
    result = np.eye(4)
    result[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    result[:3, 3] = position
    return result


def pose_to_matrix(pose: Pose) -> NDArray[np.float64]:
    """A rigid ``[4, 4]`` matrix; raises like :func:`matrix`."""
    return matrix(pose.position, pose.orientation)


def matrix_to_transform(pose: NDArray[np.float64]) -> Transform:
    """The message of a rigid ``[4, 4]`` matrix."""
    x, y, z, w = (float(v) for v in Rotation.from_matrix(pose[:3, :3]).as_quat())
    tx, ty, tz = (float(v) for v in pose[:3, 3])
    return Transform(translation=Vector3(x=tx, y=ty, z=tz), rotation=Quaternion(x=x, y=y, z=z, w=w))
