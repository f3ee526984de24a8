"""A small world that moves: a closed, textured room with boxes and spheres, ray-traced in NumPy.

It stands in for a recording where there is none. Everything follows from the seed; time is in seconds and has
no end, as all motion is periodic. The world frame is REP-103's: x forward, y left, z up, metres; its origin
lies on the floor in the middle of the room.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fsm_ros.stream.frame import Camera, validate_rigid
from fsm_ros.stream.lens import undistort

Floats = NDArray[np.float32]

_TEXELS = 128
_SUBPIXELS = (-0.25, 0.25)
_AMBIENT = 0.62
_DIFFUSE = 0.38
_WALLS = 6
# Hue, saturation, value of the room's faces in the order -x, +x, -y, +y, floor, ceiling.
_WALL_COLOURS = (
    (0.02, 0.85, 0.90),
    (0.58, 0.85, 0.90),
    (0.33, 0.75, 0.75),
    (0.13, 0.85, 0.95),
    (0.08, 0.45, 0.45),
    (0.55, 0.12, 0.95),
)


class Shape(Enum):
    """What an object is."""

    BOX = "box"
    SPHERE = "sphere"


@dataclass(frozen=True)
class Motion:
    """Periodic motion of an object about its place; all zero for one that stands.

    Attributes:
        swing_rad: how far it travels to either side on its circle around the room's middle.
        bob_m: how far it moves up and down.
        period_s: of both.
        phase_rad: where in the period it is at time 0.
        spin_rad_s: how fast it turns about the vertical.
    """

    swing_rad: float = 0.0
    bob_m: float = 0.0
    period_s: float = 1.0
    phase_rad: float = 0.0
    spin_rad_s: float = 0.0


@dataclass(frozen=True)
class SceneObject:
    """A box or a sphere.

    Attributes:
        half_extents: along its own axes, metres; a sphere's radius three times.
        bearing_rad: direction from the middle of the room to its place.
        distance_m: from the middle of the room.
        height_m: of its centre above the floor.
        yaw_rad: its heading at time 0.
    """

    shape: Shape
    half_extents: tuple[float, float, float]
    bearing_rad: float
    distance_m: float
    height_m: float
    yaw_rad: float
    motion: Motion

    def pose_at(self, time_s: float) -> tuple[NDArray[np.float64], float]:
        """Centre ``[3]`` in the world (metres) and yaw (radians)."""
        wave = np.sin(2.0 * np.pi * time_s / self.motion.period_s + self.motion.phase_rad)
        bearing = self.bearing_rad + self.motion.swing_rad * wave
        centre = np.array(
            [
                self.distance_m * np.cos(bearing),
                self.distance_m * np.sin(bearing),
                self.height_m + self.motion.bob_m * wave,
            ]
        )
        return centre, self.yaw_rad + self.motion.spin_rad_s * time_s


@dataclass(frozen=True, eq=False)
class DemoScene:
    """A room and what is in it.

    Attributes:
        half_extents: ``[3]`` of the room, metres; its centre is that far above the floor.
        objects: in the order of their textures.
        textures: ``[6 + objects, n, n, 3]`` float32 albedo in [0, 1]: of the room's faces -x +x -y +y -z
            +z, then of the objects.
    """

    half_extents: tuple[float, float, float]
    objects: tuple[SceneObject, ...]
    textures: Floats

    def render(self, camera: Camera, world_from_camera: NDArray[np.float64], time_s: float) -> NDArray[np.uint8]:
        """What `camera` sees, through its lens, with 2x2 rays a pixel.

        Args:
            camera: size, intrinsics and distortion of the image.
            world_from_camera: ``[4, 4]`` pose of the optical frame, inside the room, outside all objects.
            time_s: seconds.

        Returns:
            ``[height, width, 3]`` uint8 RGB.

        Raises:
            ValueError: the pose is not rigid or lies outside the room.
        """
        validate_rigid(world_from_camera)
        middle = np.array([0.0, 0.0, self.half_extents[2]])
        origin = (world_from_camera[:3, 3] - middle).astype(np.float32)
        if np.any(np.abs(origin) >= self.half_extents):
            raise ValueError(f"the camera must be inside the room, got {world_from_camera[:3, 3]} m")
        rays = camera_rays(camera) @ world_from_camera[:3, :3].T.astype(np.float32)
        hit = _hit_room(origin, rays, np.array(self.half_extents, dtype=np.float32))
        for index, thing in enumerate(self.objects):
            centre, yaw = thing.pose_at(time_s)
            _hit_object(hit, thing, _WALLS + index, origin - (centre - middle).astype(np.float32), yaw, rays)
        points = origin + hit.depth[:, None] * rays
        colours = _sample(self.textures, hit.surface, hit.uv) * self._shade(points, hit.normal)[:, None]
        pixels = colours.reshape(camera.height, camera.width, len(_SUBPIXELS) ** 2, 3).mean(axis=2)
        image: NDArray[np.uint8] = np.clip(np.rint(pixels * 255.0), 0, 255).astype(np.uint8)
        return image

    def _shade(self, points: Floats, normals: Floats) -> Floats:
        """Lambert's law for one lamp below the ceiling, on top of light from everywhere."""
        lamp = np.array([0.25, -0.2, 0.7], dtype=np.float32) * np.array(self.half_extents, dtype=np.float32)
        to_lamp = lamp - points
        cosine = np.einsum("ij,ij->i", to_lamp, normals) / np.linalg.norm(to_lamp, axis=1)
        shade: Floats = (_AMBIENT + _DIFFUSE * np.clip(cosine, 0.0, 1.0)).astype(np.float32)
        return shade


def make_demo_scene(seed: int = 0) -> DemoScene:
    """The scene of a seed: a room of 3.2 x 3.2 x 2 m, three boxes and three spheres, three of the six moving.

    The middle of the room, up to about half a metre from its centre, stays free for the camera.
    """
    rng = np.random.default_rng(seed)
    first_bearing = rng.uniform(-np.pi, np.pi)
    objects = tuple(_make_object(rng, place, first_bearing) for place in range(6))
    colours = [*_WALL_COLOURS, *((_contrasting_hue(rng, thing), 0.9, 0.95) for thing in objects)]
    textures = np.stack([_make_texture(rng, colour, kind) for kind, colour in enumerate(colours)])
    return DemoScene(half_extents=(1.6, 1.6, 1.0), objects=objects, textures=textures)


@lru_cache(maxsize=2)  # the lens is solved by iteration, and it does not change from image to image
def camera_rays(camera: Camera) -> Floats:
    """Directions of the rays of every pixel in the optical frame, through the lens.

    Returns:
        ``[height * width * 4, 3]`` float32, read-only, z = 1: the four rays of a pixel follow each other.

    Raises:
        ValueError: the lens has no ray for some of the pixels.
    """
    rows, columns, down, across = np.meshgrid(
        np.arange(camera.height), np.arange(camera.width), _SUBPIXELS, _SUBPIXELS, indexing="ij"
    )
    flat = undistort(camera, np.stack([columns + across, rows + down], axis=-1).reshape(-1, 2))
    if not np.isfinite(flat).all():
        raise ValueError(
            f"the lens {camera.distortion.value} {camera.coefficients} has no ray for some pixels of the "
            f"{camera.width}x{camera.height} image: take weaker coefficients"
        )
    rays: Floats = np.concatenate([flat, np.ones((len(flat), 1))], axis=1).astype(np.float32)
    rays.flags.writeable = False
    return rays


@dataclass(eq=False)
class _Hits:
    """Nearest surface on each of n rays so far: filled in place, surface by surface."""

    depth: Floats  # [n] in units of the ray
    surface: NDArray[np.intp]  # [n] index of the texture
    uv: Floats  # [n, 2] in [0, 1]
    normal: Floats  # [n, 3] towards the camera


def _hit_room(origin: Floats, rays: Floats, half: Floats) -> _Hits:
    with np.errstate(divide="ignore", invalid="ignore"):
        depths = (np.copysign(half, rays) - origin) / rays
    depths[~np.isfinite(depths)] = np.inf
    axis = depths.argmin(axis=1)
    row = np.arange(len(rays))
    depth = depths[row, axis]
    forward = rays[row, axis] > 0
    normal = np.zeros_like(rays)
    normal[row, axis] = np.where(forward, -1.0, 1.0)
    return _Hits(depth, 2 * axis + forward, _face_uv((origin + depth[:, None] * rays) / half, axis), normal)


def _hit_object(hits: _Hits, thing: SceneObject, surface: int, origin: Floats, yaw: float, rays: Floats) -> None:
    """Write `thing` where it is the nearest; `origin` is ``[3]``, the camera relative to its centre."""
    half = np.array(thing.half_extents, dtype=np.float32)
    reach = float(half[0]) if thing.shape is Shape.SPHERE else float(np.linalg.norm(half))
    # Only rays that meet the bounding sphere, in front of the camera.
    toward = -(rays @ origin)
    squared = np.einsum("ij,ij->i", rays, rays)
    near = np.flatnonzero((toward > 0) & (toward**2 >= squared * (origin @ origin - reach**2)))
    if near.size == 0:
        return
    cos, sin = np.cos(yaw), np.sin(yaw)
    object_from_world = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
    local_origin, local_rays = object_from_world @ origin, rays[near] @ object_from_world.T
    if thing.shape is Shape.SPHERE:
        depth = (toward[near] - _root(toward[near], squared[near], origin, reach)) / squared[near]
        met = np.ones(near.size, dtype=bool)
    else:
        with np.errstate(divide="ignore"):
            low, high = (-half - local_origin) / local_rays, (half - local_origin) / local_rays
        entries, exits = np.minimum(low, high), np.maximum(low, high)
        depth = entries.max(axis=1)
        met = depth < exits.min(axis=1)
    visible = met & (depth > 0) & (depth < hits.depth[near])
    near, depth, local_rays = near[visible], depth[visible], local_rays[visible]
    unit = (local_origin + depth[:, None] * local_rays) / half
    if thing.shape is Shape.SPHERE:
        normal, uv = unit, unit[:, (0, 2)]
        uv = (uv + 1.0) / 2.0
    else:
        axis = np.abs(unit).argmax(axis=1)
        row = np.arange(len(axis))
        normal = np.zeros_like(unit)
        normal[row, axis] = np.sign(unit[row, axis])
        uv = _face_uv(unit, axis)
    hits.depth[near], hits.surface[near], hits.uv[near] = depth, surface, uv
    hits.normal[near] = normal @ object_from_world


def _root(toward: Floats, squared: Floats, origin: Floats, radius: float) -> Floats:
    root: Floats = np.sqrt(np.maximum(toward**2 - squared * (origin @ origin - np.float32(radius) ** 2), 0.0))
    return root


def _face_uv(unit: Floats, axis: NDArray[np.intp]) -> Floats:
    """Texture coordinates on the face of a [-1, 1] cube that `axis` points out of."""
    row = np.arange(len(unit))
    first, second = np.array([1, 0, 0])[axis], np.array([2, 2, 1])[axis]
    uv: Floats = (np.stack([unit[row, first], unit[row, second]], axis=1) + np.float32(1.0)) / np.float32(2.0)
    return uv


def _sample(textures: Floats, surface: NDArray[np.intp], uv: Floats) -> Floats:
    """Bilinear look-up, ``[n, 3]``."""
    last = textures.shape[1] - 1
    place = np.clip(uv, 0.0, 1.0) * last
    corner = np.minimum(place.astype(np.intp), last - 1)
    right, below = (place - corner).T[:, :, None].astype(np.float32)
    column, row = corner.T
    above = textures[surface, row, column] * (1 - right) + textures[surface, row, column + 1] * right
    under = textures[surface, row + 1, column] * (1 - right) + textures[surface, row + 1, column + 1] * right
    mixed: Floats = above * (1 - below) + under * below
    return mixed


def _make_object(rng: np.random.Generator, place: int, first_bearing: float) -> SceneObject:
    """The object of one of six places around the room; those at even places move."""
    shape = Shape.BOX if place in (0, 3, 4) else Shape.SPHERE
    if shape is Shape.BOX:
        width, depth, height = rng.uniform(0.16, 0.24), rng.uniform(0.14, 0.22), rng.uniform(0.35, 0.55)
        half_extents, height_m = (width, depth, height), height
    else:
        radius = rng.uniform(0.2, 0.28)
        half_extents, height_m = (radius, radius, radius), rng.uniform(0.75, 1.3)
    motions = {
        0: Motion(spin_rad_s=rng.uniform(0.3, 0.5)),
        2: Motion(bob_m=rng.uniform(0.2, 0.3), period_s=rng.uniform(7.0, 9.0), phase_rad=rng.uniform(0.0, 6.28)),
        4: Motion(swing_rad=rng.uniform(0.2, 0.3), period_s=rng.uniform(9.0, 12.0), phase_rad=rng.uniform(0.0, 6.28)),
    }
    return SceneObject(
        shape=shape,
        half_extents=half_extents,
        bearing_rad=first_bearing + place * np.pi / 3.0 + rng.uniform(-0.12, 0.12),
        distance_m=rng.uniform(1.05, 1.15),
        height_m=height_m,
        yaw_rad=rng.uniform(-np.pi, np.pi),
        motion=motions.get(place, Motion()),
    )


def _contrasting_hue(rng: np.random.Generator, thing: SceneObject) -> float:
    """A hue far from that of the wall behind an object, seen from the middle of the room."""
    x, y = np.cos(thing.bearing_rad), np.sin(thing.bearing_rad)
    wall = int(x > 0) if abs(x) > abs(y) else 2 + int(y > 0)
    return float((_WALL_COLOURS[wall][0] + 0.5 + rng.uniform(-0.17, 0.17)) % 1.0)


def _make_texture(rng: np.random.Generator, hsv: tuple[float, float, float], kind: int) -> Floats:
    """``[n, n, 3]`` albedo around one colour: noise, a slope of colour, or checks with soft edges."""
    hue, saturation, value = hsv
    base = np.array(colorsys.hsv_to_rgb(hue, saturation, value))
    partner = np.array(colorsys.hsv_to_rgb((hue + 0.09) % 1.0, 0.75 * saturation, 0.55 * value))
    v, u = np.meshgrid(np.linspace(0.0, 1.0, _TEXELS), np.linspace(0.0, 1.0, _TEXELS), indexing="ij")
    noise = _value_noise(rng)
    turn = rng.uniform(0.0, 2.0 * np.pi)
    patterns = (
        noise,
        0.6 * (np.cos(turn) * (u - 0.5) + np.sin(turn) * (v - 0.5) + 0.5) + 0.4 * noise,
        0.35 * noise + 0.65 / (1.0 + np.exp(-6.0 * np.sin(3.0 * np.pi * u + turn) * np.sin(3.0 * np.pi * v))),
    )
    mix = np.clip(patterns[kind % len(patterns)], 0.0, 1.0)[..., None]
    texture: Floats = (base * (1.0 - mix) + partner * mix).astype(np.float32)
    return texture


def _value_noise(rng: np.random.Generator) -> NDArray[np.float64]:
    """``[n, n]`` in [0, 1]: three octaves of random lattices, smoothly interpolated."""
    total = np.zeros((_TEXELS, _TEXELS))
    for cells, weight in ((3, 0.6), (6, 0.27), (12, 0.13)):
        lattice = rng.uniform(0.0, 1.0, (cells + 1, cells + 1))
        place = np.linspace(0.0, cells, _TEXELS)
        corner = np.minimum(place.astype(np.intp), cells - 1)
        step = place - corner
        step = step * step * (3.0 - 2.0 * step)
        rows = lattice[corner] * (1.0 - step[:, None]) + lattice[corner + 1] * step[:, None]
        total += weight * (rows[:, corner] * (1.0 - step) + rows[:, corner + 1] * step)
    stretched: NDArray[np.float64] = (total - total.min()) / (total.max() - total.min())
    return stretched
