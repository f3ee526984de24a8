# SPDX-License-Identifier: Apache-2.0
"""Everything that one evaluation leaves in its folder."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from fsm_ros.replay.evaluation.renders_bag import check_replaceable, write_renders_bag
from fsm_ros.replay.evaluation.report import write_report
from fsm_ros.replay.evaluation.results import Run
from fsm_ros.replay.evaluation.sheets import write_sheet
from fsm_ros.replay.evaluation.summary import by_recording
from fsm_ros.replay.evaluation.tables import METRICS_FILE, write_tables
from fsm_ros.replay.evaluation.video import write_video

REPORT, SHEET, VIDEO, BAG = "report.html", "sheet.png", "renders.mp4", "renders"


def show(out: Path, runs: Sequence[Run]) -> list[Path]:
    """Write tables, report, contact sheet, video and recording of an evaluation.

    Tables and report stand in `out`; so do sheet, video and recording of a single recording, and those of several stand
    in a folder each. Every one appears as a whole. What an earlier evaluation left in `out` is replaced or removed, so
    that at any moment the folder shows one evaluation only.

    Args:
        out: the folder; it is made where it is missing.
        runs: at least one; where none of a recording's has rendered a held-out view, it has no pictures.

    Returns:
        What was written, in order.

    Raises:
        ValueError: no run, or a setting that occurs twice on a recording.
        FileExistsError: something that no evaluation has written stands where the recording is to stand.
        ImportError: a package is missing; the message says which, and how to get it.
        OSError: the folder cannot be written.
    """
    if not runs:
        raise ValueError("there is nothing to show: no run")
    recordings = by_recording(runs)
    folders = dict(zip(recordings, picture_folders(out, list(recordings)), strict=True))
    for folder in folders.values():
        check_replaceable(folder / BAG)
    # Pictures of an earlier evaluation must not stand beside the numbers of this one.
    _remove_earlier(out)
    written = write_tables(out, runs)
    write_report(out / REPORT, runs)
    written.append(out / REPORT)
    for recording, own in recordings.items():
        folder = folders[recording]
        if any(run.held_out for run in own):
            for name, write in ((SHEET, write_sheet), (VIDEO, write_video), (BAG, write_renders_bag)):
                write(folder / name, own)
                written.append(folder / name)
    return written


def picture_folders(out: Path, recordings: Sequence[str]) -> list[Path]:
    """Where sheet, video and recording of each recording stand: in `out`, or for several below it.

    A name that is no plain name of a folder is made one; names that are then alike are numbered.
    """
    if len(recordings) == 1:
        return [out]
    taken: set[str] = {REPORT, SHEET, VIDEO, BAG}
    folders = []
    for recording in recordings:
        plain = re.sub(r"[^\w.+-]+", "_", recording).strip("._") or "recording"
        name, count = plain, 1
        while name.lower() in taken:
            count += 1
            name = f"{plain}_{count}"
        taken.add(name.lower())
        folders.append(out / name)
    return folders


def _remove_earlier(out: Path) -> None:
    """Remove the report and the pictures of an earlier evaluation, where its numbers say that there was one."""
    try:
        earlier = json.loads((out / METRICS_FILE).read_text(encoding="utf-8"))
        names = list(dict.fromkeys(str(run["recording"]) for run in earlier["runs"]))
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        return  # not ours: nothing beside it is
    (out / REPORT).unlink(missing_ok=True)
    for folder in picture_folders(out, names) if names else []:
        for name in (SHEET, VIDEO):
            (folder / name).unlink(missing_ok=True)
        bag = folder / BAG
        if (bag / "metadata.yaml").is_file():
            shutil.rmtree(bag)
        if folder != out and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
