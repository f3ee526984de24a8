"""Everything that decides a training run, read from YAML; an unknown name is an error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from fsm_ros.memory.elastic import AnchorPolicy, ElasticRule, Importance
from fsm_ros.memory.model import ModelConfig, MuonPrecision, Precision
from fsm_ros.training.scenes import Family, SceneSettings


class SettingsError(ValueError):
    """A training configuration that cannot be used; the message names the entry and what it may be."""


class OptimizerKind(Enum):
    """What turns gradients into steps."""

    ADAMW = "adamw"
    MUON = "muon"
    """Muon for the matrices of the blocks, AdamW for all else. Not with sharded parameters."""


class Parallelism(Enum):
    """How several processes share a run."""

    DDP = "ddp"
    """Each has all weights; gradients are averaged."""
    FSDP = "fsdp"
    """Weights, gradients and optimizer are spread over the processes: for models that do not fit one device."""


@dataclass(frozen=True)
class EpisodeSettings:
    """How a clip becomes a stream to learn from.

    Attributes:
        size: edge of the square views, pixels; a multiple of the patch.
        chunk_views: views of a chunk, each with how often it is drawn (relative weights).
        chunk_counts: chunks of an episode, likewise.
        max_views: no episode observes more views than this; combinations beyond it are not drawn.
        first_chunk_counts: what ``chunk_counts`` is at the beginning of the run.
        first_share: the share of the run that lasts.
        stride: range of the mean number of frames from one observed view to the next; above 1, as what lies between
            is what is asked for.
        targets_per_chunk: views to render after each chunk but the last, from what was seen so far.
        targets: views to render after the last chunk.
        batch_order: share of the steps that observe in batch order instead of streaming order.
        extent_m: range from which the metres of a memory unit are drawn (log-uniformly) where they are not read
            from the first chunk.
        automatic_extent: share of the episodes whose extent is read from the first chunk, as a node's is by default.
        horizon_s: range from which the seconds of the time axis are drawn (log-uniformly).
    """

    size: int = 64
    chunk_views: Mapping[int, float] = field(default_factory=lambda: {2: 0.1, 3: 0.1, 4: 0.5, 6: 0.15, 8: 0.15})
    chunk_counts: Mapping[int, float] = field(
        default_factory=lambda: {1: 0.15, 2: 0.2, 3: 0.15, 4: 0.25, 6: 0.15, 8: 0.1}
    )
    max_views: int = 32
    first_chunk_counts: Mapping[int, float] = field(default_factory=lambda: {1: 0.5, 2: 0.5})
    first_share: float = 0.15
    stride: tuple[float, float] = (1.5, 3.0)
    targets_per_chunk: int = 1
    targets: int = 6
    batch_order: float = 0.0
    extent_m: tuple[float, float] = (2.0, 8.0)
    automatic_extent: float = 0.5
    horizon_s: tuple[float, float] = (10.0, 120.0)

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: a number out of its range.
        """
        for name in ("chunk_views", "chunk_counts", "first_chunk_counts"):
            drawn = getattr(self, name)
            bad = [key for key, weight in drawn.items() if not (isinstance(key, int) and key > 0 and weight >= 0)]
            if bad or not sum(drawn.values()) > 0:
                raise SettingsError(f"episodes.{name} wants positive whole numbers with weights, got {dict(drawn)}")
        for name in ("first_share", "batch_order", "automatic_extent"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"episodes.{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("extent_m", "horizon_s"):
            low, high = getattr(self, name)
            if not 0 < low <= high < math.inf:
                raise SettingsError(f"episodes.{name} must be a positive range, got {[low, high]}")
        if self.size < 1 or self.targets < 1 or self.targets_per_chunk < 0 or self.max_views < 1:
            raise SettingsError("episodes.size, targets and max_views must be positive, targets_per_chunk at least 0")
        if not 1 < self.stride[0] <= self.stride[1] < math.inf:
            raise SettingsError(f"episodes.stride must be a range above 1, got {list(self.stride)}")
        if min(self.chunk_views) > self.max_views:
            raise SettingsError(f"episodes.max_views {self.max_views} leaves no chunk of {min(self.chunk_views)} views")


@dataclass(frozen=True)
class OptimizerSettings:
    """How the slow weights move.

    Attributes:
        kind: the optimizer.
        learning_rate: peak, of AdamW.
        muon_learning_rate: peak, of Muon; in units of AdamW's update size.
        weight_decay: decoupled; matrices only.
        betas: of AdamW.
        warmup_steps: steps from 0 to the peak.
        final_share: the learning rate at the end of the run, as a share of the peak; linear in between.
        gradient_clip: largest norm of the gradient.
        batch: episodes of a step, over all processes.
        accumulate: the step's episodes are observed in this many pieces, one after the other, to save memory.
        average_decay: of the exponential moving average of the weights that is evaluated and exported.
        gradient_loss: weight of the difference of image gradients beside the squared error.
        gradient_loss_from: progress of the run, in [0, 1], at which it sets in.
        activation_checkpoints: keep no activations of a chunk, compute them again for its gradient.
    """

    kind: OptimizerKind = OptimizerKind.ADAMW
    learning_rate: float = 6e-4
    muon_learning_rate: float = 3e-3
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.95)
    warmup_steps: int = 100
    final_share: float = 0.02
    gradient_clip: float = 1.0
    batch: int = 16
    accumulate: int = 1
    average_decay: float = 0.999
    gradient_loss: float = 0.0
    gradient_loss_from: float = 0.5
    activation_checkpoints: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: a number out of its range.
        """
        if not (self.learning_rate > 0 and self.muon_learning_rate > 0 and self.gradient_clip > 0):
            raise SettingsError("optimizer: learning rates and gradient_clip must be positive")
        if self.batch < 1 or self.accumulate < 1 or self.batch % self.accumulate:
            raise SettingsError(f"optimizer.accumulate {self.accumulate} must divide optimizer.batch {self.batch}")
        if not (0 <= self.average_decay < 1 and 0 <= self.final_share <= 1 and self.warmup_steps >= 0):
            raise SettingsError("optimizer: average_decay must lie in [0, 1), final_share in [0, 1], warmup_steps >= 0")


@dataclass(frozen=True)
class DataSettings:
    """Where clips come from.

    Attributes:
        scenes: the procedural scenes.
        visits: how many steps in a row draw their episodes from the same clips, as tracing them costs time too.
        recordings: folders and files of recorded streams (rosbags, transforms.json, video lists).
        recorded_share: share of the steps that learn from recordings.
    """

    scenes: SceneSettings = field(default_factory=SceneSettings)
    visits: int = 3
    recordings: tuple[str, ...] = ()
    recorded_share: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: a number out of its range, or a share of no recordings.
        """
        if self.visits < 1:
            raise SettingsError(f"data.visits must be at least 1, got {self.visits}")
        if not 0 <= self.recorded_share <= 1 or (self.recorded_share > 0) != bool(self.recordings):
            raise SettingsError(
                f"data.recorded_share {self.recorded_share} and data.recordings {list(self.recordings)} must both be "
                "given, or neither"
            )


@dataclass(frozen=True)
class ReportSettings:
    """What is told on the way.

    Attributes:
        log_every_s: seconds between lines of progress.
        evaluate_every_s: seconds of training between evaluations on held-out scenes.
        save_every_s: seconds between files to resume from.
        scenes: held-out scenes of an evaluation.
        chunk_counts: numbers of chunks of 4 views that are evaluated.
        sheet_scenes: scenes on the contact sheet.
        tensorboard: also write event files for TensorBoard.
    """

    log_every_s: float = 20.0
    evaluate_every_s: float = 300.0
    save_every_s: float = 120.0
    scenes: int = 16
    chunk_counts: tuple[int, ...] = (1, 2, 4)
    sheet_scenes: int = 6
    tensorboard: bool = True

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: a number out of its range.
        """
        if min(self.log_every_s, self.evaluate_every_s, self.save_every_s) <= 0:
            raise SettingsError("report: intervals must be positive")
        if self.scenes < 1 or not self.chunk_counts or min(self.chunk_counts) < 1 or self.sheet_scenes < 1:
            raise SettingsError("report: scenes, chunk_counts and sheet_scenes must be positive")


@dataclass(frozen=True)
class TrainSettings:
    """A training run.

    Attributes:
        model: the architecture.
        rule: the elastic prior the memory is trained with; ``None``: plain LaCT.
        seed: decides weights at the start and every episode.
        precision: arithmetic of matrix products.
        muon_precision: arithmetic of Newton-Schulz inside the memory.
        parallelism: how several processes share the run.
        episodes: how a clip becomes a stream.
        data: where clips come from.
        optimizer: how the slow weights move.
        report: what is told on the way.
    """

    model: ModelConfig
    rule: ElasticRule | None = None
    seed: int = 0
    precision: Precision = Precision.BF16
    muon_precision: MuonPrecision = MuonPrecision.BF16
    parallelism: Parallelism = Parallelism.DDP
    episodes: EpisodeSettings = field(default_factory=EpisodeSettings)
    data: DataSettings = field(default_factory=DataSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    report: ReportSettings = field(default_factory=ReportSettings)

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            SettingsError: views that cannot be cut into patches, or an optimizer that cannot be sharded.
        """
        if self.episodes.size % self.model.patch_size:
            raise SettingsError(
                f"episodes.size {self.episodes.size} is not a multiple of model.patch_size {self.model.patch_size}"
            )
        frames = math.ceil(self.episodes.max_views * self.episodes.stride[0])
        if self.data.scenes.frames < frames:
            raise SettingsError(
                f"data.scenes.frames {self.data.scenes.frames} is too short for episodes.max_views "
                f"{self.episodes.max_views} at a stride of {self.episodes.stride[0]}: at least {frames}"
            )
        if self.parallelism is Parallelism.FSDP and self.optimizer.kind is OptimizerKind.MUON:
            raise SettingsError("optimizer.kind muon needs whole matrices: use adamw with parallelism fsdp")


def load_settings(path: Path, changes: Mapping[str, object] | None = None) -> TrainSettings:
    """Read a training configuration.

    Args:
        path: a YAML file.
        changes: entries to replace, by their dotted names.

    Raises:
        SettingsError: unreadable, an unknown entry, or a value that cannot be.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read as YAML: {error}") from error
    try:
        for name, value in (changes or {}).items():
            _replace(content, name, value)
        return settings_from(content)
    except (SettingsError, TypeError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error


def _replace(content: object, name: str, value: object) -> None:
    *parents, last = name.split(".")
    for parent in parents:
        content = content.setdefault(parent, {}) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        raise SettingsError(f"there is no entry {name} to replace")
    content[last] = value


def settings_from(content: object) -> TrainSettings:
    """From nested names and values, as YAML gives them.

    Raises:
        SettingsError: an unknown entry, or a value that cannot be.
    """
    if not isinstance(content, Mapping) or "model" not in content:
        raise SettingsError("a training configuration is a mapping with at least an entry 'model'")
    return _read(TrainSettings, content, "")


def as_plain(value: object) -> Any:  # noqa: ANN401  # whatever YAML and JSON can hold
    """Settings as plain names and values, the inverse of :func:`settings_from`."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        plain = {f.name: as_plain(getattr(value, f.name)) for f in fields(value)}
        if isinstance(value, SceneSettings):
            plain["families"] = {family.value: weight for family, weight in value.families}
        return plain
    if isinstance(value, Mapping):
        return {key: as_plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(entry) for entry in value]
    return value


_Settings = TypeVar("_Settings")
_NESTED: dict[str, type] = {
    "episodes": EpisodeSettings,
    "data": DataSettings,
    "optimizer": OptimizerSettings,
    "report": ReportSettings,
    "scenes": SceneSettings,
    "model": ModelConfig,
    "rule": ElasticRule,
}
_ENUMS: dict[tuple[type, str], type[Enum]] = {
    (TrainSettings, "precision"): Precision,
    (TrainSettings, "muon_precision"): MuonPrecision,
    (TrainSettings, "parallelism"): Parallelism,
    (OptimizerSettings, "kind"): OptimizerKind,
    (ElasticRule, "importance"): Importance,
    (ElasticRule, "anchor"): AnchorPolicy,
}


def _read(kind: type[_Settings], content: object, where: str) -> _Settings:
    if not isinstance(content, Mapping):
        raise SettingsError(f"{where or 'the configuration'} must be a mapping, got {content!r}")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in content.keys() - known.keys())
    if unknown:
        raise SettingsError(f"unknown {', '.join(where + name for name in unknown)}: known are {', '.join(known)}")
    values = {name: _value(kind, name, entry, f"{where}{name}") for name, entry in content.items()}
    return kind(**values)


def _value(kind: type, name: str, entry: object, where: str) -> object:
    if (kind, name) in _ENUMS:
        members = _ENUMS[kind, name]
        try:
            return members(entry)
        except ValueError:
            raise SettingsError(f"{where} must be one of {[m.value for m in members]}, got {entry!r}") from None
    if kind is SceneSettings and name == "families":
        return _families(entry, where)
    if name == "scenes" and kind is ReportSettings:
        return entry
    if name in _NESTED:
        return None if entry is None and name == "rule" else _read(_NESTED[name], entry, f"{where}.")
    return tuple(entry) if isinstance(entry, list) else entry


def _families(entry: object, where: str) -> tuple[tuple[Family, float], ...]:
    if not isinstance(entry, Mapping):
        raise SettingsError(f"{where} must map families to weights, got {entry!r}")
    try:
        return tuple((Family(name), float(weight)) for name, weight in entry.items())
    except (TypeError, ValueError):
        known = [family.value for family in Family]
        raise SettingsError(f"{where} must map families ({', '.join(known)}) to weights, got {dict(entry)}") from None
