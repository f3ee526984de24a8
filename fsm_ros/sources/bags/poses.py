# SPDX-License-Identifier: Apache-2.0
"""Where a recording says that its cameras were, and where it does not say.

`stream.transforms.TransformTree` interpolates between whatever two transforms there are, as tf2 does. A live node never
sees how a stretch without transforms ends before it gives a frame up; so what was interpolated across such a stretch is
no pose here either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsm_ros.sources.bags.messages import BagError
from fsm_ros.stream.frame import validate_rigid
from fsm_ros.stream.transforms import StampedTransform, TransformError, TransformTree

WORLD_FRAMES = ("map", "odom", "world")
"""Frames that are taken for the world, the first that there is (REP-105); else the root of the tree."""

LONGEST_GAP_S = 1.0
LONGEST_GAP_PERIODS = 5.0
"""Two transforms of a link are interpolated unless they are further apart than both: a second, and five times what is
usual for the link (the median)."""


@dataclass(frozen=True)
class TransformGap:
    """A stretch in which a moving link was not recorded.

    Attributes:
        parent: frame above.
        child: frame below.
        since_ns: stamp of the last transform before it; None where there is none.
        until_ns: of the first after it; None where there is none.
    """

    parent: str
    child: str
    since_ns: int | None
    until_ns: int | None

    def told(self, start_ns: int) -> str:
        """In words.

        Args:
            start_ns: the moment that seconds count from.
        """
        link = f"no transform '{self.parent}' -> '{self.child}' was recorded"
        since, until = (
            None if stamp_ns is None else f"{(stamp_ns - start_ns) / 1e9:.3f} s"
            for stamp_ns in (self.since_ns, self.until_ns)
        )
        if since is None:
            return f"{link} before {until}: start recording /tf before the camera"
        if until is None:
            return f"{link} after {since}: record /tf for as long as the camera"
        return f"{link} between {since} and {until}: record /tf without a pause"


class BagPoses:
    """Poses out of a recording's transforms."""

    def __init__(self, transforms: Sequence[StampedTransform]) -> None:
        """Gather them. Args: all, in the order that they were said."""
        self._tree = TransformTree.of(transforms)
        valid = [transform for transform in transforms if transform.is_valid]
        moving: dict[str, set[int]] = {}
        for transform in valid:
            if not transform.is_static:
                moving.setdefault(transform.child, set()).add(transform.stamp_ns)
        self._stamps_ns = {child: np.array(sorted(stamps), dtype=np.int64) for child, stamps in moving.items()}
        self._longest_ns = {child: _longest_gap_ns(stamps) for child, stamps in self._stamps_ns.items()}

    def gap(self, world_frame: str, camera_frame: str, stamp_ns: int) -> TransformGap | None:
        """The stretch without transforms that a moment lies in; None where there is none, or frames are not linked."""
        *above_world, world_root = self._tree.above(world_frame)
        *above_camera, camera_root = self._tree.above(camera_frame)
        if world_root != camera_root:
            return None
        for child in (*above_camera, *above_world):
            stamps_ns = self._stamps_ns.get(child)
            if stamps_ns is None or (child in above_camera and child in above_world):
                continue  # a link that does not move, or one above both frames, which cancels
            after = int(np.searchsorted(stamps_ns, stamp_ns))
            since = int(stamps_ns[after - 1]) if after else None
            until = int(stamps_ns[after]) if after < len(stamps_ns) else None
            if until == stamp_ns or (
                since is not None and until is not None and until - since <= self._longest_ns[child]
            ):
                continue
            return TransformGap(self._tree.parent_of(child), child, since, until)
        return None

    def world_from_camera(
        self, world_frame: str, camera_frame: str, stamp_ns: int, start_ns: int
    ) -> NDArray[np.float64]:
        """``[4, 4]`` float64 rigid pose of a camera's optical frame at a moment, metres; errors count from `start_ns`.

        Raises:
            TransformError: a frame is unknown, the two are not connected, a link on the way between them was not
                recorded around that time, or the links add up to no pose.
        """
        gap = self.gap(world_frame, camera_frame, stamp_ns)
        if gap is not None:
            raise TransformError(gap.told(start_ns))
        pose = self._tree.target_from_source(world_frame, camera_frame, stamp_ns)
        try:
            validate_rigid(pose)  # links that are sound may add up to more than a float holds
        except ValueError as error:
            raise TransformError(str(error)) from error
        return pose

    def find_world_frame(self, path: Path, camera_frames: Sequence[str]) -> str:
        """The frame to take for the world: one of `WORLD_FRAMES` that is connected to all cameras, else their root.

        Where no frame is connected to all, one that is to some.

        Args:
            path: of the recording.
            camera_frames: optical frames, at least one.

        Raises:
            BagError: TF knows none of the cameras, or only how they are mounted.
        """
        roots = [self._tree.above(frame)[-1] for frame in camera_frames if frame in self._tree.frames]
        if not roots:
            known = ", ".join(sorted(self._tree.frames)) or "none at all"
            raise BagError(
                f"{path} has no transform to the frame of its images, {', '.join(sorted(camera_frames))} (its frames "
                f"are {known}): record /tf and /tf_static, and set the camera's frame_id to one of its frames"
            )
        torn = [why for root in dict.fromkeys(roots) if (why := self._tree.why_torn(root)) is not None]
        if len(torn) == len(set(roots)):
            raise BagError(f"the transforms of {path} lead nowhere from the camera: {torn[0]}")
        candidates = [*(frame for frame in WORLD_FRAMES if frame in self._tree.frames), *roots]
        everywhere = [frame for frame in candidates if all(self._tree.above(frame)[-1] == root for root in roots)]
        somewhere = [frame for frame in candidates if self._tree.above(frame)[-1] in roots]
        chosen = [*everywhere, *somewhere][0]
        links = [child for frame in camera_frames for child in self._tree.above(frame)[:-1]]
        if chosen not in WORLD_FRAMES and not any(child in self._stamps_ns for child in links):
            raise BagError(
                f"{path} says how the camera is mounted on '{chosen}', and never where that is: record /tf of the "
                "localisation or the odometry too, or, where the camera stands still, name its world",
                "world_frame",
            )
        return chosen

    def check_world_frame(self, path: Path, world_frame: str) -> None:
        """Check that a frame is known.

        Raises:
            BagError: it is not; the message names those that are.
        """
        if world_frame not in self._tree.frames:
            known = ", ".join(sorted(self._tree.frames)) or "none at all: record /tf and /tf_static"
            raise BagError(f"{path} has no frame '{world_frame}': choose one of its frames ({known})", "world_frame")


def _longest_gap_ns(stamps_ns: NDArray[np.int64]) -> float:
    """How far apart two transforms of a link may be."""
    usual_ns = float(np.median(np.diff(stamps_ns))) if len(stamps_ns) > 1 else 0.0
    return max(LONGEST_GAP_S * 1e9, LONGEST_GAP_PERIODS * usual_ns)
