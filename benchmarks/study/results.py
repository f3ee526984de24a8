# SPDX-License-Identifier: Apache-2.0
"""What was measured, one file for each arm and weights; written whole or not at all, so that a study can be resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsm_ros.errors import FsmError
from fsm_ros.memory.rules.naming import rule_as_plain, rule_from
from fsm_ros.training.settings_file import as_plain
from study.arms import Arm
from study.measure import SceneScores
from study.streams import StreamSettings


class StudyError(FsmError, RuntimeError):
    """A study that cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class ArmResult:
    """One arm with some weights on all streams.

    Attributes:
        arm: in names and numbers.
        weights: which weights.
        fingerprint: of those weights.
        chunk_counts: what the lists of the scores run over.
        scenes: the scores.
    """

    arm: Mapping[str, object]
    weights: str
    fingerprint: str
    chunk_counts: tuple[int, ...]
    scenes: tuple[SceneScores, ...]

    @property
    def title(self) -> str:
        """The arm's name for people."""
        return str(self.arm["title"])

    def column(self, figure: str, chunk_count: int) -> NDArray[np.float64]:
        """A figure after so many chunks, one number a scene."""
        place = self.chunk_counts.index(chunk_count)
        return np.array([getattr(scene, figure)[place] for scene in self.scenes])

    def probes(self) -> NDArray[np.float64]:
        """``[scenes, probes]`` dB."""
        return np.array([scene.probes for scene in self.scenes])


class ResultStore:
    """The files of one study."""

    def __init__(self, folder: Path, settings: StreamSettings) -> None:
        """Begin, or take up.

        Args:
            folder: of the results on these streams.
            settings: of the streams.

        Raises:
            StudyError: the folder holds results on other streams.
        """
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        agree_with(folder / "streams.json", as_plain(settings))

    def has(self, weights: str, fingerprint: str, arm: Arm) -> bool:
        """Whether it was measured already.

        Raises:
            StudyError: something was, but under another rule or with other weights.
        """
        if not self._path(weights, arm.name).exists():
            return False
        kept = self.load(weights, arm.name)
        if (kept.fingerprint, kept.arm) != (fingerprint, arm.as_plain()):
            raise StudyError(
                f"{self._path(weights, arm.name)} is of another rule or of other weights: remove it, or use another "
                "folder for --out"
            )
        return True

    def save(self, result: ArmResult) -> None:
        """Keep a result."""
        write_whole(self._path(result.weights, str(result.arm["name"])), json.dumps(asdict(result)))

    def load(self, weights: str, arm: str) -> ArmResult:
        """A result.

        Raises:
            StudyError: it was not measured, or its file is damaged.
        """
        path = self._path(weights, arm)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            scenes = tuple(SceneScores(**scene) for scene in found["scenes"])
            named = found["arm"] | {"rule": rule_as_plain(rule_from(found["arm"]["rule"]))}
            return ArmResult(named, found["weights"], found["fingerprint"], tuple(found["chunk_counts"]), scenes)
        except FileNotFoundError as error:
            raise StudyError(f"{path} is missing: let the study run to its end first") from error
        except (KeyError, TypeError, ValueError) as error:
            raise StudyError(f"{path} is damaged ({error}): remove it, and run the study again") from error

    def _path(self, weights: str, arm: str) -> Path:
        return self._folder / f"{weights}__{arm}.json"


def agree_with(path: Path, settings: object) -> None:
    """Keep settings in a file; where it is there already, they must be the same.

    Raises:
        StudyError: they are not.
    """
    plain = json.loads(json.dumps(settings))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(plain, indent=1))
    elif json.loads(path.read_text(encoding="utf-8")) != plain:
        raise StudyError(f"{path} is of a study with other settings: use another folder for --out")


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there as a whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
