"""The parameters of a node: declared, read, checked when they change, and turned into settings of its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, TypeVar

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from fsm_ros.memory.atlas import AtlasSettings
from fsm_ros.memory.consolidation import ChunkShare, Consolidation
from fsm_ros.memory.elastic import (
    AnchorPolicy,
    AnchorSharing,
    ElasticRule,
    Importance,
    ImportanceScale,
    ImportanceTiming,
)
from fsm_ros.node.parameter_spec import words
from fsm_ros.node.parameter_table import BY_NAME, PARAMETERS, RuleChoice
from fsm_ros.spatial.settings import MemoryMode, MemorySettings, RenderResolution
from fsm_ros.stream.keyframes import KeyframePolicy

_E = TypeVar("_E", bound=Enum)


def declare(node: Node) -> None:
    """Declare all parameters on a node."""
    for spec in PARAMETERS:
        node.declare_parameter(spec.name, spec.default, spec.descriptor())


class Values:
    """The parameters of a node, read once, and what the parts of the node make of them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Take a value for every parameter; see :func:`read`."""
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  # parameters are of several types
        """The value of a parameter."""
        return self._values[name]

    def with_changes(self, changes: Mapping[str, Any]) -> Values:
        """The same with some of them replaced."""
        return Values(self._values | dict(changes))

    def choice(self, name: str, enum: type[_E]) -> _E:
        """The value as a member of its enumeration; ``ValueError`` where it is not one."""
        try:
            return enum(self[name])
        except ValueError as error:
            raise ValueError(f"{name} must be one of {', '.join(words(enum))}, got {self[name]!r}") from error

    def rule(self) -> Consolidation | ElasticRule | None:
        """How chunks are written; ``ValueError`` also where what is wrong belongs to a rule that is not asked for."""
        rules: Mapping[RuleChoice, Consolidation | ElasticRule | None] = {
            RuleChoice.CONSOLIDATION: Consolidation(
                share=self.choice("consolidation.share", ChunkShare),
                retention=self["consolidation.retention"],
            ),
            RuleChoice.ELASTIC: ElasticRule(
                importance=self.choice("elastic.importance", Importance),
                anchor=self.choice("elastic.anchor", AnchorPolicy),
                strength=self["elastic.strength"],
                importance_decay=self["elastic.importance_decay"],
                anchor_decay=self["elastic.anchor_decay"],
                timing=self.choice("elastic.timing", ImportanceTiming),
                scale=self.choice("elastic.scale", ImportanceScale),
            ),
            RuleChoice.PLASTIC: None,
        }
        return rules[self.choice("memory.rule", RuleChoice)]

    def memory(self) -> MemorySettings:
        """How the memory is kept."""
        return MemorySettings(
            width=self["memory.width"],
            height=self["memory.height"],
            chunk_views=self["chunk.views"],
            mode=self.choice("memory.mode", MemoryMode),
            window_chunks=self["memory.window_chunks"],
            rule=self.rule(),
            atlas=AtlasSettings(places=self["memory.places"], apart=self["memory.place_distance"]),
            sharing=self.choice("memory.anchor_sharing", AnchorSharing),
            extent_m=self["memory.extent"],
            extent_margin=self["memory.extent_margin"],
            horizon_s=self["memory.horizon"],
            reservoir=self["memory.reservoir"],
            retention_views=self["memory.retention_views"],
            measure_surprise=self["memory.measure_surprise"],
            render_resolution=self.choice("render.resolution", RenderResolution),
            max_pixels=self["render.max_pixels"],
            seed=self["memory.seed"],
        )

    def keyframes(self) -> KeyframePolicy:
        """Which frames are worth remembering."""
        return KeyframePolicy(
            translation_m=self["keyframes.translation"],
            rotation_rad=self["keyframes.rotation"],
            interval_s=self["keyframes.interval"],
            min_interval_s=self["keyframes.min_interval"],
            static_interval_s=self["keyframes.static_interval"],
        )


def read(node: Node) -> Values:
    """The current values of all parameters of a node."""
    return Values({spec.name: node.get_parameter(spec.name).value for spec in PARAMETERS})


def on_change(
    read_values: Callable[[], Values], is_configured: Callable[[], bool]
) -> Callable[[Sequence[Parameter]], SetParametersResult]:
    """A callback for ``add_on_set_parameters_callback``: all changes of a request are allowed, or none.

    Args:
        read_values: the values in force.
        is_configured: whether the node has built its parts from them.
    """

    def check(changes: Sequence[Parameter]) -> SetParametersResult:
        wanted = {change.name: change.value for change in changes if change.name in BY_NAME}
        frozen = [name for name in wanted if not BY_NAME[name].at_run_time]
        if frozen and is_configured():
            return SetParametersResult(
                successful=False,
                reason=f"{', '.join(frozen)} is read when the node is configured: deactivate and clean it up first",
            )
        for name, value in wanted.items():
            choices = BY_NAME[name].choices
            if choices and value not in choices:
                return SetParametersResult(
                    successful=False, reason=f"{name} must be one of {', '.join(choices)}, got {value!r}"
                )
        try:
            values = read_values().with_changes(wanted)
            values.memory()
            values.keyframes()
        except (TypeError, ValueError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    return check
