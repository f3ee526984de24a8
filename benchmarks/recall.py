# SPDX-License-Identifier: Apache-2.0
"""What the fast weights add to the photographs, and the photographs to them: ``python benchmarks/recall.py --help``.

Held-out procedural scenes, observed in chunks as a node observes them. Held-out views are recalled with and without the
memory, with fewer photographs, with true depth, from beside the path, inside and outside what moves, at moments when
the camera was elsewhere, after the photographs of their place are gone, and from as many photographs as the memory's
bytes would hold.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.training.evaluation import EvaluationSettings, clip_frames, held_out_clips, scene_source
from fsm_ros.training.scene_settings import DepthInput
from fsm_ros.training.scenes import SceneSettings, Split
from recall_rows import MS_SSIM, PSNR, SSIM, VALUE, Rows, rows_of
from recall_scene import Weights, observed_scene

Figure = tuple[float, float]
"""Mean over the scenes that have something to measure, and its standard error; NaN of a single one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    settings = EvaluationSettings(
        split=Split(options.split),
        count=options.count,
        size=options.size,
        memory_size=64,
        scenes=SceneSettings(difficulty=(0.0, 0.7)),
        atlas=AtlasSettings(submaps=8),
        depth=DepthInput(options.depth),
    )
    weights = Weights(load_checkpoint(options.weights).build(), load_recall(options.recall))
    frames = clip_frames(settings, options.chunks)
    source = scene_source(settings, frames, weights.memory.device)
    found: list[Rows] = []
    with torch.no_grad():
        for number, clip in enumerate(held_out_clips(settings, frames, weights.memory.device, beside=settings.targets)):
            found.append(rows_of(observed_scene(weights, source, number, clip, options.chunks, settings), weights))
    figures = over_scenes(found)
    print(tables(figures))
    print(f"\n{len(found)} scenes of the split {options.split}, {options.chunks} chunks, {options.size} pixels")
    if options.json is not None:
        options.json.write_text(json.dumps(_plain(figures), indent=1) + "\n", encoding="utf-8")
    return 0


def over_scenes(found: Sequence[Rows]) -> Mapping[str, Mapping[str, Figure]]:
    """Every figure of every row, over the scenes."""
    names = {row: list(figures) for scene in found for row, figures in scene.items()}
    return {
        row: {name: _mean([scene[row][name] for scene in found if row in scene]) for name in figures}
        for row, figures in names.items()
    }


def tables(figures: Mapping[str, Mapping[str, Figure]]) -> str:
    """Pictures in one table of Markdown, all else in another."""
    lines = ["| | PSNR, dB | SSIM | MS-SSIM |", "|---|---|---|---|"]
    for row, found in figures.items():
        if PSNR in found:
            cells = [_text(found.get(name), digits) for name, digits in ((PSNR, 2), (SSIM, 3), (MS_SSIM, 3))]
            lines.append(f"| {row} | {' | '.join(cells)} |")
    lines += ["", "| | |", "|---|---|"]
    lines += [f"| {row} | {_text(found[VALUE], 3)} |" for row, found in figures.items() if VALUE in found]
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> Figure:
    finite = np.array([value for value in values if np.isfinite(value)])
    if not len(finite):
        return float("nan"), float("nan")
    error = float(finite.std() / np.sqrt(len(finite) - 1)) if len(finite) > 1 else float("nan")
    return float(finite.mean()), error


def _text(figure: Figure | None, digits: int) -> str:
    if figure is None or not np.isfinite(figure[0]):
        return ""
    mean, error = (f"{value:.{digits}f}" for value in figure)
    return f"{mean} ± {error}" if np.isfinite(figure[1]) else mean


def _plain(figures: Mapping[str, Mapping[str, Figure]]) -> Mapping[str, Mapping[str, Mapping[str, float | None]]]:
    """JSON knows no NaN: what was not measured is null."""
    return {
        row: {
            name: {"mean": mean if np.isfinite(mean) else None, "error": error if np.isfinite(error) else None}
            for name, (mean, error) in found.items()
        }
        for row, found in figures.items()
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="shipped")
    parser.add_argument("--recall", default="shipped")
    depths = [depth.value for depth in DepthInput]
    parser.add_argument(
        "--depth", default=DepthInput.NONE.value, choices=depths, help="of a depth camera (%(default)s)"
    )
    parser.add_argument("--split", default="report", choices=[split.value for split in Split])
    parser.add_argument("--count", type=int, default=16, help="scenes (%(default)s)")
    parser.add_argument("--chunks", type=int, default=4, help="chunks of 4 views (%(default)s)")
    parser.add_argument("--size", type=int, default=64, help="edge of the views and photographs, pixels (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0: as many as it takes by itself")
    parser.add_argument("--json", type=Path, help="write the figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
