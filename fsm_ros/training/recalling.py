# SPDX-License-Identifier: Apache-2.0
"""What recall learns: to show what was not observed, from keyframes and what the memory knows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.views import Rendering, Views
from fsm_ros.recall.choose import COLUMNS, ROWS, Chosen, PosedCameras, choose
from fsm_ros.recall.evidence import Prior
from fsm_ros.recall.net import Recalled, RecallNet
from fsm_ros.recall.planes import PLANES, Photographs, Wanted, step_of_depth
from fsm_ros.recall.sensed import SENSED_A_PHOTOGRAPH, Sensed, with_sensed
from fsm_ros.training.settings import RecallTraining

_EDGE = 1e-3
_DEPTHS = ((2, 2, 1), (2, 2, 1), (2, 2), (4, 2, 1), (2, 1), (8, 4))
"""What a net may be asked for later, where time is short or views are large."""
_NEAR_M = 0.12
_NEAR_SHARE = 0.02
"""Views beside the path with more than this share of pixels nearer than that look at the inside of something."""


@dataclass(frozen=True, eq=False)
class RecallTask:
    """Views to recall, ``B`` scenes of ``T`` each, and the keyframes of each scene.

    Attributes:
        wanted: the views, with the truth.
        log_inverse_depth: ``[B, T, H, W]`` true, memory units; ``None`` where it is not known.
        observed: all observed views, ``[B, N, ...]``.
        memory: what the memory answers for the wanted views, at its own size.
        extent_m: ``[B]`` metres of a memory unit.
        horizon_s: ``[B]`` seconds from memory time -1 to 1.
        sensed_m: ``[B, N, h, w]`` what a depth camera measured with the observed views, metres along the optical axis;
            NaN where it did not. ``None``: there was none.
    """

    wanted: Views
    log_inverse_depth: Tensor | None
    observed: Views
    memory: Rendering
    extent_m: Tensor
    horizon_s: Tensor
    sensed_m: Tensor | None = None

    def with_observed(self, which: slice | Tensor) -> RecallTask:
        """The same with only some of the observed views."""
        sensed = None if self.sensed_m is None else self.sensed_m[:, which]
        return replace(self, observed=self.observed[which], sensed_m=sensed)

    def in_metres(self, log_inverse_depth: Tensor) -> Tensor:
        """Logarithms of inverse depth ``[B, T, H, W]`` in memory units, in metres."""
        return log_inverse_depth - self.extent_m.log()[:, None, None, None]


@dataclass(frozen=True, eq=False)
class RecallLoss:
    """Scalars: what is minimised, and the squared error of the recalled views, without gradient."""

    loss: Tensor
    squared_error: Tensor


def recall_loss(
    net: RecallNet, task: RecallTask, settings: RecallTraining, rng: torch.Generator, *, bf16: bool = False
) -> RecallLoss:
    """Recall and score.

    Args:
        net: that learns.
        task: what to recall.
        settings: how much goes wrong on purpose.
        rng: on the CPU; all that is random comes from here.
        bf16: whether convolutions are computed in bfloat16.
    """
    wanted, photographs, prior = prepared(task, settings, rng)
    with torch.autocast(task.extent_m.device.type, torch.bfloat16, enabled=bf16):
        recalled = net(wanted, photographs, prior, _DEPTHS[int(torch.randint(len(_DEPTHS), (), generator=rng))])
    truth = task.wanted.images.flatten(0, 1)
    known = None
    # What no photograph shows is not recalled.
    weight = photographs.present.any(dim=1).to(truth)
    if task.log_inverse_depth is not None:
        known = task.in_metres(task.log_inverse_depth).flatten(0, 1)
        weight = weight * ~looks_inside(known)
    return _scored(recalled, truth, known, weight)


def looks_inside(log_inverse_depth: Tensor) -> Tensor:
    """``[V]`` which views ``[V, H, W]`` (metres) stand inside of something, and are no views that anybody wants."""
    return (log_inverse_depth > -math.log(_NEAR_M)).float().mean(dim=(1, 2)) > _NEAR_SHARE


@dataclass(frozen=True, eq=False)
class RecalledViews:
    """What was recalled, ``B`` scenes of ``T`` views each.

    Attributes:
        images: ``[B, T, 3, H, W]`` in [0, 1].
        share: ``[B, T, 1, H, W]`` how much of it comes from photographs.
        log_inverse_depth: ``[B, T, H, W]`` one over metres along the optical axis.
        log_error: ``[B, T, H, W]`` of the expected error of colours.
        log_depth_scale: ``[B, T, H, W]`` of that of the logarithm of depth.
    """

    images: Tensor
    share: Tensor
    log_inverse_depth: Tensor
    log_error: Tensor
    log_depth_scale: Tensor

    def sure_error(self, truth: Tensor) -> Tensor:
        """Mean absolute error of the surer half of a scene's pixels over that of the others, ``[B, T]``, all alike."""
        error = (self.images - truth).abs().mean(dim=2).flatten(1)
        order = self.log_error.flatten(1).argsort(dim=1)
        error = error.gather(1, order)
        half = error.shape[1] // 2
        ratio = error[:, :half].mean(dim=1) / error[:, half:].mean(dim=1).clamp_min(1e-9)
        return ratio[:, None].expand(self.images.shape[:2])


def recalled_views(net: RecallNet, task: RecallTask, photographs: int, *, with_memory: bool = True) -> RecalledViews:
    """Recall as it is used: from all that was observed, with nothing wrong on purpose.

    Args:
        net: the weights.
        task: what to recall.
        photographs: at most so many for each view.
        with_memory: whether the memory is asked.
    """
    settings = RecallTraining(
        net=net.config,
        photographs=photographs,
        forgotten=(0.0, 0.0),
        without_memory=0.0 if with_memory else 1.0,
        fewer=0.0,
        pose_noise_m=0.0,
        pose_noise_rad=0.0,
    )
    scenes, views = task.wanted.cameras.batch, task.wanted.cameras.views
    parts = []
    # A view takes a hundred megabytes: not all at once.
    for first in range(views):
        one = slice(first, first + 1)
        part = replace(task, wanted=task.wanted[one], log_inverse_depth=None, memory=task.memory[one])
        parts.append(net(*prepared(part, settings, torch.Generator().manual_seed(0))))

    def gathered(name: str) -> Tensor:
        return torch.stack([getattr(part, name) for part in parts], dim=1).view(
            scenes, views, -1, *parts[0].colour.shape[2:]
        )

    return RecalledViews(
        gathered("colour").clamp(0.0, 1.0),
        gathered("share"),
        gathered("log_inverse_depth")[:, :, 0],
        gathered("log_error")[:, :, 0],
        gathered("log_depth_scale")[:, :, 0],
    )


def prepared(task: RecallTask, settings: RecallTraining, rng: torch.Generator) -> tuple[Wanted, Photographs, Prior]:
    """What the net takes, ``B * T`` views, with everything that may go wrong gone wrong."""
    device = task.extent_m.device
    cameras, observed = task.wanted.cameras, task.observed
    scenes, views, count = cameras.batch, cameras.views, observed.cameras.views

    def drawn(*shape: int) -> Tensor:
        return torch.rand(shape, generator=rng).to(device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng).to(device)

    low, high = settings.forgotten
    share = low + (high - low) * drawn(scenes, 1)
    kept = drawn(scenes, count)
    present = kept >= torch.minimum(share, kept.sort(dim=1).values[:, -min(2, count), None])
    seconds = (observed.times[:, None] - task.wanted.times[:, :, None]) * (task.horizon_s / 2)[:, None, None]
    knows = float(torch.rand((), generator=rng)) >= settings.without_memory
    points = _point_depths(task) if knows and task.memory.geometry is not None else None
    wanted_cameras, keyframes = posed(cameras, task.extent_m), posed(observed.cameras, task.extent_m)
    wanted = Wanted(cameras.fxfycxcy.flatten(0, 1), cameras.height, cameras.width)
    prior = prior_of(task.memory, task.extent_m, cameras) if knows else no_prior(observed.images, cameras)
    if task.sensed_m is not None:
        around = choose(wanted_cameras, keyframes, seconds, present, SENSED_A_PHOTOGRAPH * settings.photographs, points)
        prior = with_sensed(prior, _sensed(task.sensed_m, around, wanted_cameras, keyframes), wanted)
    chosen = choose(wanted_cameras, keyframes, seconds, present, settings.photographs, points)
    enough = (drawn(scenes, views, chosen.number.shape[2]) > 0.5) | (drawn(scenes, views, 1) >= settings.fewer)
    enough[..., 0] = True

    def of_chosen(values: Tensor) -> Tensor:
        """``[B, N, ...]`` to ``[B * T, K, ...]``."""
        scene = torch.arange(scenes, device=device)[:, None, None]
        return values[scene, chosen.number].flatten(0, 1)

    world_from_view = wanted_cameras.world_from_camera.flatten(0, 1)[:, None]
    world_from_photograph = of_chosen(keyframes.world_from_camera)
    strength = (drawn(scenes, 1, 1) * 2 - 1).clamp_min(0.0).expand(-1, views, -1).flatten(0, 1)
    photograph_from_view = _inverse(world_from_photograph) @ world_from_view
    photograph_from_view = _disturbed(photograph_from_view, settings, strength, normal)
    height, width = observed.cameras.height, observed.cameras.width
    photographs = Photographs(
        images=of_chosen(observed.images),
        fxfycxcy=of_chosen(observed.cameras.fxfycxcy),
        size=torch.tensor([width, height], device=device).float().expand(scenes * views, chosen.number.shape[2], 2),
        photograph_from_view=photograph_from_view,
        seconds=seconds.gather(2, chosen.number).flatten(0, 1),
        present=(chosen.present & enough).flatten(0, 1),
    )
    return wanted, photographs, prior


def _sensed(depth_m: Tensor, around: Chosen, wanted: PosedCameras, keyframes: PosedCameras) -> Sensed:
    """Depth images ``[B, N, h, w]`` of the keyframes around each of ``T`` views, ``[B * T, K, ...]``."""
    scene = torch.arange(len(depth_m), device=depth_m.device)[:, None, None]
    size = torch.tensor(depth_m.shape[-1:] + depth_m.shape[-2:-1], device=depth_m.device)
    lenses = keyframes.fxfycxcy * (size / keyframes.size).repeat(1, 1, 2)
    poses = _inverse(wanted.world_from_camera)[:, :, None] @ keyframes.world_from_camera[scene, around.number]
    measured = torch.where(around.present[..., None, None], depth_m[scene, around.number], torch.nan)
    return Sensed(-measured.log().flatten(0, 1), lenses[scene, around.number].flatten(0, 1), poses.flatten(0, 1))


def no_prior(images: Tensor, cameras: Cameras) -> Prior:
    """What is known without a memory, ``[B * T, ...]``: the mean colour of all photographs ``[B, N, 3, H, W]``."""
    colour = images.mean(dim=(1, 3, 4)).repeat_interleave(cameras.views, dim=0)
    return Prior(colour[:, :, None, None].expand(-1, -1, cameras.height, cameras.width))


def prior_of(memory: Rendering, extent_m: Tensor, cameras: Cameras) -> Prior:
    """What a memory answered, ``[B, T, ...]``, as recall takes it, ``[B * T, ...]``, at the size of the cameras."""
    size = (cameras.height, cameras.width)

    def sized(x: Tensor) -> Tensor:
        x = x.flatten(0, 1)
        if tuple(x.shape[-2:]) == size:
            return x
        return F.interpolate(x, size, mode="bilinear", align_corners=False)

    geometry = memory.geometry
    if geometry is None:
        return Prior(sized(memory.images))
    metres = geometry.log_inverse_depth - extent_m.log()[:, None, None, None]
    return Prior(sized(memory.images), sized(metres[:, :, None]), sized(geometry.scale[:, :, None]))


def posed(cameras: Cameras, extent_m: Tensor) -> PosedCameras:
    """Cameras of the memory's frame in metres."""
    pose = cameras.memory_from_camera.clone()
    pose[..., :3, 3] *= extent_m[:, None, None]
    size = torch.tensor([cameras.width, cameras.height], device=pose.device).float()
    return PosedCameras(cameras.fxfycxcy, size.expand(cameras.batch, cameras.views, 2), pose)


def _point_depths(task: RecallTask) -> Tensor:
    geometry = task.memory.geometry
    if geometry is None:
        raise ValueError("the memory tells no depth")
    grid = F.interpolate(geometry.log_inverse_depth, (ROWS, COLUMNS), mode="bilinear", align_corners=False)
    return (-grid).exp() * task.extent_m[:, None, None, None]


def _scored(recalled: Recalled, truth: Tensor, known: Tensor | None, weight: Tensor) -> RecallLoss:
    weight = weight / weight.sum().clamp_min(1.0)

    def mean(values: Tensor) -> Tensor:
        return (values.flatten(1).mean(dim=1) * weight).sum()

    error = recalled.colour - truth
    loss = _photometric(error, mean) + 0.3 * _photometric(recalled.blended - truth, mean)
    off = error.detach().abs().mean(dim=1, keepdim=True)
    loss = loss + 0.005 * mean((off + 1e-4) * (-recalled.log_error).exp() + recalled.log_error)
    if known is not None:
        for depths in recalled.depths:
            loss = loss + 0.02 * mean(_depth_loss(depths.level, depths.step, depths.logits, known, recalled.baseline_m))
        nearer = recalled.log_inverse_depth[:, 0] - known
        # The error that is told is one of depth, so what is taken for too far counts more.
        loss = loss + 0.02 * mean(nearer.abs().clamp(max=4.0) + (-nearer).clamp(max=1.5).expm1().abs())
        far = nearer.detach().abs().clamp(max=4.0)
        scale = recalled.log_depth_scale[:, 0]
        loss = loss + 0.002 * mean((far + 1e-3) * (-scale).exp() + scale)
    return RecallLoss(loss, mean(error.detach().square()))


def _photometric(error: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    squared = error.square()
    return mean((squared + _EDGE**2).sqrt()) + 4.0 * mean(squared)


def _depth_loss(level: int, step: Tensor, logits: Tensor, known: Tensor, baseline: Tensor) -> Tensor:
    """Cross entropy of the depths that were looked at, ``[B, H, W]``."""
    centre = 2**level // 2
    size = step.shape[-2:]
    truth = known[:, centre :: 2**level, centre :: 2**level] if level else known
    truth = F.pad(truth[:, None], (0, size[1] - truth.shape[2], 0, size[0] - truth.shape[1]), mode="replicate")
    true_step = step_of_depth(truth, baseline).clamp(0.0, PLANES - 1.0)
    away = (step - true_step).abs()
    width = 1.0 if step.shape[1] == PLANES else 0.35
    wanted = (-away / width * 2).softmax(dim=1) if step.shape[1] != PLANES else (1.0 - away).clamp_min(0.0)
    reachable = (away.amin(dim=1) < 1.5).float()
    entropy: Tensor = -(wanted * logits.log_softmax(dim=1)).sum(dim=1) * reachable
    return entropy


def _inverse(pose: Tensor) -> Tensor:
    """Of rigid transforms ``[..., 4, 4]``."""
    rotation = pose[..., :3, :3].mT
    inverse = torch.zeros_like(pose)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3] = -(rotation @ pose[..., :3, 3:]).squeeze(-1)
    inverse[..., 3, 3] = 1.0
    return inverse


def _disturbed(pose: Tensor, settings: RecallTraining, strength: Tensor, normal: Callable[..., Tensor]) -> Tensor:
    """Poses ``[B, K, 4, 4]`` that are wrong by so much, ``[B, 1]``."""
    shape = pose.shape[:2]
    turn = settings.pose_noise_rad * strength[..., None] * normal(*shape, 3)
    step = settings.pose_noise_m * strength[..., None] * normal(*shape, 3)
    x, y, z = turn.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).view(*shape, 3, 3)
    wrong = pose.clone()
    wrong[..., :3, :3] = (torch.eye(3, device=skew.device) + skew + 0.5 * skew @ skew) @ pose[..., :3, :3]
    wrong[..., :3, 3] = pose[..., :3, 3] + step
    return wrong
