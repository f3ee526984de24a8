# SPDX-License-Identifier: Apache-2.0
"""SpatialMemory: writes chunks into a model's fast weights, and renders views from them.

The model gives writing and reading; this adds what a stream needs around it: the frame the memory lives in and when
to lay it anew, the reservoir of old keyframes, the window of the windowed mode, and the figures that say how well the
memory does.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fsm_ros.memory import atlas as bank
from fsm_ros.memory.atlas import Atlas, Submap, addresses_of
from fsm_ros.memory.model import FsmModel, NonFiniteUpdateError
from fsm_ros.memory.rules.base import LayerMemory
from fsm_ros.memory.rules.naming import NamedRule, keep_alike
from fsm_ros.memory.state import MemoryState
from fsm_ros.recall.keyframes import Keyframe
from fsm_ros.recall.net import RecallNet
from fsm_ros.recall.view import WantedView, useful_keyframes
from fsm_ros.spatial.epochs import exit_of, first_frame, next_frame
from fsm_ros.spatial.keeping import kept_after
from fsm_ros.spatial.rendering import rendered
from fsm_ros.spatial.results import (
    NOTHING_OBSERVED,
    FailureKind,
    LayerReport,
    ObserveReport,
    Rendered,
    RequestFailedError,
)
from fsm_ros.spatial.scene import Scene
from fsm_ros.spatial.scene_file import load_scene, save_scene
from fsm_ros.spatial.settings import MemoryMode, MemorySettings, RenderMethod
from fsm_ros.spatial.surfaces import Surfaces
from fsm_ros.spatial.tensors import views_of
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import Camera, PosedImage, validate_rigid
from fsm_ros.stream.reservoir import KeyframeReservoir
from fsm_ros.stream.world import FrameExit, MemoryFrame


class SpatialMemory:
    """A memory of one scene: a model, a :class:`Scene`, and a reservoir of old keyframes.

    Whatever fails raises :class:`RequestFailedError` and leaves the memory as it was.

    Not thread-safe, except that :attr:`scene` may be read from anywhere: it is a value that is replaced as a whole.
    """

    def __init__(
        self,
        model: FsmModel,
        settings: MemorySettings,
        prior: Sequence[LayerMemory] | None = None,
        recall: RecallNet | None = None,
    ) -> None:
        """Start with nothing observed.

        Args:
            model: the weights, on the device that is to be used.
            settings: how the memory is kept.
            prior: see :meth:`fsm_ros.memory.model.FsmModel.initial_state`.
            recall: recalls views from kept photographs, on the same device; ``None``: the fast weights render alone.

        Raises:
            ValueError: views that cannot be cut into the model's patches.
        """
        settings.check_patch(model.config.patch_size)
        self._model = model
        self._settings = settings
        self._prior = prior
        self._recall = recall
        self._fingerprint = model.fingerprint()
        self._reservoir = KeyframeReservoir(settings.reservoir, settings.seed)
        self._scene: Scene | None = None

    @property
    def scene(self) -> Scene | None:
        """What has been observed; ``None`` before the first chunk."""
        return self._scene

    @property
    def remembered(self) -> tuple[PosedImage, ...]:
        """The remembered old keyframes, those of the newest chunk among them."""
        return self._reservoir.frames

    @property
    def settings(self) -> MemorySettings:
        """How the memory is kept."""
        return self._settings

    @property
    def device(self) -> torch.device:
        """Where the memory is."""
        return self._model.device

    def set_rule(self, rule: NamedRule) -> None:
        """Change how chunks are written.

        Under a rule that keeps something else in the memory (another kind, another importance, another share), every
        submap goes on anchored where it stands: what it remembers stays, what is kept about it begins anew.

        Raises:
            ValueError: the other settings do not go with it; nothing has changed.
        """
        settings = replace(self._settings, rule=rule)
        scene = self._scene
        if scene is not None and not keep_alike(self._settings.rule, rule):
            self._scene = replace(scene, atlas=scene.atlas.reanchored())
        self._settings = settings

    def reset(self) -> None:
        """Forget everything."""
        self._scene = None
        self._reservoir.clear()

    @torch.no_grad()
    def observe(self, chunk: Chunk) -> ObserveReport:
        """Write one chunk.

        Raises:
            RequestFailedError: views of another size, weights that would not be finite, or a device that is full.
        """
        settings = self._settings
        camera = chunk.frames[0].camera  # all frames of a chunk have one size
        if (camera.width, camera.height) != (settings.width, settings.height):
            raise RequestFailedError(
                FailureKind.BAD_REQUEST,
                f"the chunk's views have {camera.width}x{camera.height} pixels, this memory observes "
                f"{settings.width}x{settings.height}: rectify them to that size",
            )
        with _device_memory("observing", "use smaller chunks or views"):
            try:
                scene, exit_ = self._scene_for(chunk)
                prediction = self._prediction(scene, chunk)
                started = self._now()
                scene = self._written(scene, chunk)
                observe_s = self._now() - started
            except NonFiniteUpdateError as error:
                raise RequestFailedError(FailureKind.NON_FINITE, str(error)) from error
            retention, retention_views = self._retention(scene)
            scene = replace(scene, keyframes=kept_after(self._model, settings, scene, chunk))
        keyframes = self._reservoir.frames
        self._scene = scene
        for frame in chunk.frames:
            self._reservoir.offer(replace(frame, photograph=None))
        return ObserveReport(
            chunk=chunk,
            failure=None,
            epoch=scene.epoch,
            epoch_began=exit_,
            chunks_observed=scene.chunks_observed,
            views_observed=scene.views_observed,
            layers=_layer_reports(scene.state),
            prediction_psnr=prediction,
            retention_psnr=retention,
            retention_views=retention_views,
            observe_s=observe_s,
            state_bytes=scene.size_bytes,
            submaps=len(scene.atlas.submaps),
            keyframes=keyframes,
            kept=len(scene.keyframes),
            kept_bytes=scene.keyframes.size_bytes,
        )

    @torch.no_grad()
    def render(
        self,
        world_from_camera: NDArray[np.float64],
        stamp_ns: int | None = None,
        camera: Camera | None = None,
        method: RenderMethod | None = None,
    ) -> Rendered:
        """A view from anywhere, at any moment. Never changes the memory.

        Args:
            world_from_camera: ``[4, 4]`` rigid, optical frame to the frame the memory lives in.
            stamp_ns: the moment; ``None``: the newest observed.
            camera: intrinsics and size; ``None``: those of the newest observed view. Its distortion is left out.
            method: what it is made of; ``None``: what the settings say.

        Raises:
            RequestFailedError: nothing was observed, a pose that is not rigid, a view that is too large or has no
                finite colours, or a device that is full.
        """
        scene = self._asked_of(world_from_camera)
        wanted = (camera or scene.camera).undistorted()
        patch = self._model.config.patch_size
        # The model renders whole patches: a side counts as one at least, or a view one pixel high would be no limit.
        if max(wanted.width, patch) * max(wanted.height, patch) > self._settings.max_pixels:
            raise RequestFailedError(
                FailureKind.BAD_REQUEST,
                f"a view of {wanted.width}x{wanted.height} pixels is larger than max_pixels "
                f"({self._settings.max_pixels}): ask for a smaller one or raise it",
            )
        stamp = scene.newest_ns if stamp_ns is None else stamp_ns
        started = self._now()
        with _device_memory("rendering", "ask for a smaller view"):
            answer = rendered(
                self._model,
                self._recall,
                self._settings,
                scene,
                wanted,
                world_from_camera,
                stamp,
                method or self._settings.method,
            )
        if answer is None:
            raise RequestFailedError(
                FailureKind.NON_FINITE,
                "the view has no finite colours: ask for a pose, a time and intrinsics that are less extreme",
            )
        probe = PosedImage(answer.image, wanted, world_from_camera, stamp)
        outside = scene.frame.contains(probe)
        return replace(
            answer,
            render_s=self._now() - started,
            warning="" if outside is None else f"the view lies outside of what the memory can know ({outside.value})",
        )

    def known_from(
        self, world_from_camera: NDArray[np.float64], stamp_ns: int | None, camera: Camera | None, count: int
    ) -> tuple[Keyframe, ...]:
        """The kept photographs that know most of a view, the most useful first; none where nobody saw anything of it.

        Args:
            world_from_camera: as in :meth:`render`.
            stamp_ns: likewise.
            camera: likewise.
            count: at most so many.

        Raises:
            RequestFailedError: nothing was observed, or a pose that is not rigid.
        """
        scene = self._asked_of(world_from_camera)
        wanted = (camera or scene.camera).undistorted()
        stamp = scene.newest_ns if stamp_ns is None else stamp_ns
        view = WantedView(wanted.fxfycxcy, wanted.width, wanted.height, world_from_camera, stamp)
        return tuple(useful_keyframes(scene.keyframes.keyframes, view, None, count))

    def survey(self, surfaces: Surfaces) -> bool:
        """Bring surfaces a step nearer to what is kept; whether there was anything to do. See :meth:`Surfaces.step`.

        Raises:
            RequestFailedError: the device is full.
        """
        with _device_memory("looking at a kept photograph", "keep smaller ones"):
            return surfaces.step(self._model, self._recall, self._settings, self._scene)

    def save(self, path: Path) -> int:
        """Write the memory into a file, atomically. Returns its size in bytes.

        Raises:
            RequestFailedError: nothing was observed, or the file cannot be written.
        """
        scene = self._scene
        if scene is None:
            message = "nothing has been observed yet, there is nothing to save"
            raise RequestFailedError(FailureKind.NOTHING_OBSERVED, message)
        return save_scene(path, scene, self._reservoir.frames, self._settings, self._fingerprint)

    def load(self, path: Path) -> Scene:
        """Replace the memory by a saved one.

        Raises:
            RequestFailedError: the file cannot be read, or does not go with the settings or the model.
        """
        blank = self._model.initial_state(1, self._prior)
        scene, keyframes = load_scene(path, blank, self._settings, self._fingerprint)
        scene = replace(scene, keyframes=scene.keyframes.limited(self._settings.keyframes))
        if len(keyframes) > self._settings.reservoir:  # a fair part of a fair sample is a fair sample
            keyframes = tuple(random.Random(self._settings.seed).sample(keyframes, self._settings.reservoir))
        self._reservoir.replace_all(keyframes, seen=scene.views_observed)
        self._scene = scene
        return scene

    def _asked_of(self, world_from_camera: NDArray[np.float64]) -> Scene:
        """The scene that a pose is asked of."""
        if self._scene is None:
            raise RequestFailedError(NOTHING_OBSERVED.kind, NOTHING_OBSERVED.message)
        try:
            validate_rigid(world_from_camera)
        except ValueError as error:
            raise RequestFailedError(FailureKind.BAD_REQUEST, f"the wanted pose cannot be used: {error}") from error
        return self._scene

    # --- writing ---------------------------------------------------------------------------------------------------

    def _scene_for(self, chunk: Chunk) -> tuple[Scene, FrameExit | None]:
        """The scene that a chunk is to be written into, and why it is a new epoch if it is one."""
        scene = self._scene
        if scene is None:
            frame = first_frame(self._settings, chunk)
            return self._empty_scene(frame, chunk), None
        exit_ = exit_of(scene.frame, chunk)
        return (scene, None) if exit_ is None else (self._next_epoch(scene, chunk), exit_)

    def _empty_scene(self, frame: MemoryFrame, chunk: Chunk) -> Scene:
        blank = self._model.initial_state(1, self._prior)
        return Scene(Atlas(blank), frame, chunk.newest_stamp_ns, chunk.frames[-1].camera)

    def _next_epoch(self, scene: Scene, chunk: Chunk) -> Scene:
        """Lay the frame anew for a chunk that left it, and write into it what the reservoir still holds of there."""
        frame = next_frame(self._settings, scene.frame, chunk)
        fresh = replace(
            self._empty_scene(frame, chunk),
            epoch=scene.epoch + 1,
            keyframes=scene.keyframes,
            chunks_observed=scene.chunks_observed,
            views_observed=scene.views_observed,
        )
        keep = [kept for kept in self._reservoir.frames if frame.contains(kept) is None]
        # In the order they were seen: the views of a chunk are then as near to each other as a sample allows.
        keep.sort(key=lambda kept: kept.stamp_ns)
        views = self._settings.chunk_views
        for start in range(0, len(keep), views):
            seeded = self._written(fresh, Chunk(tuple(keep[start : start + views])))
            fresh = replace(seeded, chunks_observed=fresh.chunks_observed, views_observed=fresh.views_observed)
        return fresh

    def _written(self, scene: Scene, chunk: Chunk) -> Scene:
        settings, mode = self._settings, self._settings.mode
        window = scene.window
        if mode is MemoryMode.STREAMING:
            views = views_of(scene.frame, chunk.frames, self.device)
            atlas = bank.observe(self._model, scene.atlas, views, settings.rule, settings.atlas)
        elif mode is MemoryMode.WINDOWED:
            bare = Chunk(tuple(replace(frame, photograph=None) for frame in chunk.frames))
            window = (*scene.window, bare)[-settings.window_chunks :]
            frames = [frame for kept in window for frame in kept.frames]
            views = views_of(scene.frame, frames, self.device)
            tokens_per_view = settings.width * settings.height // self._model.config.patch_size**2
            chunk_tokens = settings.chunk_views * tokens_per_view
            blank = scene.atlas.blank
            state = self._model.observe_batch(blank, views, chunk_tokens, settings.rule, settings.sharing)
            atlas = Atlas(blank, (Submap(state, addresses_of(views.cameras).mean(dim=0), len(frames)),))
        else:
            raise ValueError(f"unknown memory mode {mode!r}")
        return replace(
            scene,
            atlas=atlas,
            newest_ns=max(scene.newest_ns, chunk.newest_stamp_ns),
            camera=chunk.frames[-1].camera,
            chunks_observed=scene.chunks_observed + 1,
            views_observed=scene.views_observed + len(chunk.frames),
            window=window,
        )

    # --- measuring -------------------------------------------------------------------------------------------------

    def _prediction(self, scene: Scene, chunk: Chunk) -> float:
        if not self._settings.measure_prediction or scene.chunks_observed == 0:
            return float("nan")
        return self._psnr(scene, chunk.frames)

    def _retention(self, scene: Scene) -> tuple[float, int]:
        kept = [frame for frame in self._reservoir.frames if scene.frame.contains(frame) is None]
        count = min(self._settings.retention_views, len(kept))
        if count == 0:
            return float("nan"), 0
        chosen = [kept[round(i)] for i in np.linspace(0, len(kept) - 1, count)]
        return self._psnr(scene, chosen), count

    def _psnr(self, scene: Scene, frames: Sequence[PosedImage]) -> float:
        """Mean PSNR of frames against their renders, dB."""
        views = views_of(scene.frame, frames, self.device)
        renders = bank.render(self._model, scene.atlas, views.cameras, views.times)
        errors = (renders - views.images).square().mean(dim=(2, 3, 4)).clamp_min(1e-10)
        return float((-10 * errors.log10()).mean())

    def _now(self) -> float:
        """Seconds, with everything the device was asked for done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


@contextmanager
def _device_memory(doing: str, remedy: str) -> Iterator[None]:
    """Has what a full device raises say what was going on, and what helps."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        message = f"the device ran out of memory while {doing}: {remedy} ({error})"
        raise RequestFailedError(FailureKind.OUT_OF_MEMORY, message) from error


def _layer_reports(state: MemoryState) -> tuple[LayerReport, ...]:
    return tuple(
        LayerReport(**{name: float(getattr(layer, name).mean()) for name in LayerReport.__dataclass_fields__})
        for layer in state.statistics
    )
