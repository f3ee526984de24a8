# SPDX-License-Identifier: Apache-2.0
"""Scores weights on procedural scenes that no training sees: ``python -m fsm_ros.training.evaluate --help``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import UseAppendAction

from fsm_ros.command_line import USAGE, numbers, option, parse
from fsm_ros.errors import FsmError
from fsm_ros.memory.rules.kinds import RuleKind
from fsm_ros.training.evaluation_settings import EvaluationSettings
from fsm_ros.training.scene_settings import DepthInput, Family, Split


@dataclass(frozen=True)
class Options:
    """Score weights on held-out procedural scenes.

    Attributes:
        weights: shipped, a file, or hf://...
        recall: weights of recall: shipped, a file, or none: the memory alone.
        photographs: keyframes a view is recalled from.
        depth: what a depth camera measures beside the images: exact depth, or with the noise and holes of a stereo
            camera.
        memory_size: edge of the memory's own views, pixels; 0: --size.
        split: of the scenes.
        seed: of the scenes.
        count: scenes.
        size: edge of the views, pixels.
        chunks: numbers of chunks of 4 views.
        families: kinds of places.
        difficulty: range of the scenes', 0 to 1.
        extent_m: metres of a memory unit; 0: automatic.
        rule: how chunks are written.
        rule_entries: an entry of the rule, such as strength=0.5 or anchor=global of elastic; may be repeated.
        submaps: submaps of the memory; 1: one for everywhere.
        device: what to compute on.
        threads: CPU threads; 0: PyTorch's choice.
        sheet: write a contact sheet: truth, rendered, nearest observed view.
        json: write the scores.
    """

    weights: str = "shipped"
    recall: str = "shipped"
    photographs: Annotated[int, option("N")] = EvaluationSettings.photographs
    depth: DepthInput = EvaluationSettings.depth
    memory_size: Annotated[int, option("PIXELS")] = EvaluationSettings.memory_size
    split: Split = Split.REPORT
    seed: Annotated[int, option("N")] = EvaluationSettings.seed
    count: Annotated[int, option("N")] = 64
    size: Annotated[int, option("PIXELS")] = EvaluationSettings.size
    chunks: Annotated[tuple[int, ...], option("N ...")] = (1, 2, 4, 8, 16)
    families: Annotated[tuple[Family, ...], option(default="as training weighs them")] = ()
    difficulty: Annotated[tuple[float, float], numbers(float, "LOW", "HIGH")] = (0.0, 0.7)
    extent_m: Annotated[float, option("M", name="extent")] = EvaluationSettings.extent_m
    rule: Annotated[RuleKind | None, option(default="the parameter memory.rule")] = None
    rule_entries: Annotated[UseAppendAction[tuple[str, ...]], option("NAME=VALUE", name="rule-entry")] = ()
    submaps: Annotated[int | None, option("N", default="the parameter memory.submaps")] = None
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Annotated[int, option("N")] = 0
    sheet: Annotated[Path | None, option("FILE", default="not written")] = None
    json: Annotated[Path | None, option("FILE", default="not written")] = None

    def __post_init__(self) -> None:
        """Refuse entries of the rule without a value.

        Raises:
            ValueError: there is one.
        """
        for entry in self.rule_entries:
            if "=" not in entry:
                raise ValueError(f"--rule-entry takes NAME=VALUE, got {entry!r}")

    @property
    def recall_weights(self) -> str | None:
        """Which weights recall; ``None``: none do."""
        return None if self.recall == "none" else self.recall


def main(arguments: Sequence[str] | None = None, prog: str = "evaluate") -> int:
    """Run the command; returns its exit code."""
    options = parse(Options, arguments, prog)
    try:
        from fsm_ros.training.scoring import score

        print(score(options))
    except (FsmError, ImportError, ValueError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
