# SPDX-License-Identifier: Apache-2.0
"""Scenes on a device: what is where at any time, and the views of any camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.training.scene_settings import Family
from fsm_ros.training.scenes.bank import TextureBank
from fsm_ros.training.scenes.rays import FrameBlock
from fsm_ros.training.scenes.render import render_block
from fsm_ros.training.scenes.shading import SurfaceTable
from fsm_ros.training.scenes.spec import FACES, MAX_OBJECTS, Doubles, Kind, SceneSpec, Surface, Thing, terrain_height_m
from fsm_ros.training.scenes.workers import for_each

_RAYS_PER_BLOCK = {"cpu": 163840, "cuda": 4194304}
"""Rays that are traced at a time: few enough for a processor's cache, enough to fill an accelerator."""
_NOTHING = Thing(Kind.NONE, np.ones(3), np.zeros(3), Surface())


class Worlds:
    """Scenes that can be rendered at any pose and time.

    Attributes:
        specs: the scenes, in numbers.
        device: where they are rendered.
    """

    def __init__(self, specs: Sequence[SceneSpec], bank: TextureBank, texels: Tensor) -> None:
        """Puts scenes on the device of `texels`, the table of their texture bank."""
        self.specs = list(specs)
        self.device = texels.device
        slots = [scene.things + [_NOTHING] * (MAX_OBJECTS - len(scene.things)) for scene in self.specs]
        surfaces = [
            surface
            for scene, things in zip(self.specs, slots, strict=True)
            for surface in (*scene.faces, *(thing.surface for thing in things))
        ]
        self._surfaces = SurfaceTable(surfaces, bank, texels)
        # One table of objects and one of scenes: two copies to the device, however many numbers there are.
        self._things = torch.from_numpy(
            np.array([[_thing_row(thing) for thing in things] for things in slots], dtype=np.float64)
        ).to(self.device)
        self._scenes = torch.from_numpy(np.array([_scene_row(scene) for scene in self.specs], dtype=np.float64)).to(
            self.device
        )
        self._group = np.array([scene.outdoors * (1 + bool(scene.terrain[:, 0].any())) for scene in self.specs])

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self.specs)

    @property
    def families(self) -> list[Family]:
        """What kind of place each scene is."""
        return [scene.family for scene in self.specs]

    def render(
        self,
        scene: Tensor,
        world_from_camera: Tensor,
        fxfycxcy: Tensor,
        time_s: Tensor,
        height: int,
        width: int,
        samples: int = 1,
    ) -> Tensor:
        """Views of the scenes through a perfect camera.

        Args:
            scene: ``[F]`` long, which scene each view is of.
            world_from_camera: ``[F, 4, 4]`` rigid, optical frame (x right, y down, z forward) to world, metres.
            fxfycxcy: ``[F, 4]`` in pixels of an image of that size; pixel centres lie at half-integers.
            time_s: ``[F]`` seconds.
            height: of the images, pixels.
            width: of the images, pixels.
            samples: rays along each side of a pixel.

        Returns:
            ``[F, 3, height, width]`` float32 RGB in [0, 1] on the device.

        Raises:
            ValueError: sizes that do not belong together, or a scene that does not exist.
        """
        return self.render_with_depth(scene, world_from_camera, fxfycxcy, time_s, height, width, samples)[0]

    def render_with_depth(
        self,
        scene: Tensor,
        world_from_camera: Tensor,
        fxfycxcy: Tensor,
        time_s: Tensor,
        height: int,
        width: int,
        samples: int = 1,
    ) -> tuple[Tensor, Tensor]:
        """What :meth:`render` gives, and how far away it is.

        Returns:
            Images ``[F, 3, height, width]`` and depth ``[F, height, width]`` float32 along the optical axis, metres, of
            the first surface (skies are one, far away). With several samples a pixel's depth is the lower median of
            theirs.

        Raises:
            ValueError: see :meth:`render`.
        """
        frames = len(scene)
        shapes = (tuple(world_from_camera.shape), tuple(fxfycxcy.shape), tuple(time_s.shape))
        if shapes != ((frames, 4, 4), (frames, 4), (frames,)):
            raise ValueError(f"{frames} views need poses, intrinsics and times [F,4,4], [F,4], [F], got {shapes}")
        if height < 1 or width < 1 or samples < 1:
            raise ValueError(f"sizes and samples must be positive, got {height}x{width} with {samples} samples")
        which = scene.cpu().numpy()
        if frames and not (0 <= which.min() and which.max() < len(self)):
            raise ValueError(f"there are scenes 0 to {len(self) - 1}, got {which.min()} to {which.max()}")
        images = torch.empty(frames, 3, height, width, dtype=torch.float32, device=self.device)
        depths = torch.empty(frames, height, width, dtype=torch.float32, device=self.device)
        rays = height * width * samples * samples
        block = max(1, _RAYS_PER_BLOCK.get(self.device.type, 163840) // rays)
        pose = world_from_camera.to(self.device, torch.float64)
        lens = fxfycxcy.to(self.device, torch.float64) * samples
        time = time_s.to(self.device, torch.float64)
        index = scene.to(self.device, torch.int64)
        pieces = []
        for group in np.unique(self._group[which]):
            members = np.flatnonzero(self._group[which] == group)
            pieces += [(int(group), part) for part in np.array_split(members, -(-len(members) // block))]

        def trace(piece: tuple[int, NDArray[np.intp]]) -> None:
            part = torch.from_numpy(piece[1]).to(self.device)
            images[part], depths[part] = self._render(
                index[part], pose[part], lens[part], time[part], (height, width, samples), piece[0]
            )

        for_each(trace, pieces, self.device)
        return images, depths

    def _render(
        self, scene: Tensor, pose: Tensor, lens: Tensor, time: Tensor, size: tuple[int, int, int], group: int
    ) -> tuple[Tensor, Tensor]:
        place, rotation, there = self._objects(scene, time)
        numbers = self._scenes[scene]
        things = self._things[scene]
        block = FrameBlock(
            surfaces=self._surfaces,
            first_surface=(scene * (FACES + MAX_OBJECTS)).to(torch.int32),
            pose=pose,
            fxfycxcy=lens,
            kind=things[..., 0].to(torch.int64),
            half=things[..., 1:4],
            place=place,
            rotation=rotation,
            there=there,
            occludes=things[..., 18].to(torch.float32),
            low=numbers[:, 0:3],
            high=numbers[:, 3:6],
            lamp=numbers[:, 6:9],
            ambient=numbers[:, 9].to(torch.float32),
            haze=numbers[:, 10:13].to(torch.float32),
            haze_per_m=numbers[:, 13].to(torch.float32),
            terrain=numbers[:, 14:].reshape(len(scene), -1, 4).to(torch.float32),
            outdoors=group > 0,
            hilly=group > 1,
        )
        return render_block(block, *size)

    def _objects(self, scene: Tensor, time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Centres ``[F, K, 3]``, rotations ``[F, K, 3, 3]`` and presence ``[F, K]`` of the objects at times."""
        things = self._things[scene]
        column = things.unbind(-1)
        time = time[:, None]
        turns = time / column[14] + column[15] / (2 * torch.pi)
        triangle = 4.0 * (turns - torch.floor(turns + 0.5)).abs() - 1.0
        wave = torch.where(column[13] > 0.5, triangle, torch.sin(2 * torch.pi * turns))
        place = things[..., 4:7] + things[..., 7:10] * wave[..., None]
        yaw = column[10] + column[12] * time + things[..., 19] * wave
        cy, sy, ct, st = torch.cos(yaw), torch.sin(yaw), torch.cos(column[11]), torch.sin(column[11])
        zero = torch.zeros_like(cy)
        rotation = torch.stack([cy, -sy * ct, sy * st, sy, cy * ct, -cy * st, zero, st, ct], dim=-1)
        there = (column[0] < Kind.NONE) & (time >= column[16]) & (time < column[17])
        return place, rotation.reshape(*rotation.shape[:-1], 3, 3), there

    def clearance_m(self, scene: int, position: Doubles, time_s: float) -> float:
        """How far a place is from everything solid at a time; negative inside.

        Args:
            scene: which.
            position: ``[3]`` in the world, metres.
            time_s: seconds.

        Returns:
            A lower bound of the distance, metres: exact for walls, flat ground and spheres.
        """
        spec = self.specs[scene]
        ground = float(terrain_height_m(spec.terrain, position[0], position[1]))
        gaps = [*(position[:2] - spec.low[:2]), *(spec.high - position), position[2] - spec.low[2] - ground]
        index = torch.tensor([scene], device=self.device)
        place, rotation, there = self._objects(index, torch.tensor([time_s], dtype=torch.float64, device=self.device))
        local = (
            torch.einsum("kij,ki->kj", rotation[0], torch.as_tensor(position, device=self.device) - place[0])
            .cpu()
            .numpy()
        )
        for slot, thing in enumerate(spec.things):
            if bool(there[0, slot]):
                gaps.append(_distance(thing, local[slot]))
        return float(min(gaps))


def _distance(thing: Thing, local: Doubles) -> float:
    """From a place in an object's own frame to its surface, metres."""
    if thing.kind is Kind.SPHERE:
        return float((np.linalg.norm(local / thing.half) - 1.0) * thing.half.min())
    if thing.kind is Kind.CYLINDER:
        side = (np.hypot(*(local[:2] / thing.half[:2])) - 1.0) * thing.half[:2].min()
        beyond = np.array([side, abs(local[2]) - thing.half[2]])
    else:
        beyond = np.abs(local) - thing.half
    return float(np.linalg.norm(beyond.clip(0.0)) + min(beyond.max(), 0.0))


def _thing_row(thing: Thing) -> list[float]:
    return [
        float(thing.kind),
        *thing.half,
        *thing.centre,
        *thing.sweep,
        thing.yaw,
        thing.tilt,
        thing.spin,
        float(thing.bounces),
        thing.period_s,
        thing.phase,
        *thing.visible_s,
        thing.occludes,
        thing.swing,
    ]


def _scene_row(scene: SceneSpec) -> list[float]:
    return [
        *scene.low,
        *scene.high,
        *scene.lamp,
        scene.ambient,
        *scene.haze,
        scene.haze_per_m,
        *scene.terrain.reshape(-1),
    ]
