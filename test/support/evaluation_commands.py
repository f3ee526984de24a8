# SPDX-License-Identifier: Apache-2.0
"""The command as people run it, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from deadline import DEADLINE_S
from evaluation_bags import QUICK

QUICKLY = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]
COMMAND = [sys.executable, "-m", "fsm_ros.replay.evaluation.evaluate_bag"]


def evaluate(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    words = [str(argument) for argument in arguments]
    return subprocess.run([*COMMAND, *words, *QUICKLY], capture_output=True, text=True, timeout=5 * DEADLINE_S)


def names(out: Path) -> list[tuple[str, str, bool]]:
    """Recording, setting and completeness of every run in a report."""
    found = json.loads((out / "metrics.json").read_text())
    return [(run["recording"], run["setting"], run["complete"]) for run in found["runs"]]
