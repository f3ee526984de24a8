# SPDX-License-Identifier: Apache-2.0
"""Scores weights on procedural scenes that no training sees: ``python -m fsm_ros.training.evaluate --help``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from fsm_ros.errors import FsmError
from fsm_ros.memory.atlas import AtlasSettings
from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.memory.rules.naming import RuleKind, rule_from
from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.training.evaluation import EvaluationSettings, conditions, evaluate, table
from fsm_ros.training.reporting import contact_sheet, write_png
from fsm_ros.training.scenes import Family, SceneSettings, Split
from fsm_ros.training.scenes.depth_sensor import DepthInput
from fsm_ros.training.scenes.settings import DEFAULT_FAMILIES

NOTHING = "none"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        if options.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("--device is cuda, but PyTorch sees no CUDA device: use cpu")
        for path in (options.sheet, options.json):
            if path is not None and not path.parent.is_dir():
                raise ValueError(f"there is no folder {path.parent} to write {path.name} to: make it first")
        memory = load_checkpoint(options.weights).build().to(torch.device(options.device))
        families = DEFAULT_FAMILIES
        if options.families is not None:
            families = tuple((Family(name), 1.0) for name in options.families)
        settings = EvaluationSettings(
            seed=options.seed,
            split=Split(options.split),
            scenes=SceneSettings(families=families, difficulty=tuple(options.difficulty)),
            count=options.count,
            size=options.size,
            chunk_counts=tuple(options.chunks),
            extent_m=options.extent,
            atlas=AtlasSettings(options.submaps),
            memory_size=options.memory_size,
            photographs=options.photographs,
            depth=DepthInput(options.depth),
        )
        entries = dict(options.rule_entry)
        if "kind" in entries:
            raise ValueError("--rule-entry is for the entries of the rule that --rule names")
        rule = rule_from({"kind": options.rule, **entries})
        recall = None if options.recall == NOTHING else load_recall(options.recall).to(memory.device)
        evaluation = evaluate(memory, settings, rule, shown=6, recall=recall)
    except (FsmError, ImportError, ValueError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    print(f"{table(evaluation)}\n\n{conditions(settings, rule)}")
    if options.sheet is not None:
        write_png(options.sheet, contact_sheet(evaluation.shown))
    if options.json is not None:
        # JSON knows no NaN: what was not measured is null.
        scores = [
            {name: None if math.isnan(value) else value for name, value in asdict(score).items()}
            for score in evaluation.scores
        ]
        options.json.write_text(json.dumps(scores, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evaluate", description="Score weights on held-out procedural scenes.")
    parser.add_argument("--weights", default="shipped", help="shipped, a file, or hf://... (%(default)s)")
    parser.add_argument(
        "--recall",
        default="shipped",
        help="weights of recall: shipped, a file, or none: the memory alone (%(default)s)",
    )
    parser.add_argument("--photographs", type=int, default=4, help="keyframes a view is recalled from (%(default)s)")
    parser.add_argument(
        "--depth",
        default=DepthInput.NONE.value,
        choices=[depth.value for depth in DepthInput],
        help="what a depth camera measures beside the images: exact depth, or with the noise and holes of a stereo "
        "camera (%(default)s)",
    )
    parser.add_argument("--memory-size", type=int, default=0, help="edge of the memory's own views; 0: --size")
    parser.add_argument("--split", default="report", choices=[split.value for split in Split])
    parser.add_argument("--seed", type=int, default=0, help="of the scenes")
    parser.add_argument("--count", type=int, default=64, help="scenes (%(default)s)")
    parser.add_argument("--size", type=int, default=64, help="edge of the views, pixels (%(default)s)")
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="numbers of chunks of 4 views")
    parser.add_argument("--families", nargs="+", choices=[f.value for f in Family])
    parser.add_argument("--difficulty", type=float, nargs=2, default=(0.0, 0.7), metavar=("LOW", "HIGH"))
    parser.add_argument("--extent", type=float, default=4.0, help="metres of a memory unit; 0: automatic")
    kinds = [kind.value for kind in RuleKind]
    parser.add_argument("--rule", default=RuleKind.CONSOLIDATION.value, choices=kinds, help="how chunks are written")
    parser.add_argument(
        "--rule-entry",
        action="append",
        default=[],
        type=_entry,
        metavar="NAME=VALUE",
        help="an entry of the rule, such as strength=0.5 or anchor=global of elastic; may be repeated",
    )
    parser.add_argument(
        "--submaps", type=int, default=8, help="submaps of the memory; 1: one for everywhere (%(default)s)"
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="write a contact sheet: truth, rendered, nearest observed view")
    parser.add_argument("--json", type=Path, help="write the scores")
    return parser


def _entry(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
