# SPDX-License-Identifier: Apache-2.0
"""The prepared command for an accelerator, rehearsed on a CPU: nothing is left to improvise when one is lent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from deadline import DEADLINE_S

from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.recall.checkpoint import load_recall

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[1]
LARGEST_BYTES = 16 * 2**20
"""A larger file might not come back from another machine."""
SMALL = "--set optimizer.batch=2 --set data.visits=4 --set episodes.targets=2 --set episodes.targets_beside=2"


def test_its_checks_and_a_few_steps_of_every_training_leave_what_they_should(tmp_path: Path) -> None:
    out = tmp_path / "out"
    environment = os.environ | {
        "FSM_PYTHON": sys.executable,
        "FSM_DEVICE": "cpu",
        "FSM_WORK": str(tmp_path / "work"),
        "FSM_CHECK_MINUTES": "0.02",
        "FSM_SETTINGS": SMALL,
        "FSM_RECALL_SETTINGS": "--set recall.views=1",
    }
    done = subprocess.run(
        [REPOSITORY / "scripts" / "accelerator", out, "--check"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE_S,
        check=False,
    )
    logs = "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in sorted(out.glob("*.log")))
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{logs}"
    figures = json.loads((out / "check.json").read_text())
    assert all(value == 0 for part in ("memory", "recall") for value in figures[part].values()), "a CPU is a CPU"
    assert figures["scenes"]["frames_128_per_s"] > 0
    assert {"shipped_fp32_chunk_ms", "shipped_bf16_view_ms", "recall_64_ms"} <= figures["times"].keys()
    assert load_checkpoint(str(out / "memory-weights.safetensors")).config.geometry
    load_recall(str(out / "recall-recall.safetensors"))
    assert max(path.stat().st_size for path in out.iterdir()) < LARGEST_BYTES


def test_without_a_folder_it_says_how_it_is_used() -> None:
    done = subprocess.run([REPOSITORY / "scripts" / "accelerator"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "usage: scripts/accelerator OUT" in done.stderr
