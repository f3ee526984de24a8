"""Figures and pictures of an evaluation: PSNR in closed form, simple answers, contact sheets, and the demo's errors."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from deadline import DEADLINE_S
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fsm_ros.replay.demo import run as demo
from fsm_ros.replay.demo.bag import write_demo_bag
from fsm_ros.replay.evaluation.contact_sheet import GAP, HEADER, TILE_HEIGHT, contact_sheet
from fsm_ros.replay.evaluation.psnr import psnr
from fsm_ros.stream.frame import Camera

# --- PSNR ---------------------------------------------------------------------------------------------------------


def flat(value: int, height: int = 4, width: int = 6) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize(("difference", "expected"), [(255, 0.0), (1, 20 * math.log10(255)), (51, 20 * math.log10(5))])
def test_an_even_error_has_a_closed_form(difference: int, expected: float) -> None:
    assert psnr(flat(difference), flat(0)) == pytest.approx(expected)
    assert psnr(flat(0), flat(difference)) == pytest.approx(expected), "either way: it is not taken modulo 256"


def test_known_noise_has_the_psnr_of_its_variance() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(60, 190, (200, 200, 3)).astype(np.uint8)
    noisy = (truth.astype(int) + rng.choice([-12, 12], truth.shape)).astype(np.uint8)
    assert psnr(noisy, truth) == pytest.approx(20 * math.log10(255 / 12))
    uniform = (truth.astype(int) + rng.integers(-20, 21, truth.shape)).astype(np.uint8)
    assert psnr(uniform, truth) == pytest.approx(10 * math.log10(255**2 / ((41**2 - 1) / 12)), abs=0.05)


def test_equal_images_have_the_largest_psnr() -> None:
    assert psnr(flat(7), flat(7)) == pytest.approx(100.0)


@given(seed=st.integers(0, 1000))
def test_an_error_in_one_pixel_of_n_counts_as_its_share(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 200, (5, 7, 3)).astype(np.uint8)
    spoilt = truth.copy()
    spoilt[rng.integers(5), rng.integers(7)] += 55
    assert psnr(spoilt, truth) == pytest.approx(20 * math.log10(255 / 55) + 10 * math.log10(35))


def test_images_of_different_shapes_are_not_compared() -> None:
    with pytest.raises(ValueError, match="shapes"):
        psnr(flat(0), flat(0, width=5))


# --- contact sheets ---------------------------------------------------------------------------------------------------

TITLES = ("truth", "rendered", "nearest")


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


# --- the demo's errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hold-out", "1"], "--hold-out must be at least 2"),
        (["--hold-out", "-3"], "--hold-out must be at least 2"),
        (["--hold-out", "x"], "--hold-out"),
        (["--rate", "0"], "--rate must be positive"),
        (["--rate", "nan"], "--rate must be positive"),
        (["--no-such-option"], "--no-such-option"),
    ],
    ids=" ".join,
)
def test_arguments_that_make_no_demo_end_it_at_once(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        demo.main([*arguments, "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content"), [("missing", None), ("foreign.mcap", b"no bag"), ("old.bag", b"#ROSBAG V2.0\n")]
)
def test_a_bag_that_cannot_be_read_ends_it_with_a_sentence(
    name: str, content: bytes | None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert demo.main(["--bag", str(path), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("demo: ") and str(path) in told


@pytest.fixture(scope="module")
def short_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of 32x24 pixels."""
    camera = Camera(32, 24, 20.0, 20.0, 16.0, 12.0)
    return write_demo_bag(tmp_path_factory.mktemp("bags") / "short", duration_s=1.0, camera=camera)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hold-out", "11"], "has 10 frames: --hold-out 11 withholds none of them"),
        (["--set", "memory.width"], "--set takes NAME=VALUE, got 'memory.width'"),
        (["--set", "memory.width=["], "--set memory.width: '[' is no YAML value"),
    ],
    ids=["hold-out", "no value", "no yaml"],
)
def test_what_cannot_be_played_ends_it_before_anything_is_started(
    arguments: list[str], words: str, short_bag: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert demo.main(["--bag", str(short_bag), "--out", str(tmp_path), *arguments]) == 1
    told = capsys.readouterr().err
    assert told.startswith("demo: ") and words in told
    assert not (tmp_path / "node.log").exists()


@pytest.mark.slow
def test_it_ends_so_as_a_program_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fsm_ros.replay.demo", "--out", str(tmp_path / "out")]
    wrong = subprocess.run([*command, "--hold-out", "1"], capture_output=True, text=True, timeout=DEADLINE_S)
    assert wrong.returncode == 2 and "--hold-out must be at least 2" in wrong.stderr
    missing = subprocess.run([*command, "--bag", "/no/such/bag"], capture_output=True, text=True, timeout=DEADLINE_S)
    assert missing.returncode == 1
    assert missing.stderr.splitlines()[-1].startswith("demo: there is no recording at /no/such/bag")
    assert "Traceback" not in missing.stderr
