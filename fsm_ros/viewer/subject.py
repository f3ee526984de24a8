# SPDX-License-Identifier: Apache-2.0
"""What a viewer needs of whoever keeps the memory: a node, or a program that opened a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from fsm_ros.engine import MemoryEngine
from fsm_ros.spatial.results import Failure
from fsm_ros.stream.frame import PosedImage


@dataclass(frozen=True)
class Condition:
    """How the memory does, in words.

    Attributes:
        trouble: what is wrong or missing, and what to do; empty where all is well.
        numbers: what is told, by name, in its order.
        is_paused: whether frames are refused by request.
        is_live: whether there is a stream that could be paused.
    """

    trouble: str = ""
    numbers: Mapping[str, str] = field(default_factory=dict)
    is_paused: bool = False
    is_live: bool = False


class Subject(Protocol):
    """Whose memory is looked at. Everything may be called from any thread and returns at once."""

    @property
    def engine(self) -> MemoryEngine:
        """Who owns the memory."""

    def condition(self) -> Condition:
        """How it does, now."""

    def live(self) -> PosedImage | None:
        """The newest frame of a camera whose pose is known; ``None`` where there is none."""

    def pause(self, paused: bool) -> None:
        """Refuse frames, or take them again."""

    def reset(self) -> Future[str | Failure]:
        """Forget everything. Comes to what there is to say about it."""

    def save(self, name: str) -> Future[str | Failure]:
        """Write the memory into a file, and likewise."""

    def load(self, name: str) -> Future[str | Failure]:
        """Read the memory from a file, and likewise."""


Post = Callable[[Callable[[], None]], None]
"""Has something done on the viewer's thread; may be called from any."""
