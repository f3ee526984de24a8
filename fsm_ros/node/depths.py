# SPDX-License-Identifier: Apache-2.0
"""Depth images of the cameras that have a depth camera, and which of them belongs to a frame.

Only the depth of keyframes is decoded. Where there is none the frame is taken all the same, and counted.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fsm_ros.messages.calibrations import Calibration, calibration_at, holding_on, kept_with
from fsm_ros.messages.depths import decode_depth, depth_camera
from fsm_ros.messages.fields import CameraInfo, ImageMessage
from fsm_ros.messages.stamps import stamp_to_ns
from fsm_ros.node.camera_infos import IN_VAIN
from fsm_ros.node.ingest_status import DepthStatus
from fsm_ros.stream.depth import nearest_stamp
from fsm_ros.stream.frame import DepthImage
from fsm_ros.stream.transforms import TransformError

INFOS_KEPT = 64
ANEW_NS = 1_000_000_000
"""An image so much older than the newest one is of a bag that started again, or a simulator."""


@dataclass
class _Camera:
    """What is known of one depth camera: images and calibrations by rising stamps, and whether more are to come."""

    images: list[tuple[int, ImageMessage]] = field(default_factory=list)
    infos: list[Calibration] = field(default_factory=list)
    is_published: bool = False
    in_vain: int = 0


class DepthImages:
    """Recent depth images of every camera; for several threads."""

    def __init__(
        self,
        lookup: Callable[[str, int], NDArray[np.float64]],
        *,
        kept: int,
        tolerance_s: float,
        wait_s: float,
        tf_timeout_s: float,
    ) -> None:
        """Prepare.

        Args:
            lookup: where poses come from: of an optical frame at a stamp.
            kept: how many images of each camera.
            tolerance_s: the image nearest to a frame is its own if it is not further away than this.
            wait_s: how long a frame waits for it.
            tf_timeout_s: how long for its transform.
        """
        self._lookup = lookup
        self._kept = kept
        self._tolerance_ns = round(tolerance_s * 1e9)
        self._wait_s, self._tf_timeout_s = wait_s, tf_timeout_s
        self._cameras: dict[str, _Camera] = {}
        self._lock = threading.Lock()
        self._status = DepthStatus()

    @property
    def status(self) -> DepthStatus:
        """How it does."""
        return self._status

    # --- from callbacks ----------------------------------------------------------------------------------------------

    def offer_image(self, source: str, message: ImageMessage) -> None:
        """Take a depth image from a subscription."""
        with self._lock:
            camera = self._cameras.setdefault(source, _Camera())
            camera.in_vain = 0
            stamp_ns = stamp_to_ns(message.header.stamp)
            if camera.images and stamp_ns < camera.images[-1][0] - ANEW_NS:
                camera.images.clear()  # what is newer than all that comes would be kept for ever
            insort(camera.images, (stamp_ns, message), key=lambda image: image[0])
            del camera.images[: -self._kept]

    def offer_info(self, source: str, info: CameraInfo) -> None:
        """Take a calibration from a subscription."""
        said = Calibration.of(info)
        with self._lock:
            camera = self._cameras.setdefault(source, _Camera())
            camera.infos = kept_with(camera.infos, said, INFOS_KEPT)

    def published(self, source: str, *, is_published: bool) -> None:
        """Somebody publishes depth of a camera, or nobody does any more."""
        with self._lock:
            self._cameras.setdefault(source, _Camera()).is_published = is_published

    def clear(self) -> None:
        """Time begins anew: what came before belongs to no frame; the newest calibrations hold on."""
        with self._lock:
            for camera in self._cameras.values():
                camera.images.clear()
                camera.infos = holding_on(camera.infos)

    # --- from the thread that judges frames --------------------------------------------------------------------------

    def waits(self, source: str, stamp_ns: int, waited_s: float) -> bool:
        """Whether the depth of a frame, or the transform for it, may still be on its way."""
        with self._lock:
            camera = self._cameras.get(source)
            if camera is None:
                return False
            has_passed = bool(camera.images) and camera.images[-1][0] >= stamp_ns
            if not has_passed:
                if waited_s < self._wait_s and camera.is_published and camera.in_vain < IN_VAIN:
                    return True
                camera.in_vain += 1
        message = self._nearest(source, stamp_ns)
        if message is None or waited_s >= self._tf_timeout_s:
            return False
        try:
            self._pose(message)
        except TransformError:
            return True
        return False

    def take(self, source: str, colour: ImageMessage, calibration: Calibration) -> DepthImage | None:
        """The depth of a keyframe, counted; ``None`` where there is none, or it cannot be used.

        Args:
            source: the camera.
            colour: the keyframe.
            calibration: of it.
        """
        with self._lock:
            camera = self._cameras.get(source)
            if camera is None or not (camera.images or camera.is_published):
                return None  # a camera without depth
        try:
            found = self._image(source, colour, calibration)
        except (ValueError, TransformError) as error:
            self._status = self._status.missed(str(error))
            return None
        self._status = self._status.taken()
        return found

    def _image(self, source: str, colour: ImageMessage, calibration: Calibration) -> DepthImage:
        stamp_ns = stamp_to_ns(colour.header.stamp)
        message = self._nearest(source, stamp_ns)
        if message is None:
            raise ValueError(
                f"no depth image within {self._tolerance_ns * 1e-9:g} s of the image at {stamp_ns} ns: synchronise the "
                "depth camera, or raise input.depth_tolerance"
            )
        depth_ns = stamp_to_ns(message.header.stamp)
        with self._lock:
            info = calibration_at(self._cameras[source].infos, depth_ns)
        pose = self._pose(message)
        depth_m = decode_depth(message)
        same = message.header.frame_id.lstrip("/") == colour.header.frame_id.lstrip("/")
        lens = depth_camera(info, calibration, same_frame=same, width=depth_m.shape[1], height=depth_m.shape[0])
        return DepthImage(depth_m, lens, pose, depth_ns)

    def _nearest(self, source: str, stamp_ns: int) -> ImageMessage | None:
        with self._lock:
            images = self._cameras[source].images
            place = nearest_stamp([image[0] for image in images], stamp_ns, self._tolerance_ns)
            return None if place is None else images[place][1]

    def _pose(self, message: ImageMessage) -> NDArray[np.float64]:
        return self._lookup(message.header.frame_id, stamp_to_ns(message.header.stamp))
