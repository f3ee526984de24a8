# SPDX-License-Identifier: Apache-2.0
"""A view of a scene: what the fast weights know of it, and what the kept photographs do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.memory import atlas as bank
from fsm_ros.memory.model import FsmModel
from fsm_ros.recall.evidence import Prior
from fsm_ros.recall.keyframes import Keyframe
from fsm_ros.recall.net import RecallNet
from fsm_ros.recall.view import WantedView, recall_view
from fsm_ros.spatial.results import Rendered, UsedKeyframe
from fsm_ros.spatial.scene import Scene
from fsm_ros.spatial.settings import MemorySettings, RenderMethod, RenderResolution
from fsm_ros.spatial.tensors import cameras_of, times_of
from fsm_ros.stream.frame import Camera


def rendered(
    model: FsmModel,
    recall: RecallNet | None,
    settings: MemorySettings,
    scene: Scene,
    wanted: Camera,
    world_from_camera: NDArray[np.float64],
    stamp_ns: int,
    method: RenderMethod,
) -> Rendered | None:
    """A view, as far as the fast weights and, where they are asked for, the kept photographs know it.

    Args:
        model: the weights.
        recall: recalls views from kept photographs; ``None``: the fast weights render alone.
        settings: how the memory is kept.
        scene: what was observed.
        wanted: intrinsics and size.
        world_from_camera: ``[4, 4]`` rigid, optical frame to the frame the memory lives in.
        stamp_ns: the moment.
        method: what it is made of.

    Returns:
        The view; ``None`` where a colour is not finite.
    """
    prior: Prior | None
    if method is RenderMethod.PHOTOGRAPHS:
        prior = from_nothing(scene.keyframes.keyframes, wanted, model.device)
    else:
        prior = from_fast_weights(model, settings, scene, wanted, world_from_camera, stamp_ns)
    if prior is None:
        return None
    recalled = None
    if method is not RenderMethod.MEMORY and recall is not None:
        view = WantedView(wanted.fxfycxcy, wanted.width, wanted.height, world_from_camera, stamp_ns)
        kept = scene.keyframes.keyframes
        recalled = recall_view(recall, kept, view, prior, settings.photographs)
    if recalled is None:
        depth = torch.full_like(prior.colour[0, 0], torch.nan)
        if prior.log_inverse_depth is not None:
            depth = (-prior.log_inverse_depth[0, 0]).exp()
        return _answer(prior.colour[0], depth, torch.zeros_like(depth), wanted, stamp_ns, scene)
    if not recalled.image.isfinite().all():
        return None
    answer = _answer(recalled.image, recalled.depth_m, recalled.confidence, wanted, stamp_ns, scene)
    used = tuple(used_keyframe(keyframe) for keyframe in recalled.used)
    return replace(answer, recalled=float(recalled.share.mean()), keyframes=used)


def from_fast_weights(
    model: FsmModel,
    settings: MemorySettings,
    scene: Scene,
    wanted: Camera,
    world_from_camera: NDArray[np.float64],
    stamp_ns: int,
) -> Prior | None:
    """Render with the wanted geometry exactly: whole patches, then cropped or resampled to the wanted size.

    Returns:
        Colours and, where the weights tell it, depth in metres, ``[1, ...]``; ``None`` where one is not finite.
    """
    patch = model.config.patch_size
    shrink = 1.0
    if settings.render_resolution is RenderResolution.MEMORY:
        shrink = min(1.0, max(settings.width / wanted.width, settings.height / wanted.height))
    width, height = (max(1, round(size * shrink)) for size in (wanted.width, wanted.height))
    scale = np.array([width / wanted.width, height / wanted.height] * 2)
    cameras = cameras_of(
        scene.frame,
        world_from_camera[None],
        (wanted.fxfycxcy * scale)[None],
        height=-(-height // patch) * patch,
        width=-(-width // patch) * patch,
        device=model.device,
    )
    times = times_of(scene.frame, [stamp_ns], model.device)
    rendering = bank.render_all(model, scene.atlas, cameras, times)
    view = rendering.images[0, :, :, :height, :width]
    if not view.isfinite().all():
        return None
    size = (wanted.height, wanted.width)
    resampled = (height, width) != size
    if resampled:
        view = torch.nn.functional.interpolate(view, size, mode="bicubic").clamp(0, 1)
    geometry = rendering.geometry
    if geometry is None:
        return Prior(view)
    metres = geometry.log_inverse_depth[:, :, :height, :width] - math.log(scene.frame.extent_m)
    spread = geometry.scale[:, :, :height, :width]
    if resampled:
        metres, spread = (torch.nn.functional.interpolate(x, size, mode="bilinear") for x in (metres, spread))
    return Prior(view, metres, spread)


def from_nothing(keyframes: Sequence[Keyframe], wanted: Camera, device: torch.device) -> Prior:
    """What is known without the fast weights, as recall was trained to do without: the mean colour of all photographs.

    Returns:
        ``[1, 3, height, width]`` of the wanted size; grey where there is no photograph.
    """
    means = [keyframe.image.reshape(-1, 3).mean(axis=0) / 255 for keyframe in keyframes]
    mean = np.mean(means, axis=0) if means else np.full(3, 0.5)
    colour = torch.tensor(mean, dtype=torch.float32, device=device)
    return Prior(colour[None, :, None, None].expand(1, 3, wanted.height, wanted.width))


def used_keyframe(keyframe: Keyframe) -> UsedKeyframe:
    """What is told of a kept photograph, without its pixels."""
    height, width = keyframe.image.shape[:2]
    fx, fy, cx, cy = (float(number) for number in keyframe.fxfycxcy)
    camera = Camera(width, height, fx, fy, cx, cy)
    return UsedKeyframe(keyframe.number, keyframe.stamp_ns, keyframe.world_from_camera, keyframe.source, camera)


def _answer(
    image: Tensor, depth_m: Tensor, confidence: Tensor, camera: Camera, stamp_ns: int, scene: Scene
) -> Rendered:
    return Rendered(
        (image.permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy(),
        camera,
        stamp_ns,
        scene.chunks_observed,
        render_s=float("nan"),
        depth_m=depth_m.float().cpu().numpy(),
        confidence=confidence.float().cpu().numpy(),
        epoch=scene.epoch,
    )
