"""From frames whose pose is known to chunks: everything that a stream decides, whether it is live or replayed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
class IntakeSettings:
    """What a stream is cut by.

    Attributes:
        keyframes: which frames are worth remembering.
        width: columns of rectified frames.
        height: rows of them.
        photograph_size: columns and rows that the photographs kept for recall have at most; ``None``: none are made.
        chunk_views: keyframes of a full chunk.
        chunk_timeout_s: a partial chunk is given out after this long; 0: never.
        max_future_s: stamps further ahead of the clock are refused.
        max_speed_mps: a camera that moves faster has jumped.
        max_turn_radps: one that turns faster, too.
    """

    keyframes: KeyframePolicy
    width: int
    height: int
    chunk_views: int
    chunk_timeout_s: float
    max_future_s: float
    max_speed_mps: float
    max_turn_radps: float
    photograph_size: tuple[int, int] | None = None


class Intake:
    """The decisions in their order; the caller finds poses, decodes and keeps the books. Not thread-safe.

    A frame goes through `judge_stamp`, `judge_pose`, `rectify` and `keep`; where one of them refuses it, it ends there.
    """

    def __init__(self, settings: IntakeSettings) -> None:
        """Start with no frame seen.

        Raises:
            ValueError: a setting that means nothing.
        """
        self._gate = StampGate(settings.max_future_s)
        self._selector = KeyframeSelector(settings.keyframes)
        self._jumps = JumpDetector(settings.max_speed_mps, settings.max_turn_radps)
        self._rectifier = Rectifier(settings.width, settings.height, settings.photograph_size)
        self._chunker = Chunker(settings.chunk_views, settings.chunk_timeout_s)

    @property
    def pending(self) -> int:
        """Keyframes of the chunk that is being filled."""
        return self._chunker.pending

    def judge_stamp(self, stamp_ns: int, now_ns: int, source: str) -> StampVerdict:
        """Whether a stamp is believed; in the order of arrival. See `StampGate.judge`."""
        return self._gate.judge(stamp_ns, now_ns, source)

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
