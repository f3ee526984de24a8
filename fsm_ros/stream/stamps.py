# SPDX-License-Identifier: Apache-2.0
"""Which acquisition stamps are believed: repeated, late, early ones, and the jump back of a bag that starts again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

RUN_OF_A_JUMP = 3
"""So many frames in a row that are older than the newest, and rising, are a clock that was set back: a loop of a
bag. Fewer are stragglers."""


ANOTHER_CLOCK_S = 30.0
"""Stamps that are so far from a running clock were not taken from it."""
_UNITS = (("years", 365.25 * 86400.0), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("s", 1.0))


def clock_difference(stamp_ns: int, now_ns: int) -> str:
    """What to add to the reason of a refused frame where its stamp is of another clock; else nothing.

    Args:
        stamp_ns: of the frame.
        now_ns: the clock, nanoseconds; 0 where it does not run yet.
    """
    apart_s = (stamp_ns - now_ns) / 1e9
    if now_ns <= 0 or abs(apart_s) < ANOTHER_CLOCK_S:
        return ""
    unit, length_s = next((unit, length) for unit, length in _UNITS if abs(apart_s) >= 2 * length)
    side = "ahead of" if apart_s > 0 else "behind"
    return (
        f"; the camera's clock is {abs(apart_s) / length_s:.0f} {unit} {side} this node's: synchronise them, or set "
        "use_sim_time and play a recording with --clock"
    )


class StampVerdict(Enum):
    """What to make of a stamp."""

    GOOD = "good"
    REPEATED = "repeated"
    TOO_OLD = "too_old"
    IN_FUTURE = "in_future"
    JUMPED_BACK = "jumped_back"
    """Good, and the first one after the stream's time was set back: what depends on time order starts anew."""


@dataclass(frozen=True)
class _Source:
    newest_ns: int
    run: int = 0
    run_newest_ns: int = 0


class StampGate:
    """Judges stamps in the order of arrival, each source of a rig on its own."""

    def __init__(self, max_future_s: float) -> None:
        """Set how far ahead of the clock a stamp may be.

        Args:
            max_future_s: seconds.

        Raises:
            ValueError: negative or not a number.
        """
        if not max_future_s >= 0:
            raise ValueError(f"max_future_s must not be negative, got {max_future_s}")
        self._max_future_ns = round(max_future_s * 1e9)
        self._sources: dict[str, _Source] = {}

    def judge(self, stamp_ns: int, now_ns: int, source: str) -> StampVerdict:
        """Judge a frame's stamp.

        Args:
            stamp_ns: acquisition time, nanoseconds.
            now_ns: the clock, nanoseconds; 0 where it does not run yet (simulated time before the first /clock), which
                switches the check for the future off.
            source: which camera of the rig.
        """
        if self.is_in_future(stamp_ns, now_ns):
            return StampVerdict.IN_FUTURE
        last = self._sources.get(source)
        if last is None or stamp_ns > last.newest_ns:
            self._sources[source] = _Source(stamp_ns)
            return StampVerdict.GOOD
        if stamp_ns == last.newest_ns:
            return StampVerdict.REPEATED
        rising = stamp_ns > last.run_newest_ns if last.run else True
        run = last.run + 1 if rising else 1
        if run >= RUN_OF_A_JUMP:
            self._sources[source] = _Source(stamp_ns)
            return StampVerdict.JUMPED_BACK
        self._sources[source] = _Source(last.newest_ns, run, stamp_ns)
        return StampVerdict.TOO_OLD

    def is_in_future(self, stamp_ns: int, now_ns: int) -> bool:
        """Whether a stamp is too far ahead of the clock; never where that does not run yet."""
        return now_ns > 0 and stamp_ns > now_ns + self._max_future_ns

    def reset(self) -> None:
        """Forget all stamps."""
        self._sources.clear()
