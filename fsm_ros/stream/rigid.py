# SPDX-License-Identifier: Apache-2.0
"""Small arithmetic of rigid transforms: inverse, and how far apart two poses are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def relative_poses(reference: NDArray[np.float64], poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses as seen from a reference: ``inverse(reference) @ poses``.

    The reference's position is subtracted before anything is rotated, so that map coordinates far from the
    origin (UTM, for instance) keep their precision.

    Args:
        reference: ``[4, 4]`` float64, rigid, ``world_from_reference``, metres.
        poses: ``[..., 4, 4]`` float64, ``world_from_camera``, metres.

    Returns:
        ``[..., 4, 4]`` float64, ``reference_from_camera``, metres.
    """
    reference_from_world = reference[:3, :3].T
    relative = np.array(poses, dtype=np.float64)
    relative[..., :3, :3] = reference_from_world @ relative[..., :3, :3]
    relative[..., :3, 3] = (relative[..., :3, 3] - reference[:3, 3]) @ reference_from_world.T
    return relative


RADIANS_PER_METRE = 1.0
"""How the distance between two cameras weighs turning against moving."""


def camera_distance_m(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """How far two cameras' ``[4, 4]`` poses are from each other: metres, a radian of turning counting like one."""
    return distance_m(a, b) + turn_rad(a, b) / RADIANS_PER_METRE


def distance_m(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Metres between the origins of two ``[4, 4]`` poses."""
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3]))


def turn_rad(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Angle of the rotation that takes one ``[4, 4]`` pose's axes to the other's, radians in [0, pi].

    From sine and cosine together: the arc cosine of the trace alone loses half its digits near zero and near
    pi.
    """
    r = a[:3, :3].T @ b[:3, :3]
    sine = 0.5 * math.hypot(r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1])
    cosine = 0.5 * (float(np.trace(r)) - 1.0)
    return math.atan2(sine, cosine)


def camera_distances(
    poses: NDArray[np.float64], pose: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far many cameras are from one: `distance_m` and `turn_rad` of all at once.

    Args:
        poses: ``[n, 4, 4]`` rigid, metres.
        pose: ``[4, 4]`` in the same frame.

    Returns:
        ``[n]`` metres between the origins, and ``[n]`` radians in [0, pi] between the attitudes.
    """
    metres = np.linalg.norm(poses[:, :3, 3] - pose[:3, 3], axis=1)
    # One product for all: [3 n, 3] @ [3, 3].
    turned = (poses[:, :3, :3].transpose(0, 2, 1).reshape(-1, 3) @ pose[:3, :3]).reshape(-1, 3, 3)
    across = turned - turned.transpose(0, 2, 1)
    sine = 0.5 * np.sqrt(across[:, 2, 1] ** 2 + across[:, 0, 2] ** 2 + across[:, 1, 0] ** 2)
    cosine = 0.5 * (np.trace(turned, axis1=1, axis2=2) - 1.0)
    return metres, np.arctan2(sine, cosine)


def nearest_camera(poses: NDArray[np.float64], wanted: NDArray[np.float64]) -> int:
    """Which camera stands closest, by `camera_distance_m`; the first of equally close ones.

    Args:
        poses: ``[n, 4, 4]`` rigid, metres.
        wanted: ``[4, 4]`` in the same frame.

    Raises:
        ValueError: no camera.
    """
    if len(poses) == 0:
        raise ValueError("among no cameras there is no nearest one")
    metres, radians = camera_distances(poses, wanted)
    return int(np.argmin(metres + radians / RADIANS_PER_METRE))
