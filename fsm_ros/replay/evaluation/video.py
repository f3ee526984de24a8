# SPDX-License-Identifier: Apache-2.0
"""The renders of an evaluation as a film: truth beside every setting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fsm_ros.h264 import check_encoder, write_h264
from fsm_ros.replay.evaluation.aligned import AlignedView, aligned_views
from fsm_ros.replay.evaluation.replacing import replacing
from fsm_ros.replay.evaluation.results import Run
from fsm_ros.replay.evaluation.sheets import fitted

LEAST_ROWS = 256
SLOWEST_FPS, FASTEST_FPS = 2.0, 30.0
TITLE_ROWS = 28
_GAP = 4
_WHITE, _MISSING = 255, 200


def write_video(path: Path, runs: Sequence[Run]) -> None:
    """Write the held-out views in the order of time as H.264 in MP4, as a whole or not at all.

    Args:
        path: the file to write, or to replace.
        runs: of one recording; each gets a column beside the truth.

    Raises:
        ValueError: no held-out view was rendered, or the runs are of several recordings.
        ImportError: PyAV is missing.
        OSError: it cannot be written.
    """
    check_encoder()
    views = aligned_views(runs)
    if not views:
        raise ValueError("no held-out view was rendered: there is nothing to show in a video")
    frames = _frames(views, ["truth", *(run.setting for run in runs)])
    with replacing(path) as draft:
        write_h264(draft, frames, frame_rate([view.time_s for view in views]))


def frame_rate(times_s: Sequence[float]) -> Fraction:
    """Frames a second: as the views came, by the median time between them, but neither too slow nor too fast.

    Args:
        times_s: of the views, ascending; several cameras may share a moment.
    """
    steps = np.diff(np.asarray(times_s, dtype=np.float64))
    steps = steps[steps > 0]
    fps = 1.0 / float(np.median(steps)) if len(steps) else SLOWEST_FPS
    return Fraction(min(FASTEST_FPS, max(SLOWEST_FPS, fps))).limit_denominator(100)


def _frames(views: Sequence[AlignedView], titles: Sequence[str]) -> Iterator[NDArray[np.uint8]]:
    """``[height, width, 3]`` uint8 RGB each, of even height and width (4:2:0 needs that)."""
    rows, columns = views[0].truth.shape[:2]
    scale = -(-LEAST_ROWS // rows)
    height, width = rows * scale, columns * scale
    total = (len(titles) * (width + _GAP) - _GAP, TITLE_ROWS + height)
    blank = np.full((total[1] + total[1] % 2, total[0] + total[0] % 2, 3), _WHITE, np.uint8)
    lefts = [place * (width + _GAP) for place in range(len(titles))]
    for left, title in list(zip(lefts, titles, strict=True))[1:]:
        _write(blank, title, left, width)
    for view in views:
        frame = blank.copy()
        _write(frame, f"{titles[0]}  {view.time_s:.2f} s", 0, width)
        for left, image in zip(lefts, (view.truth, *view.renders), strict=True):
            place = frame[TITLE_ROWS : TITLE_ROWS + height, left : left + width]
            if image is None:
                place[:] = _MISSING
            else:
                # Nearest neighbour: what the memory rendered is shown as it is.
                place[:] = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
        yield frame


def _write(frame: NDArray[np.uint8], title: str, left: int, width: int) -> None:
    origin = (left + 4, TITLE_ROWS - 9)
    cv2.putText(frame, fitted(title, width - 8), origin, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
