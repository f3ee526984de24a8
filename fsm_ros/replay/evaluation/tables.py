# SPDX-License-Identifier: Apache-2.0
"""An evaluation as files for other programs: JSON with everything, CSV and Parquet with one row a view or a chunk.

What could not be measured is null in JSON and Parquet, and an empty field in CSV.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from fsm_ros.replay.evaluation.replacing import replacing
from fsm_ros.replay.evaluation.results import Baseline, ChunkResult, Metric, Pictures, Run, ViewResult, Whereabouts
from fsm_ros.replay.evaluation.summary import measured_baselines, measured_metrics, summary

FORMAT = 2
METRICS_FILE = "metrics.json"
TABLES = ("frames", "chunks", "forgetting")


@dataclass(frozen=True)
class Table:
    """A table of plain values.

    Attributes:
        types: name and type of each column: str, int, float or bool, in order.
        rows: its lines; None where there is nothing.
    """

    types: Mapping[str, type]
    rows: Sequence[Mapping[str, object]]


def write_tables(out: Path, runs: Sequence[Run]) -> list[Path]:
    """Write ``metrics.json``, and ``frames``, ``chunks`` and ``forgetting`` as CSV and Parquet, each as a whole.

    Args:
        out: the folder; it is made where it is missing.
        runs: of one evaluation.

    Returns:
        The files.

    Raises:
        ImportError: PyArrow is missing.
        OSError: the folder cannot be written.
    """
    try:
        from pyarrow import csv, parquet
    except ImportError as error:
        raise ImportError(f"tables need PyArrow ({error}): pip install 'fsm_ros[evaluate]'") from error
    written = [out / METRICS_FILE]
    with replacing(written[0]) as draft:
        content = json.dumps(metrics(runs), indent=1, allow_nan=False, ensure_ascii=False)
        draft.write_text(content + "\n", encoding="utf-8")
    for name, table in zip(TABLES, (frames_table(runs), chunks_table(runs), forgetting_table(runs)), strict=True):
        columns = _arrow(table)
        with replacing(out / f"{name}.csv") as draft:
            csv.write_csv(columns, draft)
        with replacing(out / f"{name}.parquet") as draft:
            parquet.write_table(columns, draft)
        written += [out / f"{name}.csv", out / f"{name}.parquet"]
    return written


def metrics(runs: Sequence[Run]) -> dict[str, Any]:
    """Everything but the pictures, as values that strict JSON knows; `FORMAT` says how it is laid out."""
    return {"format": FORMAT, "summary": plain(summary(runs)), "runs": plain(list(runs))}


def plain(value: object) -> Any:  # noqa: ANN401  # any JSON value
    """A value as strict JSON knows it: dataclasses by field, without pictures; enums by value; not finite is None.

    Raises:
        TypeError: a value that is nothing of the kind.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if is_dataclass(value):
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: plain(entry) for name, entry in named.items() if not isinstance(entry, Pictures)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(entry) for key, entry in value.items()}
    if isinstance(value, Iterable):
        return [plain(entry) for entry in value]
    raise TypeError(f"{type(value).__name__} has no place in a table: {value!r}")


def frames_table(runs: Sequence[Run]) -> Table:
    """One row a held-out view and setting."""
    found, baselines = measured_metrics(runs), measured_baselines(runs)
    columns: dict[str, tuple[type, Callable[[ViewResult], object]]] = {
        "source": (str, lambda view: view.source),
        "stamp_ns": (int, lambda view: view.stamp_ns),
        "time_s": (float, lambda view: view.time_s),
        "chunk": (int, lambda view: view.chunk),
    }
    for index, axis in enumerate("xyz"):
        columns[f"position_{axis}"] = (float, _entry("position", index))
    for index, axis in enumerate("xyzw"):
        columns[f"quaternion_{axis}"] = (float, _entry("quaternion", index))
    for metric in found:
        columns[metric.value] = (float, _render(metric))
    if any(view.memory for run in runs for view in run.held_out):
        for metric in found:
            columns[f"memory_{metric.value}"] = (float, _memory(metric))
    columns["psnr_when_new"] = (float, lambda view: view.psnr_when_new)
    for which in baselines:
        for metric in found:
            columns[f"{which.value}_{metric.value}"] = (float, _baseline(which, metric))
    for field in fields(Whereabouts):
        columns[field.name] = (str if field.name in ("side", "novelty") else float, _where(field.name))
    columns["warning"] = (str, lambda view: view.warning)
    return Table(
        {"recording": str, "setting": str} | {name: kind for name, (kind, _) in columns.items()},
        [
            {"recording": run.recording, "setting": run.setting}
            | {name: plain(value(view)) for name, (_, value) in columns.items()}
            for run in runs
            for view in run.held_out
        ],
    )


def chunks_table(runs: Sequence[Run]) -> Table:
    """One row a chunk and setting."""
    kinds = {"int": int, "float": float, "str": str}
    return Table(
        {"recording": str, "setting": str} | {field.name: kinds[str(field.type)] for field in fields(ChunkResult)},
        [{"recording": run.recording, "setting": run.setting} | plain(chunk) for run in runs for chunk in run.chunks],
    )


def forgetting_table(runs: Sequence[Run]) -> Table:
    """The forgetting matrices in long form: one row for each pair of chunks that was measured."""
    return Table(
        {"recording": str, "setting": str, "after_chunk": int, "of_chunk": int, "psnr": float},
        [
            {
                "recording": run.recording,
                "setting": run.setting,
                "after_chunk": run.forgetting.chunks[after],
                "of_chunk": run.forgetting.chunks[of],
                "psnr": float(run.forgetting.psnr[after, of]),
            }
            for run in runs
            for after, of in np.argwhere(np.isfinite(run.forgetting.psnr)).tolist()
        ],
    )


def _entry(name: str, index: int) -> Callable[[ViewResult], object]:
    return lambda view: getattr(view, name)[index]


def _render(metric: Metric) -> Callable[[ViewResult], object]:
    return lambda view: view.render.get(metric)


def _memory(metric: Metric) -> Callable[[ViewResult], object]:
    return lambda view: view.memory.get(metric)


def _baseline(which: Baseline, metric: Metric) -> Callable[[ViewResult], object]:
    return lambda view: view.baselines.get(which, {}).get(metric)


def _where(name: str) -> Callable[[ViewResult], object]:
    return lambda view: None if view.where is None else getattr(view.where, name)


def _arrow(table: Table) -> Any:  # noqa: ANN401  # PyArrow has no types
    import pyarrow

    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in table.types.items()])
    return pyarrow.Table.from_pylist(list(table.rows), schema=schema)
