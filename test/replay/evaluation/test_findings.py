# SPDX-License-Identifier: Apache-2.0
"""What the numbers of a recording are said to mean: never more than they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from evaluation_runs import make_run

from fsm_ros.replay.evaluation.columns import quality_columns
from fsm_ros.replay.evaluation.findings import findings
from fsm_ros.replay.evaluation.results import Baseline, Metric, Run
from fsm_ros.replay.evaluation.summary import summary


def scored(setting: str, scores: Sequence[float], *, complete: bool = True, stamps_ns: Sequence[int] = ()) -> Run:
    """A run whose held-out views have these PSNR, dB."""
    run = make_run(setting=setting, chunks=3, views=len(scores), complete=complete)
    stamps_ns = stamps_ns or [view.stamp_ns for view in run.held_out]
    views = zip(run.held_out, scores, stamps_ns, strict=True)
    return replace(
        run, held_out=tuple(replace(v, render={Metric.PSNR: score}, stamp_ns=stamp) for v, score, stamp in views)
    )


def test_a_lead_is_one_where_it_is_more_than_twice_its_error() -> None:
    one, other = scored("one", [20.0, 25.0, 30.0, 35.0]), scored("other", [19.0, 24.1, 29.0, 33.9])
    (best, *_) = findings([other, one])
    assert best.startswith("one renders held-out views at 27.50")
    assert "On the same views one leads other by 1.00" in best
    equal = scored("other", [21.0, 24.0, 31.0, 34.0])
    assert "no clear difference" in findings([one, equal])[0]
    assert "no clear difference" in findings([one, scored("same", [20.0, 25.0, 30.0, 35.0])])[0]


def test_a_run_that_was_cut_short_is_not_compared_with_whole_ones() -> None:
    """It was asked for a few views, easy ones maybe."""
    whole = scored("whole", [20.0, 20.5, 30.0, 30.5])
    cut = scored("cut", [29.0, 29.4, 29.8], complete=False)
    told = findings([whole, cut])
    assert told[0].startswith("whole renders")
    assert not any("cut" in sentence for sentence in told)
    assert findings([cut])[0].startswith("cut renders"), "but is told where there is nothing else"


def test_the_better_one_on_the_same_views_leads_whatever_the_means_say() -> None:
    one = scored("one", [20.0, np.nan, np.nan, 40.0])
    other = scored("other", [22.0, 20.0, 20.2, 42.1])
    assert "On the same views other leads one by 2.05" in findings([one, other])[0]


def test_views_of_equal_stamps_are_compared_each_with_its_own() -> None:
    """As in a recording of a loop."""
    stamps_ns = [100, 200, 100, 200]
    one = scored("one", [20.0, 22.0, 30.0, 32.0], stamps_ns=stamps_ns)
    other = scored("other", [19.0, 21.1, 29.0, 30.9], stamps_ns=stamps_ns)
    assert "one leads other by 1.00" in findings([one, other])[0]


def test_views_of_other_sizes_are_not_compared() -> None:
    small, large = make_run(setting="small"), make_run(setting="large", size=(64, 96))
    told = findings([small, large])[0]
    assert "cannot be compared" in told
    assert "leads" not in told


@pytest.mark.parametrize("runs", [[], [scored("nothing", [np.nan, np.nan])]])
def test_of_nothing_nothing_is_said(runs: list[Run]) -> None:
    assert findings(runs) == []


def with_nearest(run: Run, scores: Sequence[float], warped: float) -> Run:
    """The same with these PSNR of the nearest keyframe, and of the oracle, dB."""
    return replace(
        run,
        held_out=tuple(
            replace(view, baselines={Baseline.NEAREST: {Metric.PSNR: score}, Baseline.WARPED: {Metric.PSNR: warped}})
            for view, score in zip(run.held_out, scores, strict=True)
        ),
    )


@pytest.mark.parametrize(
    ("nearest", "told"),
    [
        (
            [18.0, 19.1, 18.0, 18.9],
            "one is 2.00 ± 0.07 dB better than showing the nearest keyframe, on the same views.",
        ),
        ([23.0, 24.1, 23.0, 23.9], "one is 3.00 ± 0.07 dB worse than showing the nearest keyframe, on the same views."),
        ([10.0, 31.0, 12.0, 29.0], "no clear difference"),
    ],
)
def test_the_memory_is_compared_with_what_a_robot_could_show_instead(nearest: list[float], told: str) -> None:
    run = with_nearest(scored("one", [20.0, 21.0, 20.2, 20.8]), nearest, 35.0)
    found = findings([run])
    assert told in found[1]
    assert "would have 35.00 dB: an upper bound" in found[2]


def test_forgetting_that_could_not_show_is_not_told_as_none() -> None:
    few = make_run(setting="few", chunks=3)
    assert any("3 chunks are too few to judge the forgetting of few" in sentence for sentence in findings([few]))
    run = make_run(setting="atlas", chunks=6)
    apart = replace(run, chunks=tuple(replace(c, epoch=0, submaps=c.number + 1) for c in run.chunks))
    assert any("each of the 6 chunks had a submap of its own" in sentence for sentence in findings([apart]))
    shared = replace(run, chunks=tuple(replace(c, epoch=0, submaps=2) for c in run.chunks))
    assert not any("submap of its own" in sentence for sentence in findings([shared]))


def test_what_was_fitted_on_the_truth_is_never_the_best() -> None:
    run = with_nearest(scored("one", [20.0, 21.0, 20.2, 20.8]), [18.0, 19.0, 18.0, 19.0], 35.0)
    rows = summary([run])
    (psnr,) = [column for column in quality_columns([run]) if column.title == "PSNR"]
    assert [rows[place].title for place in psnr.best(rows)] == ["one"]


def test_what_kept_photographs_add_to_the_fast_weights_is_told_where_it_is_known() -> None:
    told = findings([make_run(setting="both", photographs_add=2.5), make_run(setting="other", skill=0.1)])
    assert any(sentence.endswith("kept photographs add 2.50 ± 0.00 dB.") for sentence in told)
    assert any("kept photographs cost 1.00" in sentence for sentence in findings([make_run(photographs_add=-1.0)]))
    assert any("no clear difference (0.00" in sentence for sentence in findings([make_run(photographs_add=0.0)]))
    assert not any("kept photographs" in sentence for sentence in findings([make_run()]))
