# SPDX-License-Identifier: Apache-2.0
"""What a run leaves on disk: where to go on from, and weights to use."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import Tensor

from fsm_ros.memory.configuration import ModelConfig

STATE, AVERAGE = "state.ckpt", "average.ckpt"
_RESUME = "resume"
_IDENTITY = "identity.json"


class RunFolder:
    """The folder of one run, shared by its processes."""

    def __init__(self, fabric: Fabric, path: Path) -> None:
        """Args: the processes, and the folder; it is made when something is written."""
        self._fabric = fabric
        self.path = path

    @property
    def resume(self) -> Path | None:
        """Where the files to go on from are, ``None`` for a run that has not begun."""
        # A run may have been cut off between moving the old files away and the new ones in.
        for name in (_RESUME, f"{_RESUME}.old"):
            if (self.path / name / AVERAGE).exists():
                return self.path / name
        return None

    def identity(self, resume: Path) -> dict[str, Any]:
        """What the run in a folder to resume from is.

        Raises:
            ValueError: the file that says it is damaged.
        """
        content = json.loads((resume / _IDENTITY).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"{resume / _IDENTITY} is damaged: use another folder for a new run")
        return content

    @contextmanager
    def replacing_resume(self, identity: Mapping[str, Any]) -> Iterator[Path]:
        """A folder to write into, which takes the place of the one to resume from when all is written.

        Every process takes part; a run that is cut off leaves the old files or the new ones, whole.

        Args:
            identity: what must not change while the run goes on, as plain values.
        """
        new, old, current = (self.path / name for name in (f"{_RESUME}.new", f"{_RESUME}.old", _RESUME))
        if self._fabric.is_global_zero:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            (new / _IDENTITY).write_text(json.dumps(identity), encoding="utf-8")
        self._fabric.barrier()
        yield new
        self._fabric.barrier()
        if self._fabric.is_global_zero:
            if current.exists():
                shutil.rmtree(old, ignore_errors=True)
                os.replace(current, old)
            os.replace(new, current)
            shutil.rmtree(old, ignore_errors=True)
        self._fabric.barrier()


def export_weights(
    path: Path, weights: Mapping[str, Tensor], config: ModelConfig, dtype: torch.dtype, notes: Mapping[str, str]
) -> None:
    """Write weights that :func:`fsm_ros.memory.checkpoint.load_checkpoint` reads, as a whole or not at all.

    Args:
        path: a ``.safetensors`` file.
        weights: the state dict of a memory.
        config: its architecture.
        dtype: what the tensors are rounded to.
        notes: further entries of the file's metadata.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().to("cpu", dtype).contiguous() for name, t in weights.items()}
    metadata = {"config": json.dumps(config.as_mapping()), **notes}
    temporary = path.with_suffix(".partial")
    save_file(tensors, temporary, metadata)
    temporary.chmod(0o644)  # safetensors lets nobody else read it
    os.replace(temporary, path)
