# SPDX-License-Identifier: Apache-2.0
"""The rows of ``recall.py``: what each question of one scene scores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fsm_ros.training.evaluation.comparing import depth_errors, ms_ssim, psnr, psnr_where, sharpness, ssim
from fsm_ros.training.recalling import RecalledViews
from recall_scene import (
    Question,
    Scene,
    Weights,
    after_eviction,
    at_another_moment,
    beside_the_path,
    best_plane,
    in_one_submap,
    knowing_depth,
    seen_by_photographs,
    with_photographs,
)

PSNR, SSIM, MS_SSIM, VALUE = "psnr", "ssim", "ms_ssim", "value"
"""Names of figures: of a picture, or the only one of whatever else."""
Rows = Mapping[str, Mapping[str, float]]
"""Figures by the name of their row."""
MIB = float(2**20)
FEW = (2, 4, 8)
"""Numbers of kept photographs that are set against the memory's bytes."""


def rows_of(scene: Scene, weights: Weights) -> Rows:
    """All rows of one scene."""
    both, alone = weights.both(scene.task), weights.alone(scene.task)
    answers = {"both": both.images, "without the memory": alone.images, "memory": scene.asked.memory}
    return {
        **_whole_views(scene, weights, both, alone),
        **_parts(scene, answers),
        **_beside(scene, weights),
        **_another_moment(scene, weights),
        **_evicted(scene, weights),
        **_bytes(scene, weights, alone.images),
        **_depths(scene, both, alone),
        **_sharpness(scene, answers),
    }


def _whole_views(scene: Scene, weights: Weights, both: RecalledViews, alone: RecalledViews) -> Rows:
    truth, task, most = scene.truth, scene.task, weights.photographs
    fewer = {f"without the memory, {_a_view(n)}": _picture(weights.alone(task, n).images, truth) for n in (1, 2)}
    return {
        "memory": _picture(scene.asked.memory, truth),
        "nearest keyframe": _picture(scene.asked.nearest, truth),
        "best plane (oracle)": _picture(best_plane(scene), truth),
        **fewer,
        f"without the memory, {_a_view(most)}": _picture(alone.images, truth),
        "both": _picture(both.images, truth),
        "both, with true depth": _picture(weights.both(knowing_depth(task)).images, truth),
    }


def _parts(scene: Scene, answers: Mapping[str, Tensor]) -> Rows:
    """Pixels of a kind, of all views together."""
    truth, unseen, moving = scene.truth, ~seen_by_photographs(scene.task), scene.moving()
    answers = {**answers, "nearest keyframe": scene.asked.nearest}
    parts = {"where no photograph saw": unseen, "inside moving things": moving, "outside moving things": ~moving}
    return {
        **{
            f"{part}: {name}": {PSNR: psnr_where(images, truth, where)}
            for part, where in parts.items()
            for name, images in answers.items()
        },
        "share of pixels that no photograph saw": _share(unseen),
        "share of pixels that show moving things": _share(moving),
    }


def _beside(scene: Scene, weights: Weights) -> Rows:
    beside = beside_the_path(scene)
    if beside is None:
        return {}
    answers = _answers(beside, weights, "nearest keyframe")
    return {f"beside the path: {name}": _picture(images, beside.task.wanted.images) for name, images in answers.items()}


def _another_moment(scene: Scene, weights: Weights) -> Rows:
    other, seconds_apart = at_another_moment(scene)
    answers, truth = _answers(other, weights, "photograph from there"), other.task.wanted.images
    different = "at another moment, where it looks different"
    return {
        **{f"at another moment: {name}": _picture(images, truth) for name, images in answers.items()},
        **{
            f"{different}: {name}": {PSNR: psnr_where(images, truth, other.changed)} for name, images in answers.items()
        },
        "at another moment: share of pixels that look different": _share(other.changed),
        "at another moment: seconds from that of the photograph": {VALUE: seconds_apart},
    }


def _answers(question: Question, weights: Weights, photograph: str) -> Mapping[str, Tensor]:
    return {
        "both": weights.both(question.task).images,
        "without the memory": weights.alone(question.task).images,
        "memory": question.memory,
        photograph: question.photograph,
    }


def _evicted(scene: Scene, weights: Weights) -> Rows:
    late = after_eviction(scene)
    if late is None:
        return {}
    answers, truth = _answers(late, weights, "nearest kept keyframe"), late.task.wanted.images
    return {f"after eviction: {name}": _picture(images, truth) for name, images in answers.items()}


def _bytes(scene: Scene, weights: Weights, from_all: Tensor) -> Rows:
    """Photographs against submaps: what either makes of the same bytes. Of a photograph its pixels count, 8 bits each.

    Where more photographs fit into the bytes of the memory than there are, all there are is all that is recalled from:
    ``from_all``, which was recalled before.
    """
    truth, task, known = scene.truth, scene.task, scene.asked.remembered
    there = task.observed.cameras.views
    photograph = task.observed.images[0, 0].numel()
    one_submap, one_place_bytes = in_one_submap(scene, weights)
    submaps = scene.settings.atlas.submaps

    def recalled(count: int) -> Mapping[str, float]:
        few = count < there
        return _picture(weights.alone(with_photographs(task, count)).images if few else from_all, truth)

    def fitting(size_bytes: int) -> int:
        return min(there, size_bytes // photograph)

    return {
        "at equal bytes: memory of one submap": _picture(one_submap, truth),
        "at equal bytes: photographs that fit into one submap": recalled(fitting(one_place_bytes)),
        f"at equal bytes: memory of {submaps} submaps": _picture(scene.asked.memory, truth),
        f"at equal bytes: photographs that fit into {submaps} submaps": recalled(fitting(known.size_bytes)),
        **{f"without the memory, {count} photographs kept": recalled(count) for count in FEW if count < there},
        "MiB of one submap": {VALUE: one_place_bytes / MIB},
        f"MiB of {submaps} submaps, as many as were opened": {VALUE: known.size_bytes / MIB},
        "MiB of a photograph": {VALUE: photograph / MIB},
        "photographs that would fit into one submap": {VALUE: float(one_place_bytes // photograph)},
        f"photographs that would fit into {submaps} submaps": {VALUE: float(known.size_bytes // photograph)},
        "photographs that there are": {VALUE: float(there)},
    }


def _depths(scene: Scene, both: RecalledViews, alone: RecalledViews) -> Rows:
    """In the pixels that some photograph saw, as what ships has it."""
    task = scene.task
    if task.log_inverse_depth is None:
        return {}
    metres = task.in_metres(task.log_inverse_depth)
    told = {"both": both.log_inverse_depth, "without the memory": alone.log_inverse_depth}
    if task.memory.geometry is not None:
        told["memory"] = task.in_metres(task.memory.geometry.log_inverse_depth)
    rows: dict[str, Mapping[str, float]] = {}
    for name, depth in told.items():
        error, close = depth_errors(depth, metres, both.share[:, :, 0] > 0.5)
        rows[f"depth, mean absolute relative error: {name}"] = {VALUE: float(error.nanmean())}
        rows[f"depth, share within 5 %: {name}"] = {VALUE: float(close.nanmean())}
    return dict(sorted(rows.items(), key=lambda row: "share" in row[0]))


def _sharpness(scene: Scene, answers: Mapping[str, Tensor]) -> Rows:
    return {
        f"sharpness: {name}": {VALUE: float(sharpness(images, scene.truth).mean())} for name, images in answers.items()
    }


def _picture(images: Tensor, truth: Tensor) -> Mapping[str, float]:
    measures = {PSNR: psnr, SSIM: ssim, MS_SSIM: ms_ssim}
    return {name: float(measure(images, truth).mean()) for name, measure in measures.items()}


def _a_view(photographs: int) -> str:
    return f"{photographs} photograph{'s' * (photographs > 1)} a view"


def _share(where: Tensor) -> Mapping[str, float]:
    return {VALUE: float(where.to(torch.float32).mean())}
