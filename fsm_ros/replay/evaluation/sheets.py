# SPDX-License-Identifier: Apache-2.0
"""The contact sheet of an evaluation: truth, every setting's render, and the nearest keyframe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fsm_ros.replay.evaluation.aligned import aligned_views
from fsm_ros.replay.evaluation.contact_sheet import GAP, TILE_HEIGHT, contact_sheet
from fsm_ros.replay.evaluation.replacing import replacing
from fsm_ros.replay.evaluation.results import Run
from fsm_ros.replay.evaluation.sampling import evenly

MAX_VIEWS = 24
_MAX_WIDTH = 1700
# As the contact sheet writes its titles.
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45


def write_sheet(path: Path, runs: Sequence[Run]) -> None:
    """Write the contact sheet as PNG, as a whole or not at all.

    Args:
        path: the file to write, or to replace.
        runs: of one recording.

    Raises:
        ValueError: no held-out view was rendered, or the runs are of several recordings.
        OSError: it cannot be written.
    """
    content = png(sheet(runs))
    with replacing(path) as draft:
        draft.write_bytes(content)


def sheet(runs: Sequence[Run], most: int = MAX_VIEWS) -> NDArray[np.uint8]:
    """``[height, width, 3]`` uint8 RGB: evenly chosen held-out views, in the order of time.

    Args:
        runs: of one recording.
        most: views to show.

    Raises:
        ValueError: no held-out view was rendered, or the runs are of several recordings.
    """
    views = evenly(aligned_views(runs), most)
    if not views:
        raise ValueError("no held-out view was rendered: there is nothing to show on a contact sheet")
    height, width = views[0].truth.shape[:2]
    tile_width = width * max(1, round(TILE_HEIGHT / height))
    titles = [fitted(title, tile_width) for title in ("truth", *(run.setting for run in runs), "nearest")]
    groups = max(1, min(_MAX_WIDTH // (len(titles) * (tile_width + GAP) + 2 * GAP), len(views)))
    return contact_sheet([(view.truth, *view.renders, view.nearest()) for view in views], titles, groups)


def fitted(title: str, width: int) -> str:
    """A title that OpenCV's font can write within so many pixels: other letters become ``?``, the rest is cut."""
    plain = title.encode("ascii", "replace").decode("ascii")

    def pixels(text: str) -> int:
        return int(cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)[0][0])

    if pixels(plain) <= width:
        return plain
    while plain and pixels(plain + "..") > width:
        plain = plain[:-1]
    return plain + ".."


def png(image: NDArray[np.uint8]) -> bytes:
    """An RGB image as PNG, packed tightly.

    Raises:
        ValueError: it cannot be packed.
    """
    packed, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not packed:
        raise ValueError(f"an image of shape {image.shape} cannot be written as PNG")
    return bytes(data)
