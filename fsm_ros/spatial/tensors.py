# SPDX-License-Identifier: Apache-2.0
"""Frames and cameras of a stream as the model takes them: tensors in the memory's frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.views import Views
from fsm_ros.stream.frame import PosedImage
from fsm_ros.stream.world import MemoryFrame


def views_of(frame: MemoryFrame, frames: Sequence[PosedImage], device: torch.device) -> Views:
    """Views of one scene, ``[1, V, ...]``.

    Args:
        frame: the memory's frame.
        frames: ``V`` images of one size.
        device: where the tensors go.
    """
    return Views(
        images_of(frames, device)[None],
        cameras_of(
            frame,
            np.stack([posed.world_from_camera for posed in frames]),
            np.stack([posed.camera.fxfycxcy for posed in frames]),
            height=frames[0].camera.height,
            width=frames[0].camera.width,
            device=device,
        ),
        times_of(frame, [posed.stamp_ns for posed in frames], device),
    )


def images_of(frames: Sequence[PosedImage], device: torch.device) -> Tensor:
    """``[V, 3, H, W]``, RGB in [0, 1], of ``V`` images of one size."""
    images = torch.from_numpy(np.stack([posed.image for posed in frames])).to(device)
    return images.permute(0, 3, 1, 2).float() / 255


def cameras_of(
    frame: MemoryFrame,
    world_from_camera: NDArray[np.float64],
    fxfycxcy: NDArray[np.float64],
    *,
    height: int,
    width: int,
    device: torch.device,
) -> Cameras:
    """Cameras of one scene, ``[1, V, ...]``.

    Args:
        frame: the memory's frame.
        world_from_camera: ``[V, 4, 4]`` rigid, metres.
        fxfycxcy: ``[V, 4]`` pixels, pixel centres at half-integers.
        height: rows of each view.
        width: columns of each view.
        device: where the tensors go.
    """
    poses = frame.normalise_poses(world_from_camera)
    return Cameras(_tensor(fxfycxcy, device), _tensor(poses, device), height=height, width=width)


def times_of(frame: MemoryFrame, stamps_ns: Sequence[int], device: torch.device) -> Tensor:
    """Memory times of stamps, ``[1, V]``."""
    return _tensor(np.array([frame.normalise_time(stamp) for stamp in stamps_ns]), device)


def _tensor(values: NDArray[np.float64], device: torch.device) -> Tensor:
    with np.errstate(over="ignore"):  # becomes infinite, and what comes of that is refused
        single = values.astype(np.float32)
    return torch.from_numpy(single)[None].to(device)
