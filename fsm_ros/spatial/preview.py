# SPDX-License-Identifier: Apache-2.0
"""What the memory shows where a camera is now, and how far that is from what the camera sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsm_ros.spatial.results import Rendered
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.frame import PosedImage

LARGEST_GAIN = 4.0
"""Exposure is not thought to have changed by more."""


@dataclass(frozen=True, eq=False)
class Preview:
    """A live view, and what the memory shows there.

    Attributes:
        rendered: what the memory shows.
        difference: ``[height, width]`` float32 in [0, 1], see :func:`difference_of`.
    """

    rendered: Rendered
    difference: NDArray[np.float32]

    @property
    def mean_difference(self) -> float:
        """Over the view."""
        return float(self.difference.mean())


def previewed(memory: SpatialMemory, live: PosedImage) -> Preview:
    """Look where a camera looks, at the moment of its image.

    Args:
        memory: that is asked.
        live: a rectified image; of its photograph's size where it has one.

    Raises:
        RequestFailedError: see :meth:`fsm_ros.spatial.spatial_memory.SpatialMemory.render`.
    """
    seen = live.photograph or live
    rendered = memory.render(live.world_from_camera, live.stamp_ns, seen.camera)
    return Preview(rendered, difference_of(seen.image, rendered.image))


def difference_of(seen: NDArray[np.uint8], shown: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How far two pictures are apart, at the exposure at which they are nearest.

    Args:
        seen: ``[height, width, 3]`` by the camera.
        shown: likewise by the memory; brightened or darkened by one factor, least squares.

    Returns:
        ``[height, width]`` float32 in [0, 1]: absolute difference, mean over channels.
    """
    one, other = (each.astype(np.float64) / 255 for each in (seen, shown))
    power = float((other * other).sum())
    gain = float((one * other).sum()) / power if power > 0 else 1.0
    gain = float(np.clip(gain, 1 / LARGEST_GAIN, LARGEST_GAIN))
    return np.asarray(np.abs(one - np.minimum(gain * other, 1.0)).mean(axis=-1), dtype=np.float32)
