# SPDX-License-Identifier: Apache-2.0
"""Contact sheets: pictures beside each other, as they are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fsm_ros.replay.evaluation.contact_sheet import GAP, HEADER, TILE_HEIGHT, contact_sheet

TITLES = ("truth", "rendered", "nearest")


def flat(value: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def tile(sheet: NDArray[np.uint8], row: int, group: int, column: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Where a picture belongs, (height, width) of it on the sheet."""
    left = group * (3 * (size[1] + GAP) + 2 * GAP) + GAP + column * (size[1] + GAP)
    top = HEADER + row * (size[0] + GAP)
    return sheet[top : top + size[0], left : left + size[1]]


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_comparisons_lie_four_beside_each_other_and_every_picture_in_its_place(count: int) -> None:
    size = (TILE_HEIGHT, 2 * TILE_HEIGHT)
    rows = [[flat(10 * i + column, 64, 128) for column in range(3)] for i in range(count)]
    sheet = contact_sheet(rows, TITLES)
    groups, lines = min(4, count), -(-count // 4)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (
        HEADER + lines * (size[0] + GAP) + GAP,
        groups * (3 * (size[1] + GAP) + 2 * GAP),
        3,
    )
    for i in range(count):
        for column in range(3):
            assert (tile(sheet, i // 4, i % 4, column, size) == 10 * i + column).all()
    assert (sheet[:HEADER] < 100).any(), "titles"
    for i in range(count, 4 * lines):
        if i % 4 < groups:
            assert (tile(sheet, i // 4, i % 4, 0, size) == 255).all(), "nothing where there is nothing"


def test_pictures_are_enlarged_as_they_are_and_large_ones_not_shrunk() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    sheet = contact_sheet([[picture, None, picture]], TITLES)
    assert np.array_equal(tile(sheet, 0, 0, 0, (128, 160)), picture.repeat(4, axis=0).repeat(4, axis=1))
    large = flat(9, 480, 640)
    assert (tile(contact_sheet([[large, large, large]], TITLES), 0, 0, 1, (480, 640)) == 9).all()


def test_a_missing_picture_is_grey() -> None:
    sheet = contact_sheet([[flat(9, 64, 64), None, flat(9, 64, 64)], [None, None, flat(9, 64, 64)]], TITLES)
    missing = tile(sheet, 0, 0, 1, (128, 128))
    assert np.unique(missing).tolist() == [200]
    assert np.unique(tile(sheet, 0, 1, 0, (128, 128))).tolist() == [200]


def test_nothing_to_show_is_an_error() -> None:
    for nothing in ([], [[None, None, None]]):
        with pytest.raises(ValueError, match="at least one image"):
            contact_sheet(nothing, TITLES)
