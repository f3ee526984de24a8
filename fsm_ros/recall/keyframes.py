"""The kept keyframes: a bounded set of photographs that covers what was seen, as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.recall.choose import COLUMNS, ROWS, PosedCameras, points_of, serve

OLDER = 0.85
"""What an older keyframe shows of a surface counts so much: of two that show the same the newer one stays."""
SAME_PLACE_M = 0.01
SAME_DIRECTION_RAD = 0.01
"""A keyframe from where an older one was taken takes its place: a camera that stands fills no memory."""
GUESSED_M = 2.0
"""Where nothing tells how far away a keyframe's surroundings are: so far, or as far as keyframes are spread."""


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
    """

    number: int
    image: NDArray[np.uint8]
    fxfycxcy: NDArray[np.float64]
    world_from_camera: NDArray[np.float64]
    stamp_ns: int
    source: str = "camera"
    depth_m: NDArray[np.float32] | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes."""
        depth = 0 if self.depth_m is None else self.depth_m.nbytes
        return self.image.nbytes + self.fxfycxcy.nbytes + self.world_from_camera.nbytes + depth


@dataclass(frozen=True)
class KeyframeLimits:
    """How much is kept.

    Attributes:
        count: keyframes at most; 0: none.
        size_bytes: bytes at most, over all of them.
    """

    count: int = 64
    size_bytes: int = 64 * 2**20

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: a limit below zero.
        """
        if self.count < 0 or self.size_bytes < 0:
            raise ValueError(
                f"limits of kept keyframes must not be negative, got {self.count}, {self.size_bytes} bytes"
            )


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
        """The store after some keyframes came; their numbers are given here.

        A new one takes the place of an older one of the same view. Where there are too many, those go that are missed
        least: what they show others show as well, from the same side, as sharp, and newer. A keyframe that alone takes
        more bytes than there may be is not kept.

        Args:
            new: in the order of time.
            limits: how much is kept.
        """
        fitting = [keyframe for keyframe in new if keyframe.size_bytes <= limits.size_bytes] if limits.count else []
        kept = list(self.keyframes)
        number = self.next_number
        for keyframe in fitting:
            kept = [old for old in kept if not _is_same_view(old, keyframe)]
            kept.append(replace(keyframe, number=number))
            number += 1
        return KeyframeStore(tuple(_thinned(kept, limits)), number)

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


def _thinned(kept: list[Keyframe], limits: KeyframeLimits) -> list[Keyframe]:
    size = sum(keyframe.size_bytes for keyframe in kept)
    if len(kept) <= limits.count and size <= limits.size_bytes:
        return kept
    if limits.count == 0:
        return []
    missed = _missed(kept)
    alive = list(range(len(kept)))
    while len(alive) > limits.count or size > limits.size_bytes:
        here = missed[alive][:, alive]
        here[np.arange(len(alive)), np.arange(len(alive))] = 0.0
        worth = (1.0 - here.max(axis=1)).mean(axis=1)
        # On a tie the oldest goes.
        dropped = alive.pop(int(np.argmin(worth)))
        size -= kept[dropped].size_bytes
    return [kept[i] for i in alive]


def _missed(kept: Sequence[Keyframe]) -> NDArray[np.float32]:
    """``[N, N, P]`` how well the second keyframe serves the points of the first."""
    positions = np.stack([keyframe.world_from_camera[:3, 3] for keyframe in kept])
    cameras = cameras_of(kept, positions.mean(axis=0), torch.device("cpu"))
    unknown = np.full((ROWS, COLUMNS), max(GUESSED_M, float(np.linalg.norm(positions.std(axis=0)))), dtype=np.float32)
    depths = torch.from_numpy(np.stack([unknown if k.depth_m is None else k.depth_m for k in kept]))[None]
    present = torch.ones(1, len(kept), dtype=torch.bool)
    points = points_of(cameras, cameras, present, depths.float()).view(1, len(kept), ROWS, COLUMNS, 3)
    # A quarter of the points says as much.
    points = points[:, :, ::2, ::2].flatten(2, 3)
    served = serve(points, cameras.world_from_camera[..., :3, 3], cameras, cameras)[0]
    stamps = torch.tensor([keyframe.stamp_ns for keyframe in kept])
    older = (stamps[None, :] < stamps[:, None])[..., None]
    values: NDArray[np.float32] = torch.where(older, OLDER * served, served).numpy()
    return values


def _is_same_view(old: Keyframe, new: Keyframe) -> bool:
    """Whether a newer keyframe shows what an older one shows, from the same place through the same lens."""
    if old.image.shape != new.image.shape or not np.allclose(old.fxfycxcy, new.fxfycxcy):
        return False
    step = np.linalg.norm(old.world_from_camera[:3, 3] - new.world_from_camera[:3, 3])
    cosine = 0.5 * (np.trace(old.world_from_camera[:3, :3].T @ new.world_from_camera[:3, :3]) - 1.0)
    return bool(step < SAME_PLACE_M and np.arccos(np.clip(cosine, -1.0, 1.0)) < SAME_DIRECTION_RAD)


def _tensor(values: NDArray[np.float64], device: torch.device) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))[None].to(device)
