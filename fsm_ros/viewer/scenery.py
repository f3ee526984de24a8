# SPDX-License-Identifier: Apache-2.0
"""What stands in the scene of one visitor beside the picture: keyframes, the live camera, submaps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
import viser
from numpy.typing import NDArray

from fsm_ros.recall.keyframes import Keyframe
from fsm_ros.spatial.scene import Scene
from fsm_ros.stream.frame import PosedImage
from fsm_ros.viewer.wish import Look, vertical_fov_rad

FRUSTUM_SHARE = 0.4
"""How large a frustum is, of how far keyframes mostly are from the next; no larger than so much of the extent:"""
LARGEST_SHARE = 0.02
SMALLEST_SHARE = 0.004
THUMBNAIL_PX = 96
NEAR_FRUSTUMS = 5.0
"""Frustums nearer to the visitor than so many times their size are hidden, or they would stand in the way."""
KEPT = (51, 153, 255)
LIT = (255, 153, 26)
LIVE = (230, 40, 60)
SUBMAPS = ((86, 180, 233), (0, 158, 115), (230, 159, 0), (204, 121, 167), (213, 94, 0), (0, 114, 178))


class Scenery:
    """The things in one visitor's scene; belongs to the viewer's thread."""

    def __init__(self, scene: viser.SceneApi, on_visit: Callable[[NDArray[np.float64], float], None]) -> None:
        """Begin with nothing.

        Args:
            scene: the visitor's.
            on_visit: called with pose and vertical field of view of a keyframe that was clicked on, from any thread.
        """
        self._scene = scene
        self._on_visit = on_visit
        self._frustums: dict[int, viser.CameraFrustumHandle] = {}
        self._boxes: list[viser.SceneNodeHandle] = []
        self._live: viser.CameraFrustumHandle | None = None
        self._shown_of: Scene | None = None
        self._live_ns = -1
        self._scale = 0.1
        self.keyframes, self.submaps, self.live_camera = True, False, True
        """What is shown."""

    def show_scene(self, scene: Scene | None) -> None:
        """Bring keyframes and submaps to what a scene holds."""
        if scene is self._shown_of:
            return
        self._shown_of = scene
        kept = {} if scene is None else {keyframe.number: keyframe for keyframe in scene.keyframes.keyframes}
        if scene is not None:
            self._scale = _scale(scene)
        for number in self._frustums.keys() - kept.keys():
            self._frustums.pop(number).remove()
        for frustum in self._frustums.values():
            if frustum.scale != self._scale:
                frustum.scale, frustum.thickness = self._scale, 0.015 * self._scale
        for number in kept.keys() - self._frustums.keys():
            self._frustums[number] = self._frustum(kept[number])
        for box in self._boxes:
            box.remove()
        self._boxes = [] if scene is None else self._submap_boxes(scene)

    def show_live(self, live: PosedImage | None) -> None:
        """Bring the live camera to where it is."""
        if live is None:
            if self._live is not None:
                self._live.remove()
            self._live, self._live_ns = None, -1
            return
        if live.stamp_ns == self._live_ns and self._live is not None:
            return
        self._live_ns = live.stamp_ns
        small = _thumbnail(live.image)
        look = Look.of(live.world_from_camera, 1.0, 1.0)
        if self._live is None:
            fov, aspect = _lens(live.camera.fy, live.camera.width, live.camera.height)
            self._live = self._scene.add_camera_frustum(
                "/live camera", fov, aspect, scale=1.4 * self._scale, thickness=0.03 * self._scale, color=LIVE,
                image=small, wxyz=look.wxyz, position=look.position,
            )  # fmt: skip
        else:
            self._live.image, self._live.wxyz, self._live.position = small, look.wxyz, look.position

    def light(self, used: frozenset[int], position: Sequence[float]) -> None:
        """Light the photographs in use, and hide what a visitor would stand within."""
        for number, frustum in self._frustums.items():
            colour = LIT if number in used else KEPT
            if frustum.color != colour:
                frustum.color = colour
            self._set_visible(frustum, self.keyframes, position)
        if self._live is not None:
            self._set_visible(self._live, self.live_camera, position)
        for box in self._boxes:
            if box.visible != self.submaps:
                box.visible = self.submaps

    def _set_visible(self, node: viser.SceneNodeHandle, wanted: bool, position: Sequence[float]) -> None:
        is_far = math.dist(node.position, position) > NEAR_FRUSTUMS * self._scale
        if node.visible != (wanted and is_far):
            node.visible = wanted and is_far

    def _frustum(self, keyframe: Keyframe) -> viser.CameraFrustumHandle:
        height, width = keyframe.image.shape[:2]
        fov, aspect = _lens(float(keyframe.fxfycxcy[1]), width, height)
        look = Look.of(keyframe.world_from_camera, fov, aspect)
        frustum = self._scene.add_camera_frustum(
            f"/keyframes/{keyframe.number}", fov, aspect, scale=self._scale, thickness=0.015 * self._scale, color=KEPT,
            image=_thumbnail(keyframe.image), wxyz=look.wxyz, position=look.position, visible=self.keyframes,
        )  # fmt: skip

        @frustum.on_click
        async def _(event: object) -> None:
            self._on_visit(keyframe.world_from_camera, fov)

        return frustum

    def _submap_boxes(self, scene: Scene) -> list[viser.SceneNodeHandle]:
        """A box around the kept keyframes of each submap, those that are rendered from it; and the memory's extent."""
        frame, kept = scene.frame, scene.keyframes.keyframes
        wxyz = Look.of(frame.world_from_memory, 1.0, 1.0).wxyz
        boxes: list[viser.SceneNodeHandle] = [
            self._scene.add_box(
                "/submaps/extent",
                (128, 128, 128),
                (2 * frame.extent_m,) * 3,
                wireframe=True,
                wxyz=wxyz,
                position=frame.world_from_memory[:3, 3],
                visible=self.submaps,
            )
        ]
        if not kept:
            return boxes
        poses = frame.normalise_poses(np.stack([keyframe.world_from_camera for keyframe in kept]))
        addresses = torch.from_numpy(np.concatenate([poses[:, :3, 3], poses[:, :3, 2]], axis=1))
        inside: dict[int, list[NDArray[np.float64]]] = {}
        for number, pose in zip(scene.atlas.nearest(addresses).tolist(), poses, strict=True):
            inside.setdefault(number, []).append(pose[:3, 3] * frame.extent_m)
        for number, positions in sorted(inside.items()):
            low, high = np.min(positions, axis=0) - self._scale, np.max(positions, axis=0) + self._scale
            rotation, origin = frame.world_from_memory[:3, :3], frame.world_from_memory[:3, 3]
            boxes.append(
                self._scene.add_box(
                    f"/submaps/{number}",
                    SUBMAPS[number % len(SUBMAPS)],
                    high - low,
                    wireframe=True,
                    wxyz=wxyz,
                    position=rotation @ (0.5 * (low + high)) + origin,
                    visible=self.submaps,
                )
            )
        return boxes


def _scale(scene: Scene) -> float:
    """How large frustums are, metres."""
    extent_m = scene.frame.extent_m
    positions = np.array([k.world_from_camera[:3, 3] for k in scene.keyframes.keyframes]).reshape(-1, 3)
    if len(positions) < 2:
        return LARGEST_SHARE * extent_m
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    spacing = float(np.median(apart.min(axis=1)))
    return min(max(FRUSTUM_SHARE * spacing, SMALLEST_SHARE * extent_m), LARGEST_SHARE * extent_m)


def _lens(fy: float, width: int, height: int) -> tuple[float, float]:
    """Vertical field of view in radians, and width over height."""
    return vertical_fov_rad(fy, height), width / height


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    shrink = min(1.0, THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
