# SPDX-License-Identifier: Apache-2.0
"""Surfaces of the remembered scene: `~/points`, and the service `~/export`."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle.publisher import LifecyclePublisher

from fsm_ros.node.answering import serve_always
from fsm_ros.node.clouds import cloud_message
from fsm_ros.node.conversions import ns_to_stamp
from fsm_ros.node.gate import ViewGate
from fsm_ros.node.requests import INACTIVE
from fsm_ros.node.storage import confined_path
from fsm_ros.spatial.results import NOTHING_OBSERVED, Failure, FailureKind, RequestFailedError
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.spatial.surfaces import Surfaces
from fsm_ros.surface.cloud import Cloud, cloud_of
from fsm_ros.surface.files import SUFFIXES, Written, write_surface
from fsm_ros.surface.mesh import SurfaceLibraryError
from fsm_ros.surface.settings import SurfaceSettings
from fsm_ros_msgs.srv import ExportSurface

WORK_SHARE = 0.2
"""So much of the worker's time goes into points at most, and only while no chunk waits."""
FILE_TIMEOUT_S = 120.0
STEPS_A_KEYFRAME = 6
"""An export does not wait for more: while new keyframes come, there is always something left to do."""


@dataclass(frozen=True)
class _Worked:
    """What one piece of work came to: seconds it took, and a cloud if that was its turn."""

    seconds: float
    cloud: Cloud | None
    stamp_ns: int


class SurfaceServer:
    """Keeps the surfaces up to date while somebody listens, and writes them into files on request.

    There from configure to cleanup. Its surfaces belong to the memory's worker: they are only touched in its jobs.
    """

    def __init__(
        self,
        node: LifecycleNode,
        gate: ViewGate,
        settings: SurfaceSettings,
        publisher: LifecyclePublisher,
        storage_dir: str,
    ) -> None:
        """Serve what the gate lets through.

        Args:
            node: where the service lives.
            gate: to the memory.
            settings: which points, and how often.
            publisher: of clouds.
            storage_dir: where files are written to.
        """
        self._node = node
        self._gate = gate
        self._settings = settings
        self._publisher = publisher
        self._storage_dir = storage_dir
        self._surfaces = Surfaces()
        self._job: Future[_Worked | Failure] | None = None
        self._rest_until_s = 0.0
        self._told_version = 0
        self._told_s = -float("inf")
        self._service = serve_always(node, ExportSurface, "~/export", self._export, gate.bridge.group)

    def destroy(self) -> None:
        """Take the service away."""
        self._node.destroy_service(self._service)

    def tell_nothing(self) -> None:
        """The memory is another one, or none: the points of the one before must not stay for late viewers."""
        self._job = None  # it may have looked at the one before
        now = self._node.get_clock().now().to_msg()
        self._publisher.publish(cloud_message(cloud_of((), 1.0, 1.0), self._gate.memory_frame, now))

    def tick(self, is_idle: bool) -> None:
        """Go on with the work, and publish what is ready; to be called from a timer.

        Args:
            is_idle: whether no chunk waits for the worker.
        """
        now_s = time.monotonic()
        if self._job is not None:
            if not self._job.done():
                return
            worked, self._job = self._job.result(), None
            self._rest_until_s = now_s + self._after(worked)
        is_wanted = self._settings.period_s > 0 and self._publisher.get_subscription_count() > 0
        if is_wanted and is_idle and now_s >= self._rest_until_s and self._gate.is_open:
            self._job = self._gate.begin(self._work)

    def _after(self, worked: _Worked | Failure) -> float:
        """Publish what came of a piece of work; returns how long to rest, seconds."""
        if isinstance(worked, Failure):
            self._node.get_logger().warning(
                f"the points could not be worked out: {worked.message}", throttle_duration_sec=30.0
            )
            return self._settings.period_s
        if worked.cloud is not None:
            frame_id, stamp = self._gate.memory_frame, ns_to_stamp(worked.stamp_ns)
            self._publisher.publish(cloud_message(worked.cloud, frame_id, stamp))
        return worked.seconds * (1.0 / WORK_SHARE - 1.0)

    def _work(self, memory: SpatialMemory) -> _Worked:
        """One piece of work, on the worker: a cloud where it is time for one, else a step towards it."""
        started_s = time.monotonic()
        cloud = None
        memory.survey(self._surfaces)
        is_due = started_s - self._told_s >= self._settings.period_s
        if is_due and self._surfaces.version != self._told_version:
            cloud = cloud_of(self._surfaces.views(), self._settings.min_confidence, self._settings.resolution_m)
            self._told_version, self._told_s = self._surfaces.version, started_s
        scene = memory.scene
        return _Worked(time.monotonic() - started_s, cloud, 0 if scene is None else scene.newest_ns)

    async def _export(self, request: ExportSurface.Request, response: ExportSurface.Response) -> ExportSurface.Response:
        try:
            path = confined_path(self._storage_dir, request.path, SUFFIXES)
        except ValueError as error:
            response.message = str(error)
            return response
        written = await self._written(path, request.min_confidence, request.resolution)
        if isinstance(written, Failure):
            response.message = written.message
            return response
        response.success = True
        response.path = str(written.path)
        response.points, response.triangles, response.size = written.points, written.triangles, written.size
        return response

    async def _written(self, path: Path, min_confidence: float, resolution_m: float) -> Written | Failure:
        for name, value, most in (("min_confidence", min_confidence, 1.0), ("resolution", resolution_m, float("inf"))):
            if not 0.0 <= value <= most:
                return Failure(FailureKind.BAD_REQUEST, f"{name} must be from 0 to {most:g}, got {value:g}")
        scene = self._gate.scene
        if not self._gate.is_open or scene is None:
            return NOTHING_OBSERVED if self._gate.is_open else INACTIVE
        # Step by step, so that chunks and other requests have their turns between.
        for _ in range(STEPS_A_KEYFRAME * (len(scene.keyframes) + 1)):
            stepped = await self._gate.done(lambda memory: memory.survey(self._surfaces), FILE_TIMEOUT_S)
            if isinstance(stepped, Failure):
                return stepped
            if not stepped:
                break
        least = min_confidence or self._settings.min_confidence
        return await self._gate.done(lambda _: self._write(path, least, resolution_m), FILE_TIMEOUT_S)

    def _write(self, path: Path, min_confidence: float, resolution_m: float) -> Written:
        """Write what is known, on the worker."""
        try:
            return write_surface(path, self._surfaces.views(), min_confidence, resolution_m)
        except (OSError, SurfaceLibraryError) as error:
            raise RequestFailedError(FailureKind.FILE, f"{path} could not be written: {error}") from error
        except ValueError as error:
            raise RequestFailedError(FailureKind.BAD_REQUEST, str(error)) from error
