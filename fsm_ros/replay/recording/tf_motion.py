# SPDX-License-Identifier: Apache-2.0
"""TF as robots give it: each frame from a source of its own, at a rate of its own, and never at an exposure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsm_ros.replay.recording.bag_writer import TF_TOPIC, transform, transforms

MARGIN_NS = 500_000_000
"""TF begins so long before the first image, and ends so long after the last."""
LATENCY_NS = 1_000_000
"""Until a transform arrives."""


@dataclass(frozen=True)
class FrameMotion:
    """A frame that moves in its parent, and who says so.

    Attributes:
        parent: frame that the pose is expressed in.
        child: the frame.
        pose_at: from the time since the first image, seconds, which may be negative, to the ``[4, 4]`` pose.
        period_ns: from one transform to the next.
        phase_ns: by which the first comes after the beginning.
    """

    parent: str
    child: str
    pose_at: Callable[[float], NDArray[np.float64]]
    period_ns: int
    phase_ns: int


def moving_transforms(motions: Iterable[FrameMotion], first_ns: int, last_ns: int) -> Iterator[tuple[int, str, object]]:
    """Arrival in nanoseconds, topic and message of all transforms, one frame after the other.

    Args:
        motions: the frames.
        first_ns: stamp of the first image, from which the motions' times count.
        last_ns: stamp of the last image.
    """
    begin_ns, end_ns = first_ns - MARGIN_NS, last_ns + MARGIN_NS
    for motion in motions:
        for stamp_ns in range(begin_ns + motion.phase_ns, end_ns, motion.period_ns):
            pose = motion.pose_at((stamp_ns - first_ns) / 1e9)
            stamped = transform(motion.parent, motion.child, pose, stamp_ns)
            yield stamp_ns + LATENCY_NS, TF_TOPIC, transforms(stamped)
