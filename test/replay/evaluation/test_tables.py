# SPDX-License-Identifier: Apache-2.0
import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from evaluation_runs import make_empty_run, make_run, make_runs, worsened
from pyarrow import parquet

from fsm_ros.replay.evaluation.columns import quality_columns, summary_text
from fsm_ros.replay.evaluation.results import Baseline, Metric, Novelty, Run
from fsm_ros.replay.evaluation.summary import summary
from fsm_ros.replay.evaluation.tables import metrics, plain, write_tables


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """Two settings on one recording and one on another, where much is missing."""
    return [*make_runs(("elastic", "plastic")), worsened(make_run("hall", "elastic", lpips=True))]


@pytest.fixture(scope="module")
def folder(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tables")
    write_tables(out, runs)
    return out


def strict(text: str) -> Any:  # noqa: ANN401  # any JSON value
    """JSON as the standard has it, without NaN and Infinity."""

    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("name", ["frames", "chunks", "forgetting"])
def test_csv_and_parquet_say_the_same(folder: Path, name: str) -> None:
    columns = parquet.read_table(folder / f"{name}.parquet").to_pydict()
    with open(folder / f"{name}.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == list(columns)
    for column, values in columns.items():
        texts = [line[column] for line in lines]
        read = [
            text if isinstance(value, str) else None if text == "" else type(value)(text) if value is not None else text
            for text, value in zip(texts, values, strict=True)
        ]
        assert read == values, column


def test_frames_are_the_held_out_views_of_the_json(runs: list[Run], folder: Path) -> None:
    content = strict((folder / "metrics.json").read_text(encoding="utf-8"))
    rows = parquet.read_table(folder / "frames.parquet").to_pylist()
    told = [(run, view) for run in content["runs"] for view in run["held_out"]]
    assert len(rows) == len(told) == sum(len(run.held_out) for run in runs)
    for row, (run, view) in zip(rows, told, strict=True):
        assert (row["recording"], row["setting"]) == (run["recording"], run["setting"])
        for name in ("source", "stamp_ns", "time_s", "chunk", "psnr_when_new", "warning"):
            assert row[name] == view[name]
        assert [row[f"position_{axis}"] for axis in "xyz"] == view["position"]
        assert [row[f"quaternion_{axis}"] for axis in "xyzw"] == view["quaternion"]
        for metric in Metric:
            assert row[metric.value] == view["render"].get(metric.value)
            for which in Baseline:
                assert row[f"{which.value}_{metric.value}"] == view["baselines"][which.value].get(metric.value)
        for name in ("metres", "radians", "seconds", "seconds_from_observed", "off_path", "side", "novelty"):
            assert row[name] == (None if view["where"] is None else view["where"][name])


def test_chunks_are_those_of_the_json(folder: Path) -> None:
    content = strict((folder / "metrics.json").read_text(encoding="utf-8"))
    rows = parquet.read_table(folder / "chunks.parquet").to_pylist()
    assert rows == [
        {"recording": run["recording"], "setting": run["setting"], **chunk}
        for run in content["runs"]
        for chunk in run["chunks"]
    ]


def test_forgetting_is_the_matrix_of_the_json(folder: Path) -> None:
    content = strict((folder / "metrics.json").read_text(encoding="utf-8"))
    rows = parquet.read_table(folder / "forgetting.parquet").to_pylist()
    told = {(r["recording"], r["setting"], r["after_chunk"], r["of_chunk"]): r["psnr"] for r in rows}
    assert len(told) == len(rows)
    for run in content["runs"]:
        chunks, matrix = run["forgetting"]["chunks"], run["forgetting"]["psnr"]
        for i, after in enumerate(chunks):
            for j, of in enumerate(chunks):
                assert told.get((run["recording"], run["setting"], after, of)) == matrix[i][j]


def test_what_was_not_measured_is_null(folder: Path) -> None:
    content = strict((folder / "metrics.json").read_text(encoding="utf-8"))
    hall = next(run for run in content["runs"] if run["recording"] == "hall")
    assert hall["held_out"][0]["psnr_when_new"] is None
    assert hall["held_out"][1]["render"]["psnr"] is None
    assert hall["chunks"][1]["observe_s"] is None
    assert set(hall["forgetting"]["psnr"][-1]) == {None}
    rows = parquet.read_table(folder / "frames.parquet").to_pylist()
    assert {row["lpips"] for row in rows if row["recording"] == "corridor"} == {None}
    assert not any(isinstance(v, float) and math.isnan(v) for row in rows for v in row.values())


def test_json_has_a_format_and_everything_but_pictures(runs: list[Run], folder: Path) -> None:
    content = strict((folder / "metrics.json").read_text(encoding="utf-8"))
    assert content["format"] == 2
    assert len(content["summary"]) == len(summary(runs))
    assert set(content["runs"][0]) == set(vars(runs[0])) - {"pictures"}
    assert content["runs"][0]["values"]["memory.mode"] == "elastic"


def test_tables_of_nothing_rendered_have_their_columns_and_no_rows(tmp_path: Path) -> None:
    write_tables(tmp_path, [make_empty_run(chunks=0)])
    for name in ("frames", "chunks", "forgetting"):
        table = parquet.read_table(tmp_path / f"{name}.parquet")
        assert table.num_rows == 0 and table.num_columns >= 5
    assert strict((tmp_path / "metrics.json").read_text())["runs"][0]["complete"] is False


def test_the_fast_weights_alone_are_told_beside_what_ships_where_these_are_two(tmp_path: Path) -> None:
    both, alone = make_run(setting="both", photographs_add=3.0), make_run(setting="memory")
    rows = summary([both, alone])
    assert rows[0].memory[Metric.PSNR].value == pytest.approx(rows[0].quality[Metric.PSNR].value - 3.0)
    assert not any(row.memory for row in rows[1:])
    assert rows[0].gap == pytest.approx(1.5), "of the fast weights, too"
    (column,) = [column for column in quality_columns([both, alone]) if column.title == "fast weights alone"]
    assert [column.text(row) for row in rows[1:]] == ["–"] * 4
    assert column.text(rows[0]) in summary_text([both, alone])
    assert not [column for column in quality_columns([alone]) if column.title == "fast weights alone"]
    write_tables(tmp_path, [both, alone])
    told = strict((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert told["summary"][0]["memory"]["psnr"]["value"] == rows[0].memory[Metric.PSNR].value
    frames = parquet.read_table(tmp_path / "frames.parquet").to_pylist()
    views = [view for run in told["runs"] for view in run["held_out"]]
    assert [row["memory_psnr"] for row in frames] == [view["memory"].get("psnr") for view in views]
    assert frames[0]["memory_ssim"] == 0.5 and frames[0]["memory_ms_ssim"] is frames[-1]["memory_psnr"] is None
    write_tables(tmp_path, [alone])
    assert "memory_psnr" not in parquet.read_table(tmp_path / "frames.parquet").column_names


def test_plain_refuses_what_has_no_place_in_json() -> None:
    assert plain({Metric.PSNR: np.float32(np.inf), "where": (Novelty.TIME, np.int64(3))}) == {
        "psnr": None,
        "where": ["novel_time", 3],
    }
    with pytest.raises(TypeError, match="object has no place"):
        plain(object())


def test_the_summary_is_what_the_runs_say() -> None:
    run = make_run(chunks=4)
    row = summary([run])[0]
    scores = [view.render[Metric.PSNR] for view in run.held_out]
    assert row.quality[Metric.PSNR].value == pytest.approx(np.mean(scores))
    assert row.quality[Metric.PSNR].error == pytest.approx(np.std(scores, ddof=1) / len(scores) ** 0.5)
    assert row.gap == pytest.approx(1.5)
    assert row.gap_when_new == pytest.approx(np.mean([1.0, 1.1, 1.2, 1.3]))
    latencies = [1e3 * chunk.observe_s for chunk in run.chunks]
    assert row.observe.p95 == pytest.approx(np.percentile(latencies, 95))
    given = run.keyframes + sum(run.refused.values())
    assert given < run.frames
    assert row.frames_per_s == pytest.approx(given / run.stream_s), "neither withheld frames nor those not reached"
    assert row.keyframes_per_s == pytest.approx(12 / run.stream_s)
    assert (row.chunks, row.keyframes, row.epochs) == (4, 12, 1)
    assert row.state_mib == 3.0


def test_a_chunk_that_failed_is_not_in_the_means() -> None:
    run = worsened(make_run())
    row = summary([run])[0]
    assert (row.chunks, row.chunks_failed) == (5, 1)
    fresh = [c.prediction_psnr for c in run.chunks if not c.failure]
    assert row.prediction == pytest.approx(np.mean(fresh))
    assert not row.complete


def test_one_row_for_a_baseline_where_all_settings_agree() -> None:
    rows = summary(make_runs(("elastic", "plastic")))
    assert [row.title for row in rows] == [
        "elastic",
        "plastic",
        "nearest keyframe",
        "nearest, warped (oracle)",
        "last keyframe",
    ]
    assert math.isnan(rows[2].average_forgetting) and rows[2].keyframes == 0


def test_one_row_for_each_setting_where_baselines_differ() -> None:
    rows = summary([make_run(setting="a"), make_run(setting="b", nearest_shift=9)])
    assert [row.title for row in rows if row.baseline is Baseline.NEAREST] == [
        "nearest keyframe (a)",
        "nearest keyframe (b)",
    ]


def test_a_setting_cannot_be_told_twice() -> None:
    with pytest.raises(ValueError, match="occurs twice"):
        summary([make_run(), make_run()])


def test_the_best_is_bold_and_equals_are_not() -> None:
    runs = make_runs(("elastic", "plastic"))
    psnr = next(column for column in quality_columns(runs) if column.title == "PSNR")
    rows = summary(runs)
    assert psnr.best(rows) == {int(np.argmax([row.quality[Metric.PSNR].value for row in rows]))}
    assert psnr.best([rows[0], rows[0]]) == set()
    assert psnr.best(rows[:1]) == set()


def test_the_summary_in_text() -> None:
    runs = [*make_runs(("elastic", "pipe|d")), make_empty_run("cellar")]
    text = summary_text(runs)
    assert f"{summary(runs)[0].quality[Metric.PSNR].value:.2f}" in text
    assert "pipe|d" in text and "elastic: interrupted" in text


def test_tables_are_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tables(tmp_path, [make_run()])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    broken = replace(make_run(setting="other"), values={"what": object()})
    with pytest.raises(TypeError):
        write_tables(tmp_path, [broken])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert metrics([make_run()])["runs"][0]["setting"] == "elastic"
