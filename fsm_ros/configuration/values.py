"""A value for every parameter, and the settings of the parts that they make."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from fsm_ros.configuration.spec import Value, words
from fsm_ros.configuration.table import BY_NAME, PARAMETERS
from fsm_ros.memory.atlas import AtlasSettings
from fsm_ros.memory.rules.elastic import AnchorSharing
from fsm_ros.memory.rules.naming import NamedRule, rule_from
from fsm_ros.recall.keyframes import KeyframeLimits
from fsm_ros.spatial.settings import MemoryMode, MemorySettings, RenderMethod, RenderResolution
from fsm_ros.stream.intake import IntakeSettings
from fsm_ros.stream.keyframes import KeyframePolicy

_E = TypeVar("_E", bound=Enum)


class Values:
    """A value for every parameter of the node, and what its parts make of them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Take a value for every parameter; see :meth:`of` for some of them."""
        self._values = dict(values)

    @classmethod
    def of(cls, changes: Mapping[str, object] | None = None) -> Values:
        """The defaults with some of them replaced, all checked as the node checks them.

        Raises:
            ValueError: an unknown name, or a value that the parameter may not have.
        """
        values: dict[str, Value] = {spec.name: spec.default for spec in PARAMETERS}
        for name, value in (changes or {}).items():
            if name not in BY_NAME:
                near = difflib.get_close_matches(name, BY_NAME, n=1)
                hint = f": did you mean {near[0]}?" if near else ": config/fsm.yaml lists all there are"
                raise ValueError(f"there is no parameter {name}{hint}")
            values[name] = BY_NAME[name].checked(value)
        made = cls(values)
        made.memory()
        made.keyframes()
        return made

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  # parameters are of several types
        """The value of a parameter."""
        return self._values[name]

    def with_changes(self, changes: Mapping[str, Any]) -> Values:
        """The same with some of them replaced."""
        return Values(self._values | dict(changes))

    def as_plain(self) -> dict[str, Any]:
        """All of them by name."""
        return dict(self._values)

    def choice(self, name: str, enum: type[_E]) -> _E:
        """The value as a member of its enumeration; ``ValueError`` where it is not one."""
        try:
            return enum(self[name])
        except ValueError as error:
            raise ValueError(f"{name} must be one of {', '.join(words(enum))}, got {self[name]!r}") from error

    def rule(self) -> NamedRule:
        """How chunks are written; ``ValueError`` also where what is wrong belongs to a rule that is not asked for."""
        entries: dict[str, dict[str, Any]] = {kind: {"kind": kind} for kind in BY_NAME["memory.rule"].choices}
        for spec in PARAMETERS:
            kind, _, name = spec.name.partition(".")
            if spec.name == "memory.rule" or kind in entries:
                spec.check_choice(self[spec.name])
            if kind in entries:
                entries[kind][name] = self[spec.name]
        return {kind: rule_from(content) for kind, content in entries.items()}[self["memory.rule"]]

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
            measure_prediction=self["memory.measure_prediction"],
            render_resolution=self.choice("render.resolution", RenderResolution),
            max_pixels=self["render.max_pixels"],
            seed=self["memory.seed"],
            method=self.choice("render.method", RenderMethod),
            keyframes=KeyframeLimits(self["recall.keyframes"], self["recall.bytes"]),
            photographs=self["recall.photographs"],
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

    def intake(self) -> IntakeSettings:
        """What the stream is cut by."""
        return IntakeSettings(
            keyframes=self.keyframes(),
            width=self["memory.width"],
            height=self["memory.height"],
            chunk_views=self["chunk.views"],
            chunk_timeout_s=self["chunk.timeout"],
            max_future_s=self["input.max_future"],
            max_speed_mps=self["keyframes.max_speed"],
            max_turn_radps=self["keyframes.max_turn"],
            photograph_size=(self["recall.width"], self["recall.height"]) if self["recall.keyframes"] else None,
        )
