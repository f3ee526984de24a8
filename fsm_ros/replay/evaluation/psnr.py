"""How well renders match the truth, and what simple answers score on the same views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fsm_ros.stream.frame import PosedImage
from fsm_ros.stream.rigid import camera_distance_m

_SMALLEST_ERROR = 1e-10


def psnr(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two uint8 images of one shape, dB; at most 100."""
    if image.shape != truth.shape:
        raise ValueError(f"cannot compare images of shapes {image.shape} and {truth.shape}")
    error = (image.astype(np.float64) - truth.astype(np.float64)) / 255.0
    return float(-10.0 * np.log10(max(np.square(error).mean(), _SMALLEST_ERROR)))


def nearest(frames: Sequence[PosedImage], wanted: PosedImage) -> PosedImage:
    """The frame whose camera stands closest to the wanted one, a radian of turning counting like a metre."""
    return min(frames, key=lambda frame: camera_distance_m(frame.world_from_camera, wanted.world_from_camera))


def mean_colour(frames: Sequence[PosedImage]) -> NDArray[np.uint8]:
    """``[height, width, 3]`` uint8: the mean colour of all frames, everywhere."""
    colour = np.mean([frame.image.reshape(-1, 3).mean(axis=0) for frame in frames], axis=0)
    return np.broadcast_to(np.round(colour).astype(np.uint8), frames[0].image.shape).copy()
