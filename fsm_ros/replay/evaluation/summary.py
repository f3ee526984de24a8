# SPDX-License-Identifier: Apache-2.0
"""An evaluation in a few numbers: one row a recording and setting, and the baselines beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fsm_ros.replay.evaluation.forgetting import average_forgetting, backward_transfer
from fsm_ros.replay.evaluation.results import Baseline, ChunkResult, Metric, Run, ViewResult

NAN = float("nan")
MIB = float(2**20)
METRIC_TITLES = {Metric.PSNR: "PSNR", Metric.SSIM: "SSIM", Metric.MS_SSIM: "MS-SSIM", Metric.LPIPS: "LPIPS"}
_BASELINE_TITLES = {
    Baseline.NEAREST: "nearest keyframe",
    Baseline.WARPED: "nearest, warped (oracle)",
    Baseline.LAST: "last keyframe",
}


@dataclass(frozen=True)
class Mean:
    """A mean of what could be measured.

    Attributes:
        value: NaN where nothing could be.
        error: standard error of the mean; NaN for fewer than two values.
        count: how many values.
    """

    value: float = NAN
    error: float = NAN
    count: int = 0


@dataclass(frozen=True)
class Percentiles:
    """Of durations, milliseconds; NaN where there are none."""

    p50: float = NAN
    p95: float = NAN
    p99: float = NAN


@dataclass(frozen=True)
class SummaryRow:
    """One setting, or one baseline, on one recording.

    A baseline has quality and nothing else: all else is NaN, zero or empty there.

    Attributes:
        recording: its name.
        setting: name of the setting; of a baseline, that whose keyframes it has, empty where all settings agree.
        baseline: which one; None for the memory.
        views: held-out views.
        quality: mean over the held-out views, after the whole stream, of each metric that was measured.
        memory: the same of what the fast weights alone render, where what ships is recalled from kept photographs.
        average_forgetting: dB, see `fsm_ros.replay.evaluation.forgetting`.
        backward_transfer: dB, likewise.
        gap: dB: observed views minus held-out ones, both rendered by the fast weights alone after the whole stream; a
            kept photograph would be shown as it is.
        gap_when_new: dB: the same of each chunk right after it was observed, mean over the chunks.
        prediction: dB, mean over the chunks.
        retention: dB, mean over the chunks.
        observe: how long it took to write a chunk.
        render: how long it took to render a view.
        frames_per_s: images that the stream was given, withheld ones not among them, for each second that it took.
        keyframes_per_s: observed views likewise.
        host_peak_mib: peak resident memory of the process.
        device_peak_mib: peak of the accelerator's memory; 0 on a CPU.
        submaps: memories in use at the end.
        state_mib: size of the memory's state at the end.
        chunks: observed.
        chunks_failed: that could not be observed.
        keyframes: observed views.
        epochs: of the memory.
        complete: whether the whole stream was evaluated.
    """

    recording: str
    setting: str
    baseline: Baseline | None
    views: int
    quality: Mapping[Metric, Mean]
    memory: Mapping[Metric, Mean] = field(default_factory=dict)
    average_forgetting: float = NAN
    backward_transfer: float = NAN
    gap: float = NAN
    gap_when_new: float = NAN
    prediction: float = NAN
    retention: float = NAN
    observe: Percentiles = Percentiles()
    render: Percentiles = Percentiles()
    frames_per_s: float = NAN
    keyframes_per_s: float = NAN
    host_peak_mib: float = NAN
    device_peak_mib: float = NAN
    submaps: int = 0
    state_mib: float = NAN
    chunks: int = 0
    chunks_failed: int = 0
    keyframes: int = 0
    epochs: int = 0
    complete: bool = True

    @property
    def title(self) -> str:
        """What the row is of, for a table: the setting, or the baseline in words."""
        if self.baseline is None:
            return self.setting
        return baseline_title(self.baseline, self.setting)


def baseline_title(which: Baseline, setting: str) -> str:
    """A baseline in words, with the setting whose keyframes it has; empty where all settings agree."""
    return _BASELINE_TITLES[which] + (f" ({setting})" if setting else "")


def summary(runs: Sequence[Run]) -> list[SummaryRow]:
    """The evaluation in rows: for each recording its settings, then its baselines; in the order of the runs.

    Where all settings of a recording have the same baselines, they are told once; else once for each setting.
    """
    rows = []
    for of_recording in by_recording(runs).values():
        rows += [_row(run) for run in of_recording]
        for setting, run in baselines_of(of_recording):
            rows += [
                SummaryRow(
                    run.recording,
                    setting,
                    which,
                    len(run.held_out),
                    _means([view.baselines.get(which, {}) for view in run.held_out]),
                )
                for which in measured_baselines([run])
            ]
    return rows


def by_recording(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs of each recording, in their order.

    Raises:
        ValueError: a setting occurs twice on a recording.
    """
    found: dict[str, list[Run]] = {}
    for run in runs:
        others = found.setdefault(run.recording, [])
        if any(other.setting == run.setting for other in others):
            raise ValueError(f"setting {run.setting!r} occurs twice on recording {run.recording!r}: rename one of them")
        others.append(run)
    return found


def told_once(runs: Sequence[Run], lines: Callable[[Run], Iterable[str]]) -> list[str]:
    """What there is to say of the runs of a recording, each once, with the settings that it holds for."""
    settings: dict[str, list[str]] = {}
    for run in runs:
        for line in dict.fromkeys(lines(run)):
            settings.setdefault(line, []).append(run.setting)
    return [line if len(of) == len(runs) else f"{', '.join(of)}: {line}" for line, of in settings.items()]


def measured_metrics(runs: Iterable[Run]) -> list[Metric]:
    """Those that at least one held-out view has, of its render or of a baseline, in the order of the enum."""
    views = [view for run in runs for view in run.held_out]
    found = {metric for view in views for scores in (view.render, *view.baselines.values()) for metric in scores}
    return [metric for metric in Metric if metric in found]


def measured_baselines(runs: Iterable[Run]) -> list[Baseline]:
    """Those that at least one held-out view has, in the order of the enum."""
    found = {which for run in runs for view in run.held_out for which in view.baselines}
    return [which for which in Baseline if which in found]


def baselines_of(runs: Sequence[Run]) -> list[tuple[str, Run]]:
    """The runs of one recording to take baselines from, with the setting's name; one nameless run where all agree.

    Settings with other keyframes have other baselines, and so has a run that was cut short.
    """
    shown = [run for run in runs if measured_baselines([run])]
    if not shown:
        return []
    scores = [
        [(v.source, v.stamp_ns, *(v.baselines.get(b, {}).get(m, NAN) for b in Baseline for m in Metric)) for v in views]
        for views in (run.held_out for run in shown)
    ]
    first = scores[0]
    if all(len(other) == len(first) and all(map(_same, other, first)) for other in scores[1:]):
        return [("", shown[0])]
    return [(run.setting, run) for run in shown]


def _same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return all(a == b or (a != a and b != b) for a, b in zip(one, other, strict=True))


def mean(values: Iterable[float]) -> Mean:
    """Mean and standard error of the finite values."""
    finite = np.array([value for value in values if np.isfinite(value)], dtype=np.float64)
    if not len(finite):
        return Mean()
    error = float(finite.std(ddof=1) / np.sqrt(len(finite))) if len(finite) > 1 else NAN
    return Mean(float(finite.mean()), error, len(finite))


def _means(scores: Sequence[Mapping[Metric, float]]) -> dict[Metric, Mean]:
    """How good answers are, for each metric that was measured; empty where none was."""
    return {
        metric: mean(score.get(metric, NAN) for score in scores)
        for metric in Metric
        if any(metric in score for score in scores)
    }


def observed_chunks(run: Run) -> list[ChunkResult]:
    """The chunks that were written into the memory."""
    return [chunk for chunk in run.chunks if not chunk.failure]


def _row(run: Run) -> SummaryRow:
    chunks = observed_chunks(run)
    observed, held_out = (mean(map(_by_fast_weights, views)) for views in (run.observed, run.held_out))
    rate = 1.0 / run.stream_s if run.stream_s > 0 else NAN
    return SummaryRow(
        recording=run.recording,
        setting=run.setting,
        baseline=None,
        views=len(run.held_out),
        quality=_means([view.render for view in run.held_out]),
        memory=_means([view.memory for view in run.held_out]),
        average_forgetting=average_forgetting(run.forgetting),
        backward_transfer=backward_transfer(run.forgetting),
        gap=observed.value - held_out.value,
        gap_when_new=mean(chunk.observed_psnr - chunk.held_out_psnr for chunk in chunks).value,
        prediction=mean(chunk.prediction_psnr for chunk in chunks).value,
        retention=mean(chunk.retention_psnr for chunk in chunks).value,
        observe=percentiles_ms([chunk.observe_s for chunk in chunks]),
        render=percentiles_ms(run.render_s),
        frames_per_s=(run.keyframes + sum(run.refused.values())) * rate,
        keyframes_per_s=run.keyframes * rate,
        host_peak_mib=max((chunk.host_peak_bytes for chunk in run.chunks), default=NAN) / MIB,
        device_peak_mib=max((chunk.device_peak_bytes for chunk in run.chunks), default=NAN) / MIB,
        submaps=chunks[-1].submaps if chunks else 0,
        state_mib=chunks[-1].state_bytes / MIB if chunks else NAN,
        chunks=len(chunks),
        chunks_failed=len(run.chunks) - len(chunks),
        keyframes=run.keyframes,
        epochs=len({chunk.epoch for chunk in chunks}),
        complete=run.complete,
    )


def _by_fast_weights(view: ViewResult) -> float:
    """PSNR of a view as the fast weights alone render it, dB."""
    return (view.memory or view.render).get(Metric.PSNR, NAN)


def percentiles_ms(seconds: Sequence[float]) -> Percentiles:
    """Of durations in seconds, milliseconds."""
    finite = [1e3 * value for value in seconds if np.isfinite(value)]
    return Percentiles(*(float(np.percentile(finite, p)) for p in (50, 95, 99))) if finite else Percentiles()
