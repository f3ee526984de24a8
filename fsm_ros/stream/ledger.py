# SPDX-License-Identifier: Apache-2.0
"""The frame ledger: every frame that came is a keyframe, still pending, or refused for a named reason."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Refusal(Enum):
    """Why a frame did not reach the memory; the value is the name on the wire."""

    UNREADABLE_IMAGE = "unreadable_image"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    BAD_CALIBRATION = "bad_calibration"
    SIZE_MISMATCH = "size_mismatch"
    NO_CAMERA_INFO = "no_camera_info"
    NO_TRANSFORM = "no_transform"
    BAD_TRANSFORM = "bad_transform"
    STAMP_TOO_OLD = "stamp_too_old"
    STAMP_IN_FUTURE = "stamp_in_future"
    STAMP_REPEATED = "stamp_repeated"
    NOT_MOVED = "not_moved"
    TOO_SOON = "too_soon"
    QUEUE_FULL = "queue_full"
    PAUSED = "paused"
    CHUNK_DROPPED = "chunk_dropped"
    DISCARDED = "discarded"
    OBSERVE_FAILED = "observe_failed"
    INTERNAL_ERROR = "internal_error"

    @property
    def remedy(self) -> str:
        """One line for diagnostics: what it means, and what to do about it."""
        return _REMEDIES[self]


_REMEDIES = {
    Refusal.UNREADABLE_IMAGE: (
        "The image's bytes do not decode or are shorter than height x step: check the driver and the transport."
    ),
    Refusal.UNSUPPORTED_ENCODING: (
        "The image's encoding cannot be turned into RGB: publish rgb8, bgr8, mono8 or a compressed JPEG or PNG."
    ),
    Refusal.BAD_CALIBRATION: (
        "The camera_info is uncalibrated, not finite, or of an unknown lens model: calibrate the camera."
    ),
    Refusal.SIZE_MISMATCH: (
        "The image's size is not the one its camera_info promises: publish the camera_info of this very image."
    ),
    Refusal.NO_CAMERA_INFO: (
        "No camera_info with the image's stamp came in time: check the camera_info topic, its remap and its stamps."
    ),
    Refusal.NO_TRANSFORM: (
        "TF did not connect the camera's frame to the memory's frame in time: check both frame names and /tf."
    ),
    Refusal.BAD_TRANSFORM: (
        "TF gave a pose that is not finite or has a zero quaternion: check the node that broadcasts it."
    ),
    Refusal.STAMP_TOO_OLD: (
        "The stamp lies further back than TF remembers: synchronise the clocks, or set use_sim_time for a recording."
    ),
    Refusal.STAMP_IN_FUTURE: (
        "The stamp lies ahead of this node's clock: synchronise the clocks, or set use_sim_time for a recording."
    ),
    Refusal.STAMP_REPEATED: (
        "The stamp is not newer than the source's last one: check for two publishers on the topic or a stuck clock."
    ),
    Refusal.NOT_MOVED: (
        "The camera has not moved since the last keyframe: as intended; lower the keyframe thresholds to take more."
    ),
    Refusal.TOO_SOON: (
        "The last keyframe was too short a time ago: as intended; lower the keyframes' minimum interval to take more."
    ),
    Refusal.QUEUE_FULL: (
        "Frames came faster than they could be prepared: lower the camera's rate or raise the queue's length."
    ),
    Refusal.PAUSED: "Observing is paused or the node is not active: resume or activate it.",
    Refusal.CHUNK_DROPPED: (
        "The memory writes more slowly than keyframes come: raise the keyframe thresholds or use a faster device."
    ),
    Refusal.DISCARDED: (
        "The frame waited when a reset, a jump of the clock or a new epoch threw waiting frames away: as intended."
    ),
    Refusal.OBSERVE_FAILED: ("Writing the chunk failed and the memory before it was kept: read the error in the log."),
    Refusal.INTERNAL_ERROR: (
        "The frame met a fault of this node, whose traceback is in its log: report it; other frames are taken."
    ),
}


@dataclass(frozen=True)
class LedgerSnapshot:
    """The ledger at one moment.

    Attributes:
        received: frames that came.
        keyframes: frames that became keyframes and still count as such.
        refused: frames refused, for every reason there is (0 where none was).
    """

    received: int
    keyframes: int
    refused: Mapping[Refusal, int]

    @property
    def pending(self) -> int:
        """Frames whose fate is open."""
        return self.received - self.keyframes - sum(self.refused.values())


class FrameLedger:
    """Thread-safe counters that always add up: received = keyframes + pending + all refused."""

    def __init__(self) -> None:
        """Start at zero."""
        self._lock = threading.Lock()
        self._received = 0
        self._keyframes = 0
        self._refused = dict.fromkeys(Refusal, 0)

    def receive(self, n: int = 1) -> None:
        """Count frames that came; they are pending.

        Raises:
            ValueError: a negative count.
        """
        _check_count(n)
        with self._lock:
            self._received += n

    def keyframe(self, n: int = 1) -> None:
        """Count pending frames as keyframes.

        Raises:
            ValueError: a negative count.
            RuntimeError: fewer frames are pending: one was counted twice, or never received.
        """
        _check_count(n)
        with self._lock:
            self._settle(n, "keyframes")
            self._keyframes += n

    def refuse(self, reason: Refusal, n: int = 1) -> None:
        """Count pending frames as refused.

        Raises:
            ValueError: a negative count.
            RuntimeError: fewer frames are pending: one was counted twice, or never received.
        """
        _check_count(n)
        with self._lock:
            self._settle(n, f"refused as {reason.value}")
            self._refused[reason] += n

    def demote(self, reason: Refusal, n: int = 1) -> None:
        """Count keyframes as refused after all: their chunk was dropped or could not be observed.

        Raises:
            ValueError: a negative count.
            RuntimeError: there are fewer keyframes.
        """
        _check_count(n)
        with self._lock:
            if n > self._keyframes:
                raise RuntimeError(
                    f"frame ledger: {n} keyframes to be refused as {reason.value}, but only "
                    f"{self._keyframes} are counted: count each frame with keyframe() before demote(), and "
                    "demote it once"
                )
            self._keyframes -= n
            self._refused[reason] += n

    def snapshot(self) -> LedgerSnapshot:
        """All counters at one moment; the value does not change afterwards."""
        with self._lock:
            return self._snapshot()

    def reset(self) -> None:
        """Back to zero. Frames that are pending now must not be settled afterwards."""
        with self._lock:
            self._received = 0
            self._keyframes = 0
            self._refused = dict.fromkeys(Refusal, 0)

    def _snapshot(self) -> LedgerSnapshot:
        return LedgerSnapshot(self._received, self._keyframes, dict(self._refused))

    def _settle(self, n: int, fate: str) -> None:
        pending = self._snapshot().pending
        if n > pending:
            raise RuntimeError(
                f"frame ledger: {n} frames to be counted as {fate}, but only {pending} are pending: count "
                "each frame with receive() first, and settle it once"
            )


def _check_count(n: int) -> None:
    if n < 0:
        raise ValueError(f"frame ledger: a count must not be negative, got {n}")
