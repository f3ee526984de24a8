# SPDX-License-Identifier: Apache-2.0
"""One view, recalled: which keyframes, at which size, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.recall.choose import COLUMNS, ROWS, PosedCameras, choose
from fsm_ros.recall.evidence import Prior
from fsm_ros.recall.keyframes import Keyframe, cameras_of
from fsm_ros.recall.net import RecallNet
from fsm_ros.recall.planes import Photographs, Wanted
from fsm_ros.recall.sensed import SENSED_A_PHOTOGRAPH, Sensed, with_sensed

NANOSECONDS = 1_000_000_000
TYPICAL_ERROR = 0.1
"""A colour whose expected error is so large, of 1, is shown with a confidence of 1/e."""
LARGEST_LOG_DEPTH_ERROR = 0.7
"""A depth that is expected to be wrong by a factor of two is not known."""


@dataclass(frozen=True, eq=False)
class WantedView:
    """What is asked for.

    Attributes:
        fxfycxcy: ``[4]`` float64 pixels, pixel centres at half-integers.
        width: columns.
        height: rows.
        world_from_camera: ``[4, 4]`` float64 rigid, optical frame to the world, metres.
        stamp_ns: the moment.
    """

    fxfycxcy: NDArray[np.float64]
    width: int
    height: int
    world_from_camera: NDArray[np.float64]
    stamp_ns: int


@dataclass(frozen=True, eq=False)
class RecalledView:
    """What is known of it.

    Attributes:
        image: ``[3, height, width]`` float32 in [0, 1], RGB.
        depth_m: ``[height, width]`` float32 along the optical axis (REP-118), metres; NaN where it is not known.
        depth_error: ``[height, width]`` float32, expected absolute error of the depth's natural logarithm.
        confidence: ``[height, width]`` float32 in [0, 1]: ``exp(-e / TYPICAL_ERROR)`` of the expected error ``e`` of a
            colour.
        share: ``[height, width]`` float32 in [0, 1]: how much of it comes from photographs.
        used: the keyframes that were looked at, the most useful first.
    """

    image: Tensor
    depth_m: Tensor
    depth_error: Tensor
    confidence: Tensor
    share: Tensor
    used: tuple[Keyframe, ...]


@torch.no_grad()
def recall_view(
    net: RecallNet, keyframes: Sequence[Keyframe], wanted: WantedView, prior: Prior, photographs: int
) -> RecalledView | None:
    """Recall one view.

    Args:
        net: the weights, on the device that is to be used.
        keyframes: that are kept.
        wanted: the view.
        prior: what the memory knows of it, ``[1, ...]`` of the wanted size, metres.
        photographs: keyframes that are looked at, at most.

    Returns:
        The view; ``None`` where no keyframe shows anything of it.
    """
    device = prior.colour.device
    lens = torch.from_numpy(wanted.fxfycxcy.astype(np.float32))[None].to(device)
    view = Wanted(lens, wanted.height, wanted.width)
    sensed = _sensed(keyframes, wanted, prior, SENSED_A_PHOTOGRAPH * photographs)
    if sensed is not None:
        prior = with_sensed(prior, sensed, view)
    used = useful_keyframes(keyframes, wanted, prior, photographs)
    if not used:
        return None
    recalled = net(view, _photographs(used, wanted, net.level_count(view), device), prior)
    share = recalled.share[0, 0]
    error = recalled.log_error[0, 0].exp()
    depth_error = recalled.log_depth_scale[0, 0].exp()
    is_known = depth_error < LARGEST_LOG_DEPTH_ERROR
    depth = (-recalled.log_inverse_depth[0, 0]).exp()
    return RecalledView(
        image=recalled.colour[0].clamp(0.0, 1.0),
        depth_m=torch.where(is_known, depth, torch.full_like(depth, torch.nan)),
        depth_error=depth_error,
        confidence=(-error / TYPICAL_ERROR).exp(),
        share=share,
        used=tuple(used),
    )


def useful_keyframes(
    keyframes: Sequence[Keyframe], wanted: WantedView, prior: Prior | None, count: int
) -> list[Keyframe]:
    """Those that know most of a view, the most useful first; none where nobody saw anything of it.

    Args:
        keyframes: that are kept.
        wanted: the view.
        prior: what the memory knows of it; ``None``: nothing.
        count: at most so many.
    """
    if not keyframes:
        return []
    cpu = torch.device("cpu")
    pose = wanted.world_from_camera.copy()
    origin = pose[:3, 3].copy()
    pose[:3, 3] = 0.0
    size = torch.tensor([[[wanted.width, wanted.height]]], dtype=torch.float32)
    camera = PosedCameras(
        torch.from_numpy(wanted.fxfycxcy.astype(np.float32))[None, None],
        size,
        torch.from_numpy(pose.astype(np.float32))[None, None],
    )
    depth = None
    if prior is not None and prior.log_inverse_depth is not None:
        grid = F.interpolate(prior.log_inverse_depth.cpu(), (ROWS, COLUMNS), mode="bilinear", align_corners=False)
        depth = (-grid).exp()
    seconds = torch.tensor([[[(k.stamp_ns - wanted.stamp_ns) / NANOSECONDS for k in keyframes]]])
    present = torch.ones(1, len(keyframes), dtype=torch.bool)
    chosen = choose(camera, cameras_of(keyframes, origin, cpu), seconds, present, count, depth)
    numbers, useful = chosen.number[0, 0].tolist(), chosen.present[0, 0].tolist()
    return [keyframes[number] for number, is_useful in zip(numbers, useful, strict=True) if is_useful]


def _sensed(keyframes: Sequence[Keyframe], wanted: WantedView, prior: Prior, count: int) -> Sensed | None:
    """What depth cameras measured around a view, in frames of one size; ``None`` where they measured nothing of it."""
    measured = [keyframe for keyframe in keyframes if keyframe.sensed is not None]
    used = useful_keyframes(measured, wanted, prior, count)
    parts = [(keyframe, keyframe.sensed) for keyframe in used if keyframe.sensed is not None]
    if not parts:
        return None
    rows, columns = (max(depth.shape[side] for _, depth in parts) for side in (0, 1))
    images, lenses, poses = [], [], []
    for keyframe, depth in parts:
        below, right = rows - depth.shape[0], columns - depth.shape[1]
        images.append(np.pad(depth.astype(np.float32), ((0, below), (0, right)), constant_values=np.nan))
        height, width = keyframe.image.shape[:2]
        lenses.append(keyframe.fxfycxcy * np.array([depth.shape[1] / width, depth.shape[0] / height] * 2))
        poses.append(np.linalg.inv(wanted.world_from_camera) @ keyframe.world_from_camera)

    def tensor(values: Sequence[NDArray[np.floating]]) -> Tensor:
        return torch.from_numpy(np.stack(values).astype(np.float32))[None].to(prior.colour.device)

    return Sensed(tensor(images), tensor(lenses), tensor(poses))


def _photographs(used: Sequence[Keyframe], wanted: WantedView, levels: int, device: torch.device) -> Photographs:
    """Photographs of about the wanted view's resolution, in frames of one size, ``[1, K, ...]``."""
    images, lenses, sizes, poses = [], [], [], []
    for keyframe in used:
        height, width = keyframe.image.shape[:2]
        # Finer than wanted is resampled to as fine, or it would flicker; coarser stays as it is.
        scale = min(1.0, float(wanted.fxfycxcy[0] / keyframe.fxfycxcy[0]))
        rows, columns = max(2, round(height * scale)), max(2, round(width * scale))
        images.append(_resized(keyframe.image, rows, columns))
        lenses.append(keyframe.fxfycxcy * np.array([columns / width, rows / height] * 2))
        sizes.append([float(columns), float(rows)])
        poses.append(np.linalg.inv(keyframe.world_from_camera) @ wanted.world_from_camera)
    step = 2**levels
    rows, columns = (-(-max(image.shape[side] for image in images) // step) * step for side in (0, 1))
    late = [(keyframe.stamp_ns - wanted.stamp_ns) / NANOSECONDS for keyframe in used]
    return Photographs(
        images=_framed(images, rows, columns, device),
        fxfycxcy=torch.from_numpy(np.stack(lenses).astype(np.float32))[None].to(device),
        size=torch.tensor([sizes], device=device),
        photograph_from_view=torch.from_numpy(np.stack(poses).astype(np.float32))[None].to(device),
        seconds=torch.tensor([late], device=device, dtype=torch.float32),
        present=torch.ones(1, len(used), dtype=torch.bool, device=device),
        corners=_corners(used, images, rows, columns, device),
    )


def _corners(
    used: Sequence[Keyframe], images: Sequence[NDArray[np.uint8]], rows: int, columns: int, device: torch.device
) -> Tensor | None:
    """See :class:`Photographs`; ``None`` unless every photograph is at least twice as fine as wanted."""
    sizes = [(2 * image.shape[0], 2 * image.shape[1]) for image in images]
    if any(k.image.shape[0] < high or k.image.shape[1] < wide for k, (high, wide) in zip(used, sizes, strict=True)):
        return None
    twice = [_resized(keyframe.image, *size) for keyframe, size in zip(used, sizes, strict=True)]
    around = F.pad(_framed(twice, 2 * rows, 2 * columns, device)[0], (1, 1, 1, 1), mode="replicate")
    # Four pixels of half the size make one of the wanted size, wherever it lies.
    return F.avg_pool2d(around, 2, stride=1)[None]


def _resized(image: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Means over the areas of its pixels, as a camera of that resolution would have seen it."""
    if image.shape[:2] == (rows, columns):
        return image
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _framed(images: Sequence[NDArray[np.uint8]], rows: int, columns: int, device: torch.device) -> Tensor:
    """``[height, width, 3]`` each, in the upper left of frames of one size, ``[1, K, 3, rows, columns]`` in [0, 1]."""
    framed = []
    for image in images:
        # A copy, as frames of a recording may be read-only.
        pixels = torch.tensor(image, device=device).permute(2, 0, 1)[None].float() / 255
        right, below = columns - image.shape[1], rows - image.shape[0]
        framed.append(F.pad(pixels, (0, right, 0, below), mode="replicate"))
    return torch.cat(framed)[None]
