# SPDX-License-Identifier: Apache-2.0
"""What comes back from a spatial memory: views, reports, and failures, raised or as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fsm_ros.errors import FsmError
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import Camera, PosedImage
from fsm_ros.stream.world import FrameExit


class FailureKind(Enum):
    """Why a request was not met."""

    NOTHING_OBSERVED = "nothing_observed"
    BAD_REQUEST = "bad_request"
    FILE = "file"
    NON_FINITE = "non_finite"
    OUT_OF_MEMORY = "out_of_memory"
    INTERNAL = "internal"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Failure:
    """A request that could not be met, as a value.

    Attributes:
        kind: for programs.
        message: for people: the cause and the remedy.
    """

    kind: FailureKind
    message: str


NOTHING_OBSERVED = Failure(
    FailureKind.NOTHING_OBSERVED,
    "nothing has been observed yet: write a first chunk; a node needs images, camera_info and TF (see /diagnostics)",
)
"""The answer to any request for a view before the first chunk."""


class RequestFailedError(FsmError, RuntimeError):
    """What a memory was asked for and could not do; it is as it was before.

    Raised by every synchronous call; :class:`fsm_ros.engine.MemoryEngine` makes a :class:`Failure` of it.

    Attributes:
        failure: kind, cause and remedy, as a value.
    """

    def __init__(self, kind: FailureKind, message: str) -> None:
        """Args: as those of :class:`Failure`."""
        super().__init__(kind, message)
        self.failure = Failure(kind, message)

    def __str__(self) -> str:
        """The cause and the remedy."""
        return self.failure.message


@dataclass(frozen=True)
class UsedKeyframe:
    """A kept photograph that a view was recalled from.

    Attributes:
        number: its own, for as long as the memory lives.
        stamp_ns: when it was taken.
        world_from_camera: ``[4, 4]`` rigid, metres.
        source: which camera of a rig.
        camera: its intrinsics.
    """

    number: int
    stamp_ns: int
    world_from_camera: NDArray[np.float64]
    source: str
    camera: Camera


@dataclass(frozen=True)
class Rendered:
    """A view from the memory.

    Attributes:
        image: ``[height, width, 3]`` uint8, RGB.
        camera: its intrinsics, without distortion.
        stamp_ns: the moment it shows.
        chunks_observed: how much the memory had seen.
        render_s: seconds it took.
        warning: empty, or why little is to be expected of this view.
        depth_m: ``[height, width]`` float32 along the optical axis (REP-118), metres; NaN where it is not known.
        confidence: ``[height, width]`` float32 in [0, 1]: ``exp(-e / 0.1)`` of the expected error ``e`` of a colour in
            [0, 1]; 0 for what the fast weights render alone.
        recalled: share of the view that comes from kept photographs.
        keyframes: those photographs, the most useful first.
        epoch: how often the memory frame had been laid anew.
    """

    image: NDArray[np.uint8]
    camera: Camera
    stamp_ns: int
    chunks_observed: int
    render_s: float
    warning: str = ""
    depth_m: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    confidence: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    recalled: float = 0.0
    keyframes: tuple[UsedKeyframe, ...] = ()
    epoch: int = 0

    def save(self, path: str | Path) -> None:
        """Write the colours as a PNG file; folders are made.

        Raises:
            ValueError: a name that does not end in .png.
            OSError: it cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise ValueError(f"a view is saved as PNG, and {path.name} is not called so: let it end in .png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.image).save(path)


@dataclass(frozen=True)
class LayerReport:
    """What the last chunk did to one layer; plain numbers of :class:`fsm_ros.memory.rules.base.LayerStatistics`."""

    weight_rms: float
    anchor_distance: float
    update_rms: float
    pull_rms: float
    elastic_ratio: float
    importance_mean: float
    importance_max: float


@dataclass(frozen=True)
class ObserveReport:
    """What observing one chunk did.

    Attributes:
        chunk: the chunk.
        failure: why an engine's worker could not observe it, ``None`` where it did.
        epoch: how often the memory frame was laid anew.
        epoch_began: why it was laid anew with this chunk, ``None`` where it was not.
        chunks_observed: since the last reset.
        views_observed: since the last reset.
        layers: what it did to each layer; empty where it failed.
        prediction_psnr: PSNR of the chunk's own views rendered before it was observed, dB; NaN where not measured.
        retention_psnr: PSNR of remembered keyframes rendered now, dB; NaN where not measured.
        retention_views: how many keyframes that is the mean over.
        observe_s: seconds to write the chunk, measurements not counted.
        state_bytes: size of all submaps of the memory and of the kept photographs together.
        submaps: how many there are after the chunk.
        keyframes: the remembered old keyframes, this chunk's not yet among them.
        kept: photographs that are kept after the chunk.
        kept_bytes: bytes that they take.
    """

    chunk: Chunk
    failure: Failure | None
    epoch: int
    epoch_began: FrameExit | None
    chunks_observed: int
    views_observed: int
    layers: tuple[LayerReport, ...] = ()
    prediction_psnr: float = float("nan")
    retention_psnr: float = float("nan")
    retention_views: int = 0
    observe_s: float = float("nan")
    state_bytes: int = 0
    submaps: int = 0
    keyframes: tuple[PosedImage, ...] = ()
    kept: int = 0
    kept_bytes: int = 0
