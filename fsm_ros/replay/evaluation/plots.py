# SPDX-License-Identifier: Apache-2.0
"""The plots of one recording: its settings in one picture, each in its colour, baselines grey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fsm_ros.replay.evaluation.drawing import (
    BASELINE_STYLE,
    PSNR_LABEL,
    Curve,
    Plot,
    common_range,
    draw,
    draw_curves,
    style,
)
from fsm_ros.replay.evaluation.forgetting import by_age
from fsm_ros.replay.evaluation.plots_where import class_plots, distance_plots, path_plots
from fsm_ros.replay.evaluation.results import Baseline, ChunkResult, Run
from fsm_ros.replay.evaluation.summary import MIB, baseline_title, baselines_of, observed_chunks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NO_CHUNK = "no chunk was observed"
_NO_VIEW = "no held-out view was rendered"
_MAX_WRITTEN = 9


@dataclass(frozen=True)
class PlotGroup:
    """Plots that answer one question.

    Attributes:
        title: above them.
        rows: plots that stand beside each other where there is room.
    """

    title: str
    rows: tuple[tuple[Plot, ...], ...]

    @property
    def plots(self) -> tuple[Plot, ...]:
        """All of them, in order."""
        return tuple(plot for row in self.rows for plot in row)


def plots(runs: Sequence[Run], prefix: str) -> list[PlotGroup]:
    """Every plot of one recording.

    Args:
        runs: its settings.
        prefix: of everything that is named within the SVGs: unique in a page.

    Raises:
        ValueError: the runs are of several recordings, or there are none.
        ImportError: matplotlib is missing.
    """
    if len({run.recording for run in runs}) != 1:
        raise ValueError("plots are of the runs of one recording")
    return [
        PlotGroup("Quality", ((_over_time(runs, prefix), _gap(runs, prefix), _prediction(runs, prefix)),)),
        PlotGroup("Forgetting", ((_by_age(runs, prefix), *_matrices(runs, prefix)),)),
        PlotGroup(
            "Between and beyond the observed cameras",
            (distance_plots(runs, prefix), class_plots(runs, prefix), path_plots(runs, prefix)),
        ),
        PlotGroup("Cost", ((_latency(runs, prefix), _memory(runs, prefix)),)),
    ]


def _over_time(runs: Sequence[Run], prefix: str) -> Plot:
    name, title = "time", "Quality over time"
    told = (
        "Held-out views at their moment in the recording: as rendered after the whole stream (strong) and right after "
        "their own chunk (faint). Where the strong line lies below the faint one, the memory has forgotten."
    )
    curves = []
    for place, run in enumerate(runs):
        views = sorted(run.held_out, key=lambda view: view.time_s)
        times = [view.time_s for view in views]
        curves.append(Curve("", style(place), times, [v.psnr_when_new for v in views], faint=True, dots=False))
        curves.append(Curve(run.setting, style(place), times, [view.psnr() for view in views]))
    for setting, run in baselines_of(runs):
        views = sorted(run.held_out, key=lambda view: view.time_s)
        scores = [view.psnr(Baseline.NEAREST) for view in views]
        label = baseline_title(Baseline.NEAREST, setting)
        curves.append(Curve(label, BASELINE_STYLE, [view.time_s for view in views], scores, dots=False))
    return _curves(name, title, told, curves, "time, s", PSNR_LABEL, prefix, _NO_VIEW)


def _gap(runs: Sequence[Run], prefix: str) -> Plot:
    told = (
        "What a chunk's own views score above its held-out ones, right after it was observed. Near zero the memory "
        "has not learned them by heart, which one that shows nothing well has not either; far above, it has."
    )
    curves = _of_chunks(runs, lambda chunk: chunk.observed_psnr - chunk.held_out_psnr)
    why = "no chunk has both observed and held-out views that were rendered"
    return _curves("gap", "Overfitting gap", told, curves, "chunk", "observed − held-out, dB", prefix, why, True)


def _prediction(runs: Sequence[Run], prefix: str) -> Plot:
    told = (
        "Prediction (strong): how well a chunk's views were rendered before it was observed; low means new. "
        "Retention (faint): how well old keyframes are still rendered after each chunk; falling means forgetting."
    )
    curves = _of_chunks(runs, lambda chunk: chunk.prediction_psnr)
    for place, run in enumerate(runs):
        chunks = observed_chunks(run)
        scores = [chunk.retention_psnr for chunk in chunks]
        curves.append(Curve("", style(place), [c.number for c in chunks], scores, faint=True, dots=len(chunks) == 1))
    why = "neither was measured"
    return _curves("prediction", "Prediction and retention", told, curves, "chunk", PSNR_LABEL, prefix, why, True)


def _by_age(runs: Sequence[Run], prefix: str) -> Plot:
    name, title = "age", "Forgetting by age"
    told = (
        "What becomes of a chunk's held-out views while so many more chunks are observed: change since they were new, "
        "mean over the chunks. A level line forgets nothing; old ages are those of the first chunks only."
    )
    curves = []
    for place, run in enumerate(runs):
        ages = by_age(run.forgetting)
        if len(ages.ages):
            since = [0, *ages.ages.tolist()]
            curves.append(Curve(run.setting, style(place), since, [0.0, *ages.change_db.tolist()]))
    why = "it takes two chunks with held-out views"
    return _curves(name, title, told, curves, "chunks observed since", "change, dB", prefix, why, True)


def _matrices(runs: Sequence[Run], prefix: str) -> list[Plot]:
    """The forgetting matrix of each setting, all on one scale of colours."""
    scale = common_range(*(run.forgetting.psnr for run in runs))
    found = []
    for place, run in enumerate(runs):
        name, title = f"matrix-{place}", f"Forgetting matrix: {run.setting}"
        told = (
            "Row: after which chunk. Column: of which chunk the held-out views are. Read a column downwards: it fades "
            "as they are forgotten. All settings share the colours."
        )
        known = np.isfinite(run.forgetting.psnr)
        if scale is None or not known.any():
            found.append(
                Plot(name, title, told if place == 0 else "", nothing="no chunk with held-out views was observed")
            )
        else:
            found.append(
                draw(name, title, told if place == 0 else "", _heat_map(run, scale), prefix=prefix, size=(4.0, 3.3))
            )
    return found


def _heat_map(run: Run, scale: tuple[float, float]) -> Callable[[Axes], None]:
    matrix, chunks = run.forgetting.psnr, run.forgetting.chunks
    columns = np.flatnonzero(np.isfinite(matrix).any(axis=0))  # of chunks that have held-out views
    is_past = np.arange(len(chunks))[:, None] >= columns
    matrix = matrix[:, columns]
    count = len(chunks)

    def fill(axes: Axes) -> None:
        axes.grid(False)
        # What is still to come is white; what is missing is grey.
        missing = is_past & ~np.isfinite(matrix)
        axes.imshow(np.where(missing, 0.85, np.nan), cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="none")
        drawn = axes.imshow(matrix, cmap="viridis", vmin=scale[0], vmax=scale[1], aspect="auto", interpolation="none")
        rows = range(0, count, max(1, -(-count // 10)))
        across = range(0, len(columns), max(1, -(-len(columns) // 10)))
        axes.set_yticks(list(rows), [str(chunks[row]) for row in rows])
        axes.set_xticks(list(across), [str(chunks[columns[column]]) for column in across])
        axes.set_xlabel("held-out views of chunk")
        axes.set_ylabel("after chunk")
        if count <= _MAX_WRITTEN:
            middle = (scale[0] + scale[1]) / 2
            for row, column in np.argwhere(np.isfinite(matrix)).tolist():
                value = matrix[row, column]
                ink = "white" if value < middle else "black"
                axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=ink, fontsize=8)
        figure = axes.figure
        figure.colorbar(drawn, ax=axes, label=PSNR_LABEL, shrink=0.9)

    return fill


def _latency(runs: Sequence[Run], prefix: str) -> Plot:
    told = "How long it took to write each chunk into the memory. A memory of fixed size should stay level."
    curves = _of_chunks(runs, lambda chunk: 1e3 * chunk.observe_s)
    return _curves("latency", "Time to observe", told, curves, "chunk", "observe, ms", prefix, _NO_CHUNK, True, 0.0)


def _memory(runs: Sequence[Run], prefix: str) -> Plot:
    device = any(chunk.device_peak_bytes for run in runs for chunk in run.chunks)
    told = (
        "Peak memory against the views observed so far: "
        + ("of the accelerator (strong) and of the process (faint)." if device else "of the process.")
        + " Settings that ran in one process share its peak."
    )
    curves = []
    for place, run in enumerate(runs):
        seen, count = [], 0
        for chunk in run.chunks:
            count += 0 if chunk.failure else chunk.views
            seen.append(count)
        host = [chunk.host_peak_bytes / MIB for chunk in run.chunks]
        on_device = [chunk.device_peak_bytes / MIB for chunk in run.chunks]
        if device:
            curves.append(Curve("", style(place), seen, host, faint=True, dots=False))
        curves.append(Curve(run.setting, style(place), seen, on_device if device else host))
    return _curves(
        "memory", "Peak memory", told, curves, "views observed", "peak memory, MiB", prefix, _NO_CHUNK, True, 0.0
    )


def _of_chunks(runs: Sequence[Run], value: Callable[[ChunkResult], float]) -> list[Curve]:
    return [
        Curve(run.setting, style(place), [chunk.number for chunk in chunks], [value(chunk) for chunk in chunks])
        for place, (run, chunks) in enumerate((run, observed_chunks(run)) for run in runs)
    ]


def _curves(
    name: str,
    title: str,
    told: str,
    curves: Sequence[Curve],
    x_label: str,
    y_label: str,
    prefix: str,
    why_nothing: str,
    whole_numbers: bool = False,
    least: float | None = None,
) -> Plot:
    """A plot of curves, or the word why there is none."""
    shown = [curve for curve in curves if np.isfinite(np.asarray(curve.y, dtype=np.float64)).any()]
    if not shown:
        return Plot(name, title, told, nothing=why_nothing)

    def fill(axes: Axes) -> None:
        draw_curves(axes, shown, x_label, y_label, whole_numbers=whole_numbers)
        if least is not None:
            axes.set_ylim(least, 1.06 * axes.get_ylim()[1])

    return draw(name, title, told, fill, prefix=prefix)
