# SPDX-License-Identifier: Apache-2.0
"""The ablation of recall: which rows there are, and that they say what they are called."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        return importlib.import_module("recall")


@pytest.fixture(scope="module")
def told(
    benchmark: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Of two scenes of ``choose``, two chunks each."""
    path = tmp_path_factory.mktemp("recall") / "figures.json"
    assert benchmark.main(["--count", "2", "--chunks", "2", "--split", "choose", "--json", str(path)]) == 0
    content: dict[str, dict[str, dict[str, float | None]]] = json.loads(path.read_text())
    return content


def test_what_is_recalled_beats_what_it_is_made_of(told: dict[str, dict[str, dict[str, float]]]) -> None:
    both = told["both"]
    assert both.keys() == {"psnr", "ssim", "ms_ssim"}
    for other in ("memory", "nearest keyframe", "without the memory, 1 photograph a view"):
        assert all(both[name]["mean"] > told[other][name]["mean"] for name in both), other


def test_the_best_plane_knows_the_truth_and_the_nearest_keyframe_does_not(
    told: dict[str, dict[str, dict[str, float]]],
) -> None:
    assert told["best plane (oracle)"]["psnr"]["mean"] > told["nearest keyframe"]["psnr"]["mean"]


@pytest.mark.parametrize(
    "question",
    [
        "beside the path",
        "at another moment",
        "at another moment, where it looks different",
        "after eviction",
        "inside moving things",
        "outside moving things",
    ],
)
def test_every_question_is_answered_by_both_by_either_and_by_a_photograph(
    question: str, told: dict[str, dict[str, dict[str, float]]]
) -> None:
    rows = {row.split(": ")[1] for row in told if row.startswith(f"{question}: ")}
    assert rows > {"both", "without the memory", "memory"}
    assert any("keyframe" in row or "photograph" in row for row in rows)


def test_bytes_are_said_and_the_photographs_that_fit_into_them(
    told: dict[str, dict[str, dict[str, float]]],
) -> None:
    def value(row: str) -> float:
        return told[row]["value"]["mean"]

    assert value("MiB of a photograph") == pytest.approx(3 * 64 * 64 / 2**20)
    assert value("photographs that would fit into one submap") == value("MiB of one submap") // value(
        "MiB of a photograph"
    )
    assert value("photographs that there are") == 8
    assert value("MiB of 8 submaps, as many as were opened") >= value("MiB of one submap")
    # There are fewer photographs than fit, and so they are all that is recalled from.
    fitting = told["at equal bytes: photographs that fit into one submap"]
    assert fitting == told["without the memory, 4 photographs a view"]
    assert told["without the memory, 2 photographs kept"]["psnr"]["mean"] < fitting["psnr"]["mean"]


def test_shares_and_depths_are_figures_of_their_own(told: dict[str, dict[str, dict[str, float]]]) -> None:
    for row, figures in told.items():
        if "share" in row:
            assert figures.keys() == {"value"} and 0.0 <= figures["value"]["mean"] <= 1.0
    errors = {row.split(": ")[1] for row in told if row.startswith("depth, mean absolute relative error")}
    assert errors == {"both", "without the memory", "memory"}


def test_scenes_without_something_to_measure_are_left_out_of_its_mean(benchmark: ModuleType) -> None:
    found = [{"a": {"psnr": 20.0}, "b": {"value": np.nan}}, {"a": {"psnr": 22.0}}, {"a": {"psnr": np.nan}}]
    figures = benchmark.over_scenes(found)
    assert figures["a"]["psnr"] == pytest.approx((21.0, 1.0))
    assert np.isnan(figures["b"]["value"]).all()
    lines = benchmark.tables(figures).splitlines()
    assert "| a | 21.00 ± 1.00 |  |  |" in lines and "| b |  |" in lines
    assert "| a | 20.00 |  |  |" in benchmark.tables(benchmark.over_scenes(found[:1])).splitlines()
