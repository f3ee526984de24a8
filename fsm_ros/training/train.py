# SPDX-License-Identifier: Apache-2.0
"""``python -m fsm_ros.training.train``: from settings to weights, in one command."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fsm_ros.command_line import USAGE, Assignments, option, parse
from fsm_ros.errors import FsmError
from fsm_ros.training.budget import Budget


@dataclass(frozen=True)
class Options:
    """Train a fast spatial memory.

    Attributes:
        config: settings (YAML), config/train/*.yaml.
        out: folder of the run; an unfinished run is taken up.
        minutes: wall-clock budget of the whole run.
        steps: optimizer steps of the whole run; repeatable to the bit.
        start: weights to start from: shipped, a file, hf://...
        recall_start: weights of recall to start from: shipped, a .safetensors file.
        changes: replace one entry of the settings, such as optimizer.batch=8; may be repeated.
        device: what to train on; auto is CUDA where there is one.
        threads: CPU threads of each process; 0: PyTorch's choice.
        score: score what was written, and write its card.
        dtype: of the weights that are written.
    """

    config: Annotated[Path, option("FILE")]
    out: Annotated[Path, option("DIR")]
    minutes: Annotated[float, option("MINUTES", default="none, with --steps")] = Budget.minutes
    steps: Annotated[int | None, option("N", default="none, with --minutes")] = Budget.steps
    start: Annotated[str | None, option("WEIGHTS", name="from", default="from scratch")] = None
    recall_start: Annotated[str | None, option("WEIGHTS", name="recall-from", default="from scratch")] = None
    changes: Assignments = ()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, option("N")] = 0
    score: bool = True
    dtype: Literal["fp32", "fp16", "bf16"] = "fp16"


def main(arguments: Sequence[str] | None = None, prog: str = "train") -> int:
    """Run the command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(Options, words, prog)
    try:
        from fsm_ros.training.run import run

        run(options, shlex.join(["python", "-m", "fsm_ros.training.train", *words]))
    except (FsmError, ImportError, OSError, ValueError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print(f"{prog}: stopped; the same command goes on from {options.out}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
