# SPDX-License-Identifier: Apache-2.0
"""The way that the robot took, as far as its keyframes are still known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from fsm_ros.spatial.spatial_memory import SpatialMemory

_SECONDS = 1e-9


class RobotPath:
    """Poses at any moment between the first and the last known one."""

    def __init__(self, stamps_ns: Sequence[int], world_from_camera: NDArray[np.float64]) -> None:
        """A path through poses.

        Args:
            stamps_ns: of the poses, ascending, none twice; at least one.
            world_from_camera: ``[n, 4, 4]`` rigid, metres.

        Raises:
            ValueError: no pose, or stamps that do not ascend.
        """
        if len(stamps_ns) == 0 or len(stamps_ns) != len(world_from_camera):
            raise ValueError(f"a path needs as many stamps as poses: {len(stamps_ns)} and {len(world_from_camera)}")
        if any(after <= before for before, after in zip(stamps_ns, stamps_ns[1:], strict=False)):
            raise ValueError("the stamps of a path must ascend")
        self.first_ns, self.last_ns = int(stamps_ns[0]), int(stamps_ns[-1])
        seconds = [(stamp - self.first_ns) * _SECONDS for stamp in stamps_ns]
        # Between one pose and itself there is a way as well.
        self._seconds = np.array([*seconds, seconds[-1] + 1.0])
        poses = np.concatenate([world_from_camera, world_from_camera[-1:]])
        self._positions = poses[:, :3, 3]
        self._turns = Slerp(self._seconds, Rotation.from_matrix(poses[:, :3, :3]))

    @classmethod
    def of(cls, memory: SpatialMemory) -> RobotPath | None:
        """The path of the camera that a memory knows most keyframes of; ``None`` where it knows none."""
        scene = memory.scene
        if scene is None:
            return None
        known: dict[str, dict[int, NDArray[np.float64]]] = {}
        for frame in memory.remembered:
            known.setdefault(frame.source, {})[frame.stamp_ns] = frame.world_from_camera
        for keyframe in scene.keyframes.keyframes:
            known.setdefault(keyframe.source, {})[keyframe.stamp_ns] = keyframe.world_from_camera
        if not known:
            return None
        poses = max(known.values(), key=len)
        stamps = sorted(poses)
        return cls(stamps, np.stack([poses[stamp] for stamp in stamps]))

    @property
    def duration_s(self) -> float:
        """Seconds from the first pose to the last."""
        return (self.last_ns - self.first_ns) * _SECONDS

    def at(self, stamp_ns: int) -> NDArray[np.float64]:
        """``[4, 4]`` ``world_from_camera``: straight in position, even in attitude; its ends beyond them."""
        seconds = float(np.clip((stamp_ns - self.first_ns) * _SECONDS, 0.0, self.duration_s))
        pose = np.eye(4)
        pose[:3, :3] = self._turns(seconds).as_matrix()
        for axis in range(3):
            pose[axis, 3] = np.interp(seconds, self._seconds, self._positions[:, axis])
        return pose
