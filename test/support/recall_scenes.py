# SPDX-License-Identifier: Apache-2.0
"""Photographs around a view, for the tests of recall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.recall.evidence import Prior
from fsm_ros.recall.keyframes import Keyframe
from fsm_ros.recall.planes import Photographs

Taken = tuple[NDArray[np.float32], tuple[float, float, float, float], NDArray[np.float64]]
"""An image ``[3, H, W]`` in [0, 1], its intrinsics, and its pose."""


def posed(position: Sequence[float]) -> NDArray[np.float64]:
    """A pose that looks along the world's z axis."""
    pose = np.eye(4)
    pose[:3, 3] = position
    return pose


def rotated(x: float, y: float, z: float, position: Sequence[float]) -> NDArray[np.float64]:
    """A pose turned by Euler angles, radians."""
    pose = posed(position)
    pose[:3, :3] = Rotation.from_euler("xyz", [x, y, z]).as_matrix()
    return pose


def photographs_of(taken: Sequence[Taken], world_from_view: NDArray[np.float64]) -> Photographs:
    """Photographs of one size for one view."""
    height, width = taken[0][0].shape[1:]
    relative = [np.linalg.inv(pose) @ world_from_view for _, _, pose in taken]
    return Photographs(
        images=torch.from_numpy(np.stack([image for image, _, _ in taken]))[None],
        fxfycxcy=torch.tensor([[lens for _, lens, _ in taken]]),
        size=torch.tensor([[[float(width), float(height)]] * len(taken)]),
        photograph_from_view=torch.from_numpy(np.stack(relative).astype(np.float32))[None],
        seconds=torch.zeros(1, len(taken)),
        present=torch.ones(1, len(taken), dtype=torch.bool),
    )


def grey_prior(height: int, width: int, colour: float = 0.5) -> Prior:
    """A memory that knows one colour and no depth."""
    return Prior(torch.full((1, 3, height, width), colour))


def wall(
    pose: NDArray[np.float64], lens: Sequence[float], height: int, width: int, depth_m: float
) -> NDArray[np.float32]:
    """What a camera that looks along z sees of a smoothly painted wall at ``z = depth_m``; ``[3, H, W]``."""
    fx, fy, cx, cy = lens
    away = depth_m - pose[2, 3]
    x = pose[0, 3] + (np.arange(width) + 0.5 - cx) / fx * away
    y = pose[1, 3] + (np.arange(height) + 0.5 - cy) / fy * away
    columns, rows = np.meshgrid(x, y)
    painted = [np.sin(7 * columns + phase) * np.cos(6 * rows - phase) for phase in (0.0, 1.0, 2.0)]
    return (0.5 + 0.4 * np.stack(painted)).astype(np.float32)


def keyframe(
    pose: NDArray[np.float64], *, stamp_ns: int = 0, size: tuple[int, int] = (24, 32), depth_m: float | None = 3.0
) -> Keyframe:
    """A keyframe of a wide lens, of noise."""
    height, width = size
    rng = np.random.default_rng(abs(hash((stamp_ns, *pose[:3, 3].tolist()))) % 2**32)
    depths = None if depth_m is None else np.full((6, 8), depth_m, dtype=np.float32)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    lens = np.array([0.6 * width, 0.6 * width, width / 2, height / 2])
    return Keyframe(0, image, lens, pose, stamp_ns, "camera", depths)
