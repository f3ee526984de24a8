# SPDX-License-Identifier: Apache-2.0
"""Everything that decides a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from fsm_ros.errors import FsmError
from fsm_ros.memory.configuration import ModelConfig
from fsm_ros.memory.rules.naming import NamedRule
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.recall.net import RecallConfig
from fsm_ros.training.scenes import SceneSettings


class SettingsError(FsmError, ValueError):
    """A training configuration that cannot be used; the message names the entry and what it may be."""


class OptimizerKind(Enum):
    """What turns gradients into steps."""

    ADAMW = "adamw"
    MUON = "muon"
    """Muon for the matrices of the blocks, AdamW for all else. Not with sharded parameters."""


class Arithmetic(Enum):
    """What matrix products are computed in."""

    AUTO = "auto"
    """bf16 where the machine is fast at it, else fp32."""
    BF16 = "bf16"
    FP32 = "fp32"


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
        memory_size: edge of the views that the memory observes and renders, a whole part of ``size``; 0: the same.
        chunk_views: views of a chunk, each with how often it is drawn (relative weights).
        chunk_counts: chunks of an episode, likewise.
        max_views: no episode observes more views than this; combinations beyond it are not drawn.
        first_chunk_counts: what ``chunk_counts`` is at the beginning of the run.
        first_share: the share of the run that lasts.
        stride: range of the mean number of frames from one observed view to the next; above 1, as what lies between
            is what is asked for.
        targets_per_chunk: views to render after each chunk but the last, from what was seen so far.
        targets: views to render after the last chunk.
        targets_beside: further ones after it, from beside the camera's way, where the clips have some.
        batch_order: share of the steps that observe in batch order instead of streaming order.
        extent_m: range from which the metres of a memory unit are drawn (log-uniformly) where they are not read
            from the first chunk.
        automatic_extent: share of the episodes whose extent is read from the first chunk, as a node's is by default.
        horizon_s: range from which the seconds of the time axis are drawn (log-uniformly).
    """

    size: int = 64
    memory_size: int = 0
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
    targets_beside: int = 0
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
        if (
            self.size < 1
            or self.targets < 1
            or min(self.targets_per_chunk, self.targets_beside) < 0
            or self.max_views < 1
        ):
            raise SettingsError(
                "episodes.size, targets and max_views must be positive, targets_per_chunk and targets_beside at least 0"
            )
        if self.memory_size < 0 or (self.memory_size and self.size % self.memory_size):
            raise SettingsError(
                f"episodes.memory_size {self.memory_size} must divide episodes.size {self.size}, or be 0"
            )
        if not 1 < self.stride[0] <= self.stride[1] < math.inf:
            raise SettingsError(f"episodes.stride must be a range above 1, got {list(self.stride)}")
        for counts in (self.chunk_counts, self.first_chunk_counts):
            fewest = min(count for count, weight in counts.items() if weight > 0)
            most = max(views for views, weight in self.chunk_views.items() if weight > 0)
            if fewest * most > self.max_views:
                raise SettingsError(
                    f"episodes.max_views {self.max_views} leaves nothing to draw for chunks of {most} views, of which "
                    f"an episode has at least {fewest}"
                )


@dataclass(frozen=True)
class LearnSettings:
    """What learns; the rest stays as it is.

    Attributes:
        memory: everything of the memory but its geometry head.
        geometry: the memory's geometry head, where ``model.geometry`` gives it one.
        recall: the net that recalls views from keyframes, where ``recall`` describes one.
        geometry_weight: of the negative log likelihood of true depths, beside the squared error of colours.
        recall_weight: of what recall makes wrong.
    """

    memory: bool = True
    geometry: bool = False
    recall: bool = False
    geometry_weight: float = 0.002
    recall_weight: float = 1.0

    def __post_init__(self) -> None:
        """Check that something is learned.

        Raises:
            SettingsError: nothing, or a weight that is not positive.
        """
        if not (self.memory or self.geometry or self.recall):
            raise SettingsError("learn: nothing is to be learned, set memory, geometry or recall to true")
        if not (self.geometry_weight > 0 and self.recall_weight > 0):
            raise SettingsError("learn: weights must be positive")


@dataclass(frozen=True)
class RecallTraining:
    """What recall learns from, beside the clips.

    Attributes:
        net: the architecture.
        photographs: keyframes that a view is recalled from, at most.
        views: of each episode that are recalled, at most, drawn from those that are rendered at the end.
        small_share: share of the steps whose views are recalled at the memory's size instead of the clips'.
        part_share: share of the steps whose views are a part of those of the clips, of the memory's size: another
            lens than that of the photographs.
        forgotten: range from which the share of the observed views that were not kept is drawn.
        without_memory: share of the steps that know nothing from the memory.
        fewer: share of the views that are recalled from fewer photographs than there are.
        pose_noise_m: standard deviation of wrong positions of keyframes; an episode draws its strength.
        pose_noise_rad: and of wrong directions.
    """

    net: RecallConfig = field(default_factory=RecallConfig)
    photographs: int = 4
    views: int = 8
    small_share: float = 0.5
    part_share: float = 0.15
    forgotten: tuple[float, float] = (0.0, 0.6)
    without_memory: float = 0.1
    fewer: float = 0.2
    pose_noise_m: float = 0.01
    pose_noise_rad: float = 0.0175

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: a number out of its range.
        """
        if self.photographs < 1 or self.views < 1:
            raise SettingsError("recall.photographs and recall.views must be positive")
        for name in ("small_share", "part_share", "without_memory", "fewer"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"recall.{name} must lie in [0, 1], got {getattr(self, name)}")
        if not 0 <= self.forgotten[0] <= self.forgotten[1] < 1:
            raise SettingsError(f"recall.forgotten must be a range in [0, 1), got {list(self.forgotten)}")
        if min(self.pose_noise_m, self.pose_noise_rad) < 0:
            raise SettingsError("recall.pose_noise_m and pose_noise_rad must be at least 0")


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
        if not (self.weight_decay >= 0 and self.gradient_loss >= 0 and 0 <= self.gradient_loss_from <= 1):
            raise SettingsError(
                "optimizer: weight_decay and gradient_loss must be at least 0, gradient_loss_from in [0, 1]"
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise SettingsError(f"optimizer.betas must lie in [0, 1), got {list(self.betas)}")
        if not (0 <= self.average_decay < 1 and 0 <= self.final_share <= 1 and self.warmup_steps >= 0):
            raise SettingsError("optimizer: average_decay must lie in [0, 1), final_share in [0, 1], warmup_steps >= 0")


@dataclass(frozen=True)
class Recording:
    """A recorded stream, or several.

    Attributes:
        path: a rosbag, a folder with transforms.json, or the release's scene lists.
        world_frame: of a bag: the TF frame that poses are expressed in.
        image_topic: of a bag with several cameras: which.
        frame_rate_hz: of images and videos that have no stamps of their own; ``None``: the format's default.
        duration_s: of a folder whose times run from 0 to 1: how long that is.
    """

    path: str
    world_frame: str = "map"
    image_topic: str | None = None
    frame_rate_hz: float | None = None
    duration_s: float | None = None


@dataclass(frozen=True)
class DataSettings:
    """Where clips come from.

    Attributes:
        scenes: the procedural scenes.
        visits: how many steps in a row draw their episodes from the same clips, as tracing them costs time too.
        frames_beside: frames that every procedural clip has beside the camera's way.
        recordings: recorded streams (rosbags, transforms.json, video lists).
        recorded_share: share of the steps that learn from recordings.
    """

    scenes: SceneSettings = field(default_factory=SceneSettings)
    visits: int = 3
    frames_beside: int = 0
    recordings: tuple[Recording, ...] = ()
    recorded_share: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: a number out of its range, or a share of no recordings.
        """
        if self.frames_beside < 0:
            raise SettingsError(f"data.frames_beside must be at least 0, got {self.frames_beside}")
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
        rule: how the memory writes while it is trained.
        seed: decides weights at the start and every episode.
        precision: arithmetic of matrix products.
        muon_precision: arithmetic of Newton-Schulz inside the memory.
        parallelism: how several processes share the run.
        episodes: how a clip becomes a stream.
        data: where clips come from.
        optimizer: how the slow weights move.
        report: what is told on the way.
        learn: which parts learn.
        recall: how views are recalled from keyframes; ``None``: they are not.
    """

    model: ModelConfig
    rule: NamedRule = Plastic()
    seed: int = 0
    precision: Arithmetic = Arithmetic.AUTO
    muon_precision: Arithmetic = Arithmetic.AUTO
    parallelism: Parallelism = Parallelism.DDP
    episodes: EpisodeSettings = field(default_factory=EpisodeSettings)
    data: DataSettings = field(default_factory=DataSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    learn: LearnSettings = field(default_factory=LearnSettings)
    recall: RecallTraining | None = None

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            SettingsError: views that cannot be cut into patches, an optimizer that cannot be sharded, or a part that is
                to learn and is not there.
        """
        if self.learn.geometry and not self.model.geometry:
            raise SettingsError("learn.geometry needs a geometry head: set model.geometry to true")
        if self.learn.recall and self.recall is None:
            raise SettingsError("learn.recall needs a net that learns: give an entry recall")
        if self.seed < 0:
            raise SettingsError(f"seed must be at least 0, got {self.seed}")
        if (self.episodes.memory_size or self.episodes.size) % self.model.patch_size:
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
