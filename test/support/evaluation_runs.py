# SPDX-License-Identifier: Apache-2.0
"""Evaluations as a test needs them: small, and like real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.replay.evaluation.psnr import psnr
from fsm_ros.replay.evaluation.results import (
    Baseline,
    CameraPath,
    ChunkResult,
    ForgettingMatrix,
    Metric,
    Novelty,
    PathSide,
    Pictures,
    Provenance,
    Run,
    ViewResult,
    Whereabouts,
)

NAN = float("nan")
START_NS = 1_748_779_200_000_000_000
PERIOD_S = 0.4
VIEWS_A_CHUNK = 3
HELD_OUT_A_CHUNK = 3


def make_run(
    recording: str = "corridor",
    setting: str = "elastic",
    *,
    chunks: int = 6,
    views: int | None = None,
    size: tuple[int, int] = (48, 64),
    skill: float = 1.0,
    seed: int = 0,
    complete: bool = True,
    lpips: bool = False,
    device: bool = False,
    nearest_shift: int = 5,
    photographs_add: float | None = None,
) -> Run:
    """One run: a camera drives an arc past a wall; renders are blurred, and the older the worse.

    Args:
        recording: its name; decides with the seed what is to be seen.
        setting: its name.
        chunks: of the stream; the third one of more than five begins an epoch.
        views: how many held-out views; three a chunk where it is not said.
        size: rows and columns.
        skill: how good the renders are; 1 is good.
        seed: of the noise.
        complete: whether it ran to its end.
        lpips: whether that metric was measured.
        device: whether there was an accelerator.
        nearest_shift: pixels between a view and its nearest keyframe.
        photographs_add: dB that renders are better by than what the fast weights alone render; None where that is what
            was asked for.
    """
    noise = np.random.default_rng(seed + sum(recording.encode()))
    count = chunks * HELD_OUT_A_CHUNK if views is None else views
    wall = _wall(noise, size)
    truth = np.stack([_seen(wall, number * 7, size) for number in range(count)]) if count else _none(size)
    blurred = [
        cv2.GaussianBlur(image, (0, 0), 0.6 + (count - number) / (max(count, 1) * skill * 0.8))
        for number, image in enumerate(truth)
    ]
    shifted = [_seen(wall, number * 7 + nearest_shift, size) for number in range(count)]
    pictures = {
        Baseline.NEAREST: shifted,
        Baseline.WARPED: [cv2.GaussianBlur(_seen(wall, n * 7 + 1, size), (0, 0), 0.5) for n in range(count)],
        Baseline.LAST: [_seen(wall, number * 7 + 2 * nearest_shift, size) for number in range(count)],
    }
    held_out = tuple(
        _view(
            number,
            min(number // HELD_OUT_A_CHUNK, max(chunks - 1, 0)),
            PERIOD_S * number,
            _scores(blurred[number], image, lpips),
            {which: _scores(images[number], image, lpips) for which, images in pictures.items()},
            noise,
        )
        for number, image in enumerate(truth)
    )
    if photographs_add is not None:
        held_out = tuple(
            replace(view, memory={Metric.PSNR: view.render[Metric.PSNR] - photographs_add, Metric.SSIM: 0.5})
            for view in held_out
        )
    return Run(
        recording=recording,
        recording_told=f"/camera/image_raw (raw, {size[1]}x{size[0]}), /tf: map to camera_optical_frame",
        world_frame="map",
        setting=setting,
        values={
            "memory.mode": setting,
            "memory.elastic_strength": 0.1 * skill,
            "chunk.size": VIEWS_A_CHUNK,
            "keyframes.rotation": 0.2,
            "sources": ["camera"],
        },
        hold_out="every:4",
        complete=complete,
        frames=8 * max(count, chunks),
        withheld=count,
        refused={"too_close": 11, "no_pose": 2},
        notes=("no pose from 3.1 s to 3.4 s: 2 frames were left out",),
        metrics_told={Metric.PSNR: "peak signal-to-noise ratio of 8-bit RGB, dB"},
        duration_s=PERIOD_S * max(count, 1),
        chunks=tuple(_chunk(number, chunks, skill, device, noise) for number in range(chunks)),
        held_out=held_out,
        observed=tuple(
            replace(view, baselines={}, where=None, render=_better(view.render), memory=_better(view.memory))
            for view in held_out
        ),
        forgetting=_matrix(chunks if count else 0, skill, noise),
        path=CameraPath(
            tuple(_position(PERIOD_S * (n + 0.5)) for n in range(chunks * VIEWS_A_CHUNK)),
            tuple(PERIOD_S * (n + 0.5) for n in range(chunks * VIEWS_A_CHUNK)),
        ),
        render_s=tuple(noise.uniform(0.03, 0.05, count)),
        stream_s=2.5 + chunks,
        pictures=Pictures(
            truth,
            np.stack(blurred) if count else _none(size),
            {which: np.stack(images) if count else _none(size) for which, images in pictures.items()},
            np.tile([size[1] * 0.8, size[1] * 0.8, size[1] / 2, size[0] / 2], (count, 1)),
        ),
        provenance=Provenance(
            command="evaluate_bag corridor --hold-out every:4 --compare elastic,plastic --out out/corridor",
            version="0.5.0 (b007982)",
            checkpoint="small_64.safetensors",
            checkpoint_sha256="5f" * 32,
            parameters=1_234_567,
            hardware="8 cores of an x86_64 CPU",
            software="Python 3.11.2, PyTorch 2.13.0",
            started="2025-06-01T12:00:00Z",
        ),
    )


def make_runs(
    settings: Sequence[str] = ("elastic", "plastic", "windowed"), recordings: Sequence[str] = ("corridor",)
) -> list[Run]:
    """Several settings on several recordings; the later settings are worse."""
    return [
        make_run(recording, setting, skill=1.0 / (1 + 0.5 * place))
        for recording in recordings
        for place, setting in enumerate(settings)
    ]


def make_empty_run(recording: str = "corridor", setting: str = "elastic", chunks: int = 1) -> Run:
    """Interrupted before anything was rendered."""
    return make_run(recording, setting, chunks=chunks, views=0, complete=False)


def worsened(run: Run) -> Run:
    """The same run with whatever can be missing missing: metrics, where-abouts, moments, a chunk."""
    views = list(run.held_out)
    views[0] = replace(views[0], psnr_when_new=NAN, where=None, warning="outside the memory's extent")
    views[1] = replace(views[1], render={Metric.PSNR: NAN, Metric.SSIM: 0.5})
    chunks = list(run.chunks)
    chunks[1] = replace(chunks[1], failure="the update is not finite", observe_s=NAN, prediction_psnr=NAN)
    matrix = run.forgetting.psnr.copy()
    matrix[-1, :] = NAN
    return replace(
        run,
        held_out=tuple(views),
        chunks=tuple(chunks),
        forgetting=ForgettingMatrix(run.forgetting.chunks, matrix),
        complete=False,
    )


def _none(size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.empty((0, *size, 3), np.uint8)


def _wall(noise: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    coarse = noise.integers(30, 226, (6, 24, 3), dtype=np.uint8)
    fine = noise.integers(0, 40, (size[0], size[1] * 8, 3), dtype=np.uint8)
    grown = cv2.resize(coarse, (size[1] * 8, size[0]), interpolation=cv2.INTER_NEAREST)
    return cv2.add(grown, fine).astype(np.uint8)


def _seen(wall: NDArray[np.uint8], shift: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.roll(wall, -shift, axis=1)[:, : size[1]].copy()


def _scores(image: NDArray[np.uint8], truth: NDArray[np.uint8], lpips: bool) -> dict[Metric, float]:
    quality = psnr(image, truth)
    scores = {Metric.PSNR: quality, Metric.SSIM: quality / 40.0, Metric.MS_SSIM: quality / 38.0}
    return {**scores, Metric.LPIPS: 1.0 - quality / 50.0} if lpips else scores


def _better(scores: Mapping[Metric, float]) -> dict[Metric, float]:
    """What was observed is rendered better by 1.5 dB."""
    return {metric: score + 1.5 * (metric is Metric.PSNR) for metric, score in scores.items()}


def _position(time_s: float) -> tuple[float, float, float]:
    return (float(2.0 * np.cos(0.3 * time_s)), float(2.0 * np.sin(0.3 * time_s)), 0.3)


def _view(
    number: int,
    chunk: int,
    time_s: float,
    render: Mapping[Metric, float],
    baselines: Mapping[Baseline, Mapping[Metric, float]],
    noise: np.random.Generator,
) -> ViewResult:
    outside = number % 4 == 3
    off_path = float(noise.uniform(0.3, 0.6) if outside else noise.uniform(0.0, 0.1))
    quaternion = Rotation.from_euler("z", 0.3 * time_s).as_quat()
    return ViewResult(
        number=number,
        source="camera",
        stamp_ns=START_NS + round(time_s * 1e9),
        time_s=time_s,
        chunk=chunk,
        position=_position(time_s),
        quaternion=tuple(float(value) for value in quaternion),  # type: ignore[arg-type]  # four of them
        render=render,
        psnr_when_new=render[Metric.PSNR] + 0.8,
        baselines=baselines,
        where=Whereabouts(
            metres=float(noise.uniform(0.0, 0.5)),
            radians=float(noise.uniform(0.0, 0.3)),
            seconds=float(noise.uniform(0.1, 2.0)),
            seconds_from_observed=float(noise.uniform(0.1, 0.3)),
            off_path=off_path,
            side=PathSide.OUTSIDE if outside else PathSide.INSIDE,
            novelty=Novelty.VIEW if outside else Novelty.NEITHER,
        ),
    )


def _chunk(number: int, chunks: int, skill: float, device: bool, noise: np.random.Generator) -> ChunkResult:
    late = chunks > 5 and number >= 2
    own = 20.0 * skill + float(noise.normal(0.0, 0.4))
    return ChunkResult(
        number=number,
        views=VIEWS_A_CHUNK,
        first_s=PERIOD_S * VIEWS_A_CHUNK * number,
        last_s=PERIOD_S * VIEWS_A_CHUNK * (number + 1),
        epoch=int(late),
        epoch_began="left the extent" if chunks > 5 and number == 2 else "",
        failure="",
        prediction_psnr=own - 4.0,
        retention_psnr=own - 1.0 - 0.2 * number if number else NAN,
        held_out_psnr=own,
        observed_psnr=own + 1.0 + 0.1 * number,
        observe_s=float(noise.uniform(0.2, 0.3)),
        state_bytes=3 * 2**20,
        submaps=1 + int(late),
        host_bytes=500 * 2**20 + 2**19 * number,
        host_peak_bytes=520 * 2**20 + 2**19 * number,
        device_peak_bytes=(900 + number) * 2**20 if device else 0,
    )


def _matrix(chunks: int, skill: float, noise: np.random.Generator) -> ForgettingMatrix:
    after, of = np.mgrid[:chunks, :chunks]
    psnr = 20.0 * skill - 1.5 / skill * np.log1p(np.maximum(after - of, 0)) + noise.normal(0.0, 0.3, (chunks, chunks))
    return ForgettingMatrix(tuple(range(chunks)), np.where(after >= of, psnr, NAN))
