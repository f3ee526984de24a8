# SPDX-License-Identifier: Apache-2.0
"""What is to be evaluated: one recording under one setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from hashlib import sha256
from json import dumps
from pathlib import Path

import fsm_ros
from fsm_ros.configuration.table import values_of
from fsm_ros.memory.checkpoint import locate_checkpoint
from fsm_ros.recall.checkpoint import locate_recall
from fsm_ros.replay.evaluation.limits import Limits
from fsm_ros.replay.evaluation.settings import Setting


@dataclass(frozen=True)
class Reading:
    """How a recording is opened; see `fsm_ros.sources.opening.open_rig`.

    Attributes:
        cameras: which ones; empty for the only one.
        world_frame: the frame that poses are in; None: found.
        frame_rate_hz: of recordings without stamps.
        duration_s: of recordings whose time runs from 0 to 1.
        image_folder: of a COLMAP model; None: looked for.
    """

    cameras: tuple[str, ...] = ()
    world_frame: str | None = None
    frame_rate_hz: float | None = None
    duration_s: float | None = None
    image_folder: Path | None = None


@dataclass(frozen=True)
class Job:
    """One recording under one setting.

    Attributes:
        path: of the recording.
        recording: its name in this evaluation, unique.
        setting: the parameters.
        hold_out: see `fsm_ros.replay.evaluation.hold_out.parse_hold_out`.
        reading: how it is opened.
        limits: how much is measured.
        lpips_weights: file of the perceptual metric's weights, where there is one.
        command: the command line, for the record.
    """

    path: Path
    recording: str
    setting: Setting
    hold_out: str
    reading: Reading = Reading()
    limits: Limits = Limits()
    lpips_weights: Path | None = None
    command: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Changes with anything that the result depends on: the recording's and the weights' files, and the code.

        It is taken once, when it is first asked for: what changes while the job is done is then no part of it, and its
        result is not taken for one of what has changed.

        Raises:
            OSError: the recording cannot be read.
            fsm_ros.memory.checkpoint.CheckpointError: there are no such weights.
        """
        parameters = self.setting.parameters
        told: Mapping[str, object] = {
            "version": fsm_ros.__version__,
            "code": _code(),
            "recording": [[str(path), *_state(path)] for path in self._files()],
            "weights": _state(locate_checkpoint(parameters.model.checkpoint)),
            "recall": _state(locate_recall(parameters.model.recall_checkpoint)),
            "values": values_of(parameters),
            "hold_out": self.hold_out,
            "reading": asdict(self.reading),
            "limits": asdict(self.limits),
            "lpips": _state(self.lpips_weights) if self.lpips_weights else None,
        }
        return sha256(dumps(told, sort_keys=True, default=str).encode()).hexdigest()

    def _files(self) -> list[Path]:
        """The files of the recording, and of its folder of images; of a posed folder whatever lies in it.

        Of a file that names others (transforms.json, a scene) it is that file alone: beside it anything may lie, the
        report that is being written too.
        """
        roots = [self.path, *([self.reading.image_folder] if self.reading.image_folder else [])]
        return [
            file
            for root in roots
            for file in ([root] if root.is_file() else sorted(each for each in root.rglob("*") if each.is_file()))
        ]


@cache
def _code() -> str:
    """Hash of the package's source as this process found it: of what is not committed, no version tells."""
    package = Path(fsm_ros.__file__).parent
    found = sha256()
    for file in sorted(package.rglob("*.py")):
        content = file.read_bytes()
        found.update(f"{file.relative_to(package)} {len(content)}\n".encode() + content)
    return found.hexdigest()


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
