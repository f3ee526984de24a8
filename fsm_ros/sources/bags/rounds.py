# SPDX-License-Identifier: Apache-2.0
"""Recordings in which time begins anew: of a bag that was played in a loop, or a simulator that was started again.

The same moments then come again, with other poses. What was said of them in one round has no meaning in another.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from fsm_ros.stream.stamps import RUN_OF_A_JUMP

ANEW_S = 1.0
"""Stamps that fall so far behind the newest one of their stream, and rise from there, are of a new round."""


@dataclass
class _Stream:
    """A topic, or a link of TF: its stamps, and how far it was followed."""

    stamps_ns: list[int] = field(default_factory=list)
    place: int = -1
    newest_ns: int = 0
    round: int = 0

    def begins_anew(self) -> bool:
        """Whether time was set back with the message at `place`: one old stamp is a straggler, or an error."""
        if self.stamps_ns[self.place] >= self.newest_ns - ANEW_S * 1e9:
            return False
        run = self._following(RUN_OF_A_JUMP)
        rises = all(one < other for one, other in zip(run, run[1:], strict=False))
        return len(run) == RUN_OF_A_JUMP and rises and run[-1] < self.newest_ns

    def is_late(self) -> bool:
        """Whether the message at `place` is of a moment that the next one knows nothing of."""
        here, *following = self._following(2)
        return any(stamp_ns < here - ANEW_S * 1e9 for stamp_ns in following)

    def _following(self, count: int) -> list[int]:
        """The stamp at `place` and those after it; one that is said again, by a second publisher say, counts once."""
        found = [self.stamps_ns[self.place]]
        for place in range(self.place + 1, len(self.stamps_ns)):
            if len(found) == count:
                break
            if self.stamps_ns[place] != found[-1]:
                found.append(self.stamps_ns[place])
        return found


def rounds_of(messages: Sequence[tuple[Hashable, int]]) -> list[int]:
    """How often time had begun anew at each message, from 0.

    Streams do not begin anew at the same message: each joins a new round with its own first message of it.

    Args:
        messages: stream and stamp in nanoseconds of each, in the order of arrival. The stamps of a stream rise, but for
            stragglers and where time begins anew.
    """
    streams: dict[Hashable, _Stream] = {}
    for name, stamp_ns in messages:
        streams.setdefault(name, _Stream()).stamps_ns.append(stamp_ns)
    newest_ns: list[int] = []

    def is_nearer(stamp_ns: int, one: int, other: int) -> bool:
        return abs(stamp_ns - newest_ns[one]) < abs(stamp_ns - newest_ns[other])

    rounds = []
    for name, stamp_ns in messages:
        stream, last = streams[name], len(newest_ns) - 1
        stream.place += 1
        if last < 0:
            newest_ns.append(stamp_ns)
        elif stream.place == 0:
            stream.round = last
        elif stream.round < last and is_nearer(stamp_ns, last, stream.round):
            stream.round, stream.newest_ns = last, stamp_ns
        elif 0 < stream.round == last and is_nearer(stamp_ns, last - 1, last) and stream.is_late():
            rounds.append(last - 1)
            continue
        elif stream.round == last and stream.begins_anew():
            newest_ns.append(stamp_ns)
            stream.round, stream.newest_ns = last + 1, stamp_ns
        stream.newest_ns = max(stream.newest_ns, stamp_ns)
        newest_ns[stream.round] = max(newest_ns[stream.round], stamp_ns)
        rounds.append(stream.round)
    return rounds
