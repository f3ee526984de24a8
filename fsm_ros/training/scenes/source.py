"""An endless, seeded supply of scenes and clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.training.scenes.bank import texture_bank
from fsm_ros.training.scenes.layout import draw_scene
from fsm_ros.training.scenes.sensor import expose
from fsm_ros.training.scenes.settings import Family, SceneSettings, Split
from fsm_ros.training.scenes.spec import SceneSpec
from fsm_ros.training.scenes.trajectory import Trajectory
from fsm_ros.training.scenes.workers import for_each
from fsm_ros.training.scenes.worlds import Worlds

_SCENE, _SENSOR = 0, 1


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
    """

    images: Tensor
    world_from_camera: NDArray[np.float64]
    fxfycxcy: NDArray[np.float64]
    stamps_ns: NDArray[np.int64]
    families: list[Family]
    difficulty: NDArray[np.float64]


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
    ) -> Clips:
        """Clips by number, as a camera with exposure and noise sees them.

        Args:
            indices: numbers of the clips, not negative, in any order.
            height: of the images, pixels.
            width: of the images, pixels.
            samples: rays along each side of a pixel.
            drawn: what `draw` gave for the same numbers, if another process has done it already: drawing is work
                for one core of the host, 1 to 2 ms a clip, which an accelerator would wait for.

        Raises:
            ValueError: a negative number, or another number of drawn scenes.
        """
        if drawn is None:
            drawn = self.draw(indices)
        if len(drawn) != len(indices):
            raise ValueError(f"{len(indices)} clips need as many drawn scenes, got {len(drawn)}")
        ways = [scene.way for scene in drawn]
        worlds = Worlds([scene.spec for scene in drawn], self._bank, self._texels)
        frames = self.settings.frames
        poses = np.stack([way.world_from_camera for way in ways])
        lenses = np.stack([way.fxfycxcy(height, width) for way in ways])
        times = np.stack([way.times_s for way in ways])
        images = worlds.render(
            torch.arange(len(ways)).repeat_interleave(frames),
            torch.from_numpy(poses).flatten(0, 1),
            torch.from_numpy(lenses).flatten(0, 1),
            torch.from_numpy(times).flatten(),
            height,
            width,
            samples,
        ).view(len(ways), frames, 3, height, width)
        numbers = list(indices)

        def through_sensor(which: int) -> None:
            expose(images[which], self._rng(numbers[which], _SENSOR), self.settings.sensor)

        for_each(through_sensor, range(len(numbers)), self.device)
        return Clips(
            images=images,
            world_from_camera=poses,
            fxfycxcy=lenses,
            stamps_ns=np.stack([way.stamps_ns for way in ways]),
            families=worlds.families,
            difficulty=np.array([scene.spec.difficulty for scene in drawn]),
        )

    def worlds(self, indices: Sequence[int]) -> Worlds:
        """The scenes of the clips, to be rendered at any pose and time."""
        return Worlds([scene.spec for scene in self.draw(indices)], self._bank, self._texels)

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
