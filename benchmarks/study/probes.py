# SPDX-License-Identifier: Apache-2.0
"""Views that nobody saw: off the camera's path, and at other times. They tell a memory from interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray

from fsm_ros.stream.rigid import distance_m, nearest_camera, turn_rad
from fsm_ros.training.scenes import Worlds

CLEARANCE_M = 0.25
"""Nothing solid comes closer to a camera off the path."""
_TRIES = 40


class ProbeKind(Enum):
    """What is new about a view."""

    OFF_PATH = "off_path"
    """A pose that was not driven, at the moment of the observed view it was drawn from."""
    OTHER_TIME = "other_time"
    """An observed pose, at another moment."""


@dataclass(frozen=True)
class ProbeSettings:
    """How far probes go.

    Attributes:
        off_path: so many for each scene.
        other_time: likewise.
        moved_m: at most, from an observed view.
        turned_rad: likewise.
    """

    off_path: int = 16
    other_time: int = 12
    moved_m: float = 1.2
    turned_rad: float = 0.8


@dataclass(frozen=True, eq=False)
class Probe:
    """One view that nobody saw.

    Attributes:
        kind: what is new about it.
        world_from_camera: ``[4, 4]``.
        stamp_ns: the moment.
        fxfycxcy: ``[4]``, pixels.
        metres: to the nearest observed camera, which is the one with the least sum of metres and radians.
        radians: to that camera.
        seconds: to its moment.
        nearest: which observed view that is.
    """

    kind: ProbeKind
    world_from_camera: NDArray[np.float64]
    stamp_ns: int
    fxfycxcy: NDArray[np.float64]
    metres: float
    radians: float
    seconds: float
    nearest: int


def draw_probes(
    worlds: Worlds,
    scene: int,
    observed: NDArray[np.float64],
    stamps_ns: NDArray[np.int64],
    lenses: NDArray[np.float64],
    settings: ProbeSettings,
    rng: np.random.Generator,
) -> list[Probe]:
    """Probes of one scene.

    Args:
        worlds: to keep clear of what is solid.
        scene: which of them.
        observed: ``[V, 4, 4]`` poses that were observed.
        stamps_ns: ``[V]`` their moments.
        lenses: ``[V, 4]`` their intrinsics.
        settings: how many, how far.
        rng: of the scene.
    """
    probes = []
    for _ in range(settings.off_path):
        base = int(rng.integers(len(observed)))
        # Nearer where there is no room; where there is none at all, the probe only turns.
        for shrink in np.linspace(1.0, 0.0, _TRIES):
            pose = _displaced(observed[base], shrink * settings.moved_m, settings.turned_rad, rng)
            if worlds.clearance_m(scene, pose[:3, 3], float(stamps_ns[base]) * 1e-9) >= CLEARANCE_M:
                break
        probes.append(_probe(ProbeKind.OFF_PATH, pose, int(stamps_ns[base]), lenses[base], observed, stamps_ns))
    for _ in range(settings.other_time):
        base = int(rng.integers(len(observed)))
        moment = int(rng.integers(stamps_ns.min(), stamps_ns.max() + 1))
        probes.append(_probe(ProbeKind.OTHER_TIME, observed[base], moment, lenses[base], observed, stamps_ns))
    return probes


def _displaced(
    pose: NDArray[np.float64], moved_m: float, turned_rad: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Moved and turned in any direction, by any amount up to these."""
    direction, axis = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, 3)))
    moved = pose.copy()
    moved[:3, 3] += rng.uniform(0.0, moved_m) * direction
    x, y, z = rng.uniform(0.0, turned_rad) * axis
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64))
    moved[:3, :3] = pose[:3, :3] @ turn.numpy()
    return moved


def _probe(
    kind: ProbeKind,
    pose: NDArray[np.float64],
    stamp_ns: int,
    lens: NDArray[np.float64],
    observed: NDArray[np.float64],
    stamps_ns: NDArray[np.int64],
) -> Probe:
    nearest = nearest_camera(observed, pose)
    return Probe(
        kind,
        pose,
        stamp_ns,
        lens,
        distance_m(observed[nearest], pose),
        turn_rad(observed[nearest], pose),
        abs(float(stamps_ns[nearest] - stamp_ns)) * 1e-9,
        nearest,
    )
