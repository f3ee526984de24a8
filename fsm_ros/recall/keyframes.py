# SPDX-License-Identifier: Apache-2.0
"""The kept keyframes: a bounded set of photographs that covers what was seen, as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.parameter import Checked, parameter
from fsm_ros.recall.choose import COLUMNS, ROWS, PosedCameras, points_of, serve
from fsm_ros.recall.contradiction import THUMBNAIL_BYTES, Sights, testimony, thumbnail

KEPT_ANGLE_RAD = 0.35
"""Seen from this angle off another keyframe's ray, what that one shows is shown 1/e as well. Wider than where a view's
keyframes are chosen: what is kept has to cover what was seen, before it is seen well from where the robot has been."""
OLDER = 0.85
"""What an older keyframe shows of a surface counts so much: of two that show the same the newer one stays."""
SAME_PLACE_M = 0.01
SAME_DIRECTION_RAD = 0.01
"""A keyframe from where an older one was taken takes its place: a camera that stands fills no memory."""
ENOUGH_DOUBTS = 2
"""So many more of the chunks that came later must contradict a point than agree with it before it is out of date."""
MOST_DOUBTS = 4
"""More are not counted, so that a point which is right again is soon believed again."""
MOST_OUTDATED = 0.5
"""A keyframe of whose points a larger share is out of date goes."""
GUESSED_M = 2.0
"""Where nothing tells how far away a keyframe's surroundings are: so far, or as far as keyframes are spread."""

_SOME = np.s_[::2, ::2]
"""A quarter of the points says as much of what is missed."""


@dataclass(frozen=True, eq=False)
class Keyframe:
    """A photograph that is kept.

    Attributes:
        number: its own, never given to another one of the same memory.
        image: ``[height, width, 3]`` uint8, RGB, rectified.
        fxfycxcy: ``[4]`` float64 pixels, pixel centres at half-integers.
        world_from_camera: ``[4, 4]`` float64 rigid, optical frame to the world, metres.
        stamp_ns: when it was taken.
        source: which camera of a rig.
        depth_m: ``[ROWS, COLUMNS]`` float32, about how far away what it shows is, along the optical axis, at the
            middles of a grid of so many cells; ``None`` where nothing told.
        doubts: ``[ROWS, COLUMNS]`` uint8, by how many more of the chunks that came later its points were contradicted
            than confirmed.
        sensed: ``[rows, columns]`` float16, what a depth camera measured of the whole photograph, at its own
            resolution: natural logarithm of one over metres along the optical axis; NaN where it did not. ``None``:
            there was none.
    """

    number: int
    image: NDArray[np.uint8]
    fxfycxcy: NDArray[np.float64]
    world_from_camera: NDArray[np.float64]
    stamp_ns: int
    source: str = "camera"
    depth_m: NDArray[np.float32] | None = None
    doubts: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((ROWS, COLUMNS), dtype=np.uint8))
    sensed: NDArray[np.float16] | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes, its thumbnail included."""
        depth = sum(values.nbytes for values in (self.depth_m, self.sensed) if values is not None)
        others = self.fxfycxcy.nbytes + self.world_from_camera.nbytes + self.doubts.nbytes
        return self.image.nbytes + THUMBNAIL_BYTES + others + depth

    @property
    def outdated(self) -> NDArray[np.bool_]:
        """``[ROWS, COLUMNS]`` at which points it shows what is no longer so."""
        return self.doubts >= ENOUGH_DOUBTS

    @cached_property
    def thumbnail(self) -> NDArray[np.uint8]:
        """See :func:`fsm_ros.recall.contradiction.thumbnail`."""
        return thumbnail(self.image)

    def doubted(self, doubts: NDArray[np.uint8]) -> Keyframe:
        """The same photograph with other doubts."""
        other = replace(self, doubts=doubts)
        vars(other)["thumbnail"] = self.thumbnail  # made once
        return other


@dataclass(frozen=True)
class KeyframeLimits(Checked):
    """How much is kept."""

    count: int = parameter(
        64,
        "recall.keyframes",
        "Photographs that are kept, those that together cover most of what was seen; 0: none, views come from the fast "
        "weights alone.",
        "",
        0,
        4096,
    )
    size_bytes: int = parameter(64 * 2**20, "recall.bytes", "Bytes that they may take together.", "B", 0, 2**40)
    width: int = parameter(
        320, "recall.width", "Columns of a kept photograph at most; none is enlarged.", "px", 8, 4096
    )
    height: int = parameter(240, "recall.height", "Rows of a kept photograph at most.", "px", 8, 4096)

    @property
    def photograph_size(self) -> tuple[int, int] | None:
        """Columns and rows of a photograph at most; ``None`` where none is kept."""
        return (self.width, self.height) if self.count else None


@dataclass(frozen=True, eq=False)
class KeyframeStore:
    """What is kept.

    Attributes:
        keyframes: in the order they came.
        next_number: of the next one.
    """

    keyframes: tuple[Keyframe, ...] = ()
    next_number: int = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self.keyframes)

    @property
    def size_bytes(self) -> int:
        """Bytes that they take."""
        return sum(keyframe.size_bytes for keyframe in self.keyframes)

    def offered(self, new: Sequence[Keyframe], limits: KeyframeLimits) -> KeyframeStore:
        """The store after the keyframes of a chunk came; their numbers are given here.

        A new one takes the place of an older one of the same view. What new ones contradict counts no longer, and a
        keyframe of which little else is left goes. Where there are still too many, those go that are missed least: what
        they show others show as well, from the same side, as sharp, and newer. A keyframe that alone takes more bytes
        than there may be is not kept.

        Args:
            new: in the order of time.
            limits: how much is kept.
        """
        fitting = [keyframe for keyframe in new if keyframe.size_bytes <= limits.size_bytes] if limits.count else []
        numbered = [replace(keyframe, number=self.next_number + i) for i, keyframe in enumerate(fitting)]
        kept = [old for old in _doubted(self.keyframes, numbered) if old.outdated.mean() <= MOST_OUTDATED]
        for keyframe in numbered:
            kept = [old for old in kept if not _is_same_view(old, keyframe)]
            kept.append(keyframe)
        return KeyframeStore(tuple(_thinned(kept, limits)), self.next_number + len(numbered))

    def limited(self, limits: KeyframeLimits) -> KeyframeStore:
        """The store with no more than there may be."""
        return self.offered((), limits)


def cameras_of(keyframes: Sequence[Keyframe], origin: NDArray[np.float64], device: torch.device) -> PosedCameras:
    """Their cameras, ``[1, N, ...]``, in a world whose origin was moved: single precision is fine near it only."""
    poses = np.stack([k.world_from_camera for k in keyframes])
    poses[:, :3, 3] -= origin
    return PosedCameras(
        _tensor(np.stack([k.fxfycxcy for k in keyframes]), device),
        _tensor(np.array([[k.image.shape[1], k.image.shape[0]] for k in keyframes], dtype=np.float64), device),
        _tensor(poses, device),
    )


def _doubted(kept: Sequence[Keyframe], new: Sequence[Keyframe]) -> list[Keyframe]:
    """Kept keyframes after new ones said which of their points are still so, as far as both know how far away."""
    after = list(kept)
    witnesses = [keyframe for keyframe in new if keyframe.depth_m is not None]
    since = min((keyframe.stamp_ns for keyframe in witnesses), default=None)
    if since is None:
        return after
    judged = [i for i, old in enumerate(kept) if old.depth_m is not None and old.stamp_ns < since]
    if not judged:
        return after
    said = testimony(_sights(witnesses), _sights([kept[i] for i in judged]))
    changes = np.sign(said.contradicting - said.agreeing)
    for i, change in zip(judged, changes, strict=True):
        doubts = (kept[i].doubts + change).clip(0, MOST_DOUBTS).astype(np.uint8)
        if not np.array_equal(doubts, kept[i].doubts):
            after[i] = kept[i].doubted(doubts)
    return after


def _sights(keyframes: Sequence[Keyframe]) -> Sights:
    sizes = np.array([[k.image.shape[1], k.image.shape[0]] * 2 for k in keyframes], dtype=np.float64)
    unknown = np.full((ROWS, COLUMNS), np.nan, dtype=np.float32)
    return Sights(
        np.stack([k.fxfycxcy for k in keyframes]) / sizes,
        np.stack([k.world_from_camera for k in keyframes]),
        np.stack([k.thumbnail for k in keyframes]),
        np.stack([unknown if k.depth_m is None else k.depth_m for k in keyframes]),
    )


def _thinned(kept: list[Keyframe], limits: KeyframeLimits) -> list[Keyframe]:
    size = sum(keyframe.size_bytes for keyframe in kept)
    if len(kept) <= limits.count and size <= limits.size_bytes:
        return kept
    if limits.count == 0:
        return []
    missed = _missed(kept)
    np.einsum("nnp->np", missed)[:] = 0.0
    current = ~np.stack([keyframe.outdated[_SOME].ravel() for keyframe in kept])
    alive = np.ones(len(kept), dtype=np.bool_)
    while alive.sum() > limits.count or size > limits.size_bytes:
        worth = (current * (1.0 - missed.max(axis=1))).mean(axis=1)
        # On a tie the oldest goes.
        dropped = int(np.argmin(np.where(alive, worth, np.inf)))
        alive[dropped] = False
        missed[:, dropped] = 0.0
        size -= kept[dropped].size_bytes
    return [kept[i] for i in np.flatnonzero(alive)]


def _missed(kept: Sequence[Keyframe]) -> NDArray[np.float32]:
    """``[N, N, P]`` how well the second keyframe serves the points of the first."""
    positions = np.stack([keyframe.world_from_camera[:3, 3] for keyframe in kept])
    cameras = cameras_of(kept, positions.mean(axis=0), torch.device("cpu"))
    unknown = np.full((ROWS, COLUMNS), max(GUESSED_M, float(np.linalg.norm(positions.std(axis=0)))), dtype=np.float32)
    depths = torch.from_numpy(np.stack([unknown if k.depth_m is None else k.depth_m for k in kept]))[None]
    present = torch.ones(1, len(kept), dtype=torch.bool)
    points = points_of(cameras, cameras, present, depths.float()).view(1, len(kept), ROWS, COLUMNS, 3)
    points = points[:, :, _SOME[0], _SOME[1]].flatten(2, 3)
    served = serve(points, cameras.world_from_camera[..., :3, 3], cameras, cameras, KEPT_ANGLE_RAD)[0]
    stamps = torch.tensor([keyframe.stamp_ns for keyframe in kept])
    older = (stamps[None, :] < stamps[:, None])[..., None]
    values: NDArray[np.float32] = torch.where(older, OLDER * served, served).numpy()
    return values


def _is_same_view(old: Keyframe, new: Keyframe) -> bool:
    """Whether a newer keyframe shows what an older one shows, from the same place through the same lens."""
    step = old.world_from_camera[:3, 3] - new.world_from_camera[:3, 3]
    if step @ step > SAME_PLACE_M**2:  # most are elsewhere, and this is told soonest
        return False
    cosine = 0.5 * (np.trace(old.world_from_camera[:3, :3].T @ new.world_from_camera[:3, :3]) - 1.0)
    turned = np.arccos(np.clip(cosine, -1.0, 1.0)) > SAME_DIRECTION_RAD
    return not turned and old.image.shape == new.image.shape and np.allclose(old.fxfycxcy, new.fxfycxcy)


def _tensor(values: NDArray[np.float64], device: torch.device) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))[None].to(device)
