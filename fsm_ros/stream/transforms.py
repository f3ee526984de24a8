# SPDX-License-Identifier: Apache-2.0
"""A tree of transforms, interpolated at any stamp inside what is known and never extrapolated (REP-105).

The arithmetic of tf2: linear in translation, spherical in rotation.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from fsm_ros.errors import FsmError
from fsm_ros.stream.rigid import relative_poses

_logger = logging.getLogger(__name__)


class TransformError(FsmError, LookupError):
    """A pose that the transforms cannot give; the message says which link is missing."""


class BadTransformError(TransformError):
    """Links that are all known, and add up to no pose: to wait for others helps nobody."""


@dataclass(frozen=True)
class StampedTransform:
    """One transform as it was said, ``parent_from_child``.

    Attributes:
        parent: frame the child's pose is expressed in.
        child: frame whose pose it is.
        stamp_ns: time it holds at; without meaning when `is_static`.
        translation: x, y, z in metres.
        quaternion: x, y, z, w; any positive norm.
        is_static: whether it holds at all times (/tf_static).
    """

    parent: str
    child: str
    stamp_ns: int
    translation: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]
    is_static: bool = False

    @property
    def is_valid(self) -> bool:
        """Whether the numbers describe a pose at all: all finite, and a quaternion that can be brought to length 1."""
        finite = bool(np.isfinite((*self.translation, *self.quaternion)).all())
        return finite and 1e-6 < float(np.linalg.norm(self.quaternion)) < np.inf


@dataclass(frozen=True, eq=False)
class Link:
    """All that was said of one frame relative to its parent.

    Attributes:
        parent: frame above.
        child: frame below.
        stamps_ns: ``[n]`` int64, strictly rising; of no meaning when `is_static`.
        translations: ``[n, 3]`` float64, metres.
        rotations: n rotations.
        is_static: whether the (only) transform holds at all times.
    """

    parent: str
    child: str
    stamps_ns: NDArray[np.int64]
    translations: NDArray[np.float64]
    rotations: Rotation
    is_static: bool

    @staticmethod
    def of(samples: list[StampedTransform]) -> Link:
        """The link that `samples`, all of the same child and parent, describe; the last one said at a stamp holds."""
        child = samples[0].child
        # A frame that moves on /tf and also appears on /tf_static is a moving frame.
        moving = [sample for sample in samples if not sample.is_static]
        by_stamp = {sample.stamp_ns: sample for sample in moving} if moving else {0: samples[-1]}
        kept = [by_stamp[stamp_ns] for stamp_ns in sorted(by_stamp)]
        return Link(
            parent=samples[0].parent,
            child=child,
            stamps_ns=np.array(sorted(by_stamp), dtype=np.int64),
            translations=np.array([sample.translation for sample in kept], dtype=np.float64),
            rotations=Rotation.from_quat(np.array([sample.quaternion for sample in kept], dtype=np.float64)),
            is_static=not moving,
        )

    def parent_from_child(self, stamp_ns: int) -> NDArray[np.float64]:
        """``[4, 4]`` pose of the child at `stamp_ns`: linear in translation, slerp in rotation.

        Raises:
            TransformError: `stamp_ns` lies before all that was said, or after.
        """
        if self.is_static:
            return _matrix(self.translations[0], self.rotations[0])
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if after < len(self.stamps_ns) and self.stamps_ns[after] == stamp_ns:
            return _matrix(self.translations[after], self.rotations[after])
        if after in (0, len(self.stamps_ns)):
            first, last = int(self.stamps_ns[0]), int(self.stamps_ns[-1])
            distance_s = max(first - stamp_ns, stamp_ns - last) / 1e9
            raise TransformError(
                f"'{self.parent}' -> '{self.child}' is known from {first} to {last} ns, and {stamp_ns} "
                f"lies {distance_s:.3f} s outside: TF has to speak before and after every image"
            )
        # In integers, because a float64 cannot hold nanoseconds since 1970.
        span_ns = int(self.stamps_ns[after] - self.stamps_ns[after - 1])
        fraction = (stamp_ns - int(self.stamps_ns[after - 1])) / span_ns
        translation = (1.0 - fraction) * self.translations[after - 1] + fraction * self.translations[after]
        return _matrix(translation, Slerp([0.0, 1.0], self.rotations[after - 1 : after + 1])([fraction])[0])


class TransformTree:
    """Answers "where was this frame, seen from that one, at that time" from transforms."""

    def __init__(self, links: Mapping[str, Link], torn: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """Take the links.

        Args:
            links: by the name of their child frame.
            torn: frames that were said to have several parents, and which. They matter only to look-ups whose way leads
                over them.
        """
        self._links = dict(links)
        self._torn = dict(torn or {})

    @classmethod
    def of(cls, transforms: Iterable[StampedTransform]) -> TransformTree:
        """Gather transforms, in the order they were said.

        Transforms that are no pose (not finite, zero quaternion) are left out with a warning, as tf2 does.
        """
        by_child: dict[str, list[StampedTransform]] = {}
        refused: dict[str, int] = {}
        for transform in transforms:
            if transform.is_valid:
                by_child.setdefault(transform.child, []).append(transform)
            else:
                refused[transform.child] = refused.get(transform.child, 0) + 1
        for child, count in refused.items():
            _logger.warning("left out %d transforms of '%s': not finite, or a zero quaternion", count, child)
        parents = {child: tuple(sorted({each.parent for each in samples})) for child, samples in by_child.items()}
        return cls(
            {child: Link.of(samples) for child, samples in by_child.items() if len(parents[child]) == 1},
            {child: above for child, above in parents.items() if len(above) > 1},
        )

    @property
    def frames(self) -> frozenset[str]:
        """Every frame that was named."""
        parents = {link.parent for link in self._links.values()} | {
            frame for above in self._torn.values() for frame in above
        }
        return frozenset(self._links) | frozenset(self._torn) | parents

    def why_torn(self, frame: str) -> str | None:
        """What is wrong with a frame that was said to have several parents; ``None`` where it has one or none."""
        parents = self._torn.get(frame)
        if parents is None:
            return None
        return (
            f"frame '{frame}' has several parents ({', '.join(parents)}): TF must be a tree, find the "
            "second publisher of that frame, and leave it out"
        )

    def target_from_source(self, target: str, source: str, stamp_ns: int) -> NDArray[np.float64]:
        """``[4, 4]`` float64 rigid transform that takes points in `source` to `target` at `stamp_ns`.

        Raises:
            TransformError: a frame is unknown, the two are not connected, or a link on the way between them
                was not known at that time.
        """
        for frame in (target, source):
            if frame not in self.frames:
                known = ", ".join(sorted(self.frames)) or "none at all"
                raise TransformError(
                    f"there is no transform to frame '{frame}': choose one of the frames there are "
                    f"({known}), or find out why /tf or /tf_static does not say"
                )
        above_target, above_source = self.above(target), self.above(source)
        shared = next((frame for frame in above_source if frame in above_target), None)
        if shared is None:
            torn = next((why for top in (above_source[-1], above_target[-1]) if (why := self.why_torn(top))), None)
            raise TransformError(
                torn
                or f"no transform connects '{target}' and '{source}' (their trees end in '{above_target[-1]}' "
                f"and '{above_source[-1]}'): choose a world frame above the camera, or find out what should link them"
            )
        # Only the links below the frame they share: what lies above cancels, and may be missing at that time.
        from_source = above_source[: above_source.index(shared)]
        from_target = above_target[: above_target.index(shared)]
        for child in (*from_source, *from_target):
            if self._is_in_loop(child):
                raise TransformError(f"the transforms form a loop through '{child}': TF must be a tree")
        return relative_poses(self._descend(from_target, stamp_ns), self._descend(from_source, stamp_ns))

    def parent_of(self, child: str) -> str:
        """The frame that a moving or mounted frame is in."""
        return self._links[child].parent

    def above(self, frame: str) -> list[str]:
        """`frame` and every frame above it, nearest first, up to a root, a torn frame or the end of a loop."""
        names = [frame]
        while names[-1] in self._links and (parent := self._links[names[-1]].parent) not in names:
            names.append(parent)
        return names

    def _is_in_loop(self, frame: str) -> bool:
        last = self._links.get(self.above(frame)[-1])
        return last is not None and last.parent == frame

    def _descend(self, children: list[str], stamp_ns: int) -> NDArray[np.float64]:
        """Pose of the first of `children` in the parent of the last one."""
        pose = np.eye(4)
        for child in children:
            pose = self._links[child].parent_from_child(stamp_ns) @ pose
        return pose


def _matrix(translation: NDArray[np.float64], rotation: Rotation) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = rotation.as_matrix()
    pose[:3, 3] = translation
    return pose
