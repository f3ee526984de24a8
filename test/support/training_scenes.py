# SPDX-License-Identifier: Apache-2.0
"""Small scenes with known answers, for the tests of the scene supply."""

from __future__ import annotations

import numpy as np
import torch

from fsm_ros.training.scenes import Family, SceneSettings, SceneSource, Split, Worlds
from fsm_ros.training.scenes.bank import texture_bank
from fsm_ros.training.scenes.spec import SceneSpec, Surface, Thing

CPU = torch.device("cpu")
SIZE = 32


def source(split: Split = Split.TRAIN, seed: int = 5, **settings: object) -> SceneSource:
    """A supply without photographs, so that it needs no package but NumPy and PyTorch."""
    return SceneSource(seed, split, SceneSettings(**{"photographs": False, "frames": 6, **settings}), CPU)


def of(family: Family, **settings: object) -> SceneSource:
    return source(families=((family, 1.0),), **settings)


def plain(red: float, green: float, blue: float) -> Surface:
    """A surface of one colour."""
    mix = np.zeros((3, 4))
    mix[:, 3] = red, green, blue
    return Surface(mix=mix)


def patterned(texture: int, blur: float = 3.0) -> Surface:
    return Surface(texture=texture, texels_per_m=100.0, blur=blur, mix=np.eye(3, 4))


def room(things: list[Thing], faces: list[Surface] | None = None, ambient: float = 1.0) -> SceneSpec:
    """A room of 4 x 6 x 3 m, evenly lit unless told otherwise."""
    return SceneSpec(
        family=Family.ROOM,
        difficulty=0.0,
        low=np.array([-2.0, -3.0, 0.0]),
        high=np.array([2.0, 3.0, 3.0]),
        faces=faces or [plain(0.1 * (face + 1), 0.0, 0.0) for face in range(6)],
        things=things,
        lamp=np.array([0.3, 0.4, 2.8]),
        ambient=ambient,
    )


def worlds(*specs: SceneSpec) -> Worlds:
    bank = texture_bank(Split.TRAIN, False)
    return Worlds(specs, bank, torch.tensor(bank.texels))


def look_from(position: tuple[float, float, float], yaw: float, pitch: float = 0.0) -> np.ndarray:
    """``[4, 4]`` pose of an optical frame, written down independently of the package."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(forward, right), forward, position
    return pose


def pixel_rays(pose: np.ndarray, lens: np.ndarray, height: int, width: int) -> np.ndarray:
    """``[H, W, 3]`` directions in the world, of unit length along the optical axis."""
    fx, fy, cx, cy = lens
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones_like(u)], axis=-1)
    return rays @ pose[:3, :3].T


def view(
    world: Worlds, pose: np.ndarray, lens: np.ndarray, time_s: float = 0.0, size: tuple[int, int] = (SIZE, SIZE)
) -> np.ndarray:
    """``[H, W, 3]`` one view of the first scene."""
    image = world.render(
        torch.zeros(1, dtype=torch.long),
        torch.from_numpy(pose)[None],
        torch.tensor(lens)[None],
        torch.tensor([time_s], dtype=torch.float64),
        *size,
    )
    return image[0].permute(1, 2, 0).numpy()
