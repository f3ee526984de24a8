# SPDX-License-Identifier: Apache-2.0
"""Runs as files, so that an evaluation can go on where it stopped: ``run.json`` and pictures in a folder.

Pictures are plain arrays, ``truth.npy`` and the like, which are mapped and not read: those of many settings on long
recordings are more than a machine's memory holds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from fsm_ros.replay.evaluation.decoding import decode
from fsm_ros.replay.evaluation.replacing import replacing
from fsm_ros.replay.evaluation.results import Baseline, ForgettingMatrix, Pictures, Run
from fsm_ros.replay.evaluation.tables import plain

FORMAT = 3
_NOTES = "run.json"


@dataclass(frozen=True, eq=False)
class Stored:
    """A run and what it was made from.

    Attributes:
        fingerprint: of its job.
        run: the run.
    """

    fingerprint: str
    run: Run


def save_run(folder: Path, stored: Stored) -> None:
    """Write a run into a folder, which appears, or changes, as a whole.

    Raises:
        OSError: it cannot be written.
    """
    notes = {"format": FORMAT, "fingerprint": stored.fingerprint, "run": plain(stored.run)}
    pictures = stored.run.pictures
    with replacing(folder) as draft:
        draft.mkdir()
        (draft / _NOTES).write_text(json.dumps(notes, allow_nan=False), encoding="utf-8")
        arrays: dict[str, NDArray[Any]] = {
            "truth": pictures.truth,
            "render": pictures.render,
            "fxfycxcy": pictures.fxfycxcy,
            **{baseline.value: images for baseline, images in pictures.baselines.items()},
        }
        for name, array in arrays.items():
            np.save(_file(draft, name), array, allow_pickle=False)


def load_run(folder: Path) -> Stored | None:
    """The run in a folder; ``None`` where there is none, one of another format, or a damaged one."""
    try:
        notes = json.loads((folder / _NOTES).read_text(encoding="utf-8"))
        if not isinstance(notes, dict) or notes.get("format") != FORMAT:
            return None
        pictures = Pictures(
            truth=_mapped(folder, "truth"),
            render=_mapped(folder, "render"),
            baselines={
                baseline: _mapped(folder, baseline.value)
                for baseline in Baseline
                if _file(folder, baseline.value).exists()
            },
            fxfycxcy=_mapped(folder, "fxfycxcy"),
        )
        hints = get_type_hints(Run)
        names = [field.name for field in fields(Run) if field.name != "pictures"]
        told = {name: decode(hints[name], notes["run"][name]) for name in names}
        matrix: ForgettingMatrix = told["forgetting"]
        square = matrix.psnr.reshape(len(matrix.chunks), len(matrix.chunks))  # JSON does not tell how one of 0x0 looks
        told["forgetting"] = replace(matrix, psnr=square)
        return Stored(notes["fingerprint"], Run(**told, pictures=pictures))
    except (OSError, AttributeError, KeyError, TypeError, ValueError, EOFError):
        return None  # what cannot be read is measured again


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _mapped(folder: Path, name: str) -> NDArray[Any]:
    return np.asarray(np.load(_file(folder, name), mmap_mode="r", allow_pickle=False))
