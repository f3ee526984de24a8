# SPDX-License-Identifier: Apache-2.0
"""The same held-out view under every setting, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsm_ros.replay.evaluation.results import Baseline, Run, ViewResult

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class AlignedView:
    """One held-out view.

    Attributes:
        source: which camera.
        stamp_ns: its moment.
        time_s: seconds since the recording's first image.
        truth: ``[height, width, 3]`` uint8 RGB: what the camera saw.
        fxfycxcy: ``[4]`` its intrinsics, pixels, pixel centres at half-integers.
        results: one a run; None where that run did not render it.
        renders: likewise: what the memory answered.
        baselines: likewise: what the baselines answer.
    """

    source: str
    stamp_ns: int
    time_s: float
    truth: Image
    fxfycxcy: NDArray[np.float64]
    results: tuple[ViewResult | None, ...]
    renders: tuple[Image | None, ...]
    baselines: tuple[dict[Baseline, Image], ...]

    @property
    def pose(self) -> ViewResult:
        """Of the first run that has it: where the camera was does not depend on the setting."""
        return next(result for result in self.results if result is not None)

    def nearest(self) -> Image | None:
        """The nearest keyframe, of the first run that has one."""
        return next((found[Baseline.NEAREST] for found in self.baselines if Baseline.NEAREST in found), None)


def aligned_views(runs: Sequence[Run]) -> list[AlignedView]:
    """All held-out views that at least one of the runs rendered, in the order of time.

    Args:
        runs: of one recording.

    Raises:
        ValueError: the runs are of several recordings.
    """
    if len({run.recording for run in runs}) > 1:
        raise ValueError("views can be compared within one recording only")
    by_view = [{(view.stamp_ns, view.source): view for view in run.held_out} for run in runs]
    found = []
    for key in sorted({key for views in by_view for key in views}):
        results = tuple(views.get(key) for views in by_view)
        first, run = next((r, run) for r, run in zip(results, runs, strict=True) if r is not None)
        found.append(
            AlignedView(
                source=first.source,
                stamp_ns=first.stamp_ns,
                time_s=first.time_s,
                truth=run.pictures.truth[first.number],
                fxfycxcy=run.pictures.fxfycxcy[first.number],
                results=results,
                renders=tuple(
                    None if result is None else other.pictures.render[result.number]
                    for result, other in zip(results, runs, strict=True)
                ),
                baselines=tuple(
                    {}
                    if result is None
                    else {which: images[result.number] for which, images in other.pictures.baselines.items()}
                    for result, other in zip(results, runs, strict=True)
                ),
            )
        )
    return found
