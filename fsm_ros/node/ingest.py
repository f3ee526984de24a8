# SPDX-License-Identifier: Apache-2.0
"""From messages to chunks: pairs images with calibrations, waits for TF, picks keyframes, decodes and rectifies.

Callbacks only enqueue; one thread of its own does the rest. Every frame that is not remembered is counted under its
reason (:class:`fsm_ros.stream.ledger.Refusal`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fsm_ros.configuration.settings import Settings
from fsm_ros.engine import MemoryEngine
from fsm_ros.messages.calibrations import Calibration
from fsm_ros.messages.fields import CameraInfo, ImageMessage
from fsm_ros.messages.images import check_message, image_size
from fsm_ros.messages.refused import ImageRefusedError
from fsm_ros.messages.stamps import stamp_to_ns
from fsm_ros.node.camera_infos import CameraInfos
from fsm_ros.node.depths import DepthImages
from fsm_ros.node.ingest_status import IngestStatus
from fsm_ros.node.live_frames import LiveView, LocatedFrame, WaitingFrame
from fsm_ros.stream.calibration import SizeMismatchError
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.intake import KEYFRAME_REFUSALS, STAMP_REFUSALS
from fsm_ros.stream.jumps import PoseJump
from fsm_ros.stream.ledger import FrameLedger, Refusal
from fsm_ros.stream.optical import FrameWatch
from fsm_ros.stream.queues import BoundedQueue
from fsm_ros.stream.stamps import StampVerdict, clock_difference
from fsm_ros.stream.transforms import BadTransformError, TransformError

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
POLL_S = 0.02
MOST_FAULTS_TOLD = 20
MIN_INFOS_KEPT = 64

TransformLookup = Callable[[str, int], NDArray[np.float64]]
"""``world_from_camera`` of an optical frame at a stamp; raises ``TransformError``."""


class _Search(Enum):
    """Why a frame has no pose or calibration."""

    WAITS = "waits"
    REFUSED = "refused"


class Ingest:
    """Turns a camera stream into chunks for the engine."""

    def __init__(
        self,
        engine: MemoryEngine,
        lookup: TransformLookup,
        bad_transform: Callable[[str], str | None],
        now_ns: Callable[[], int],
        settings: Settings,
        ledger: FrameLedger,
    ) -> None:
        """Prepare; :meth:`start` starts.

        Args:
            engine: where chunks go.
            lookup: where poses come from.
            bad_transform: why the latest transform on the way to an optical frame was refused, if it was.
            now_ns: the node's clock.
            settings: the node's.
            ledger: where every frame is accounted for.
        """
        self._engine = engine
        self._lookup = lookup
        self._bad_transform = bad_transform
        self._now_ns = now_ns
        self._ledger = ledger
        self._rectified = settings.input.rectified
        self._tf_timeout_s = settings.input.tf_timeout_s
        self._info_timeout_s = settings.input.info_timeout_s
        self._waiting: BoundedQueue[WaitingFrame] = BoundedQueue(settings.input.queue_size)
        self._infos = CameraInfos(
            # A frame that waits must find its calibration still there.
            kept=max(MIN_INFOS_KEPT, 2 * self._waiting.capacity),
            timeout_s=self._info_timeout_s,
        )
        self.depths = DepthImages(
            lookup,
            kept=self._waiting.capacity,
            tolerance_s=settings.input.depth_tolerance_s,
            wait_s=self._info_timeout_s,
            tf_timeout_s=self._tf_timeout_s,
        )
        """Where the depth cameras' images go."""
        self._intake = settings.new_intake()
        self._frames = FrameWatch()
        self._changed = threading.Condition()
        self._stopping = False
        self._paused = False
        self._last_frame_s: float | None = None
        self._last_refusal = ""
        self._last_tf_error = ""
        self._last_jump: PoseJump | None = None
        self._jumps = 0
        self._clock_jumps = 0
        self._began_s: dict[str | None, float] = {}
        self._faults_told: set[str] = set()
        self._newest: LiveView | None = None
        self._thread = threading.Thread(target=self._work, name="fsm-ingest", daemon=True)

    # --- from callbacks: validate, stamp, enqueue -------------------------------------------------------------------

    def offer_image(self, source: str, message: ImageMessage) -> None:
        """Take a frame from a subscription."""
        stamp_ns = stamp_to_ns(message.header.stamp)
        with self._changed:
            self._ledger.receive()
            self._last_frame_s = time.monotonic()
            if self._paused:
                self._refuse(Refusal.PAUSED, "paused by request")
                return
            now_ns = self._now_ns()
            verdict = self._intake.judge_stamp(stamp_ns, now_ns, source)
            refusal = STAMP_REFUSALS.get(verdict)
            if refusal is not None:
                clock = clock_difference(stamp_ns, now_ns)
                self._refuse(refusal, f"stamp {stamp_ns} ns of camera {source!r} is {verdict.value}{clock}")
                return
            if verdict is StampVerdict.JUMPED_BACK:
                self._clock_jumps += 1
                self._begin_anew(source)
            dropped = self._waiting.push(WaitingFrame(message, source, stamp_ns, time.monotonic()))
            if dropped is not None:
                self._refuse(Refusal.QUEUE_FULL, "frames arrive faster than calibration and TF for them")
            self._changed.notify_all()

    def offer_info(self, source: str, info: CameraInfo) -> None:
        """Take a calibration from a subscription, of sensor_msgs/CameraInfo."""
        said = Calibration.of(info)
        with self._changed:
            if self._intake.is_in_future(said.stamp_ns, self._now_ns()):
                # It holds all the same; but for as long as it is the latest, no image would wait for its own.
                said = replace(said, stamp_ns=0)
            self._infos.add(source, said.rectified() if self._rectified else said)
            self._changed.notify_all()

    def clock_jumped_back(self) -> None:
        """The node's clock was set back: what waits belongs to the time before."""
        with self._changed:
            for _ in self._waiting.clear():
                self._refuse(Refusal.DISCARDED, "the clock was set back")
            self._infos.clear()
            self.depths.clear()
            self._intake.forget_stamps()
            self._clock_jumps += 1
            self._begin_anew()

    # --- control -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; once."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread. The keyframes of a partial chunk are handed over, frames that still waited are discarded."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        with self._changed:
            for _ in self._waiting.clear():
                self._refuse(Refusal.DISCARDED, "the node was deactivated")
            self._hand_over(self._intake.flush())

    def pause(self, paused: bool) -> None:
        """Refuse frames from now on, or take them again."""
        with self._changed:
            self._paused = paused

    @property
    def is_paused(self) -> bool:
        """Whether frames are refused on request."""
        return self._paused

    def discard(self, why: str) -> None:
        """Throw away all that was not observed yet, and start time order anew."""
        with self._changed:
            for _ in self._waiting.clear():
                self._refuse(Refusal.DISCARDED, why)
            thrown = self._intake.discard()
            thrown += sum(len(chunk.frames) for chunk in self._engine.discard_chunks())
            if thrown:
                self._ledger.demote(Refusal.DISCARDED, thrown)
            self._intake.forget_stamps()
            self._begin_anew()

    @property
    def newest(self) -> LiveView | None:
        """The newest frame whose pose is known, whether it was worth a keyframe or not."""
        return self._newest

    def status(self) -> IngestStatus:
        """How the input does, now."""
        with self._changed:
            return IngestStatus(
                self._last_frame_s,
                self._last_refusal,
                self._last_tf_error,
                self._last_jump,
                self._jumps,
                self._clock_jumps,
                len(self._waiting),
                self._intake.pending,
                self._infos.carried_on,
                "; ".join(self._frames.hints),
                self.depths.status,
                self._thread.is_alive(),
            )

    # --- the thread --------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._stopping:
                    self._changed.wait(POLL_S)
                if self._stopping:
                    return
                waiting = self._waiting.clear()
            still = self._settle(waiting)
            with self._changed:
                # What arrived meanwhile goes behind what still waits; the bound holds for both together.
                for frame in [*still, *self._waiting.clear()]:
                    if self._waiting.push(frame) is not None:
                        self._refuse(Refusal.QUEUE_FULL, "frames arrive faster than calibration and TF for them")
                chunk = self._intake.flush_due(time.monotonic())
                self._hand_over(chunk)

    def _settle(self, waiting: Sequence[WaitingFrame]) -> list[WaitingFrame]:
        """Decide on frames, in their order; returns those that have to wait on."""
        # Looked up newest first: what arrives meanwhile must not be found for a frame and missed for the one before it.
        located = [self._guarded(frame, self._locate) for frame in reversed(waiting)]
        still = []
        for frame, found in zip(waiting, reversed(located), strict=True):
            if found is _Search.WAITS:
                still.append(frame)
            elif isinstance(found, LocatedFrame):
                self._newest = LiveView(frame, found)
                self._guarded(frame, partial(self._keep, found))
        return still

    def _guarded(self, frame: WaitingFrame, judge: Callable[[WaitingFrame], T]) -> T | _Search:
        """Judge a frame; whatever goes wrong in that must not end the thread: it is told, and the frame is refused."""
        try:
            return judge(frame)
        except Exception as error:
            kind = f"{type(error).__name__}: {error}"
            if kind not in self._faults_told and len(self._faults_told) < MOST_FAULTS_TOLD:
                self._faults_told.add(kind)
                _LOG.exception("a frame of %r met a fault of this node", frame.source)
            self._refuse_now(Refusal.INTERNAL_ERROR, kind)
            return _Search.REFUSED

    def _keep(self, located: LocatedFrame, frame: WaitingFrame) -> None:
        try:
            self._keep_if_worth(frame, located)
        except ImageRefusedError as error:
            self._refuse_now(error.refusal, str(error))
        except SizeMismatchError as error:
            self._refuse_now(Refusal.SIZE_MISMATCH, str(error))

    def _locate(self, frame: WaitingFrame) -> LocatedFrame | _Search:
        """Find calibration and pose of a frame; one that cannot be used is refused here."""
        try:
            check_message(frame.message)
        except ImageRefusedError as error:
            self._refuse_now(error.refusal, str(error))
            return _Search.REFUSED
        waited_s = time.monotonic() - frame.arrived_s
        with self._changed:
            calibration = self._infos.find(frame.source, frame.stamp_ns, waited_s)
        if calibration is None:
            if waited_s < self._info_timeout_s:
                return _Search.WAITS
            self._refuse_now(Refusal.NO_CAMERA_INFO, f"no camera_info of {frame.source!r} has come")
            return _Search.REFUSED
        try:
            camera = calibration.camera(*(image_size(frame.message) or calibration.delivered_size))
        except SizeMismatchError as error:
            self._refuse_now(Refusal.SIZE_MISMATCH, str(error))
            return _Search.REFUSED
        except ValueError as error:
            self._refuse_now(Refusal.BAD_CALIBRATION, str(error))
            return _Search.REFUSED
        try:
            world_from_camera = self._lookup(frame.message.header.frame_id, frame.stamp_ns)
        except BadTransformError as error:
            self._refuse_pose(Refusal.BAD_TRANSFORM, str(error))
            return _Search.REFUSED
        except TransformError as error:
            if waited_s < self._tf_timeout_s:
                return _Search.WAITS
            bad = self._bad_transform(frame.message.header.frame_id)
            clock = clock_difference(frame.stamp_ns, self._now_ns())
            self._refuse_pose(Refusal.NO_TRANSFORM if bad is None else Refusal.BAD_TRANSFORM, bad or f"{error}{clock}")
            return _Search.REFUSED
        if self.depths.waits(frame.source, frame.stamp_ns, waited_s):
            return _Search.WAITS
        return LocatedFrame(camera, calibration, world_from_camera)

    def _keep_if_worth(self, frame: WaitingFrame, located: LocatedFrame) -> None:
        world_from_camera = located.world_from_camera
        with self._changed:
            if self._is_outdated(frame):
                return
            self._frames.note(frame.message.header.frame_id, world_from_camera)
            decision, jump = self._intake.judge_pose(world_from_camera, frame.stamp_ns, frame.source)
            if jump is not None:
                self._last_jump = jump
                self._jumps += 1
            if not decision.accepted:
                self._refuse(KEYFRAME_REFUSALS[decision], decision.value)
                return
        # Only what is worth remembering is decoded, and outside of the lock: this is what takes time.
        image = LiveView(frame, located).decoded()
        depth = self.depths.take(frame.source, frame.message, located.calibration)
        try:
            keyframe = self._intake.rectify(replace(image, depth=depth))
        except ValueError as error:
            self._refuse_now(Refusal.BAD_CALIBRATION, str(error))
            return
        with self._changed:
            if self._stopping or self._paused:
                self._refuse(Refusal.DISCARDED, "stopped or paused while the frame was decoded")
                return
            if self._is_outdated(frame):
                return
            self._ledger.keyframe()
            self._hand_over(self._intake.keep(keyframe, time.monotonic()))

    def _hand_over(self, chunk: Chunk | None) -> None:
        if chunk is None:
            return
        dropped = self._engine.submit(chunk)
        if dropped is not None:
            self._ledger.demote(Refusal.CHUNK_DROPPED, len(dropped.frames))

    def _begin_anew(self, source: str | None = None) -> None:
        """Begin the order of time anew, of one camera or of all: nothing from before is compared with what comes."""
        self._began_s[source] = time.monotonic()
        self._intake.begin_anew(source)

    def _is_outdated(self, frame: WaitingFrame) -> bool:
        """Whether a frame comes from before its camera's time began anew; then it is refused."""
        began_s = max(self._began_s.get(source, 0.0) for source in (None, frame.source))
        is_outdated = frame.arrived_s < began_s
        if is_outdated:
            self._refuse(Refusal.DISCARDED, "the camera's time began anew while the frame waited")
        return is_outdated

    def _refuse_pose(self, reason: Refusal, why: str) -> None:
        with self._changed:
            self._last_tf_error = why
            self._refuse(reason, why)

    def _refuse_now(self, reason: Refusal, why: str) -> None:
        with self._changed:
            self._refuse(reason, why)

    def _refuse(self, reason: Refusal, why: str) -> None:
        self._ledger.refuse(reason)
        if reason not in (Refusal.NOT_MOVED, Refusal.TOO_SOON, Refusal.PAUSED):
            self._last_refusal = f"{reason.value}: {why}"
