# SPDX-License-Identifier: Apache-2.0
"""How a spatial memory is kept: every choice, with its default."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.memory.rules.consolidation import Consolidation
from fsm_ros.memory.rules.elastic import AnchorSharing, ElasticRule
from fsm_ros.memory.rules.naming import NamedRule, kind_of
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.parameter import DAY_S, Checked, one_of, parameter
from fsm_ros.recall.keyframes import KeyframeLimits
from fsm_ros.stream.world import LEAST_EXTENT_M


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
    PHOTOGRAPHS = "photographs"
    """Kept photographs alone: what they agree on, with nothing told of geometry or of what none of them saw."""


_PATCH = "a multiple of the weights' patch, which is 8 for the shipped ones"

_RULES: tuple[NamedRule, ...] = (Consolidation(), ElasticRule(), Plastic())


@dataclass(frozen=True)
class MemorySettings(Checked):
    """How the memory is kept.

    The windowed mode has one submap. Anchors are shared in the windowed mode and for the elastic prior only.
    """

    mode: MemoryMode = parameter(
        MemoryMode.STREAMING,
        "memory.mode",
        "streaming carries the fast weights on from chunk to chunk; windowed encodes the last memory.window_chunks "
        "chunks again, in the order of the release.",
    )
    window_chunks: int = parameter(
        4, "memory.window_chunks", "Chunks that the windowed mode encodes again.", low=1, high=64
    )
    width: int = parameter(64, "memory.width", f"Columns of the observed views; {_PATCH}.", "px", 8, 1024)
    height: int = parameter(64, "memory.height", f"Rows of the observed views; {_PATCH}.", "px", 8, 1024)
    extent_m: float = parameter(
        0.0,
        "memory.extent",
        "Metres per unit of the model's frame, in which cameras should stay within about one unit of the first chunk. "
        f"0: memory.extent_margin times the spread of the first chunk, {LEAST_EXTENT_M:g} m at least, and doubled when "
        "a camera leaves it.",
        "m",
        0.0,
        10_000.0,
    )
    extent_margin: float = parameter(
        8.0, "memory.extent_margin", "Automatic extent over the spread of the first chunk.", "", 1.0, 1000.0
    )
    horizon_s: float = parameter(
        60.0,
        "memory.horizon",
        "Seconds that the model's time axis spans. When it ends, a new epoch begins from the remembered keyframes.",
        "s",
        0.1,
        DAY_S,
    )
    reservoir: int = parameter(
        16, "memory.reservoir", "Old keyframes that are remembered as images, sampled uniformly.", "", 1, 4096
    )
    retention_views: int = parameter(
        4, "memory.retention_views", "How many of them are rendered after each chunk; 0: none.", "", 0, 256
    )
    measure_prediction: bool = parameter(
        True,
        "memory.measure_prediction",
        "Render each chunk's own views before it is observed, and publish the PSNR.",
    )
    seed: int = parameter(0, "memory.seed", "Seed of the reservoir.", "", 0, 2**31 - 1)
    rule: NamedRule = one_of(
        "memory.rule",
        {kind_of(rule).value: rule for rule in _RULES},
        "How a chunk is written: consolidation together with all that came before it (ours), elastic under the elastic "
        "prior (published), plastic as LaCT does. Weights of the FSM release want elastic, and memory.submaps 1.",
        at_run_time=True,
    )
    atlas: AtlasSettings = AtlasSettings(submaps=8)
    sharing: AnchorSharing = parameter(
        AnchorSharing.PER_LAYER,
        "memory.anchor_sharing",
        "shared hands one anchor from layer to layer as the release does; windowed mode and memory.rule elastic only.",
    )
    keyframes: KeyframeLimits = KeyframeLimits()
    photographs: int = parameter(
        4,
        "recall.photographs",
        "Kept photographs that one view is recalled from, at most; the shipped weights were trained on 4.",
        "",
        1,
        5,
    )
    chunk_views: int = parameter(
        4, "chunk.views", "Keyframes of a chunk; the shipped weights were trained on 4.", "frames", 1, 256
    )
    max_pixels: int = parameter(
        640 * 480, "render.max_pixels", "The largest view that is rendered.", "px", 64, 67_108_864
    )
    method: RenderMethod = parameter(
        RenderMethod.RECALL,
        "render.method",
        "recall: from kept photographs, placed by what the fast weights know, and from the fast weights where no "
        "photograph saw anything; memory: from the fast weights alone; photographs: from these alone. A request may "
        "ask for any.",
    )
    render_resolution: RenderResolution = parameter(
        RenderResolution.MEMORY,
        "render.resolution",
        "memory renders large views at about the observed size and resamples them; request renders at the wanted size.",
    )

    def __post_init__(self) -> None:
        """Check the parameters, and what goes together.

        Raises:
            ValueError: a parameter out of its range, or settings that do not go together.
        """
        super().__post_init__()
        if self.sharing is AnchorSharing.SHARED and self.mode is MemoryMode.STREAMING:
            raise ValueError(
                "anchors shared across layers only exist in batch order: set the memory mode to windowed, or the "
                "anchor sharing to per_layer"
            )
        if self.sharing is AnchorSharing.SHARED and not isinstance(self.rule, (ElasticRule, Plastic)):
            raise ValueError(
                f"anchors shared across layers belong to the elastic prior, the rule is {kind_of(self.rule).value}: "
                "set the memory rule to elastic, or the anchor sharing to per_layer"
            )

    def check_patch(self, patch: int) -> None:
        """Check that the observed views can be cut into patches of so many pixels a side.

        Raises:
            ValueError: they cannot.
        """
        if self.width % patch or self.height % patch:
            raise ValueError(
                f"observed views of {self.width}x{self.height} pixels cannot be cut into patches of {patch}: make "
                f"memory.width and memory.height multiples of {patch}"
            )
