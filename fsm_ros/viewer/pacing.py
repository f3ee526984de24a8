# SPDX-License-Identifier: Apache-2.0
"""When to ask for which picture: the newest wish wins, small while it changes, full when it rests, nothing twice."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fsm_ros.viewer.wish import Mode, Wish

RESTS_S = 0.06
"""A wish that has not changed for so long rests."""
REFRESH_S = 2.0
"""A visitor who rests for so long sees what was learned meanwhile, and so often."""
SMALL_S = 0.06
"""What a small picture may take."""
LEAST_PIXELS = 64 * 48
"""Where not even these come in time, the fast weights alone draw what is seen while it changes, no more coarsely."""
DRAFT_PIXELS = 160 * 120
QUICKER = 0.6
"""After full pictures took so much less than when it was last tried, small ones are tried again."""
_CALMLY = 0.3
_HARDLY = 0.75
"""Sizes change where the time asks for less than so much of the size, or for more by as much."""


@dataclass(frozen=True)
class Asked:
    """A picture to ask for.

    Attributes:
        wish: of what.
        pixels: about how many.
        is_full: whether it is as fine as it gets.
        version: of the memory that is asked.
        is_draft: whether the fast weights alone are to draw it.
    """

    wish: Wish
    pixels: int
    is_full: bool
    version: object
    is_draft: bool = False

    @property
    def rendered(self) -> Wish:
        """What is to be rendered."""
        return replace(self.wish, mode=Mode.MEMORY) if self.is_draft else self.wish


class Pace:
    """One visitor's pace. Times are seconds of one steady clock."""

    def __init__(self, full_pixels: int) -> None:
        """Begin with nothing shown. Args: pixels of a full picture."""
        self._full_pixels = max(full_pixels, LEAST_PIXELS)
        self._small_pixels = max(LEAST_PIXELS, self._full_pixels // 8)
        self._wish: Wish | None = None
        self._changed_s = -math.inf
        self._shown: Asked | None = None
        self._shown_s = -math.inf
        self._in_flight: Asked | None = None
        self._full_when_drafted_s: float | None = None
        self._full_s = math.nan

    @property
    def wish(self) -> Wish | None:
        """The newest."""
        return self._wish

    @property
    def small_pixels(self) -> int:
        """Pixels of a small picture: as many as are rendered within `SMALL_S`."""
        return self._small_pixels

    def want(self, wish: Wish, now_s: float) -> None:
        """Take a wish in the place of the one before."""
        if wish != self._wish:
            self._wish, self._changed_s = wish, now_s

    def forget(self) -> None:
        """What is shown is shown no longer."""
        self._shown = None

    def begin(self, version: object, now_s: float) -> Asked | None:
        """What to ask for now, if anything; nothing before that has arrived or failed.

        Args:
            version: of the memory: another object after each change.
            now_s: the time.
        """
        if self._in_flight is not None or self._wish is None:
            return None
        rests = now_s - self._changed_s >= RESTS_S
        shown = self._shown
        if shown is None or shown.wish != self._wish:
            is_full = self._small_pixels >= self._full_pixels
        elif not shown.is_full:
            if not rests:
                return None
            is_full = True
        elif shown.version is not version and self._refresh_in_s(now_s) <= 0.0:
            is_full = True
        else:
            return None
        is_draft = not is_full and self._full_when_drafted_s is not None and self._wish.mode is Mode.BOTH
        small = min(DRAFT_PIXELS, self._full_pixels) if is_draft else self._small_pixels
        self._in_flight = Asked(self._wish, self._full_pixels if is_full else small, is_full, version, is_draft)
        return self._in_flight

    def arrived(self, took_s: float, now_s: float) -> None:
        """What was asked for is shown. Args: seconds that rendering it took; the time."""
        asked, self._in_flight = self._in_flight, None
        if asked is None:
            return
        self._shown, self._shown_s = asked, now_s
        if asked.wish.is_beside or asked.wish.mode is not Mode.BOTH or asked.is_draft or not took_s > 0:
            return
        if asked.is_full:
            self._full_s = took_s
            if self._full_when_drafted_s is not None:
                if math.isnan(self._full_when_drafted_s):
                    self._full_when_drafted_s = took_s
                elif took_s < QUICKER * self._full_when_drafted_s:
                    self._full_when_drafted_s = None
            if took_s > SMALL_S and self._small_pixels < self._full_pixels:
                return
        # Twice the pixels take less than twice the time: small steps find the size all the same.
        share = asked.pixels * SMALL_S / took_s / self._small_pixels
        if share < _HARDLY or share > 1 / _HARDLY:
            wanted = self._small_pixels * share**_CALMLY
            if wanted < LEAST_PIXELS:
                self._full_when_drafted_s = self._full_s
            self._small_pixels = int(min(self._full_pixels, max(LEAST_PIXELS, wanted)))

    def failed(self, now_s: float) -> None:
        """What was asked for did not come: it counts as shown, or it would be asked for without end."""
        asked, self._in_flight = self._in_flight, None
        if asked is not None:
            self._shown, self._shown_s = Asked(asked.wish, asked.pixels, True, asked.version), now_s

    def due_in_s(self, now_s: float) -> float:
        """Seconds until :meth:`begin` may want what it does not want now; infinite: only of another wish or memory."""
        if self._in_flight is not None or self._wish is None:
            return math.inf
        if self._shown is None or self._shown.wish != self._wish:
            return 0.0
        if not self._shown.is_full:
            return max(0.0, self._changed_s + RESTS_S - now_s)
        refresh_in_s = self._refresh_in_s(now_s)
        return refresh_in_s if refresh_in_s > 0.0 else math.inf

    def has_changed_lately(self, now_s: float) -> bool:
        """Whether the wish may well change again soon."""
        return now_s - self._changed_s < REFRESH_S

    def _refresh_in_s(self, now_s: float) -> float:
        # Not just before somebody moves on: what is begun keeps the worker from what comes after it.
        return max(self._shown_s, self._changed_s) + REFRESH_S - now_s
