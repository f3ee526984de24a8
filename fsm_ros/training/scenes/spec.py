# SPDX-License-Identifier: Apache-2.0
"""One scene in numbers, before it is put on a device."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fsm_ros.training.scene_settings import Family

Doubles = NDArray[np.float64]

MAX_OBJECTS = 28
"""Object slots of a scene; the unused ones are of kind NONE."""
FACES = 6
"""Faces of the box around a scene, in the order -x +x -y +y -z +z; their surfaces come before the objects'."""
TERRAIN_WAVES = 3
FOREVER_S = 1e9


class Kind(IntEnum):
    """Shape of an object; the number sorts the work of the renderer."""

    BOX = 0
    SPHERE = 1
    CYLINDER = 2
    NONE = 3


@dataclass
class Surface:
    """How a surface looks.

    Attributes:
        texture: index into the bank.
        texels_per_m: resolution of the texture's finest level on the surface.
        offset: ``[2]`` texels by which the texture is shifted.
        blur: finest mip level that is used; a fraction blends nothing, it is rounded with the footprint's.
        mix: ``[3, 4]`` colour = mix[:, :3] @ texel + mix[:, 3], all in [0, 1].
    """

    texture: int = 0
    texels_per_m: float = 128.0
    offset: tuple[float, float] = (0.0, 0.0)
    blur: float = 0.0
    mix: Doubles = field(default_factory=lambda: np.zeros((3, 4)))


@dataclass
class Thing:
    """An object and its motion.

    Its centre is ``centre + sweep * wave(t)``, its heading ``yaw + spin * t + swing * wave(t)``, where `wave` runs
    periodically between -1 and 1: a sine, or a triangle, which is what bouncing to and fro looks like.

    Attributes:
        kind: its shape.
        half: ``[3]`` half extents along its own axes, metres (a sphere may be an ellipsoid, a cylinder stands on z).
        centre: ``[3]`` in the world, metres.
        yaw: heading about the vertical, radians.
        tilt: rotation about its own x axis, applied before the heading, radians.
        sweep: ``[3]`` amplitude of the motion, metres.
        swing: amplitude of the turning to and fro, radians.
        spin: turning rate, radians per second.
        period_s: of wave.
        phase: of wave at time 0, radians.
        bounces: whether wave is a triangle.
        visible_s: from when until when it is there.
        occludes: strength of the contact shadow it casts, 0 for none; about 2 looks like a cloudy day.
        surface: how it looks.
    """

    kind: Kind
    half: Doubles
    centre: Doubles
    surface: Surface
    yaw: float = 0.0
    tilt: float = 0.0
    sweep: Doubles = field(default_factory=lambda: np.zeros(3))
    swing: float = 0.0
    spin: float = 0.0
    period_s: float = 1.0
    phase: float = 0.0
    bounces: bool = False
    visible_s: tuple[float, float] = (-FOREVER_S, FOREVER_S)
    occludes: float = 1.8

    @property
    def moves(self) -> bool:
        """Whether it changes its place or heading."""
        return bool(np.any(self.sweep)) or self.swing != 0.0 or self.spin != 0.0


@dataclass
class SceneSpec:
    """A place, what is in it, and its light.

    Attributes:
        family: what kind of place.
        difficulty: in [0, 1].
        low, high: ``[3]`` corners of the box around the scene, metres; outdoors its floor is the ground, its ceiling
            the clouds, and its walls are out of sight.
        outdoors: whether there are a sky and haze.
        haze: ``[3]`` colour of the horizon.
        haze_per_m: how fast things fade into it.
        lamp: ``[3]`` position of the light, metres.
        ambient: share of light that comes from everywhere.
        terrain: ``[waves, 4]`` amplitude (m), angular wave numbers in x and y (1/m) and phase of the ground's waves.
        faces: surfaces of the box's six faces.
        things: the objects.
    """

    family: Family
    difficulty: float
    low: Doubles
    high: Doubles
    faces: list[Surface]
    things: list[Thing]
    lamp: Doubles
    ambient: float
    outdoors: bool = False
    haze: Doubles = field(default_factory=lambda: np.ones(3))
    haze_per_m: float = 0.0
    terrain: Doubles = field(default_factory=lambda: np.zeros((TERRAIN_WAVES, 4)))


def terrain_height_m(terrain: Doubles, x: Doubles, y: Doubles) -> Doubles:
    """Height of the ground, metres, of a ``[waves, 4]`` terrain at places in the world."""
    amplitude, kx, ky, phase = (terrain[:, i] for i in range(4))
    waves = np.sin(np.asarray(x)[..., None] * kx + np.asarray(y)[..., None] * ky + phase)
    return np.asarray((amplitude * waves).sum(axis=-1))
