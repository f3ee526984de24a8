# SPDX-License-Identifier: Apache-2.0
"""Where a robot can stand in a procedural scene, whatever moves in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from fsm_ros.training.scenes.spec import Kind, SceneSpec, Thing, terrain_height_m

OUTDOORS_REACH_M = 5.0
"""Outdoors, where there are no walls, the robot stays so close to the middle, along either axis."""
_CELL_M = 0.06
_SWEEP_STEP_M = 0.1
_OUTSIDE_M = -1.0

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FreeSpace:
    """Distances to what is solid at any time, on a grid over the floor.

    Attributes:
        low: ``[2]`` corner of the grid in the world, metres.
        high: ``[2]`` the opposite corner.
        distance_m: ``[nx, ny]`` at the grid's points, the first at `low`, the last at `high`; negative inside.
    """

    low: Doubles
    high: Doubles
    distance_m: Doubles

    @classmethod
    def of(cls, spec: SceneSpec, height_m: float) -> FreeSpace:
        """The free space of a scene, for a robot of a height.

        An object counts as everything that its box may pass through, whenever it is there; so the distances are
        lower bounds, but for some centimetres between the grid's points. What hangs above the robot does not count.

        Args:
            spec: the scene.
            height_m: of the robot, above the ground.
        """
        low, high = spec.low[:2].copy(), spec.high[:2].copy()
        if spec.outdoors:
            low, high = np.full(2, -OUTDOORS_REACH_M), np.full(2, OUTDOORS_REACH_M)
        counts = np.ceil((high - low) / _CELL_M).astype(int) + 1
        axes = [np.linspace(a, b, int(count)) for a, b, count in zip(low, high, counts, strict=True)]
        places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        distance = np.minimum(places - low, high - places).min(axis=-1)
        for thing in spec.things:
            bottom = thing.centre[2] - _half_height(thing) - abs(thing.sweep[2])
            if bottom - float(terrain_height_m(spec.terrain, *thing.centre[:2])) <= height_m:
                distance = np.minimum(distance, _distance(thing, places))
        return cls(low, high, distance)

    def clearance_m(self, places: Doubles) -> Doubles:
        """How far places ``[..., 2]`` are from everything solid, metres ``[...]``; negative inside and outside."""
        last = np.array(self.distance_m.shape) - 1
        cells = (places - self.low) / (self.high - self.low) * last
        found = map_coordinates(self.distance_m, np.moveaxis(cells, -1, 0), order=1, mode="constant", cval=_OUTSIDE_M)
        return np.asarray(found, dtype=np.float64)


def _half_height(thing: Thing) -> float:
    return float(abs(thing.half[2] * np.cos(thing.tilt)) + abs(thing.half[1] * np.sin(thing.tilt)))


def _distance(thing: Thing, places: Doubles) -> Doubles:
    """From places ``[..., 2]`` to the floor plan of an object, wherever its motion takes it."""
    wide = abs(thing.half[1] * np.cos(thing.tilt)) + abs(thing.half[2] * np.sin(thing.tilt))
    half = np.array([thing.half[0], wide])
    is_disc = thing.kind is not Kind.BOX and thing.tilt == 0.0
    turns = thing.spin != 0.0 or thing.swing != 0.0
    stops = int(np.ceil(2.0 * np.linalg.norm(thing.sweep[:2]) / _SWEEP_STEP_M)) + 1
    waves = np.linspace(-1.0, 1.0, stops) if stops > 1 else np.zeros(1)
    cos, sin = np.cos(thing.yaw), np.sin(thing.yaw)
    nearest = np.full(places.shape[:-1], np.inf)
    for wave in waves:
        offset = places - (thing.centre + wave * thing.sweep)[:2]
        if is_disc or turns:
            radius = half.max() if is_disc else float(np.hypot(*half))
            found = np.linalg.norm(offset, axis=-1) - radius
        else:
            local = np.abs(offset @ np.array([[cos, -sin], [sin, cos]])) - half
            found = np.linalg.norm(local.clip(0.0), axis=-1) + np.minimum(local.max(axis=-1), 0.0)
        nearest = np.minimum(nearest, found)
    return nearest
