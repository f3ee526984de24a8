# SPDX-License-Identifier: Apache-2.0
"""The report: one HTML file that needs nothing else and asks nothing of a network."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from fsm_ros.replay.evaluation.aligned import AlignedView, Image, aligned_views
from fsm_ros.replay.evaluation.columns import Column, cost_columns, quality_columns
from fsm_ros.replay.evaluation.drawing import style
from fsm_ros.replay.evaluation.findings import findings
from fsm_ros.replay.evaluation.plots import PlotGroup, plots
from fsm_ros.replay.evaluation.replacing import replacing
from fsm_ros.replay.evaluation.results import Baseline, Provenance, Run
from fsm_ros.replay.evaluation.sampling import evenly
from fsm_ros.replay.evaluation.sheets import png, sheet
from fsm_ros.replay.evaluation.summary import (
    SummaryRow,
    baseline_title,
    baselines_of,
    by_recording,
    measured_baselines,
    summary,
    told_once,
)
from fsm_ros.replay.evaluation.tables import plain

MAX_FRAMES = 24
# Pixels of the pictures in a page: it is to be sent by mail.
_PIXELS, _PIXELS_A_RECORDING, _LEAST_FRAMES = 12_000_000, 4_000_000, 4
_PROVENANCE = {
    "command": "command",
    "version": "version",
    "checkpoint": "checkpoint",
    "checkpoint_sha256": "SHA-256 of the checkpoint",
    "parameters": "parameters of the model",
    "hardware": "hardware",
    "software": "software",
    "started": "started",
}
_NO_IMAGE = "not rendered"


def write_report(path: Path, runs: Sequence[Run]) -> None:
    """Write the report, as a whole or not at all.

    Args:
        path: the file to write, or to replace.
        runs: of one evaluation, at least one.

    Raises:
        ValueError: no run, or a setting that occurs twice on a recording.
        ImportError: Jinja2 or matplotlib is missing.
        OSError: it cannot be written.
    """
    content = report(runs)
    with replacing(path) as draft:
        draft.write_text(content, encoding="utf-8")


def report(runs: Sequence[Run]) -> str:
    """The report as HTML; see `write_report`."""
    if not runs:
        raise ValueError("there is nothing to report: no run")
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise ImportError(f"the report needs Jinja2 ({error}): pip install 'fsm_ros[evaluate]'") from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_page_file("report.html.jinja"))
    return template.render(page=_page(runs)) + "\n"


def _page_file(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")


def _page(runs: Sequence[Run]) -> dict[str, Any]:
    """All that the template shows."""
    from markupsafe import Markup

    recordings = by_recording(runs)
    names, settings = list(recordings), list(dict.fromkeys(run.setting for run in runs))
    heading = names[0] if len(names) == 1 else f"{len(names)} recordings"
    views = sum(max(len(run.held_out) for run in of_recording) for of_recording in recordings.values())
    rows = summary(runs)
    memories = [row for row in rows if row.baseline is None]
    budget = min(_PIXELS_A_RECORDING, _PIXELS // len(recordings))
    return {
        "title": f"Evaluation: {', '.join(names)}",
        "heading": heading,
        "lead": f"{_counted(len(settings), 'setting')} ({', '.join(settings)}), asked for {_counted(views, 'view')} "
        "that the memory was never shown, and compared with what the camera saw.",
        # Our own files, and what matplotlib and we have escaped.
        "style": Markup(_page_file("report.css")),
        "script": Markup(_page_file("report.js")),
        "interrupted": [f"{run.setting} on {run.recording}" for run in runs if not run.complete],
        "quality": _table(quality_columns(runs), rows, recordings),
        "cost": _table(cost_columns(runs), memories, recordings),
        "recordings": [
            _recording(of_recording, f"recording-{place}", budget)
            for place, of_recording in enumerate(recordings.values())
        ],
        "provenance": _provenance(runs),
        "parameters": _parameters(runs, len(recordings) > 1),
    }


def _table(
    columns: Sequence[Column], rows: Sequence[SummaryRow], recordings: Mapping[str, Sequence[Run]]
) -> dict[str, Any]:
    """A summary table, a part for each recording; the best is found in each part."""
    parts = []
    for place, (name, runs) in enumerate(recordings.items()):
        own = [row for row in rows if row.recording == name]
        colours = {run.setting: style(number).colour for number, run in enumerate(runs)}
        bests = [column.best(own) for column in columns]
        parts.append(
            {
                "recording": name,
                "anchor": f"recording-{place}",
                "rows": [
                    {
                        "title": row.title,
                        "baseline": row.baseline is not None,
                        "interrupted": not row.complete,
                        "colour": colours[row.setting] if row.baseline is None else "transparent",
                        "cells": [
                            {
                                "text": column.text(row).replace("-", "−"),
                                "error": column.error_text(row),
                                "best": number in best,
                            }
                            for column, best in zip(columns, bests, strict=True)
                        ],
                    }
                    for number, row in enumerate(own)
                ],
            }
        )
    return {"columns": columns, "parts": parts}


def _recording(runs: Sequence[Run], anchor: str, budget: int) -> dict[str, Any]:
    views, first = aligned_views(runs), runs[0]
    settings = [run.setting for run in runs]
    return {
        "anchor": anchor,
        "name": first.recording,
        "told": first.recording_told,
        "facts": _facts(runs),
        "findings": findings(runs),
        "notes": told_once(runs, _notes),
        "settings": settings,
        "nearest_of": next((r.setting for setting, r in baselines_of(runs) if setting), ""),
        "thumbnail": _uri(views[len(views) // 2].truth) if views else "",
        "viewer": _viewer(runs, views, budget) if views else None,
        "groups": [_marked(group) for group in plots(runs, anchor)],
        "sheet": _uri(sheet(runs, _affordable(views, 2 + len(runs), budget // 2))) if views else "",
    }


def _marked(group: PlotGroup) -> dict[str, Any]:
    from markupsafe import Markup

    rows = [[{**vars(plot), "svg": Markup(plot.svg)} for plot in row] for row in group.rows]
    return {"title": group.title, "rows": rows}


def _facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What was put in: that which is alike under every setting, and for each setting where it is not."""
    first = runs[0]

    def each(values: Sequence[object]) -> str:
        if len(set(map(str, values))) == 1:
            return str(values[0])
        return ", ".join(f"{run.setting} {value}" for run, value in zip(runs, values, strict=True))

    return [
        ("duration", f"{first.duration_s:.1f} s"),
        ("images", str(first.frames)),
        ("held out", f"{first.withheld} ({first.hold_out})"),
        ("held-out views shown", each([len(run.held_out) for run in runs])),
        ("keyframes", each([run.keyframes for run in runs])),
        ("chunks", each([len(run.chunks) for run in runs])),
        ("frame", first.world_frame),
    ]


def _notes(run: Run) -> list[str]:
    """What a reader should know of a run."""
    lines = list(run.notes)
    reasons = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in run.refused.items() if count)
    lines += [f"frames that did not become keyframes: {reasons}"] if reasons else []
    for chunk in run.chunks:
        if chunk.failure:
            lines.append(f"chunk {chunk.number} could not be observed: {chunk.failure}")
        if chunk.epoch_began:
            lines.append(f"a new epoch of the memory began with chunk {chunk.number}: {chunk.epoch_began}")
    warnings = Counter(view.warning for view in run.held_out if view.warning)
    lines += [f"{_counted(count, 'held-out view')}: {warning}" for warning, count in warnings.items()]
    return lines + [f"{metric.name.replace('_', '-')}: {words}" for metric, words in run.metrics_told.items()]


@dataclass(frozen=True)
class _Choice:
    """What can be laid beside the truth: a setting's render, or a baseline's."""

    name: str
    place: int
    baseline: Baseline | None = None

    def image(self, view: AlignedView) -> Image | None:
        if self.baseline is None:
            return view.renders[self.place]
        return view.baselines[self.place].get(self.baseline)

    def score(self, view: AlignedView) -> str:
        result = view.results[self.place]
        if result is None:
            return _NO_IMAGE
        value = result.psnr(self.baseline)
        return f"{value:.1f} dB" if value == value else "not measured"


def _choices(runs: Sequence[Run]) -> list[_Choice]:
    choices = [_Choice(run.setting, place) for place, run in enumerate(runs)]
    for setting, run in baselines_of(runs):
        place = next(number for number, other in enumerate(runs) if other is run)
        for which in measured_baselines([run]):
            if which in run.pictures.baselines:
                choices.append(_Choice(baseline_title(which, setting), place, which))
    return choices


def _viewer(runs: Sequence[Run], views: Sequence[AlignedView], budget: int) -> dict[str, Any]:
    choices = _choices(runs)
    shown = evenly(views, _affordable(views, 1 + len(choices), budget))
    height, width = views[0].truth.shape[:2]
    several = len({view.source for view in views}) > 1
    frames = [
        {
            "when": f"{view.time_s:.2f} s" + (f", {view.source}" if several else ""),
            "truth": _packed(view.truth),
            "answers": [None if (image := choice.image(view)) is None else _packed(image) for choice in choices],
            "scores": [choice.score(view) for choice in choices],
        }
        for view in shown
    ]
    names = [choice.name for choice in choices]
    blank = _uri(_grey(views[0]))
    first: dict[str, Any] = frames[0]
    thumbnails = [blank if data is None else f"data:image/png;base64,{data}" for data in first["answers"]]
    return {
        "names": names,
        "width": width,
        "height": height,
        "count": len(frames),
        "first": {
            "truth": f"data:image/png;base64,{first['truth']}",
            "answer": thumbnails[0],
            "thumbnails": thumbnails,
            "scores": first["scores"],
            "when": first["when"],
        },
        "data": {"names": names, "frames": frames},
    }


def _affordable(views: Sequence[AlignedView], columns: int, pixels: int) -> int:
    """How many views a page can show, of so many pictures each."""
    height, width = views[0].truth.shape[:2]
    return max(_LEAST_FRAMES, min(MAX_FRAMES, pixels // (columns * height * width)))


def _grey(view: AlignedView) -> Image:
    return np.full_like(view.truth, 192)


def _packed(image: Image) -> str:
    return base64.b64encode(png(image)).decode("ascii")


def _uri(image: Image) -> str:
    return f"data:image/png;base64,{_packed(image)}"


def _provenance(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Each thing once where all runs agree, else for each run; of the moments, the first."""
    found = []
    for field in fields(Provenance):
        values = [getattr(run.provenance, field.name) for run in runs]
        text = [f"{value:,}" if isinstance(value, int) else str(value) for value in values]
        if field.name == "started":
            shown = min(text)
        elif len(set(text)) == 1:
            shown = text[0]
        else:
            shown = "; ".join(f"{run.setting} on {run.recording}: {one}" for run, one in zip(runs, text, strict=True))
        found.append((_PROVENANCE[field.name], shown or "unknown"))
    return found


def _parameters(runs: Sequence[Run], several: bool) -> dict[str, Any]:
    """A column for each set of values: of a setting, or of a setting on a recording where that differs."""
    columns: dict[str, list[tuple[str, Mapping[str, object]]]] = {}
    for run in runs:
        of_setting = columns.setdefault(run.setting, [])
        if all(dict(run.values) != dict(values) for _, values in of_setting):
            of_setting.append((run.recording, run.values))
    titles, values = [], []
    for setting, found in columns.items():
        for recording, own in found:
            titles.append(f"{setting} on {recording}" if several and len(found) > 1 else setting)
            values.append(own)
    names = sorted({name for own in values for name in own})
    told = {name: [_told(own[name]) if name in own else "–" for own in values] for name in names}
    return {
        "titles": titles,
        "differing": [(name, texts) for name, texts in told.items() if len(set(texts)) > 1],
        "common": [(name, texts[0]) for name, texts in told.items() if len(set(texts)) == 1],
    }


def _told(value: object) -> str:
    """A parameter's value as it is written in YAML, nearly."""
    shown = plain(value)
    if isinstance(shown, bool):
        return "true" if shown else "false"
    if isinstance(shown, list):
        return "[" + ", ".join(map(str, shown)) + "]"
    return '""' if shown == "" else str(shown)


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
