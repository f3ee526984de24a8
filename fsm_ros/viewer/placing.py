# SPDX-License-Identifier: Apache-2.0
"""Where a visitor's camera is put: at the newest keyframe to begin with, upright as the cameras are."""

from __future__ import annotations

import math

import numpy as np
import viser
from numpy.typing import NDArray

from fsm_ros.spatial.scene import Scene
from fsm_ros.viewer.wish import Look, vertical_fov_rad

LEAST_FOV_RAD, MOST_FOV_RAD = 0.7, 1.4
LOOK_AHEAD = 0.25  # of the memory's extent: what is orbited about
LEVEL = np.array([0.0, 0.0, 1.0])
SETTLES_S = 0.5
"""A page takes poses by the upright that it has drawn last, and draws another one after a while."""
MOST_TRIES = 4
CLOSE_M = 1e-3


class Placing:
    """Puts one visitor where they begin; belongs to the viewer's thread."""

    def __init__(self, client: viser.ClientHandle) -> None:
        """Begin with the page's own camera. Args: the visitor."""
        self._client = client
        self._up = LEVEL
        self._target: NDArray[np.float64] | None = None
        self._fov_rad = 1.0
        self._due_s = math.inf
        self._tries = 0

    @property
    def due_s(self) -> float:
        """When :meth:`step` has something to do; infinite: not before it begins again."""
        return self._due_s

    def begin(self, scene: Scene, now_s: float) -> None:
        """Begin at the newest keyframe of a scene that has any."""
        kept = scene.keyframes.keyframes
        newest = max(kept, key=lambda keyframe: keyframe.stamp_ns)
        up = upright(np.stack([keyframe.world_from_camera for keyframe in kept]))
        self._target = newest.world_from_camera
        self._fov_rad = vertical_fov_rad(float(newest.fxfycxcy[1]), newest.image.shape[0])
        self._tries = 0
        self._due_s = now_s
        if not np.allclose(up, self._up):
            self._up = up
            self._client.scene.set_up_direction(up)
            self._due_s = now_s + SETTLES_S

    def step(self, scene: Scene, now_s: float) -> None:
        """Put the camera there, and look whether the page took it so."""
        if self._target is None or now_s < self._due_s:
            return
        position = self._target[:3, 3]
        is_there = self._tries > 0 and math.dist(self._client.camera.position, position) < CLOSE_M
        if is_there or self._tries == MOST_TRIES:
            self._target, self._due_s = None, math.inf
            return
        self._tries += 1
        self._client.camera.up_direction = self._up
        self.visit(scene, self._target, self._fov_rad)
        self._due_s = now_s + SETTLES_S

    def visit(self, scene: Scene | None, world_from_camera: NDArray[np.float64], fov_rad: float | None = None) -> None:
        """Put the camera to a ``[4, 4]`` pose, with a vertical field of view where one is given."""
        ahead = LOOK_AHEAD * (scene.frame.extent_m if scene is not None else 4.0)
        look = Look.of(world_from_camera, 1.0, 1.0)
        with self._client.atomic():
            camera = self._client.camera
            camera.position = np.array(look.position)
            camera.look_at = np.array(look.position) + ahead * world_from_camera[:3, 2]
            if fov_rad is not None:
                camera.fov = min(max(fov_rad, LEAST_FOV_RAD), MOST_FOV_RAD)


def upright(world_from_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which way is up where cameras were held so: ``[3]``, of unit length.

    Args:
        world_from_camera: ``[n, 4, 4]`` rigid. Most robots' maps are level, and their cameras nearly so: then it is z.
    """
    up = -world_from_camera[:, :3, 1].mean(axis=0)
    length = float(np.linalg.norm(up))
    if length < 0.1 or up @ LEVEL > 0.8 * length:
        return LEVEL
    return np.asarray(up / length, dtype=np.float64)
