# SPDX-License-Identifier: Apache-2.0
"""A procedural scene that is recorded: how much room it leaves a robot, and what a camera sees of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fsm_ros.replay.recording.behind_lens import behind_lens
from fsm_ros.replay.recording.robot import Robot
from fsm_ros.stream.frame import Camera, validate_rigid
from fsm_ros.training.scenes import SceneSource, Worlds
from fsm_ros.training.scenes.spec import SceneSpec

CLEARANCE_M = 0.25
"""Nothing solid comes closer to a camera, or to the robot below the first one."""

_STRIP_ROWS = 64
_CHECK_PERIOD_S = 0.1
_STRIDE = 10
_HEIGHTS_CHECKED = 3


@dataclass(frozen=True, eq=False)
class SceneWorld:
    """One scene, on a clock that is zero at the first image.

    Attributes:
        worlds: the scene, and no other.
        number: of the scene in its supply.
        start_s: the scene's own time at the first image, seconds.
    """

    worlds: Worlds
    number: int = 0
    start_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is not one scene.

        Raises:
            ValueError: no scene, or several.
        """
        if len(self.worlds) != 1:
            raise ValueError(f"a world is one scene, got {len(self.worlds)}")

    @property
    def spec(self) -> SceneSpec:
        """The scene in numbers."""
        return self.worlds.specs[0]

    def clearance_m(self, position: NDArray[np.float64], time_s: float) -> float:
        """How far a place ``[3]`` is from everything solid, at least, metres; negative inside."""
        return self.worlds.clearance_m(0, position, self.start_s + time_s)

    def keeps_clear(self, robot: Robot, duration_s: float) -> bool:
        """Whether a robot, from just above the ground to its camera, stays `CLEARANCE_M` from everything solid.

        It is looked at ten times a second, from the first image to the end.
        """
        times_s = np.linspace(0.0, duration_s, int(np.ceil(duration_s / _CHECK_PERIOD_S)) + 1).tolist()
        for first in range(_STRIDE):  # coarsely first: most ways that do not fit are found out early
            for time_s in times_s[first::_STRIDE]:
                place = robot.map_from_camera(time_s)[:3, 3]
                ground_m = robot.map_from_base(time_s)[2, 3]
                for height_m in np.linspace(ground_m + CLEARANCE_M, place[2], _HEIGHTS_CHECKED):
                    # At the lowest place a slope may take a little of what is below.
                    if self.clearance_m(np.array([*place[:2], height_m + 1e-9]), time_s) < CLEARANCE_M:
                        return False
        return True

    def render(
        self, camera: Camera, map_from_camera: NDArray[np.float64], times_s: NDArray[np.float64] | Sequence[float]
    ) -> NDArray[np.uint8]:
        """What a camera sees, through its lens, with 2x2 samples a pixel.

        Args:
            camera: size, intrinsics and distortion of the images.
            map_from_camera: ``[n, 4, 4]`` poses of its optical frame, in free space.
            times_s: ``[n]`` seconds since the first image.

        Returns:
            ``[n, height, width, 3]`` uint8 RGB.

        Raises:
            ValueError: a pose is not rigid or inside something solid, or the lens cannot be simulated.
        """
        for pose, time_s in zip(map_from_camera, times_s, strict=True):
            validate_rigid(pose)
            if self.clearance_m(pose[:3, 3], time_s) <= 0.0:
                raise ValueError(f"the camera must be inside the room and outside its objects, got {pose[:3, 3]} m")
        if camera.is_distorted:
            view = behind_lens(camera)
            posed = zip(map_from_camera, times_s, strict=True)
            images = np.stack([view.seen(self._in_strips(view.pinhole, pose, time_s)) for pose, time_s in posed])
        else:
            lens = torch.from_numpy(camera.fxfycxcy).expand(len(times_s), 4)
            size = (camera.height, camera.width)
            images = self._trace(torch.from_numpy(map_from_camera), lens, np.asarray(times_s), size, samples=2)
        return np.asarray(np.clip(np.rint(images * 255.0), 0, 255), dtype=np.uint8)

    def depth_m(self, pinhole: Camera, map_from_camera: NDArray[np.float64], time_s: float) -> torch.Tensor:
        """True depth along the optical axis, ``[height, width]`` float32 metres.

        Args:
            pinhole: size and intrinsics.
            map_from_camera: ``[4, 4]`` pose of its optical frame, in free space.
            time_s: since the first image.
        """
        _, metres = self.worlds.render_with_depth(
            torch.zeros(1, dtype=torch.long),
            torch.from_numpy(map_from_camera)[None],
            torch.from_numpy(pinhole.fxfycxcy)[None],
            torch.tensor([self.start_s + time_s], dtype=torch.float64),
            pinhole.height,
            pinhole.width,
            1,
        )
        return metres[0].float()

    def _in_strips(self, pinhole: Camera, pose: NDArray[np.float64], time_s: float) -> NDArray[np.float32]:
        """``[height, width, 3]`` in [0, 1], one ray a pixel; in strips, as the tracer likes few rays at once."""
        strips = -(-pinhole.height // _STRIP_ROWS)
        lens = torch.tensor(pinhole.fxfycxcy, dtype=torch.float64).repeat(strips, 1)
        lens[:, 3] -= _STRIP_ROWS * torch.arange(strips)
        poses, times_s = torch.from_numpy(pose).expand(strips, 4, 4), np.full(strips, time_s)
        images = self._trace(poses, lens, times_s, (_STRIP_ROWS, pinhole.width))
        return images.reshape(strips * _STRIP_ROWS, pinhole.width, 3)[: pinhole.height]

    def _trace(
        self,
        poses: torch.Tensor,
        lens: torch.Tensor,
        times_s: NDArray[np.float64],
        size: tuple[int, int],
        samples: int = 1,
    ) -> NDArray[np.float32]:
        """``[n, height, width, 3]`` in [0, 1], without a lens."""
        scene = torch.zeros(len(poses), dtype=torch.long)
        images = self.worlds.render(scene, poses, lens, torch.from_numpy(self.start_s + times_s), *size, samples)
        return np.asarray(images.permute(0, 2, 3, 1).contiguous().numpy(), dtype=np.float32)


def lively_worlds(
    source: SceneSource, count: int, duration_s: float, *, fewest_objects: int, least_travel_m: float
) -> Iterator[SceneWorld]:
    """Those of a supply's first scenes in which something travels to and fro; each begins where its own clip does.

    Args:
        source: the supply.
        count: of scenes that are looked at.
        duration_s: of the recording, seconds.
        fewest_objects: a scene with fewer, those on its walls among them, is passed over.
        least_travel_m: one object at least moves so far to either side, and is there all the while.
    """
    for number in range(count):
        (drawn,) = source.draw([number])
        begin_s = float(drawn.way.times_s[0])
        travels = any(
            np.linalg.norm(thing.sweep) >= least_travel_m
            and thing.visible_s[0] <= begin_s
            and begin_s + duration_s < thing.visible_s[1]
            for thing in drawn.spec.things
        )
        if travels and len(drawn.spec.things) >= fewest_objects:
            yield SceneWorld(source.worlds_of([drawn.spec]), number, begin_s)
