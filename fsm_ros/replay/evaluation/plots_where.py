# SPDX-License-Identifier: Apache-2.0
"""Plots of quality against where a view lies: whether the memory knows the place, or only its cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fsm_ros.replay.evaluation.drawing import (
    BASELINE,
    BASELINE_STYLE,
    PSNR_LABEL,
    Curve,
    Plot,
    add_legend,
    common_range,
    draw,
    draw_curves,
    shortened,
    style,
)
from fsm_ros.replay.evaluation.results import Baseline, Novelty, PathSide, Run, ViewResult
from fsm_ros.replay.evaluation.summary import Mean, baseline_title, baselines_of, mean, measured_baselines
from fsm_ros.replay.evaluation.whereabouts import bins

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEWEST = 3  # views of a point, where there are as many
_NO_VIEW = "no held-out view was rendered"
_DISTANCES = {
    "metres": ("Distance to the nearest camera", "distance, m", "the distance to the nearest observed camera"),
    "radians": ("Angle to the nearest camera", "angle, rad", "the angle to the nearest observed camera"),
    "seconds": ("Time to the nearest camera", "time, s", "the time between a view and the nearest observed camera"),
}
_SIDES = {PathSide.INSIDE: "inside the path", PathSide.OUTSIDE: "outside the path"}
_NOVELTY = {
    Novelty.NEITHER: "observed view,\nobserved time",
    Novelty.VIEW: "novel view",
    Novelty.TIME: "novel time",
    Novelty.BOTH: "novel view\nand time",
}
_GREYS = {Baseline.NEAREST: "0.45", Baseline.WARPED: "0.62", Baseline.LAST: "0.78"}


def distance_plots(runs: Sequence[Run], prefix: str) -> tuple[Plot, ...]:
    """Quality against metres, radians and seconds to the nearest observed camera."""
    return tuple(_against(name, runs, prefix) for name in _DISTANCES)


def class_plots(runs: Sequence[Run], prefix: str) -> tuple[Plot, ...]:
    """Quality inside and outside the observed path, and by what is new about a view."""
    return _sides(runs, prefix), _novelties(runs, prefix)


def _against(name: str, runs: Sequence[Run], prefix: str) -> Plot:
    title, label, words = _DISTANCES[name]
    told = f"Quality against {words}; means of about equally many views each, with standard error."
    if name == "metres":
        told += (
            " A line that falls like the nearest keyframe's knows its cameras; one that stays level needs none near."
        )
    curves = [_binned(run.setting, place, name, run.held_out, ViewResult.psnr) for place, run in enumerate(runs)]
    for setting, run in baselines_of(runs):
        label_of = baseline_title(Baseline.NEAREST, setting)
        curves.append(_binned(label_of, None, name, run.held_out, lambda view: view.psnr(Baseline.NEAREST)))
    shown = [curve for curve in curves if len(curve.x)]
    if not shown:
        return Plot(name, title, told, nothing=_NO_VIEW)
    return draw(name, title, told, lambda axes: draw_curves(axes, shown, label, PSNR_LABEL), prefix=prefix)


def _binned(
    label: str, place: int | None, name: str, views: Sequence[ViewResult], score: Callable[[ViewResult], float]
) -> Curve:
    found = [(getattr(view.where, name), score(view)) for view in views if view.where is not None]
    kept = [(where, value) for where, value in found if np.isfinite(where) and np.isfinite(value)]
    values, places = [value for _, value in kept], [where for where, _ in kept]
    curve = bins(values, places, fewest=min(_FEWEST, len(kept))) if kept else []
    return Curve(
        label,
        BASELINE_STYLE if place is None else style(place),
        [entry.where for entry in curve],
        [entry.mean for entry in curve],
        [entry.error for entry in curve],
    )


def _sides(runs: Sequence[Run], prefix: str) -> Plot:
    told = (
        "Interpolation and extrapolation apart: views within what the cameras passed through, and views beyond it. "
        "Mean with standard error; n counts views."
    )
    classes = {text: _that("side", side) for side, text in _SIDES.items()}
    return _bars("side", "Inside and outside the path", told, classes, runs, prefix)


def _novelties(runs: Sequence[Run], prefix: str) -> Plot:
    told = (
        "What is new about a view: its pose, its moment, both or neither. Mean with standard error; n counts views; "
        "a class without views is empty."
    )
    classes = {text: _that("novelty", kind) for kind, text in _NOVELTY.items()}
    return _bars("novelty", "What is new about a view", told, classes, runs, prefix)


def _that(name: str, wanted: PathSide | Novelty) -> Callable[[ViewResult], bool]:
    return lambda view: view.where is not None and getattr(view.where, name) is wanted


def _bars(
    name: str,
    title: str,
    told: str,
    classes: dict[str, Callable[[ViewResult], bool]],
    runs: Sequence[Run],
    prefix: str,
) -> Plot:
    """Mean PSNR of each class of views: a bar a setting and baseline."""
    if not any(view.where is not None for run in runs for view in run.held_out):
        return Plot(name, title, told, nothing=_NO_VIEW)
    bars: list[tuple[str, str, Run, Callable[[ViewResult], float]]] = [
        (run.setting, style(place).colour, run, ViewResult.psnr) for place, run in enumerate(runs)
    ]
    for setting, run in baselines_of(runs):
        for which in measured_baselines([run]):
            bars.append((baseline_title(which, setting), _GREYS[which], run, _baseline_score(which)))
    counts = [[sum(map(holds, run.held_out)) for _, _, run, _ in bars] for holds in classes.values()]
    # A class without views takes less room.
    heights = [len(bars) if any(own) else 2 for own in counts]
    tops = np.cumsum([0.0, *(height + 1.2 for height in heights)])

    def fill(axes: Axes) -> None:
        axes.grid(False, axis="y")
        for own, top, holds in zip(counts, tops, classes.values(), strict=False):
            for place, (_, colour, run, score) in enumerate(bars if any(own) else ()):
                result = mean(score(view) for view in run.held_out if holds(view))
                _bar(axes, top + place, result, colour)
            if not any(own):
                axes.text(0.0, top + 0.5, "  no such view", va="center", color="0.4")
        for label, colour, _, _ in bars:
            axes.barh(np.nan, np.nan, color=colour, label=shortened(label))
        middles = [top + (height - 1) / 2 for top, height in zip(tops, heights, strict=False)]
        axes.set_yticks(middles, [f"{text}\n{_counted(own)}" for text, own in zip(classes, counts, strict=True)])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(float(tops[-1]) - 1.4, -0.8)
        axes.margins(x=0.12)
        axes.set_xlim(left=0.0)
        axes.set_xlabel(PSNR_LABEL)
        add_legend(axes)

    height = 0.8 + 0.1 * len(bars) + 0.155 * float(tops[-1])
    return draw(name, title, told, fill, prefix=prefix, size=(4.0, height))


def _bar(axes: Axes, at: float, result: Mean, colour: str) -> None:
    if not result.count:
        return
    error = result.error if np.isfinite(result.error) else 0.0
    axes.barh(at, result.value, height=0.86, color=colour)
    if error:
        axes.errorbar(result.value, at, xerr=error, color="0.1", elinewidth=0.9, capsize=1.5)
    beyond = (result.value + error, at)
    axes.annotate(f"{result.value:.1f}", beyond, (3, 0), textcoords="offset points", va="center", fontsize=7.5)


def _baseline_score(which: Baseline) -> Callable[[ViewResult], float]:
    return lambda view: view.psnr(which)


def _counted(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return f"n = {most}" if least == most else f"n = {least} to {most}"


def path_plots(runs: Sequence[Run], prefix: str) -> tuple[Plot, ...]:
    """The camera path from above, one a setting, all on one scale of colours."""
    scale = common_range(*([view.psnr() for view in run.held_out] for run in runs))
    positions = [p for run in runs for p in run.path.observed] + [v.position for run in runs for v in run.held_out]
    onto = _principal_plane(np.asarray(positions, dtype=np.float64).reshape(-1, 3))
    found = []
    for place, run in enumerate(runs):
        name, title = f"path-{place}", f"Quality along the path: {run.setting}"
        told = (
            "The camera path in the plane in which it spreads most, metres: the line is what was observed, dots are "
            "held-out views. Dark dots are places that the memory renders badly. All settings share the colours."
        )
        if not run.path.observed and not run.held_out:
            found.append(Plot(name, title, told if place == 0 else "", nothing=_NO_VIEW))
        else:
            found.append(
                draw(name, title, told if place == 0 else "", _path(run, onto, scale), prefix=prefix, size=(4.0, 3.3))
            )
    return tuple(found)


def _principal_plane(positions: NDArray[np.float64]) -> Callable[[Sequence[Sequence[float]]], NDArray[np.float64]]:
    """A map from ``[n, 3]`` positions to ``[n, 2]`` coordinates along the two axes in which these spread most."""
    middle = positions.mean(axis=0) if len(positions) else np.zeros(3)
    spread = np.linalg.svd(positions - middle, full_matrices=True)[2][:2] if len(positions) else np.eye(3)[:2]
    # Of the two directions of an axis, that along which the larger coordinate grows: alike in every run.
    signs = np.sign(spread[np.arange(2), np.abs(spread).argmax(axis=1)])
    axes = (spread * signs[:, None]).T
    return lambda points: (np.asarray(points, dtype=np.float64).reshape(-1, 3) - middle) @ axes


def _path(
    run: Run,
    onto: Callable[[Sequence[Sequence[float]]], NDArray[np.float64]],
    scale: tuple[float, float] | None,
) -> Callable[[Axes], None]:
    def fill(axes: Axes) -> None:
        observed, views = onto(run.path.observed), onto([view.position for view in run.held_out])
        axes.plot(*observed.T, color=BASELINE, linewidth=1.0, marker=".", markersize=2.5, label="observed", zorder=1)
        if len(observed):
            axes.plot(*observed[0], color="0.1", marker=">", markersize=6, linestyle="", label="start", zorder=3)
        scores = np.array([view.psnr() for view in run.held_out])
        if scale is not None and len(views):
            known = np.isfinite(scores)
            axes.scatter(
                views[~known, 0], views[~known, 1], s=22, facecolor="white", edgecolor="0.3", linewidth=0.7, zorder=2
            )
            drawn = axes.scatter(
                views[known, 0],
                views[known, 1],
                c=scores[known],
                s=26,
                cmap="viridis",
                vmin=scale[0],
                vmax=scale[1],
                edgecolor="0.25",
                linewidth=0.5,
                label="held-out",
                zorder=2,
            )
            axes.figure.colorbar(drawn, ax=axes, label=PSNR_LABEL, shrink=0.9)
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.08)
        axes.set_xlabel("first axis, m")
        axes.set_ylabel("second axis, m")
        add_legend(axes)

    return fill
