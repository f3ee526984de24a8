# SPDX-License-Identifier: Apache-2.0
"""What a process needs: memory, and the machine it runs on."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import torch

import fsm_ros
from fsm_ros.memory.checkpoint import locate_checkpoint
from fsm_ros.memory.model import FsmModel
from fsm_ros.replay.evaluation.results import Provenance

_KIB = 1024
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"  # proc(5): resets the peak resident set size


@dataclass(frozen=True)
class Footprint:
    """Memory of this process, bytes.

    Attributes:
        host: resident now.
        host_peak: most that was resident since `begin_footprint`.
        device_peak: most that tensors took on the accelerator since then; 0 on a CPU.
    """

    host: int
    host_peak: int
    device_peak: int


def begin_footprint(device: torch.device) -> None:
    """Let peaks count from now on. Where the system cannot, they count from the start of the process."""
    with suppress(OSError):  # a system without it, or a container that may not
        _CLEAR.write_text(_CLEAR_PEAK)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def footprint(device: torch.device) -> Footprint:
    """Memory of this process, now."""
    device_peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    if _STATUS.exists():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
        host, peak = (int(fields[name].split()[0]) * _KIB for name in ("VmRSS", "VmHWM"))
        return Footprint(host, peak, device_peak)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else _KIB)
    return Footprint(peak, peak, device_peak)


def provenance(command: str, checkpoint: str, model: FsmModel) -> Provenance:
    """Where numbers that this process makes come from.

    Raises:
        fsm_ros.memory.checkpoint.CheckpointError: the weights' file is gone.
    """
    return Provenance(
        command=command,
        version=version_told(),
        checkpoint=checkpoint,
        checkpoint_sha256=sha256(locate_checkpoint(checkpoint).read_bytes()).hexdigest(),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        hardware=_hardware(model.device),
        software=f"Python {platform.python_version()}, PyTorch {torch.__version__}, "
        f"NumPy {metadata.version('numpy')}, {platform.system()} {platform.release()}",
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def version_told() -> str:
    """The package's version and, in a checkout, its commit; ``+`` where files differ from it."""
    checkout = Path(fsm_ros.__file__).resolve().parent.parent
    if not (checkout / ".git").exists():
        return fsm_ros.__version__
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=checkout,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return f"{fsm_ros.__version__} (commit unknown: git does not answer)"
    return f"{fsm_ros.__version__}, commit {told.stdout.strip()}"


def _hardware(device: torch.device) -> str:
    threads = f"{torch.get_num_threads()} threads"
    processor = next(
        (line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")), platform.machine()
    )
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}; {processor}"
    return f"{processor}, {threads}"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
