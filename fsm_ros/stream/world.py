# SPDX-License-Identifier: Apache-2.0
"""The memory frame: between the world and the model's unit cube, and between stamps and the model's time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from fsm_ros.stream.frame import PosedImage, validate_rigid
from fsm_ros.stream.rigid import relative_poses

REACH = 1.0
"""Largest component of a camera's position the memory is asked to work with, in memory units: the release
normalises every training sample so that its largest component is exactly 1."""
TIME_TOLERANCE = 0.02
"""How far beyond [-1, 1] a memory time may lie and still count as inside: the cameras of a rig are not stamped
alike, and the second one's first frame may be older than the frame that began the memory."""
EXTENT_TOLERANCE = 1e-6
"""How far beyond the extent a camera may stand and still count as inside, in extents: which last bits a position has
depends on how many poses were multiplied at once, and on the processor."""
LEAST_EXTENT_M = 6.0
"""The smallest automatic extent, metres. A camera that hardly moved in its first chunk tells how slow it was, not how
far away things are. Of the extents that the shipped weights were trained on (2 to 8 m), this serves a hand-held clip
outdoors and a room (docs/evaluation.md)."""
_VANISHING = 1e-6


class FrameExit(Enum):
    """How a frame lies outside the memory."""

    EXTENT = "extent"
    HORIZON_END = "horizon_end"
    BEFORE_START = "before_start"


@dataclass(frozen=True, eq=False)
class MemoryFrame:
    """The similarity between the world and the memory, fixed for as long as the memory lives.

    Attributes:
        world_from_memory: ``[4, 4]`` float64, rigid: origin and axes of the memory in the world, metres.
            Read-only copy.
        extent_m: metres per memory unit.
        start_ns: the stamp that is memory time -1, nanoseconds.
        horizon_s: seconds from memory time -1 to +1.
    """

    world_from_memory: NDArray[np.float64]
    extent_m: float
    start_ns: int
    horizon_s: float

    def __post_init__(self) -> None:
        """Refuse a frame that maps nothing.

        Raises:
            ValueError: a transform that is not rigid, or an extent or horizon that is not positive and
                finite.
        """
        own = np.array(self.world_from_memory, dtype=np.float64)
        own.setflags(write=False)
        object.__setattr__(self, "world_from_memory", own)
        validate_rigid(own)
        for name, value, unit in (("extent", self.extent_m, "m"), ("horizon", self.horizon_s, "s")):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"the memory's {name} must be positive and finite, got {value} {unit}")

    def __eq__(self, other: object) -> bool:
        """Equal if every number is."""
        return self.to_dict() == other.to_dict() if isinstance(other, MemoryFrame) else NotImplemented

    def __hash__(self) -> int:
        """Hash of the scalars; frames that differ in the transform alone are rare."""
        return hash((self.extent_m, self.start_ns, self.horizon_s))

    @classmethod
    def around(
        cls,
        world_from_camera: NDArray[np.float64],
        *,
        start_ns: int,
        extent_m: float,
        horizon_s: float,
        margin: float = 8.0,
        least_m: float = LEAST_EXTENT_M,
    ) -> MemoryFrame:
        """Lay the memory around the poses of a first chunk: origin and axes are their mean pose.

        Args:
            world_from_camera: ``[n, 4, 4]`` rigid, metres, ``n`` at least 1.
            start_ns: the stamp of memory time -1, nanoseconds.
            extent_m: metres per memory unit; 0: automatic, ``margin`` times the largest component of a camera's
                position in the new frame, and ``least_m`` at least.
            horizon_s: seconds the memory can tell apart.
            margin: how many times further than the first chunk the robot may go, where the extent is automatic.
            least_m: the smallest automatic extent, metres.

        Raises:
            ValueError: no poses, or an extent, horizon or margin out of range.
        """
        if not (math.isfinite(extent_m) and extent_m >= 0):
            raise ValueError(f"the memory's extent must be 0 (automatic) or positive and finite, got {extent_m} m")
        if not (math.isfinite(margin) and margin >= 1):
            raise ValueError(f"the margin must be at least 1 and finite, got {margin}: less would cut the first chunk")
        poses = np.asarray(world_from_camera, dtype=np.float64)
        world_from_memory = mean_pose(poses)
        if extent_m == 0:
            spread_m = float(np.abs(relative_poses(world_from_memory, poses)[:, :3, 3]).max())
            extent_m = max(margin * spread_m, least_m)
        return cls(world_from_memory, extent_m, start_ns, horizon_s)

    def normalise_poses(self, world_from_camera: NDArray[np.float64]) -> NDArray[np.float64]:
        """Poses in the memory's axes and unit.

        Args:
            world_from_camera: ``[..., 4, 4]`` rigid, metres.

        Returns:
            ``[..., 4, 4]`` float64, memory_from_camera, translations in memory units.
        """
        poses = relative_poses(self.world_from_memory, world_from_camera)
        poses[..., :3, 3] /= self.extent_m
        return poses

    @overload
    def normalise_time(self, stamp_ns: int) -> float: ...
    @overload
    def normalise_time(self, stamp_ns: NDArray[np.integer[Any]]) -> NDArray[np.float64]: ...
    def normalise_time(self, stamp_ns: int | NDArray[np.integer[Any]]) -> float | NDArray[np.float64]:
        """Memory time of stamps: -1 at the start, +1 at the end of the horizon.

        The start is subtracted as an integer: a stamp of today as a float would be a quarter of a microsecond
        coarse.

        Args:
            stamp_ns: nanoseconds, an integer or an array of integers of any shape.

        Returns:
            Memory time, of the same shape.

        Raises:
            ValueError: an array that is not of integers.
        """
        if isinstance(stamp_ns, np.ndarray):
            if not np.issubdtype(stamp_ns.dtype, np.integer):
                raise ValueError(f"stamps must be integer nanoseconds, got an array of {stamp_ns.dtype}")
            elapsed: NDArray[np.float64] = (stamp_ns.astype(np.int64) - self.start_ns).astype(np.float64)
            return 2.0 * (elapsed / (self.horizon_s * 1e9)) - 1.0
        return 2.0 * (float(int(stamp_ns) - self.start_ns) / (self.horizon_s * 1e9)) - 1.0

    def contains(self, frame: PosedImage) -> FrameExit | None:
        """Whether a frame lies inside what the memory can represent.

        Returns:
            None if it does; else how it lies outside, time before place: a frame out of time is so wherever
            it is. A camera on the border of the extent is inside.
        """
        time = self.normalise_time(frame.stamp_ns)
        if time < -1.0 - TIME_TOLERANCE:
            return FrameExit.BEFORE_START
        if time > 1.0 + TIME_TOLERANCE:
            return FrameExit.HORIZON_END
        position = self.normalise_poses(frame.world_from_camera)[:3, 3]
        return FrameExit.EXTENT if float(np.abs(position).max()) > REACH + EXTENT_TOLERANCE else None

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; JSON keeps them to the bit."""
        return {
            "world_from_memory": self.world_from_memory.tolist(),
            "extent_m": float(self.extent_m),
            "start_ns": int(self.start_ns),
            "horizon_s": float(self.horizon_s),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MemoryFrame:
        """The inverse of ``to_dict``.

        Raises:
            ValueError: a value is missing, of the wrong kind, or out of range: the file is not a memory's or
                is damaged.
        """
        try:
            return cls(
                world_from_memory=np.array(values["world_from_memory"], dtype=np.float64),
                extent_m=float(values["extent_m"]),
                start_ns=_integer(values["start_ns"]),
                horizon_s=float(values["horizon_s"]),
            )
        except KeyError as missing:
            raise ValueError(f"this is not a saved memory frame: it has no {missing}") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"this is not a saved memory frame, or it is damaged: {error}") from error


def mean_pose(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pose in the middle of some cameras, as the FSM release defines it (arXiv 2604.07350).

    The viewing direction is the mean of the cameras', the down direction is the mean of theirs made
    perpendicular to it, the origin is the mean camera centre. Where the directions cancel (a rig that looks
    both ways) there is no mean, and the first camera's axes are taken.

    Args:
        poses: ``[n, 4, 4]`` rigid, world_from_camera, ``n`` at least 1.

    Returns:
        ``[4, 4]`` float64, rigid, world_from_mean.

    Raises:
        ValueError: another shape.
    """
    poses = _checked(poses)
    mean = np.eye(4)
    mean[:3, 3] = poses[:, :3, 3].mean(axis=0)
    axes = _axes(poses[:, :3, 1].mean(axis=0), poses[:, :3, 2].mean(axis=0))
    if axes is None:
        axes = _axes(poses[0, :3, 1], poses[0, :3, 2])
    if axes is None:
        raise ValueError("the first pose's axes do not span space: it must be rigid")
    mean[:3, :3] = axes
    return mean


def _axes(down: NDArray[np.float64], forward: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """``[3, 3]`` axes with z along ``forward`` and y towards ``down``; None where these do not tell."""
    length = float(np.linalg.norm(forward))
    if length < _VANISHING:
        return None
    z = forward / length
    x = np.cross(down, z)
    length = float(np.linalg.norm(x))
    if length < _VANISHING:
        return None
    x = x / length
    y = np.cross(z, x)
    axes: NDArray[np.float64] = np.stack([x, y / np.linalg.norm(y), z], axis=1)
    return axes


def _checked(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or len(poses) == 0:
        raise ValueError(f"poses must be [n, 4, 4] with n at least 1, got {poses.shape}")
    return poses.astype(np.float64)


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"a stamp must be an integer, got {value!r}")
    return value
