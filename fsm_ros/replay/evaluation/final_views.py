# SPDX-License-Identifier: Apache-2.0
"""What is asked of a memory after the whole stream: every metric, every baseline, and where each view lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fsm_ros.replay.evaluation import baselines
from fsm_ros.replay.evaluation.asking import Asked, Asking, pose_of
from fsm_ros.replay.evaluation.metrics import ImageMetrics
from fsm_ros.replay.evaluation.results import Baseline, Metric, Pictures, ViewResult
from fsm_ros.replay.evaluation.whereabouts import ObservedPath
from fsm_ros.spatial.results import Failure, Rendered
from fsm_ros.spatial.settings import RenderMethod
from fsm_ros.stream.frame import PosedImage
from fsm_ros.stream.rigid import nearest_camera

GoesOn = Callable[[int], bool]
"""Told how many views are done; says whether there are to be more."""


class FinalViews:
    """Asks for views, and compares them with the truth and with answers that need no memory."""

    def __init__(
        self,
        asking: Asking,
        metrics: ImageMetrics,
        keyframes: Sequence[Asked],
        first_ns: int,
        *,
        from_photographs: bool = False,
    ) -> None:
        """Prepare.

        Args:
            asking: gives truths and renders.
            metrics: how they are compared.
            keyframes: all that was observed, in its order; at least one.
            first_ns: the recording's first moment, nanoseconds.
            from_photographs: whether views are recalled from kept photographs: what the fast weights alone render is
                then measured beside them.
        """
        self._asking, self._metrics, self._keyframes, self._first_ns = asking, metrics, keyframes, first_ns
        self._from_photographs = from_photographs
        self._poses = np.stack([pose_of(kept.frame) for kept in keyframes])
        self._stamps_ns = np.array([kept.frame.stamp_ns for kept in keyframes], dtype=np.int64)
        self._cameras = [kept.frame.camera for kept in keyframes]
        self._path = ObservedPath(self._poses, self._stamps_ns.tolist(), self._cameras)

    def held_out(self, asked: Sequence[Asked], goes_on: GoesOn) -> tuple[list[ViewResult], Pictures]:
        """Views that the memory did not see, with all there is to say of them.

        Where it does not go on to the last one, those that are done lie evenly among all.
        """
        size = (len(asked), *self._asking.truth(self._keyframes[0].frame).image.shape)
        # One place for each picture from the start: a list of them would be held twice while it is stacked.
        truth, render = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        others = {baseline: np.zeros(size, np.uint8) for baseline in Baseline}
        fxfycxcy = np.zeros((len(asked), 4))
        views: dict[int, ViewResult] = {}
        for place in coarse_to_fine(len(asked)):
            wanted = self._asking.truth(asked[place].frame)
            answer = self._asking.render(wanted)
            images = self._answers(wanted)
            views[place] = replace(
                self._view(asked[place], wanted, answer),
                baselines={which: self._metrics.measure(image, wanted.image) for which, image in images.items()},
                where=self._path.locate(wanted.world_from_camera, wanted.stamp_ns),
            )
            truth[place], fxfycxcy[place] = wanted.image, wanted.camera.fxfycxcy
            if isinstance(answer, Rendered):
                render[place] = answer.image
            for which, image in images.items():
                others[which][place] = image
            if not goes_on(len(views)):
                break
        done: list[int] | slice = slice(None) if len(views) == len(asked) else sorted(views)
        pictures = Pictures(
            truth=truth[done],
            render=render[done],
            baselines={which: images[done] for which, images in others.items()},
            fxfycxcy=fxfycxcy[done],
        )
        return _numbered(views), pictures

    def observed(self, asked: Sequence[Asked], goes_on: GoesOn) -> list[ViewResult]:
        """Views that the memory did see; in the same manner."""
        views: dict[int, ViewResult] = {}
        for place in coarse_to_fine(len(asked)):
            wanted = self._asking.truth(asked[place].frame)
            views[place] = self._view(asked[place], wanted, self._asking.render(wanted))
            if not goes_on(len(views)):
                break
        return _numbered(views)

    def _answers(self, wanted: PosedImage) -> dict[Baseline, NDArray[np.uint8]]:
        """What the keyframes alone have to say of a view."""
        near = self._keyframe(nearest_camera(self._poses, wanted.world_from_camera))
        last = baselines.last_index(self._stamps_ns, self._cameras, wanted.stamp_ns, wanted.source)
        return baselines.answers(near, self._keyframe(last), wanted)

    def _of_fast_weights(self, wanted: PosedImage) -> dict[Metric, float]:
        return self._measured(self._asking.render(wanted, RenderMethod.MEMORY), wanted)

    def _measured(self, answer: Rendered | Failure, wanted: PosedImage) -> dict[Metric, float]:
        return self._metrics.measure(answer.image, wanted.image) if isinstance(answer, Rendered) else {}

    def _keyframe(self, number: int) -> PosedImage:
        return self._asking.truth(self._keyframes[number].frame)

    def _view(self, asked: Asked, wanted: PosedImage, answer: Rendered | Failure) -> ViewResult:
        x, y, z = (float(value) for value in wanted.position)
        turn = Rotation.from_matrix(wanted.world_from_camera[:3, :3]).as_quat()
        return ViewResult(
            number=0,  # see _numbered
            source=wanted.source,
            stamp_ns=wanted.stamp_ns,
            time_s=(wanted.stamp_ns - self._first_ns) * 1e-9,
            chunk=asked.chunk,
            position=(x, y, z),
            quaternion=(float(turn[0]), float(turn[1]), float(turn[2]), float(turn[3])),
            render=self._measured(answer, wanted),
            psnr_when_new=asked.psnr_when_new,
            memory=self._of_fast_weights(wanted) if self._from_photographs else {},
            warning=answer.warning if isinstance(answer, Rendered) else f"not rendered: {answer.message}",
        )


def coarse_to_fine(count: int) -> list[int]:
    """The numbers below `count` in an order of which every beginning is spread evenly over all (van der Corput's)."""
    bits = max(count - 1, 0).bit_length()
    return sorted(range(count), key=lambda number: f"{number:0{bits}b}"[::-1])


def _numbered(views: Mapping[int, ViewResult]) -> list[ViewResult]:
    """In order, each with its place among those that there are."""
    return [replace(views[place], number=number) for number, place in enumerate(sorted(views))]
