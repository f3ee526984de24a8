# SPDX-License-Identifier: Apache-2.0
"""An endless, seeded supply of scenes and clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.training.scene_settings import Family, SceneSettings, Split
from fsm_ros.training.scenes.bank import texture_bank
from fsm_ros.training.scenes.layout import draw_scene
from fsm_ros.training.scenes.sensor import expose
from fsm_ros.training.scenes.spec import SceneSpec
from fsm_ros.training.scenes.trajectory import Trajectory
from fsm_ros.training.scenes.workers import for_each
from fsm_ros.training.scenes.worlds import Worlds

_SCENE, _SENSOR, _BESIDE = 0, 1, 2
_BESIDE_M = (0.25, 0.12, 0.25)
"""Standard deviation of how far views beside the path lie from it: right, down, forward."""
_BESIDE_RAD = (0.12, 0.2, 0.05)
"""Standard deviation of how far they are turned: pitch, yaw, roll."""
_BESIDE_SHARE = (0.1, 1.0)
"""Each clip draws its own share of both, log-uniformly: from a hand's breadth to what another robot would see."""
_WALL_M = 0.15
"""No view beside the path comes closer to what bounds the scene."""


@dataclass
class Clips:
    """S clips of F posed, stamped frames each.

    The world is REP-103's: x forward, y left, z up, metres; its origin lies on the floor. Optical frames are x
    right, y down, z forward.

    Attributes:
        images: ``[S, F, 3, H, W]`` float32 RGB in [0, 1], on the source's device.
        world_from_camera: ``[S, F, 4, 4]`` float64, rigid.
        fxfycxcy: ``[S, F, 4]`` float64, pixels; pixel centres lie at half-integers.
        stamps_ns: ``[S, F]`` int64, strictly increasing; a scene's time in seconds is its stamp times 1e-9.
        families: what kind of place each clip shows.
        difficulty: ``[S]`` float64 in [0, 1].
        depth_m: ``[S, F, H, W]`` float32 along the optical axis, metres, exact.
        path_frames: frames on the camera's way; those that follow were seen from beside it, at the stamps of some of
            the others.
    """

    images: Tensor
    world_from_camera: NDArray[np.float64]
    fxfycxcy: NDArray[np.float64]
    stamps_ns: NDArray[np.int64]
    families: list[Family]
    difficulty: NDArray[np.float64]
    depth_m: Tensor
    path_frames: int


@dataclass(frozen=True, eq=False)
class DrawnScene:
    """A scene in numbers and the camera's way through it: small, and fit to be sent between processes."""

    spec: SceneSpec
    way: Trajectory


class SceneSource:
    """Scenes by number: number i follows from seed, split and settings alone, whatever else is asked for."""

    def __init__(self, seed: int, split: Split, settings: SceneSettings, device: torch.device) -> None:
        """Makes the split's texture bank ready on the device.

        Args:
            seed: of the supply, not negative.
            split: what the scenes are for.
            settings: what they are drawn from.
            device: where they are rendered.

        Raises:
            ImportError: the settings want photographs, and scikit-image or Pillow is not installed.
            ValueError: a negative seed.
        """
        if seed < 0:
            raise ValueError(f"a seed must not be negative, got {seed}")
        self.seed = seed
        self.split = Split(split)
        self.settings = settings
        self.device = torch.device(device)
        self._bank = texture_bank(self.split, settings.photographs)
        self._texels = torch.tensor(self._bank.texels).to(self.device)

    def clips(
        self,
        indices: Sequence[int],
        height: int,
        width: int,
        *,
        samples: int = 1,
        drawn: Sequence[DrawnScene] | None = None,
        beside: int = 0,
    ) -> Clips:
        """Clips by number, as a camera with exposure and noise sees them.

        Args:
            indices: numbers of the clips, not negative, in any order.
            height: of the images, pixels.
            width: of the images, pixels.
            samples: rays along each side of a pixel.
            drawn: what `draw` gave for the same numbers, if another process has done it already: drawing is work
                for one core of the host, 1 to 2 ms a clip, which an accelerator would wait for.
            beside: so many further frames of every clip, seen from beside the camera's way.

        Raises:
            ValueError: a negative number, or another number of drawn scenes.
        """
        if drawn is None:
            drawn = self.draw(indices)
        if len(drawn) != len(indices):
            raise ValueError(f"{len(indices)} clips need as many drawn scenes, got {len(drawn)}")
        ways = [scene.way for scene in drawn]
        worlds = self.worlds_of([scene.spec for scene in drawn])
        numbers = list(indices)
        frames = self.settings.frames + beside
        extra = [self._beside(number, scene, beside) for number, scene in zip(numbers, drawn, strict=True)]
        poses = np.stack([np.concatenate([way.world_from_camera, e[0]]) for way, e in zip(ways, extra, strict=True)])
        lenses = np.stack([np.resize(way.fxfycxcy(height, width), (frames, 4)) for way in ways])
        times = np.stack([np.concatenate([way.times_s, way.times_s[e[1]]]) for way, e in zip(ways, extra, strict=True)])
        images, depth_m = worlds.render_with_depth(
            torch.arange(len(ways)).repeat_interleave(frames),
            torch.from_numpy(poses).flatten(0, 1),
            torch.from_numpy(lenses).flatten(0, 1),
            torch.from_numpy(times).flatten(),
            height,
            width,
            samples,
        )
        images = images.view(len(ways), frames, 3, height, width)

        def through_sensor(which: int) -> None:
            expose(images[which], self._rng(numbers[which], _SENSOR), self.settings.sensor, extra[which][1])

        for_each(through_sensor, range(len(numbers)), self.device)
        return Clips(
            images=images,
            world_from_camera=poses,
            fxfycxcy=lenses,
            stamps_ns=np.rint(times * 1e9).astype(np.int64),
            families=worlds.families,
            difficulty=np.array([scene.spec.difficulty for scene in drawn]),
            depth_m=depth_m.view(len(ways), frames, height, width),
            path_frames=self.settings.frames,
        )

    def _beside(self, number: int, scene: DrawnScene, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Poses ``[count, 4, 4]`` beside the camera's way, and the frames ``[count]`` whose time they are of."""
        rng = self._rng(number, _BESIDE)
        frames = np.sort(rng.integers(0, len(scene.way.times_s), count))
        low, high = np.log(_BESIDE_SHARE)
        share = np.exp(rng.uniform(low, high))
        poses = scene.way.world_from_camera[frames].copy()
        turn = _turned(share * rng.normal(0.0, 1.0, (count, 3)) * _BESIDE_RAD)
        step = share * rng.normal(0.0, 1.0, (count, 3)) * _BESIDE_M
        poses[:, :3, 3] += np.einsum("fij,fj->fi", poses[:, :3, :3], step)
        poses[:, :3, 3] = poses[:, :3, 3].clip(scene.spec.low + _WALL_M, scene.spec.high - _WALL_M)
        poses[:, :3, :3] = poses[:, :3, :3] @ turn
        return poses, frames

    def worlds(self, indices: Sequence[int]) -> Worlds:
        """The scenes of the clips, to be rendered at any pose and time."""
        return self.worlds_of([scene.spec for scene in self.draw(indices)])

    def worlds_of(self, specs: Sequence[SceneSpec]) -> Worlds:
        """Scenes that were made of drawn ones, in numbers, to be rendered at any pose and time."""
        return Worlds(specs, self._bank, self._texels)

    def trajectories(self, indices: Sequence[int]) -> list[Trajectory]:
        """The cameras' ways of the clips."""
        return [scene.way for scene in self.draw(indices)]

    def draw(self, indices: Sequence[int]) -> list[DrawnScene]:
        """The clips' scenes and ways in numbers, not yet on a device."""
        return [self._draw(index) for index in indices]

    def seed_sequence(self, index: int, stream: int = _SCENE) -> np.random.SeedSequence:
        """Where all randomness of a clip comes from; differs between splits, numbers and streams.

        Raises:
            ValueError: a negative number.
        """
        if index < 0:
            raise ValueError(f"clips are numbered from 0, got {index}")
        return np.random.SeedSequence(self.seed, spawn_key=(list(Split).index(self.split), int(index), stream))

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        return np.random.default_rng(self.seed_sequence(index, stream))

    def _draw(self, index: int) -> DrawnScene:
        rng = self._rng(index, _SCENE)
        families, weights = zip(*self.settings.families, strict=True)
        family = families[int(rng.choice(len(families), p=np.array(weights) / sum(weights)))]
        difficulty = float(rng.uniform(*self.settings.difficulty))
        return DrawnScene(*draw_scene(rng, family, difficulty, self.settings.frames, self._bank))


def _turned(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations ``[N, 3, 3]`` about x, then y, then z, by angles ``[N, 3]`` in radians."""
    turn = np.broadcast_to(np.eye(3), (len(angles), 3, 3))
    for axis in range(3):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        c, s = np.cos(angles[:, axis]), np.sin(angles[:, axis])
        about = np.broadcast_to(np.eye(3), turn.shape).copy()
        about[:, one, one], about[:, other, other], about[:, other, one], about[:, one, other] = c, c, s, -s
        turn = about @ turn
    return turn
