"""How a spatial memory is kept: every choice, with its default."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from fsm_ros.memory.atlas import AtlasSettings
from fsm_ros.memory.consolidation import Consolidation
from fsm_ros.memory.elastic import AnchorSharing, ElasticRule
from fsm_ros.memory.rules import NamedRule, kind_of
from fsm_ros.recall.keyframes import KeyframeLimits

PLASTIC = "plastic"


class MemoryMode(Enum):
    """How a chunk enters the memory."""

    STREAMING = "streaming"
    """Chunk by chunk into a state that is carried on: what a robot runs. Flat cost for a stream of any length."""
    WINDOWED = "windowed"
    """The last chunks are encoded again in batch order, as the release was trained. Forgets what left the window."""


class RenderResolution(Enum):
    """At which size the model renders a view that is larger than the views it observes."""

    MEMORY = "memory"
    """At about the size of the observed views, which the weights know, then resampled to the wanted size."""
    REQUEST = "request"
    """At the wanted size."""


class RenderMethod(Enum):
    """What a view is made of."""

    RECALL = "recall"
    """Kept photographs where they saw it, the fast weights elsewhere."""
    MEMORY = "memory"
    """The fast weights alone."""


def rule_name(rule: NamedRule | None) -> str:
    """What a rule is called in files and messages: its kind, or ``plastic`` for plain LaCT."""
    return PLASTIC if rule is None else kind_of(rule).value


@dataclass(frozen=True)
class MemorySettings:
    """How the memory is kept.

    Attributes:
        width: columns of the observed views, a multiple of the patch.
        height: rows of them.
        chunk_views: views of a full chunk.
        mode: streaming or windowed.
        window_chunks: chunks that the windowed mode encodes again.
        rule: how chunks are written; ``None`` for plain LaCT.
        atlas: how many memories there are, and how far apart (streaming mode; the windowed mode has one).
        sharing: whose anchors (shared ones exist in the windowed mode and for the elastic prior only).
        extent_m: metres per unit of the model's frame; 0: automatic, see :mod:`fsm_ros.spatial.epochs`.
        extent_margin: of an automatic extent, over the spread of the first chunk.
        horizon_s: seconds that the model's time axis spans.
        reservoir: how many old keyframes are remembered as images.
        retention_views: how many of them are rendered after each chunk; 0 measures no retention.
        measure_prediction: render each chunk's own views before it is observed.
        render_resolution: at which size large views are rendered.
        max_pixels: the largest view that is rendered.
        seed: of the reservoir.
        method: what views are made of, where a request does not say.
        keyframes: how many photographs are kept.
        photographs: how many of them one view is recalled from, at most.
    """

    width: int = 64
    height: int = 64
    chunk_views: int = 4
    mode: MemoryMode = MemoryMode.STREAMING
    window_chunks: int = 4
    rule: NamedRule | None = Consolidation()
    atlas: AtlasSettings = AtlasSettings(places=8)
    sharing: AnchorSharing = AnchorSharing.PER_LAYER
    extent_m: float = 0.0
    extent_margin: float = 8.0
    horizon_s: float = 60.0
    reservoir: int = 16
    retention_views: int = 4
    measure_prediction: bool = True
    render_resolution: RenderResolution = RenderResolution.MEMORY
    max_pixels: int = 640 * 480
    seed: int = 0
    method: RenderMethod = RenderMethod.RECALL
    keyframes: KeyframeLimits = KeyframeLimits()
    photographs: int = 4

    def __post_init__(self) -> None:
        """Check what no other part checks.

        Raises:
            ValueError: settings that do not go together.
        """
        for name in ("width", "height", "chunk_views", "window_chunks", "reservoir", "max_pixels", "photographs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name, low, is_allowed in (
            ("extent_m", "0 (automatic) or more", self.extent_m >= 0),
            ("extent_margin", "at least 1", self.extent_margin >= 1),
            ("horizon_s", "more than 0", self.horizon_s > 0),
        ):
            if not (is_allowed and math.isfinite(getattr(self, name))):
                raise ValueError(f"{name} must be {low} and finite, got {getattr(self, name)}")
        if self.retention_views < 0:
            raise ValueError(f"retention_views must not be negative, got {self.retention_views}")
        if self.sharing is AnchorSharing.SHARED and self.mode is MemoryMode.STREAMING:
            raise ValueError(
                "anchors shared across layers only exist in batch order: set the memory mode to windowed, or the "
                "anchor sharing to per_layer"
            )
        if self.sharing is AnchorSharing.SHARED and not (self.rule is None or isinstance(self.rule, ElasticRule)):
            raise ValueError(
                f"anchors shared across layers belong to the elastic prior, the rule is {rule_name(self.rule)}: set "
                "the memory rule to elastic, or the anchor sharing to per_layer"
            )
