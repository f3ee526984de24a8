# SPDX-License-Identifier: Apache-2.0
"""The summary's columns: what each is called, how its numbers are written, and which of them is best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter

import numpy as np

from fsm_ros.replay.evaluation.results import Baseline, Metric, Run
from fsm_ros.replay.evaluation.summary import METRIC_TITLES, Mean, SummaryRow, measured_metrics, summary

MISSING = "–"


class Better(Enum):
    """Which numbers are better."""

    HIGHER = 1
    LOWER = -1
    NEITHER = 0


@dataclass(frozen=True)
class Column:
    """One number of every row.

    Attributes:
        title: short, for the head of a table.
        unit: of the number; empty where it has none.
        told: what it is, in a sentence.
        digits: behind the point.
        better: which numbers are better.
        value: of a row; NaN where it has none.
        error: its standard error; NaN where it has none.
    """

    title: str
    unit: str
    told: str
    digits: int
    better: Better
    value: Callable[[SummaryRow], float]
    error: Callable[[SummaryRow], float] = lambda row: float("nan")

    @property
    def head(self) -> str:
        """The title with its unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def text(self, row: SummaryRow) -> str:
        """The number of a row as it is shown."""
        value = self.value(row)
        return f"{value:.{self.digits}f}" if np.isfinite(value) else MISSING

    def error_text(self, row: SummaryRow) -> str:
        """The standard error of a row's number as it is shown; empty where there is none."""
        error = self.error(row)
        return f"{error:.{self.digits}f}" if np.isfinite(error) else ""

    def best(self, rows: Sequence[SummaryRow]) -> set[int]:
        """Places of the best rows: all whose number reads like the best one; none where that is all.

        What was fitted on the truth does not compete.
        """
        values = {
            place: self.value(row)
            for place, row in enumerate(rows)
            if np.isfinite(self.value(row)) and row.baseline is not Baseline.WARPED  # which knows the truth
        }
        if self.better is Better.NEITHER or len(values) < 2:
            return set()
        winner = max(values, key=lambda place: self.better.value * values[place])
        found = {place for place in values if self.text(rows[place]) == self.text(rows[winner])}
        return found if len(found) < len(values) else set()


_METRICS = {
    Metric.PSNR: (2, "dB", Better.HIGHER, "peak signal-to-noise ratio of held-out views after the whole stream"),
    Metric.SSIM: (3, "", Better.HIGHER, "structural similarity of the same, at most 1"),
    Metric.MS_SSIM: (3, "", Better.HIGHER, "the same at several scales, at most 1"),
    Metric.LPIPS: (3, "", Better.LOWER, "learned perceptual distance, lower is better"),
}

_MEMORY_ALONE = Column(
    "fast weights alone",
    "dB",
    "PSNR of the same views as the fast weights alone render them, where what ships has kept photographs as well",
    2,
    Better.HIGHER,
    lambda row: row.memory.get(Metric.PSNR, Mean()).value,
    lambda row: row.memory.get(Metric.PSNR, Mean()).error,
)

_FATE: Mapping[str, tuple[str, str, int, Better]] = {
    "average_forgetting": ("forgetting", "dB", 2, Better.LOWER),
    "backward_transfer": ("backward transfer", "dB", 2, Better.HIGHER),
    "gap": ("gap", "dB", 2, Better.NEITHER),
    "gap_when_new": ("gap when new", "dB", 2, Better.NEITHER),
    "prediction": ("prediction", "dB", 2, Better.NEITHER),
    "retention": ("retention", "dB", 2, Better.HIGHER),
}
_COST: Mapping[str, tuple[str, str, int, Better]] = {
    **{f"{what}.p{p}": (f"{what} p{p}", "ms", 1, Better.LOWER) for what in ("observe", "render") for p in (50, 95, 99)},
    "keyframes_per_s": ("keyframes", "1/s", 1, Better.HIGHER),
    "frames_per_s": ("offered", "1/s", 1, Better.HIGHER),
    "host_peak_mib": ("host", "MiB", 0, Better.NEITHER),
    "device_peak_mib": ("device", "MiB", 0, Better.LOWER),
    "state_mib": ("state", "MiB", 1, Better.LOWER),
    "submaps": ("submaps", "", 0, Better.NEITHER),
    "chunks": ("chunks", "", 0, Better.NEITHER),
    "keyframes": ("views", "", 0, Better.NEITHER),
    "epochs": ("epochs", "", 0, Better.NEITHER),
}
"""What `SummaryRow` calls a number: title, unit, digits, and which are better."""
_TOLD = {
    "average_forgetting": "average forgetting: how far views have fallen below the best they ever were",
    "backward_transfer": "final quality of earlier chunks minus that when they were new; below zero: later chunks cost "
    "them",
    "gap": "overfitting: observed views minus held-out ones after the whole stream, both by the fast weights alone",
    "gap_when_new": "the same of each chunk right after it was observed",
    "prediction": "PSNR of a chunk's own views before it is observed",
    "retention": "PSNR of old keyframes, rendered after each chunk",
    **{f"observe.p{p}": f"writing one chunk: {p} of 100 take no longer" for p in (50, 95, 99)},
    **{f"render.p{p}": f"rendering one view: {p} of 100 take no longer" for p in (50, 95, 99)},
    "keyframes_per_s": "observed views a second of the stream, reading and decoding included",
    "frames_per_s": "images a second of the stream likewise, most of which may be no keyframes",
    "host_peak_mib": "peak resident memory of the process",
    "device_peak_mib": "peak memory of the accelerator",
    "state_mib": "size of the memory's state",
    "submaps": "memories in use at the end",
    "chunks": "observed",
    "keyframes": "observed: keyframes",
    "epochs": "of the memory",
}


def quality_columns(runs: Sequence[Run]) -> list[Column]:
    """How good the answers are, and what became of them: one column for each metric that was measured, and so on."""
    found = [_metric_column(metric) for metric in measured_metrics(runs)]
    if any(view.memory for run in runs for view in run.held_out):
        found.append(_MEMORY_ALONE)
    return found + _columns(_FATE)


def cost_columns(runs: Sequence[Run]) -> list[Column]:
    """What it takes."""
    device = any(chunk.device_peak_bytes for run in runs for chunk in run.chunks)
    return _columns({name: column for name, column in _COST.items() if device or name != "device_peak_mib"})


def summary_text(runs: Sequence[Run]) -> str:
    """The evaluation for a terminal: one table a recording, quality above cost; ends with a line break."""
    lines: list[str] = []
    for recording in dict.fromkeys(run.recording for run in runs):
        of_recording = [run for run in runs if run.recording == recording]
        rows = summary(of_recording)
        memories = [row for row in rows if row.baseline is None]
        lines.append(_heading(of_recording))
        lines += _aligned(_cells(quality_columns(of_recording), rows))
        lines.append("")
        lines += _aligned(_cells(cost_columns(of_recording), memories))
        lines += [
            f"{run.setting}: interrupted, the stream was not evaluated to its end"
            for run in of_recording
            if not run.complete
        ]
        lines.append("")
    return "\n".join(lines)


def _metric_column(metric: Metric) -> Column:
    digits, unit, better, told = _METRICS[metric]

    def found(row: SummaryRow) -> Mean:
        return row.quality.get(metric, Mean())

    return Column(METRIC_TITLES[metric], unit, told, digits, better, lambda r: found(r).value, lambda r: found(r).error)


def _columns(named: Mapping[str, tuple[str, str, int, Better]]) -> list[Column]:
    return [
        Column(title, unit, _TOLD[name], digits, better, attrgetter(name))
        for name, (title, unit, digits, better) in named.items()
    ]


def _heading(runs: Sequence[Run]) -> str:
    views = max(len(run.held_out) for run in runs)
    counted = "one held-out view" if views == 1 else f"{views} held-out views"
    so_far = "" if all(run.complete for run in runs) else " so far, interrupted"
    return (
        f"{runs[0].recording}: {runs[0].frames} images, {runs[0].duration_s:.1f} s, {counted}{so_far} "
        f"({runs[0].hold_out})"
    )


def _cells(columns: Sequence[Column], rows: Sequence[SummaryRow]) -> list[list[str]]:
    """Head and body of a table, as text."""
    body = []
    for row in rows:
        texts = [(column.text(row), column.error_text(row)) for column in columns]
        body.append([row.title, *(f"{text} ± {error}" if error else text for text, error in texts)])
    return [["", *(column.head for column in columns)], *body]


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Columns of even width: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in cells
    ]
