# SPDX-License-Identifier: Apache-2.0
"""From frames whose pose is known to chunks: everything that a stream decides, whether it is live or replayed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsm_ros.parameter import DAY_S, Checked, parameter
from fsm_ros.stream.chunker import Chunk, Chunker
from fsm_ros.stream.frame import PosedImage
from fsm_ros.stream.jumps import JumpDetector, PoseJump
from fsm_ros.stream.keyframes import KeyframeDecision, KeyframePolicy, KeyframeSelector
from fsm_ros.stream.ledger import Refusal
from fsm_ros.stream.rectify import Rectifier
from fsm_ros.stream.stamps import StampGate, StampVerdict

STAMP_REFUSALS = {
    StampVerdict.REPEATED: Refusal.STAMP_REPEATED,
    StampVerdict.TOO_OLD: Refusal.STAMP_TOO_OLD,
    StampVerdict.IN_FUTURE: Refusal.STAMP_IN_FUTURE,
}
"""What stamps are refused as; the others are good."""

KEYFRAME_REFUSALS = {
    KeyframeDecision.NOT_MOVED: Refusal.NOT_MOVED,
    KeyframeDecision.TOO_SOON: Refusal.TOO_SOON,
    KeyframeDecision.NOT_NEWER: Refusal.STAMP_TOO_OLD,
}
"""What frames that are no keyframes are refused as; the others are keyframes."""


@dataclass(frozen=True)
class IntakeSettings(Checked):
    """Which frames are believed and remembered, and how long a chunk waits for them.

    Attributes:
        keyframes: which frames are worth remembering.
    """

    keyframes: KeyframePolicy = KeyframePolicy()
    max_speed_mps: float = parameter(
        20.0,
        "keyframes.max_speed",
        "A pose that moves faster between two frames has jumped (a map correction): it is reported.",
        "m/s",
        0.01,
        1000.0,
    )
    max_turn_radps: float = parameter(
        12.6, "keyframes.max_turn", "A pose that turns faster between two frames has jumped.", "rad/s", 0.01, 1000.0
    )
    chunk_timeout_s: float = parameter(
        5.0, "chunk.timeout", "A partial chunk is written after this long; 0: never.", "s", 0.0, DAY_S
    )
    max_future_s: float = parameter(
        1.0, "input.max_future", "Frames stamped further ahead of the node's clock are refused.", "s", 0.0, DAY_S
    )


class Intake:
    """The decisions in their order; the caller finds poses, decodes and keeps the books. Not thread-safe.

    A frame goes through `judge_stamp`, `judge_pose`, `rectify` and `keep`; where one of them refuses it, it ends there.
    """

    def __init__(
        self,
        settings: IntakeSettings,
        width: int,
        height: int,
        chunk_views: int,
        photograph_size: tuple[int, int] | None = None,
    ) -> None:
        """Start with no frame seen.

        Args:
            settings: what the stream is cut by.
            width: columns of rectified frames.
            height: rows of them.
            chunk_views: keyframes of a full chunk.
            photograph_size: columns and rows at most of the photographs kept for recall; ``None``: none are made.

        Raises:
            ValueError: a size or number that means nothing.
        """
        self._gate = StampGate(settings.max_future_s)
        self._selector = KeyframeSelector(settings.keyframes)
        self._jumps = JumpDetector(settings.max_speed_mps, settings.max_turn_radps)
        self._rectifier = Rectifier(width, height, photograph_size)
        self._chunker = Chunker(chunk_views, settings.chunk_timeout_s)

    @property
    def pending(self) -> int:
        """Keyframes of the chunk that is being filled."""
        return self._chunker.pending

    def judge_stamp(self, stamp_ns: int, now_ns: int, source: str) -> StampVerdict:
        """Whether a stamp is believed; in the order of arrival. See `StampGate.judge`."""
        return self._gate.judge(stamp_ns, now_ns, source)

    def is_in_future(self, stamp_ns: int, now_ns: int) -> bool:
        """Whether a stamp, of a calibration say, cannot be. See `StampGate.is_in_future`."""
        return self._gate.is_in_future(stamp_ns, now_ns)

    def judge_pose(
        self, world_from_camera: NDArray[np.float64], stamp_ns: int, source: str
    ) -> tuple[KeyframeDecision, PoseJump | None]:
        """Whether a frame is worth remembering, and whether its pose has jumped.

        Raises:
            ValueError: the pose is not rigid.
        """
        jump = self._jumps.check(world_from_camera, stamp_ns, source)
        return self._selector.judge(world_from_camera, stamp_ns, source), jump

    def rectify(self, frame: PosedImage) -> PosedImage:
        """Undistort, resize and crop a frame; may run beside the other methods.

        Raises:
            ValueError: the lens cannot be undistorted.
        """
        return self._rectifier.rectify(frame)

    def keep(self, keyframe: PosedImage, now_s: float) -> Chunk | None:
        """Take a rectified frame that was judged worth it.

        Args:
            keyframe: see `rectify`.
            now_s: a clock that only rises, seconds; that of `flush_due`.

        Returns:
            The chunk, if this frame filled it.
        """
        self._selector.remember(keyframe.world_from_camera, keyframe.stamp_ns, keyframe.source)
        return self._chunker.add(keyframe, now_s)

    def flush_due(self, now_s: float) -> Chunk | None:
        """The partial chunk, if it has waited for its timeout."""
        return self._chunker.flush_due(now_s)

    def flush(self) -> Chunk | None:
        """The partial chunk, if there is one."""
        return self._chunker.flush()

    def discard(self) -> int:
        """Throw the partial chunk away; returns how many keyframes it had."""
        return self._chunker.clear()

    def begin_anew(self, source: str | None = None) -> None:
        """Begin the order of poses anew, of one camera or of all: nothing before is compared with what comes."""
        self._selector.reset(source)
        self._jumps.reset(source)

    def forget_stamps(self) -> None:
        """Begin the order of stamps anew, of all cameras."""
        self._gate.reset()
