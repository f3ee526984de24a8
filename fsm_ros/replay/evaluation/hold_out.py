# SPDX-License-Identifier: Apache-2.0
"""Which frames are kept from the memory, to be asked for afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fsm_ros.sources.recorded import RecordedFrame
from fsm_ros.stream.held_out import is_held_out

FORMS = "every:N, block:START-END (seconds since the first image) or camera:NAME"
"""What a hold-out may be, in words."""


class HoldOut(Protocol):
    """A way to choose frames."""

    def withheld(self, frames: Sequence[RecordedFrame], cameras: Sequence[str]) -> set[int]:
        """Places in `frames` (all of a recording, in order of arrival) of those that are kept from the memory.

        Raises:
            ValueError: it does not go with this recording.
        """


@dataclass(frozen=True)
class EveryNth:
    """Every n-th image of each camera, beginning with the n-th.

    It is what ``play_bag --hold-out`` withholds too, where no stamp comes again.

    Where a stamp comes again, as in a recording of a loop, its image is withheld whenever it was the first time:
    otherwise the memory would be shown in one round what it is asked for of another.
    """

    n: int

    def withheld(self, frames: Sequence[RecordedFrame], cameras: Sequence[str]) -> set[int]:
        """See `HoldOut`."""
        first: dict[tuple[str, int], int] = {}
        numbers = (first.setdefault((frame.camera, frame.stamp_ns), frame.index) for frame in frames)
        return {place for place, number in enumerate(numbers) if is_held_out(number, self.n)}


@dataclass(frozen=True)
class Block:
    """A stretch of time that is never seen, by stamps, seconds since the recording's first image; its end excluded."""

    start_s: float
    end_s: float

    def withheld(self, frames: Sequence[RecordedFrame], cameras: Sequence[str]) -> set[int]:
        """See `HoldOut`."""
        first_ns = min(frame.stamp_ns for frame in frames)
        return {
            place
            for place, frame in enumerate(frames)
            if self.start_s <= (frame.stamp_ns - first_ns) * 1e-9 < self.end_s
        }


@dataclass(frozen=True)
class WholeCamera:
    """All images of one camera of a rig."""

    name: str

    def withheld(self, frames: Sequence[RecordedFrame], cameras: Sequence[str]) -> set[int]:
        """See `HoldOut`."""
        matches = [camera for camera in cameras if self.name in (camera, camera.rsplit("/", 1)[-1])]
        if len(matches) != 1:
            raise ValueError(f"no camera {self.name} to hold out: the cameras here are {', '.join(cameras)}")
        return {place for place, frame in enumerate(frames) if frame.camera == matches[0]}


@dataclass(frozen=True)
class AnyOf:
    """What any of several ways chooses."""

    ways: tuple[HoldOut, ...]

    def withheld(self, frames: Sequence[RecordedFrame], cameras: Sequence[str]) -> set[int]:
        """See `HoldOut`."""
        chosen: set[int] = set()
        for way in self.ways:
            chosen |= way.withheld(frames, cameras)
        return chosen


def parse_hold_out(text: str) -> HoldOut:
    """A hold-out from its text; several are joined by commas.

    Raises:
        ValueError: none of the forms.
    """
    ways = tuple(_parse(part.strip()) for part in text.split(","))
    return ways[0] if len(ways) == 1 else AnyOf(ways)


def choose(text: str, frames: Sequence[RecordedFrame], cameras: Sequence[str]) -> set[int]:
    """Places of the withheld frames, where some are left on both sides.

    Args:
        text: see `parse_hold_out`.
        frames: all of a recording, in order of arrival.
        cameras: their names.

    Raises:
        ValueError: no such form, nothing to ask for, or nothing to observe.
    """
    withheld = parse_hold_out(text).withheld(frames, cameras)
    asked = [place for place in withheld if frames[place].world_from_camera is not None]
    if not asked:
        first_ns, last_ns = (pick(frame.stamp_ns for frame in frames) for pick in (min, max))
        of_them = f"{len(withheld)} images, none with a pose" if withheld else "no image"
        raise ValueError(
            f"the hold-out {text} withholds {of_them} of {len(frames)} in {(last_ns - first_ns) * 1e-9:.1f} s: nothing "
            f"could be measured; {_remedy(text, 'a smaller N', 'a block within that time', 'that camera too')}"
        )
    if not any(frame.world_from_camera is not None for place, frame in enumerate(frames) if place not in withheld):
        raise ValueError(
            f"the hold-out {text} leaves no image with a pose for the memory to observe: "
            f"{_remedy(text, 'a larger N', 'a shorter block', 'another camera too, --camera NAME or --camera all')}"
        )
    return withheld


def names_a_camera(text: str) -> bool:
    """Whether a hold-out withholds a whole camera."""
    return any(part.strip().startswith("camera:") for part in text.split(","))


def _remedy(text: str, every: str, block: str, camera: str) -> str:
    """What to use instead, of the kinds of hold-out that were asked for."""
    kinds = {"every": every, "block": block, "camera": camera}
    found = dict.fromkeys(kinds[part.strip().partition(":")[0]] for part in text.split(","))
    return f"use {' and '.join(found)}"


def _parse(text: str) -> HoldOut:
    kind, _, value = text.partition(":")
    if kind == "every" and value.isdecimal() and int(value) >= 1:
        if int(value) == 1:
            raise ValueError("the hold-out every:1 leaves no image for the memory to observe: use every:2 or more")
        return EveryNth(int(value))
    if kind == "block":
        start, found, end = value.partition("-")
        if found and (block := _block(start, end)) is not None:
            return block
    if kind == "camera" and value:
        return WholeCamera(value)
    raise ValueError(f"a hold-out is {FORMS} with START before END, got {text!r}")


def _block(start: str, end: str) -> Block | None:
    try:
        start_s, end_s = float(start), float(end)
    except ValueError:
        return None
    is_stretch = 0 <= start_s < end_s and math.isfinite(end_s)
    return Block(start_s, end_s) if is_stretch else None
