# SPDX-License-Identifier: Apache-2.0
"""Memory: weights, intake and memory of one scene together, for programs and notebooks; synchronous, without ROS."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fsm_ros.configuration.files import read_parameter_file
from fsm_ros.configuration.model import load_model
from fsm_ros.configuration.settings import Settings
from fsm_ros.configuration.table import settings_from
from fsm_ros.memory.rules.naming import NamedRule
from fsm_ros.sources.recorded import DepthReader, RecordedFrame
from fsm_ros.sources.rig import Rig
from fsm_ros.sources.taking import FrameRead, TakenChunk
from fsm_ros.spatial.results import ObserveReport, Rendered, RequestFailedError
from fsm_ros.spatial.scene import Scene
from fsm_ros.spatial.settings import RenderMethod
from fsm_ros.spatial.surfaces import Surfaces
from fsm_ros.stream.frame import Camera, PosedImage
from fsm_ros.stream.ledger import LedgerSnapshot, Refusal
from fsm_ros.surface.cloud import Cloud, cloud_of
from fsm_ros.surface.files import Written, check_suffix, write_surface

GivenSettings = Settings | Mapping[str, object] | str | Path | None
"""Settings; or parameters by name, as config/fsm.yaml has them; or such a file; or the defaults."""


class Memory:
    """A memory of one scene that is written and read in one thread.

    Frames go the way that a node's go: keyframes are chosen, undistorted, cut to size and written in chunks. Whatever
    fails raises, and leaves the memory as it was.

    Attributes:
        spatial: the memory itself, for what has no method here.
    """

    def __init__(self, settings: GivenSettings = None) -> None:
        """Load the weights, and begin with nothing observed.

        Args:
            settings: see :data:`GivenSettings`; what is of ROS alone (topics, TF, services) has no effect.

        Raises:
            ValueError: an unknown parameter or device, a value out of range, or settings that do not go together.
            fsm_ros.memory.checkpoint.CheckpointError: weights that cannot be used.
            fsm_ros.recall.checkpoint.RecallWeightsError: likewise, of recall.
        """
        self._settings = _settings(settings)
        self.spatial = load_model(self._settings).new_memory(self._settings.memory)
        self._taker = self._settings.new_taker()
        self._surfaces = Surfaces()

    @classmethod
    def load(cls, path: str | Path, settings: GivenSettings = None) -> Memory:
        """A memory that goes on where one was saved, here or by a node.

        Args:
            path: the file.
            settings: with the weights, mode and size that it was observed with.

        Raises:
            RequestFailedError: the file cannot be read, or does not go with the settings or the weights.
            ValueError: as for a new memory; and its other errors.
        """
        memory = cls(settings)
        memory.spatial.load(Path(path))
        return memory

    def __repr__(self) -> str:
        """What it holds."""
        scene = self.scene
        if scene is None:
            return "Memory(nothing observed)"
        return (
            f"Memory({scene.chunks_observed} chunks, {scene.views_observed} views, {len(scene.atlas.submaps)} submaps, "
            f"{len(scene.keyframes)} photographs, {scene.size_bytes / 1e6:.1f} MB)"
        )

    @property
    def settings(self) -> Settings:
        """All settings, with the rule that chunks are written by now."""
        return replace(self._settings, memory=self.spatial.settings)

    @property
    def scene(self) -> Scene | None:
        """What it holds, as a value; ``None`` before the first chunk."""
        return self.spatial.scene

    @property
    def ledger(self) -> LedgerSnapshot:
        """Where all frames ended since the start or the last reset: keyframes, and those refused, by reason."""
        return self._taker.ledger.snapshot()

    def observe(
        self,
        frames: Rig | Iterable[PosedImage],
        *,
        flush: bool = True,
        on_report: Callable[[ObserveReport], object] | None = None,
    ) -> int:
        """Write what is worth it of a recording or of images with poses, in their order.

        Args:
            frames: a recording (:func:`fsm_ros.open_recording`), whose unreadable frames are refused, or images of any
                size and lens; copies are kept.
            flush: also write the last keyframes where they do not fill a chunk. ``False``: they wait for more, as
                those of a stream that goes on.
            on_report: called after every chunk.

        Returns:
            How many chunks were written; :attr:`ledger` says why frames were not.

        Raises:
            RequestFailedError: a chunk could not be written; those before it were, and the frames after it were not
                looked at.
        """
        written = 0
        for taken in self._chunks(frames, flush):
            report = self._written(taken)
            written += 1
            if on_report is not None:
                on_report(report)
        return written

    def observe_arrays(
        self,
        images: NDArray[np.uint8],
        world_from_camera: ArrayLike,
        camera: Camera | Sequence[Camera],
        stamps_ns: ArrayLike,
        *,
        flush: bool = True,
        on_report: Callable[[ObserveReport], object] | None = None,
    ) -> int:
        """:meth:`observe` for arrays.

        Args:
            images: ``[N, height, width, 3]`` uint8, RGB.
            world_from_camera: ``[N, 4, 4]`` rigid: optical frames (x right, y down, z forward) to world, metres.
            camera: intrinsics and lens, of all images or of each.
            stamps_ns: ``[N]`` integers: when each was taken, nanoseconds, rising.
            flush: see :meth:`observe`.
            on_report: likewise.

        Raises:
            ValueError: arrays that do not go together; nothing was observed.
            RequestFailedError: see :meth:`observe`.
        """
        frames = _posed_images(images, world_from_camera, camera, stamps_ns)
        return self.observe(frames, flush=flush, on_report=on_report)

    def flush(self) -> ObserveReport | None:
        """Write the keyframes that wait for their chunk to be full; ``None`` where there are none.

        Raises:
            RequestFailedError: they could not be written, and are lost.
        """
        taken = self._taker.flush()
        return None if taken is None else self._written(taken)

    def render(
        self,
        world_from_camera: ArrayLike,
        stamp_ns: int | None = None,
        camera: Camera | None = None,
        method: RenderMethod | None = None,
    ) -> Rendered:
        """A view from anywhere, at any moment. See :meth:`fsm_ros.spatial.spatial_memory.SpatialMemory.render`."""
        return self.spatial.render(np.asarray(world_from_camera, dtype=np.float64), stamp_ns, camera, method)

    def points(self, min_confidence: float | None = None, resolution_m: float | None = None) -> Cloud:
        """Coloured points of the surfaces that several kept photographs agree on.

        Args:
            min_confidence: points whose confidence is less are left out; ``None``: ``points.min_confidence``.
            resolution_m: edge of the cells of which each holds one point, 0: about what a pixel covers; ``None``:
                ``points.resolution``.

        Raises:
            RequestFailedError: the device is full.
        """
        said = self._settings.serving.surfaces
        least = said.min_confidence if min_confidence is None else min_confidence
        return cloud_of(self._told().views(), least, said.resolution_m if resolution_m is None else resolution_m)

    def export(self, path: str | Path, min_confidence: float | None = None, resolution_m: float = 0.0) -> Written:
        """Write the surfaces into a file: points (.ply) or a mesh (.glb).

        Args:
            path: the file; folders are made.
            min_confidence: see :meth:`points`.
            resolution_m: edge of the cells; 0: as fine as it is known.

        Raises:
            ValueError: another suffix, or there is nothing to write.
            fsm_ros.surface.mesh.SurfaceLibraryError: a library that writes it is not installed.
            OSError: it cannot be written.
            RequestFailedError: the device is full.
        """
        path = Path(path)
        check_suffix(path)
        least = self._settings.serving.surfaces.min_confidence if min_confidence is None else min_confidence
        return write_surface(path, self._told().views(), least, resolution_m)

    def save(self, path: str | Path) -> int:
        """Write the memory into a file, as a whole or not at all. Returns its size in bytes.

        Keyframes that wait for their chunk are not in it: :meth:`flush` first where there are any.

        Raises:
            RequestFailedError: nothing was observed, or the file cannot be written.
        """
        return self.spatial.save(Path(path))

    def reset(self) -> None:
        """Forget everything, also of the stream."""
        self.spatial.reset()
        self._taker = self._settings.new_taker()

    def set_rule(self, rule: NamedRule) -> None:
        """Change how chunks are written from now on.

        Raises:
            ValueError: the other settings do not go with it; nothing has changed.
        """
        self.spatial.set_rule(rule)

    def _chunks(self, frames: Rig | Iterable[PosedImage], flush: bool) -> Iterator[TakenChunk]:
        for frame, read, depth in _at_hand(frames):
            if (taken := self._taker.due(frame)) is not None:
                yield taken
            if (taken := self._taker.take(frame, read, depth)) is not None:
                yield taken
        if flush and (taken := self._taker.flush()) is not None:
            yield taken

    def _written(self, taken: TakenChunk) -> ObserveReport:
        try:
            return self.spatial.observe(taken.chunk)
        except RequestFailedError:
            self._taker.ledger.demote(Refusal.OBSERVE_FAILED, len(taken.frames))
            raise

    def _told(self) -> Surfaces:
        """The surfaces, up to date."""
        while self.spatial.survey(self._surfaces):
            pass
        return self._surfaces


def _settings(given: GivenSettings) -> Settings:
    if isinstance(given, Settings):
        return given
    return settings_from(read_parameter_file(Path(given)) if isinstance(given, str | Path) else given or {})


def _at_hand(frames: Rig | Iterable[PosedImage]) -> Iterator[tuple[RecordedFrame, FrameRead, DepthReader | None]]:
    """Frames, how each is read, and what measured depth with it."""
    if isinstance(frames, Rig):
        for frame in frames.frames:
            yield frame, frames.read, frames.recorded[frame.camera].depth
        return
    for image in frames:
        stamp_ns = image.stamp_ns
        frame = RecordedFrame(image.source, 0, stamp_ns, stamp_ns, image.world_from_camera.copy())
        yield frame, partial(_copied, image), None


def _copied(image: PosedImage, _: RecordedFrame) -> PosedImage:
    """What is kept must not change with an array that its owner fills anew."""
    return replace(image, image=image.image.copy(), world_from_camera=image.world_from_camera.copy())


def _posed_images(
    images: NDArray[np.uint8], world_from_camera: ArrayLike, camera: Camera | Sequence[Camera], stamps_ns: ArrayLike
) -> list[PosedImage]:
    """Arrays as images with poses. Raises ValueError where they do not go together."""
    poses, stamps = np.asarray(world_from_camera, dtype=np.float64), np.asarray(stamps_ns)
    cameras = [camera] * len(images) if isinstance(camera, Camera) else list(camera)
    counts = {"images": len(images), "world_from_camera": len(poses), "camera": len(cameras), "stamps_ns": len(stamps)}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"there must be as many of each, got {listed}")
    if stamps.dtype.kind not in "iu":
        raise ValueError(f"stamps_ns are whole nanoseconds, got {stamps.dtype}: round seconds * 1e9 to int64")
    return [PosedImage(*each) for each in zip(images, cameras, poses, stamps.tolist(), strict=True)]
