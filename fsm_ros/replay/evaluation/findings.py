"""What the numbers of one recording say, in plain sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from fsm_ros.replay.evaluation.results import Baseline, Metric, PathSide, Run, ViewResult
from fsm_ros.replay.evaluation.summary import BASELINE_TITLES, Mean, baselines_of, mean, measured_baselines, summary

_SURE = 2.0
"""Standard errors that a difference must measure to be called one."""


def findings(runs: Sequence[Run]) -> list[str]:
    """One sentence for each question that the runs of a recording can answer, the most important first.

    A run that was interrupted was asked for other views than the others, so that it is left out where one was not.
    """
    runs = [run for run in runs if run.complete] or runs
    ranked = sorted((run for run in runs if np.isfinite(_psnr(run).value)), key=lambda run: -_psnr(run).value)
    if not ranked:
        return []
    found = [_best(ranked), _against_baselines(ranked[0], runs), _forgetting(runs), _beyond(ranked[0])]
    return [sentence for sentence in found if sentence]


def _best(ranked: Sequence[Run]) -> str:
    best = ranked[0]
    sentence = f"{best.setting} renders held-out views at {_told(_psnr(best))} PSNR"
    if len(ranked) == 1:
        return sentence + "."
    others = ", ".join(f"{run.setting} at {_psnr(run).value:.2f}" for run in ranked[1:])
    if len({run.pictures.truth.shape[1:] for run in ranked}) > 1:
        return f"{sentence}, {others}; their views differ in size, and so such figures cannot be compared."
    difference = _paired(best, _render, ranked[1], _render)
    return f"{sentence}, {others}.{_sureness(difference, best.setting, ranked[1].setting)}"


def _sureness(difference: Mean, best: str, second: str) -> str:
    """Whether a lead is one; nothing where there are too few views to tell."""
    if not np.isfinite(difference.error):
        return ""
    if abs(difference.value) <= _SURE * difference.error:
        return f" Between {best} and {second} these views show no clear difference."
    ahead, behind = (best, second) if difference.value > 0 else (second, best)
    size = Mean(abs(difference.value), difference.error, difference.count)
    return f" On the same views {ahead} leads {behind} by {_told(size)}."


def _against_baselines(best: Run, runs: Sequence[Run]) -> str:
    """The best setting against the best answer without a memory, on the same views."""
    sources = baselines_of(runs)
    own = next((run for setting, run in sources if setting in ("", best.setting)), None)
    scored = (
        [] if own is None else [(which, mean(map(_of(which), own.held_out))) for which in measured_baselines([own])]
    )
    scored = [(which, score) for which, score in scored if np.isfinite(score.value)]
    if own is None or not scored:
        return ""
    which, score = max(scored, key=lambda entry: entry[1].value)
    difference = _paired(best, _render, own, _of(which))
    if not np.isfinite(difference.value):
        return ""
    verb = "above" if difference.value >= 0 else "below"
    extra = ", at the depth that suits the truth best" if which is Baseline.WARPED else ""
    size = _told(Mean(abs(difference.value), difference.error, difference.count))
    return (
        f"The best answer without a memory ({BASELINE_TITLES[which]}{extra}) has {score.value:.2f} dB: "
        f"{best.setting} lies {size} {verb} it."
    )


def _forgetting(runs: Sequence[Run]) -> str:
    rows = [row for row in summary(runs) if row.baseline is None and np.isfinite(row.average_forgetting)]
    if not rows:
        return ""
    told = ", ".join(f"{row.average_forgetting:.2f} dB with {row.setting}" for row in rows)
    return f"At the end, views of earlier chunks lie below the best they ever were by {told} (average forgetting)."


def _beyond(best: Run) -> str:
    """What leaving the path costs."""
    inside, outside = (
        [view for view in best.held_out if view.where is not None and view.where.side is side]
        for side in (PathSide.INSIDE, PathSide.OUTSIDE)
    )
    drop = _apart(mean(map(_render, inside)), mean(map(_render, outside)))
    if not np.isfinite(drop.error):
        return ""
    nearest = _of(Baseline.NEAREST)
    other = _apart(mean(map(nearest, inside)), mean(map(nearest, outside)))
    clear = "" if abs(drop.value) >= _SURE * drop.error else " (no clear difference)"
    compared = f", the nearest keyframe {_less(other)}" if np.isfinite(other.value) else ""
    return f"Outside the observed path {best.setting} scores {_less(drop)} than inside{clear}{compared}."


def _less(drop: Mean) -> str:
    return f"{_told(Mean(abs(drop.value), drop.error, drop.count))} {'less' if drop.value >= 0 else 'more'}"


def _apart(one: Mean, other: Mean) -> Mean:
    """Difference of the means of different views."""
    return Mean(one.value - other.value, float(np.hypot(one.error, other.error)), min(one.count, other.count))


def _paired(
    one: Run, score: Callable[[ViewResult], float], other: Run, other_score: Callable[[ViewResult], float]
) -> Mean:
    """Mean difference over the views that both have."""
    others = _by_moment(other)
    return mean(score(v) - other_score(others[key]) for key, v in _by_moment(one).items() if key in others)


def _by_moment(run: Run) -> dict[tuple[str, int, int], ViewResult]:
    """The held-out views by camera, stamp and how often that came before: in a recording of a loop it comes again."""
    times: Counter[tuple[str, int]] = Counter()
    found = {}
    for view in run.held_out:
        before = times[view.source, view.stamp_ns]
        times[view.source, view.stamp_ns] += 1
        found[view.source, view.stamp_ns, before] = view
    return found


def _psnr(run: Run) -> Mean:
    return mean(map(_render, run.held_out))


def _render(view: ViewResult) -> float:
    return view.render.get(Metric.PSNR, np.nan)


def _of(which: Baseline) -> Callable[[ViewResult], float]:
    return lambda view: view.baselines.get(which, {}).get(Metric.PSNR, np.nan)


def _told(value: Mean) -> str:
    error = f" ± {value.error:.2f}" if np.isfinite(value.error) else ""
    return f"{value.value:.2f}{error} dB"
