# SPDX-License-Identifier: Apache-2.0
"""Contact sheets: images side by side, with a word above each column."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

TILE_HEIGHT = 128
GAP = 4
HEADER = 22
_BACKGROUND = 255
_MISSING = 200


def contact_sheet(
    rows: Sequence[Sequence[NDArray[np.uint8] | None]], titles: Sequence[str], groups: int = 4
) -> NDArray[np.uint8]:
    """Lay out comparisons.

    Args:
        rows: one comparison each, ``[h, w, 3]`` uint8 images of one shape; ``None`` is shown grey.
        titles: one for each column of a comparison.
        groups: comparisons beside each other.

    Returns:
        ``[height, width, 3]`` uint8.

    Raises:
        ValueError: nothing to show.
    """
    sizes = [image.shape for row in rows for image in row if image is not None]
    if not sizes:
        raise ValueError("a contact sheet needs at least one image")
    height, width = sizes[0][:2]
    scale = max(1, round(TILE_HEIGHT / height))
    tile = (height * scale, width * scale)
    groups = min(groups, len(rows))
    lines = -(-len(rows) // groups)
    group_width = len(titles) * (tile[1] + GAP) + 2 * GAP
    sheet = np.full((HEADER + lines * (tile[0] + GAP) + GAP, groups * group_width, 3), _BACKGROUND, np.uint8)
    for group in range(groups):
        for column, title in enumerate(titles):
            left = group * group_width + GAP + column * (tile[1] + GAP)
            cv2.putText(sheet, title, (left + 2, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    for index, row in enumerate(rows):
        top = HEADER + index // groups * (tile[0] + GAP)
        for column, image in enumerate(row):
            left = index % groups * group_width + GAP + column * (tile[1] + GAP)
            place = sheet[top : top + tile[0], left : left + tile[1]]
            if image is None:
                place[:] = _MISSING
            else:
                # Nearest neighbour: what the memory rendered is shown as it is.
                place[:] = cv2.resize(image, (tile[1], tile[0]), interpolation=cv2.INTER_NEAREST)
    return sheet
