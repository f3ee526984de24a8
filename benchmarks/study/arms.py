# SPDX-License-Identifier: Apache-2.0
"""What is compared: a rule, whether it has places, and the order it observes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.memory.rules.consolidation import ChunkShare, Consolidation
from fsm_ros.memory.rules.elastic import AnchorPolicy, ElasticRule, Importance, ImportanceScale, ImportanceTiming
from fsm_ros.memory.rules.naming import NamedRule, rule_as_plain
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.rules.steps import StepRule


class Order(Enum):
    """How a stream is observed."""

    STREAMING = "streaming"
    """Chunk by chunk: what a robot does."""
    BATCH = "batch"
    """All chunks in a layer before any token reads, from the start for every figure: the release's order."""
    ONE_CHUNK = "one_chunk"
    """Everything as one chunk: plain LaCT as it was published, with the activations of the whole sequence."""


@dataclass(frozen=True)
class Arm:
    """One thing that is compared.

    Attributes:
        name: for files.
        title: for people.
        rule: how chunks are written.
        atlas: whether the memory has places.
        order: how the stream is observed.
    """

    name: str
    title: str
    rule: NamedRule
    atlas: AtlasSettings = AtlasSettings()
    order: Order = Order.STREAMING

    def as_plain(self) -> dict[str, object]:
        """In names and numbers, for the results file."""
        return {
            "name": self.name,
            "title": self.title,
            "rule": rule_as_plain(self.rule),
            "places": self.atlas.submaps,
            "apart": self.atlas.apart,
            "order": self.order.value,
        }


EIGHT_PLACES = AtlasSettings(submaps=8)
PLASTIC = Arm("plastic", "plastic (LaCT)", Plastic())
PLASTIC_PLACES = Arm("plastic_places", "plastic, 8 places", Plastic(), EIGHT_PLACES)
CONSOLIDATION = Arm("consolidation", "consolidation", Consolidation())
CONSOLIDATION_PLACES = Arm("consolidation_places", "consolidation, 8 places", Consolidation(), EIGHT_PLACES)


def smaller_step(strength: float) -> Arm:
    """The control: an unweighted pull towards the weights just before the chunk, which only makes the step smaller."""
    rule = ElasticRule(Importance.UNIFORM, AnchorPolicy.STREAMING, strength, importance_decay=0.0)
    return Arm(f"smaller_step_{strength:g}", f"smaller step (x{1 - strength:g})", rule)


def published(importance: Importance, anchor: AnchorPolicy, strength: float = 0.5) -> Arm:
    """A rule of the paper; its strength is 0.5."""
    name = f"{importance.value}_{anchor.value}" + ("" if strength == 0.5 else f"_{strength:g}")
    title = f"{importance.value}, {anchor.value}" + ("" if strength == 0.5 else f", strength {strength:g}")
    return Arm(name, title, ElasticRule(importance, anchor, strength))


_GLOBAL, _EMA = AnchorPolicy.GLOBAL, AnchorPolicy.STREAMING_EMA
_BEFORE, _PER_HEAD = ImportanceTiming.BEFORE, ImportanceScale.PER_HEAD

PUBLISHED: tuple[Arm, ...] = tuple(
    published(importance, anchor)
    for importance in (Importance.MAS, Importance.EWC, Importance.SI)
    for anchor in AnchorPolicy
)
STRONGER: tuple[Arm, ...] = (
    published(Importance.MAS, _EMA, 5.0),
    published(Importance.SI, _EMA, 50.0),
    published(Importance.MAS, _GLOBAL, 5.0),
)
"""Published rules with strengths that do something."""
UNIFORM: tuple[Arm, ...] = tuple(
    Arm(
        f"uniform_{anchor.value}_{s:g}",
        f"uniform, {anchor.value}, {s:g}",
        ElasticRule(Importance.UNIFORM, anchor, s, 0.0),
    )
    for anchor in (_EMA, _GLOBAL)
    for s in (0.3, 0.5)
)
CONTROLS: tuple[Arm, ...] = (
    *(smaller_step(strength) for strength in (0.3, 0.5, 0.7, 0.85)),
    Arm("running_mean", "steps of 1/k", StepRule(decline=1.0)),
    Arm("root_steps", "steps of 1/sqrt(k)", StepRule(decline=0.5)),
)
CANDIDATES: tuple[Arm, ...] = (
    Arm("mas_per_head", "mas per head, 0.5", ElasticRule(Importance.MAS, _EMA, 0.5, scale=_PER_HEAD)),
    Arm("si_per_head", "si per head, 0.5", ElasticRule(Importance.SI, _EMA, 0.5, scale=_PER_HEAD)),
    Arm(
        "mas_before",
        "mas from before, per head, 0.5",
        ElasticRule(Importance.MAS, _EMA, 0.5, timing=_BEFORE, scale=_PER_HEAD),
    ),
    Arm(
        "mas_before_streaming",
        "mas from before, per head, streaming, 0.5",
        ElasticRule(Importance.MAS, AnchorPolicy.STREAMING, 0.5, 0.9, timing=_BEFORE, scale=_PER_HEAD),
    ),
    Arm("momentum", "momentum 0.9, steps x0.5", StepRule(size=0.5, momentum=0.9)),
    CONSOLIDATION,
    Arm("consolidation_tokens", "consolidation by tokens", Consolidation(ChunkShare.BY_TOKENS)),
    Arm("consolidation_0.9", "consolidation, retention 0.9", Consolidation(retention=0.9)),
    PLASTIC_PLACES,
    Arm("smaller_step_0.5_places", "smaller step (x0.5), 8 places", smaller_step(0.5).rule, EIGHT_PLACES),
    Arm("running_mean_places", "steps of 1/k, 8 places", StepRule(decline=1.0), EIGHT_PLACES),
    Arm("consolidation_2_places", "consolidation, 2 places", Consolidation(), AtlasSettings(2)),
    Arm("consolidation_4_places", "consolidation, 4 places", Consolidation(), AtlasSettings(4)),
    CONSOLIDATION_PLACES,
    Arm("consolidation_16_places", "consolidation, 16 places", Consolidation(), AtlasSettings(16)),
)
OTHER_ORDERS: tuple[Arm, ...] = (
    Arm("plastic_batch", "plastic, batch order", Plastic(), order=Order.BATCH),
    Arm("si_batch", "si, streaming_ema, batch order", ElasticRule(), order=Order.BATCH),
    Arm("consolidation_batch", "consolidation, batch order", Consolidation(), order=Order.BATCH),
    Arm("one_chunk", "everything as one chunk", Plastic(), order=Order.ONE_CHUNK),
)
EVERY_ARM: Mapping[str, Arm] = {
    arm.name: arm for arm in (PLASTIC, *PUBLISHED, *STRONGER, *UNIFORM, *CONTROLS, *CANDIDATES, *OTHER_ORDERS)
}
