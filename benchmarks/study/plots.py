# SPDX-License-Identifier: Apache-2.0
"""The study's pictures, made from its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from study.comparison import ProbeTable, figure, mean_of
from study.results import ArmResult

COLOURS = ("#b2182b", "#e08214", "#4393c3", "#2166ac", "#1b7837", "#762a83", "#000000", "#8c510a")
_AXES = {
    "metres": "distance to the nearest observed camera, m",
    "radians": "angle to the nearest observed camera, rad",
    "seconds": "time to the observed view of that pose, s",
}


@dataclass(frozen=True, eq=False)
class Line:
    """One arm in a picture.

    Attributes:
        title: in the legend.
        results: one a seed.
    """

    title: str
    results: Sequence[ArmResult]


def plot_chunks(path: Path, lines: Sequence[Line], nearest: ArmResult) -> None:
    """Views seen so far, the first chunk's and the newest chunk's, against the number of chunks."""
    figures = {
        "held_out": "held-out views of all that was seen",
        "first": "the first chunk's views, again",
        "newest": "the newest chunk's views",
    }
    plt, counts = _pyplot(), nearest.chunk_counts
    drawing, axes = plt.subplots(1, 3, figsize=(12, 3.8), sharey=True, layout="constrained")
    for axis, (name, title) in zip(axes, figures.items(), strict=True):
        _draw_against_chunks(axis, lines, name, counts)
        if name == "held_out":
            values = [float(nearest.column(name, count).mean()) for count in counts]
            axis.plot(counts, values, color="0.5", linestyle=":", label="nearest observed view")
        axis.set_title(title, fontsize=10)
    axes[0].set_ylabel("PSNR, dB")
    axes[0].legend(fontsize=8)
    _save(plt, drawing, path)


def plot_gap(path: Path, lines: Sequence[Line]) -> None:
    """What observed views score above held-out ones, against the number of chunks."""
    plt = _pyplot()
    drawing, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
    counts = lines[0].results[0].chunk_counts
    _draw_against_chunks(axis, lines, "gap", counts)
    axis.axhline(0.0, color="0.6", linewidth=0.8)
    axis.set_ylabel("observed minus held-out views, dB")
    axis.legend(fontsize=8)
    _save(plt, drawing, path)


def plot_shortcut(path: Path, lines: Sequence[Line], nearest: ArmResult, probes: ProbeTable) -> None:
    """Quality of what nobody saw, against distance, angle and time to the nearest observed view.

    The nearest view is left out of the last picture: of a pose that was observed it is nearly exact at any time.
    """
    plt = _pyplot()
    drawing, axes = plt.subplots(1, 3, figsize=(12, 3.8), sharey=True, layout="constrained")
    everything = [*_coloured(lines), ("0.5", Line("nearest observed view", [nearest]))]
    for colour, line in everything:
        curves = probes.curves(line.results)
        for axis, (name, label) in zip(axes, _AXES.items(), strict=True):
            if name == "seconds" and line.results[0] is nearest:
                continue
            where, value, error, _ = np.array(curves[name]).T
            style = ":" if colour == "0.5" else "-"
            axis.errorbar(where, value, error, color=colour, linestyle=style, label=line.title, capsize=2)
            axis.set_xlabel(label)
            axis.grid(alpha=0.3)
    axes[0].set_ylabel("PSNR, dB")
    axes[0].legend(fontsize=8)
    _save(plt, drawing, path)


def _draw_against_chunks(axis: Any, lines: Sequence[Line], name: str, counts: Sequence[int]) -> None:  # noqa: ANN401
    """One figure of every arm, with its errors, against the number of chunks."""
    for colour, line in _coloured(lines):
        means = [mean_of(figure(line.results, name, count)) for count in counts]
        axis.errorbar(
            counts, [m.value for m in means], [m.error for m in means], color=colour, label=line.title, capsize=2
        )
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.set_xlabel("chunks observed")
    axis.grid(alpha=0.3)


def _coloured(lines: Sequence[Line]) -> list[tuple[str, Line]]:
    if len(lines) > len(COLOURS):
        raise ValueError(f"there are colours for {len(COLOURS)} arms, got {len(lines)}")
    return list(zip(COLOURS, lines, strict=False))


def _pyplot() -> Any:  # noqa: ANN401  # a module
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("the plots need matplotlib: pip install matplotlib, or fsm_ros[plots]") from error
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    return plt


def _save(plt: Any, drawing: Any, path: Path) -> None:  # noqa: ANN401  # a module, a figure
    drawing.savefig(path, dpi=110)
    plt.close(drawing)
