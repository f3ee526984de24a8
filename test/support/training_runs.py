# SPDX-License-Identifier: Apache-2.0
"""Training runs that are small enough for a test, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from deadline import DEADLINE_S

from fsm_ros.training.settings import TrainSettings
from fsm_ros.training.settings_file import settings_from


def plain_settings(**changes: dict[str, Any]) -> dict[str, Any]:
    """The smallest run there is: 16-pixel views, two layers, four episodes a step; entries may be replaced."""
    plain: dict[str, Any] = {
        "model": {"patch_size": 8, "dim": 32, "num_layers": 2, "attention_head_dim": 16, "fast_head_dim": 16},
        "precision": "fp32",
        "muon_precision": "fp32",
        "seed": 3,
        "episodes": {
            "size": 16,
            "chunk_views": {2: 0.5, 3: 0.5},
            "chunk_counts": {1: 0.3, 2: 0.4, 3: 0.3},
            "max_views": 6,
            "targets": 2,
        },
        "data": {"visits": 2, "scenes": {"photographs": False, "frames": 12}},
        "optimizer": {"batch": 4, "warmup_steps": 4, "learning_rate": 1e-3, "average_decay": 0.9},
        "report": {"scenes": 2, "chunk_counts": [1, 2], "sheet_scenes": 1, "tensorboard": False},
    }
    for name, entries in changes.items():
        plain[name] = {**plain.get(name, {}), **entries} if isinstance(entries, dict) else entries
    return plain


def tiny_settings(**changes: dict[str, Any]) -> TrainSettings:
    """The same as a value."""
    return settings_from(plain_settings(**changes))


def write_settings(path: Path, **changes: dict[str, Any]) -> Path:
    """The same as a file."""
    path.write_text(yaml.safe_dump(plain_settings(**changes)), encoding="utf-8")
    return path


def environment() -> dict[str, str]:
    """Of a process with one thread, so that two of them do not wait for each other."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def start_training(*arguments: object, processes: int = 1) -> subprocess.Popen[str]:
    """The command ``train``, by torchrun where it is several processes."""
    launcher: Sequence[str] = [sys.executable]
    if processes > 1:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.Popen(
        [*launcher, "-m", "fsm_ros.training.train", *map(str, arguments), "--device", "cpu", "--threads", "1"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for its end, and that of the processes it has started; returns what it printed.

    Raises:
        AssertionError: it failed.
    """
    try:
        printed, _ = process.communicate(timeout=2 * DEADLINE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        raise AssertionError(f"training ended with {process.returncode}:\n{printed}")
    return printed


def run_script(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A script of the test's own, in the project's folder, with the arguments of ``train``."""
    return subprocess.run(
        [sys.executable, str(script), *map(str, arguments), "--device", "cpu", "--threads", "1"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_S,
        check=False,
        cwd=Path(__file__).parents[2],
    )
