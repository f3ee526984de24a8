"""The world that the demo's robot drives in: a held-out room of the scene supply, seen through a real lens.

The scenes are those of `fsm_ros.training.scenes`, which are rendered by perfect cameras. A lens is put in front
afterwards: a pinhole view twice as fine, which holds all that the lens sees, is resampled by the lens model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fsm_ros.stream.frame import Camera, validate_rigid
from fsm_ros.stream.lens import MAX_TANGENT, undistort
from fsm_ros.training.scenes import Family, SceneSettings, SceneSource, Split, Worlds
from fsm_ros.training.scenes.spec import SceneSpec

SETTINGS = SceneSettings(families=((Family.ROOM, 1.0),), difficulty=(0.25, 0.35), photographs=False, sensor=0.0)
"""Clean pictures of rooms, a third of whose objects move; no photographs, so that scikit-image is not needed."""
CLEARANCE_M = 0.25
"""Nothing solid comes closer to the camera, or to the robot below it."""
FEWEST_OBJECTS = 7
"""A room with fewer objects, the pictures on its walls among them, is passed over."""
LEAST_TRAVEL_M = 0.2
"""One object at least moves so far to either side."""
CANDIDATES = 500
"""Scenes that are looked at, at most, before a seed is given up."""

_FINENESS = 2
_SUBPIXELS = (np.arange(_FINENESS) + 0.5) / _FINENESS - 0.5
_MARGIN_PX = 2
_STRIP_ROWS = 64
_CHECK_PERIOD_S = 0.05
_STRIDE = 10
_HEIGHTS_CHECKED = 3

Way = Callable[[float], NDArray[np.float64]]
"""From the time since the first image, seconds, to the ``[4, 4]`` pose of the optical frame in the world."""


@dataclass(frozen=True, eq=False)
class DemoWorld:
    """One scene, on a clock that is zero at the first image.

    Attributes:
        worlds: the scene, and no other.
        start_s: the scene's own time at the first image, seconds.
    """

    worlds: Worlds
    start_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is not one scene.

        Raises:
            ValueError: no scene, or several.
        """
        if len(self.worlds) != 1:
            raise ValueError(f"a world is one scene, got {len(self.worlds)}")

    def clearance_m(self, position: NDArray[np.float64], time_s: float) -> float:
        """How far a place ``[3]`` is from everything solid, at least, metres; negative inside."""
        return self.worlds.clearance_m(0, position, self.start_s + time_s)

    def render(self, camera: Camera, world_from_camera: NDArray[np.float64], time_s: float) -> NDArray[np.uint8]:
        """What `camera` sees, through its lens, with 2x2 samples a pixel.

        Args:
            camera: size, intrinsics and distortion of the image.
            world_from_camera: ``[4, 4]`` pose of the optical frame, in free space.
            time_s: seconds since the first image.

        Returns:
            ``[height, width, 3]`` uint8 RGB.

        Raises:
            ValueError: the pose is not rigid or inside something solid, or the lens cannot be simulated.
        """
        validate_rigid(world_from_camera)
        if self.clearance_m(world_from_camera[:3, 3], time_s) <= 0.0:
            raise ValueError(
                f"the camera must be inside the room and outside its objects, got {world_from_camera[:3, 3]} m"
            )
        view = _behind_lens(camera)
        fine = cv2.remap(
            self._trace(view.pinhole, world_from_camera, time_s),
            view.columns,
            view.rows,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        pixels = cv2.resize(fine, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        return np.asarray(np.clip(np.rint(pixels * 255.0), 0, 255), dtype=np.uint8)

    def _trace(self, pinhole: Camera, world_from_camera: NDArray[np.float64], time_s: float) -> NDArray[np.float32]:
        """``[height, width, 3]`` in [0, 1], one ray a pixel; in strips, as the tracer likes few rays at once."""
        strips = -(-pinhole.height // _STRIP_ROWS)
        lens = torch.tensor(pinhole.fxfycxcy, dtype=torch.float64).repeat(strips, 1)
        lens[:, 3] -= _STRIP_ROWS * torch.arange(strips)
        images = self.worlds.render(
            torch.zeros(strips, dtype=torch.long),
            torch.from_numpy(world_from_camera).expand(strips, 4, 4),
            lens,
            torch.full((strips,), self.start_s + time_s, dtype=torch.float64),
            _STRIP_ROWS,
            pinhole.width,
        )
        rows = images.permute(0, 2, 3, 1).reshape(strips * _STRIP_ROWS, pinhole.width, 3)
        return np.asarray(rows[: pinhole.height].contiguous().numpy(), dtype=np.float32)


def find_demo_world(seed: int, way: Way, duration_s: float) -> DemoWorld:
    """The world of a seed: the first of its scenes that is lively, and leaves the robot its way.

    The scenes are numbers 0, 1, 2, ... of the supply ``SceneSource(seed, Split.REPORT, SETTINGS)``, so worlds of
    different seeds share nothing. A scene is taken if it has `FEWEST_OBJECTS` or more, one of which travels
    `LEAST_TRAVEL_M` and is there all the while, and if from the first image to the end of the recording no wall
    and no object comes closer than `CLEARANCE_M` to the camera or to the robot that stands on the floor below it
    (looked at 20 times a second). So the world follows from the seed, the way and the duration. The scene's clock
    starts where its own clip does.

    Args:
        seed: of the supply, not negative.
        way: of the camera.
        duration_s: of the recording, seconds.

    Raises:
        ValueError: a negative seed, or none of the first `CANDIDATES` scenes fits.
    """
    source = SceneSource(seed, Split.REPORT, SETTINGS, torch.device("cpu"))
    times_s = np.linspace(0.0, duration_s, int(np.ceil(duration_s / _CHECK_PERIOD_S)) + 1).tolist()
    spots = [
        (time_s, spot)
        for first in range(_STRIDE)  # coarsely first: most scenes that do not fit are found out early
        for time_s in times_s[first::_STRIDE]
        for spot in _robot(way(time_s)[:3, 3])
    ]
    for number in range(CANDIDATES):
        (drawn,) = source.draw([number])
        start_s = float(drawn.way.times_s[0])
        if not _is_lively(drawn.spec, start_s, start_s + duration_s):
            continue
        world = DemoWorld(source.worlds([number]), start_s)
        if all(world.clearance_m(spot, time_s) >= CLEARANCE_M for time_s, spot in spots):
            return world
    raise ValueError(
        f"none of the first {CANDIDATES} scenes of seed {seed} leaves the robot its way of {duration_s:g} s: take "
        "another seed, a shorter recording or a smaller way"
    )


def _is_lively(spec: SceneSpec, begin_s: float, end_s: float) -> bool:
    """Whether there are enough objects, and one of them travels and is there all the while."""
    travels = [float(np.linalg.norm(thing.sweep)) >= LEAST_TRAVEL_M for thing in spec.things]
    stays = [thing.visible_s[0] <= begin_s and end_s < thing.visible_s[1] for thing in spec.things]
    return len(spec.things) >= FEWEST_OBJECTS and any(a and b for a, b in zip(travels, stays, strict=True))


def _robot(camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[n, 3]`` places from just above the floor to the camera's."""
    places = np.tile(camera, (_HEIGHTS_CHECKED, 1))
    places[:, 2] = np.linspace(CLEARANCE_M, camera[2], _HEIGHTS_CHECKED)
    return places


@dataclass(frozen=True, eq=False)
class _BehindLens:
    """How the image of a lens is made of that of a pinhole.

    Attributes:
        pinhole: camera that sees all the lens does, `_FINENESS` times as fine.
        columns, rows: ``[_FINENESS * height, _FINENESS * width]`` float32, where in the pinhole's image the samples
            of the lens's image are, pixel centres at integers.
    """

    pinhole: Camera
    columns: NDArray[np.float32]
    rows: NDArray[np.float32]


@lru_cache(maxsize=2)  # the lens is solved by iteration, and it does not change from image to image
def _behind_lens(camera: Camera) -> _BehindLens:
    """Views behind a lens.

    Raises:
        ValueError: the lens has no ray for some of the pixels, or sees further to a side than a pinhole should.
    """
    across = (np.arange(camera.width)[:, None] + _SUBPIXELS).reshape(-1)
    down = (np.arange(camera.height)[:, None] + _SUBPIXELS).reshape(-1)
    grid = np.stack(np.meshgrid(across, down), axis=-1)
    rays = undistort(camera, grid.reshape(-1, 2))
    lens = f"the lens {camera.distortion.value} {camera.coefficients} of the {camera.width}x{camera.height} image"
    if not np.isfinite(rays).all():
        raise ValueError(f"{lens} has no ray for some pixels: take weaker coefficients")
    if np.abs(rays).max() > MAX_TANGENT:
        raise ValueError(f"{lens} sees more than 60 degrees to a side: take a longer focal length")
    # Moved by whole pixels: without a lens the samples are then pixels of the pinhole's image, and nothing is lost.
    places = _FINENESS * (rays * (camera.fx, camera.fy) + (camera.cx, camera.cy)) - 0.5
    corner = np.floor(places.min(axis=0)) - _MARGIN_PX
    width, height = np.ceil(places.max(axis=0) - corner).astype(int) + _MARGIN_PX
    left, top = corner.tolist()
    pinhole = Camera(
        width=int(width),
        height=int(height),
        fx=_FINENESS * camera.fx,
        fy=_FINENESS * camera.fy,
        cx=_FINENESS * camera.cx - left,
        cy=_FINENESS * camera.cy - top,
    )
    columns, rows = np.moveaxis((places - corner).astype(np.float32).reshape(grid.shape), -1, 0)
    return _BehindLens(pinhole, np.ascontiguousarray(columns), np.ascontiguousarray(rows))
