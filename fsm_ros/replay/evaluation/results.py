# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found: plain values, from one recording under one setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray


class Metric(Enum):
    """How alike two images are; the value is the name in files."""

    PSNR = "psnr"
    """dB, higher is better."""
    SSIM = "ssim"
    """Structural similarity, at most 1."""
    MS_SSIM = "ms_ssim"
    """The same at several scales, at most 1."""
    LPIPS = "lpips"
    """Learned perceptual distance, lower is better; only where its weights were given."""


class Baseline(Enum):
    """Answers that need no memory but the keyframes themselves; the value is the name in files."""

    NEAREST = "nearest"
    """The keyframe whose camera stood closest."""
    WARPED = "warped"
    """That keyframe, warped by the homography of the plane at the best depth there is (the truth chooses it)."""
    LAST = "last"
    """The newest keyframe at the view's own time: what a robot without memory sees."""


class PathSide(Enum):
    """Whether a view lies within what the camera passed through."""

    INSIDE = "inside"
    OUTSIDE = "outside"


class Novelty(Enum):
    """What is new about a view: its pose, its moment, both or neither."""

    NEITHER = "neither"
    VIEW = "novel_view"
    TIME = "novel_time"
    BOTH = "both_novel"


@dataclass(frozen=True)
class Whereabouts:
    """Where a view lies relative to what was observed.

    Attributes:
        metres: from the nearest observed camera, the one with the least sum of metres and radians.
        radians: from that camera.
        seconds: from the moment of the nearest observed camera.
        seconds_from_observed: from the nearest observed moment, of whichever camera.
        off_path: from the observed path, metres and radians added; the path is interpolated between keyframes.
        side: inside or outside the observed path.
        novelty: what is new about it.
    """

    metres: float
    radians: float
    seconds: float
    seconds_from_observed: float
    off_path: float
    side: PathSide
    novelty: Novelty


@dataclass(frozen=True)
class ViewResult:
    """One view asked of the memory after the whole stream.

    Attributes:
        number: its place in the arrays of the run's `Pictures`, or, of an observed view, among the observed.
        source: which camera.
        stamp_ns: its moment, nanoseconds.
        time_s: seconds since the recording's first image.
        chunk: the chunk that it belongs to, from 0: that which was being filled when it arrived.
        position: of the camera in the memory's TF frame, metres.
        quaternion: x, y, z, w: the optical frame's orientation in the memory's TF frame.
        render: how alike render and truth are; a metric that could not be measured is absent.
        psnr_when_new: dB, rendered by the fast weights right after its own chunk was observed; NaN where it was not.
        memory: how alike what the fast weights alone render and the truth are; empty where `render` is that already.
        baselines: the same for answers that need no memory; empty for observed views.
        where: relative to what was observed; None for observed views.
        warning: what the memory said of the request; mostly empty.
    """

    number: int
    source: str
    stamp_ns: int
    time_s: float
    chunk: int
    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]
    render: Mapping[Metric, float]
    psnr_when_new: float = float("nan")
    memory: Mapping[Metric, float] = field(default_factory=dict)
    baselines: Mapping[Baseline, Mapping[Metric, float]] = field(default_factory=dict)
    where: Whereabouts | None = None
    warning: str = ""

    def psnr(self, baseline: Baseline | None = None) -> float:
        """PSNR of the render, or of a baseline's answer, dB; NaN where it was not measured."""
        scores = self.render if baseline is None else self.baselines.get(baseline, {})
        return scores.get(Metric.PSNR, float("nan"))


@dataclass(frozen=True)
class ChunkResult:
    """One chunk of the stream.

    Attributes:
        number: from 0.
        views: keyframes in it.
        first_s: moment of its first keyframe, seconds since the recording's first image.
        last_s: of its last.
        epoch: of the memory, after it.
        epoch_began: why a new epoch began with it; empty where none did.
        failure: why it could not be observed; empty where it was.
        prediction_psnr: dB, as the node publishes it; NaN where not measured.
        retention_psnr: likewise.
        held_out_psnr: dB, of its own held-out views right after it; NaN where it has none.
        observed_psnr: dB, of its own keyframes right after it.
        observe_s: seconds that writing it took.
        state_bytes: size of the memory's state.
        submaps: how many submaps there are.
        host_bytes: resident memory of the process after it.
        host_peak_bytes: its peak so far.
        device_peak_bytes: peak of the accelerator's memory so far; 0 on a CPU.
    """

    number: int
    views: int
    first_s: float
    last_s: float
    epoch: int
    epoch_began: str
    failure: str
    prediction_psnr: float
    retention_psnr: float
    held_out_psnr: float
    observed_psnr: float
    observe_s: float
    state_bytes: int
    submaps: int
    host_bytes: int
    host_peak_bytes: int
    device_peak_bytes: int


@dataclass(frozen=True, eq=False)
class ForgettingMatrix:
    """How well each chunk's held-out views are rendered after each chunk.

    Attributes:
        chunks: ``[k]`` numbers of the chunks that rows and columns stand for, ascending; all, or evenly chosen ones of
            a long stream.
        psnr: ``[k, k]`` dB: row i, column j: the held-out views of chunk ``chunks[j]`` after chunk ``chunks[i]``; NaN
            above the diagonal, where a chunk is still to come, in the columns of chunks that have no held-out views,
            and where the stream was cut short.
    """

    chunks: tuple[int, ...]
    psnr: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pictures:
    """The held-out views as pictures, ``[n, height, width, 3]`` uint8 RGB each, in the order of `Run.held_out`.

    Attributes:
        truth: what the camera saw, as the memory would have observed it.
        render: what the memory answered after the whole stream.
        baselines: what the baselines answer.
        fxfycxcy: ``[n, 4]`` intrinsics of each, pixels, pixel centres at half-integers.
    """

    truth: NDArray[np.uint8]
    render: NDArray[np.uint8]
    baselines: Mapping[Baseline, NDArray[np.uint8]]
    fxfycxcy: NDArray[np.float64]


@dataclass(frozen=True)
class CameraPath:
    """Where the cameras were.

    Attributes:
        observed: positions of all keyframes in the memory's TF frame, metres, in the order they were observed.
        observed_s: their moments, seconds since the recording's first image.
    """

    observed: tuple[tuple[float, float, float], ...]
    observed_s: tuple[float, ...]


@dataclass(frozen=True)
class Provenance:
    """What it takes to tell where numbers come from.

    Attributes:
        command: the command line.
        version: of the package, with the commit where it is known.
        checkpoint: name of the weights.
        checkpoint_sha256: of their file.
        parameters: how many the model has.
        hardware: processor and accelerator.
        software: versions of Python, PyTorch and the like.
        started: when, ISO 8601, UTC.
    """

    command: str
    version: str
    checkpoint: str
    checkpoint_sha256: str
    parameters: int
    hardware: str
    software: str
    started: str


@dataclass(frozen=True, eq=False)
class Run:
    """One recording under one setting.

    Attributes:
        recording: its name, unique in an evaluation.
        recording_told: which topics, frames and images it has, in one line.
        world_frame: the TF frame that poses are in: the memory's.
        setting: name of the setting.
        values: every parameter of the node, by name.
        hold_out: which frames were withheld, as it was asked for.
        complete: whether the whole stream was evaluated; else it was interrupted.
        frames: images in the recording, those without a pose included.
        withheld: how many of them were kept from the memory.
        refused: frames that did not become keyframes, by reason (names of `fsm_ros.stream.ledger.Refusal`).
        notes: what a reader should know: stretches without pose, metrics that could not be measured, and so on.
        metrics_told: what each metric is, in words, of those that were measured (with the scales of MS-SSIM).
        duration_s: of the recording.
        chunks: in order.
        held_out: the withheld views.
        observed: the keyframes, or evenly chosen ones of a long stream.
        forgetting: the matrix.
        path: of the cameras.
        render_s: seconds that each render of a single view took, made as the parameters say.
        stream_s: seconds that the stream took, reading, decoding and observing, without what only measures.
        pictures: of the held-out views.
        provenance: where the numbers come from.
    """

    recording: str
    recording_told: str
    world_frame: str
    setting: str
    values: Mapping[str, object]
    hold_out: str
    complete: bool
    frames: int
    withheld: int
    refused: Mapping[str, int]
    notes: tuple[str, ...]
    metrics_told: Mapping[Metric, str]
    duration_s: float
    chunks: tuple[ChunkResult, ...]
    held_out: tuple[ViewResult, ...]
    observed: tuple[ViewResult, ...]
    forgetting: ForgettingMatrix
    path: CameraPath
    render_s: tuple[float, ...]
    stream_s: float
    pictures: Pictures
    provenance: Provenance

    @property
    def keyframes(self) -> int:
        """How many views were observed."""
        return sum(chunk.views for chunk in self.chunks if not chunk.failure)
