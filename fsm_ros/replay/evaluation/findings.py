# SPDX-License-Identifier: Apache-2.0
"""What the numbers of one recording say, in plain sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from fsm_ros.replay.evaluation.results import Baseline, Metric, PathSide, Run, ViewResult
from fsm_ros.replay.evaluation.summary import Mean, baselines_of, mean, observed_chunks, summary

_SURE = 2.0
"""Standard errors that a difference must measure to be called one."""

_FEWEST_CHUNKS = 4
"""Of fewer, nothing is said about forgetting."""


def findings(runs: Sequence[Run]) -> list[str]:
    """One sentence for each question that the runs of a recording can answer, the most important first.

    A run that was interrupted was asked for other views than the others, so that it is left out where one was not.
    """
    runs = [run for run in runs if run.complete] or runs
    ranked = sorted((run for run in runs if np.isfinite(_psnr(run).value)), key=lambda run: -_psnr(run).value)
    if not ranked:
        return []
    best = ranked[0]
    found = [
        _best(ranked),
        _from_photographs(best),
        _against_nearest(best, runs),
        _bound(best, runs),
        _forgetting(runs),
    ]
    found += [*_untouched(runs), _beyond(best)]
    return [sentence for sentence in found if sentence]


def _best(ranked: Sequence[Run]) -> str:
    best = ranked[0]
    sentence = f"{best.setting} renders held-out views at {_told(_psnr(best))} PSNR"
    if len(ranked) == 1:
        return sentence + "."
    others = ", ".join(f"{run.setting} at {_psnr(run).value:.2f}" for run in ranked[1:])
    if len({run.pictures.truth.shape[1:] for run in ranked}) > 1:
        return f"{sentence}, {others}; their views differ in size, and so such figures cannot be compared."
    difference = _paired(best, ViewResult.psnr, ranked[1], ViewResult.psnr)
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


def _from_photographs(best: Run) -> str:
    """What the kept photographs add to the fast weights, on the same views."""
    gain = _paired(best, ViewResult.psnr, best, _of_fast_weights)
    if not np.isfinite(gain.value):
        return ""
    alone = _told(mean(map(_of_fast_weights, best.held_out)))
    size = _told(Mean(abs(gain.value), gain.error, gain.count))
    if np.isfinite(gain.error) and abs(gain.value) <= _SURE * gain.error:
        return (
            f"The fast weights alone render these views at {alone}: kept photographs make no clear difference ({size})."
        )
    verb = "add" if gain.value >= 0 else "cost"
    return f"The fast weights alone render these views at {alone}: kept photographs {verb} {size}."


def _against_nearest(best: Run, runs: Sequence[Run]) -> str:
    """The best setting against showing the nearest keyframe, on the same views."""
    own = _baseline_source(best, runs)
    if own is None:
        return ""
    difference = _paired(best, ViewResult.psnr, own, _of(Baseline.NEAREST))
    if not np.isfinite(difference.value):
        return ""
    size = _told(Mean(abs(difference.value), difference.error, difference.count))
    if np.isfinite(difference.error) and abs(difference.value) <= _SURE * difference.error:
        return f"Between {best.setting} and showing the nearest keyframe there is no clear difference ({size})."
    verb = "better" if difference.value >= 0 else "worse"
    return f"{best.setting} is {size} {verb} than showing the nearest keyframe, on the same views."


def _bound(best: Run, runs: Sequence[Run]) -> str:
    """How far the nearest keyframe could be warped, if the truth were known."""
    own = _baseline_source(best, runs)
    score = Mean() if own is None else mean(map(_of(Baseline.WARPED), own.held_out))
    if not np.isfinite(score.value):
        return ""
    return (
        f"That keyframe, warped as one plane at the depth that suits the truth best, would have {score.value:.2f} dB: "
        "an upper bound, as no robot knows that depth."
    )


def _baseline_source(best: Run, runs: Sequence[Run]) -> Run | None:
    """The run whose baselines are those of the best one's keyframes."""
    return next((run for setting, run in baselines_of(runs) if setting in ("", best.setting)), None)


def _forgetting(runs: Sequence[Run]) -> str:
    rows = [row for row in summary(runs) if row.baseline is None and np.isfinite(row.average_forgetting)]
    if not rows:
        return ""
    told = ", ".join(f"{row.average_forgetting:.2f} dB with {row.setting}" for row in rows)
    return f"At the end, views of earlier chunks lie below the best they ever were by {told} (average forgetting)."


def _untouched(runs: Sequence[Run]) -> list[str]:
    """Where forgetting could not show."""
    told = []
    few = [run for run in runs if len(observed_chunks(run)) < _FEWEST_CHUNKS]
    if few:
        counts = " or ".join(str(count) for count in sorted({len(observed_chunks(run)) for run in few}))
        told.append(f"{counts} chunks are too few to judge the forgetting of {', '.join(r.setting for r in few)}.")
    for run in runs:
        chunks = observed_chunks(run)
        last = [chunk for chunk in chunks if chunk.epoch == chunks[-1].epoch]
        if len(chunks) >= _FEWEST_CHUNKS and last[-1].submaps == len(last):
            told.append(
                f"With {run.setting} each of the {len(last)} chunks had a submap of its own: none was written over, "
                "and forgetting could not show; a longer recording, or fewer memory.submaps, would tell."
            )
    return told


def _beyond(best: Run) -> str:
    """What leaving the path costs."""
    inside, outside = (
        [view for view in best.held_out if view.where is not None and view.where.side is side]
        for side in (PathSide.INSIDE, PathSide.OUTSIDE)
    )
    drop = _apart(mean(map(ViewResult.psnr, inside)), mean(map(ViewResult.psnr, outside)))
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
    return mean(map(ViewResult.psnr, run.held_out))


def _of_fast_weights(view: ViewResult) -> float:
    return view.memory.get(Metric.PSNR, np.nan)


def _of(which: Baseline) -> Callable[[ViewResult], float]:
    return lambda view: view.psnr(which)


def _told(value: Mean) -> str:
    error = f" ± {value.error:.2f}" if np.isfinite(value.error) else ""
    return f"{value.value:.2f}{error} dB"
