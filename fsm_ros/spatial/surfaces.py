# SPDX-License-Identifier: Apache-2.0
"""The surfaces of a scene, kept up to date with its keyframes a little at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fsm_ros.memory.model import FsmModel
from fsm_ros.recall.keyframes import Keyframe
from fsm_ros.recall.net import RecallNet
from fsm_ros.recall.view import RecalledView, WantedView, recall_view, useful_keyframes
from fsm_ros.spatial.rendering import from_fast_weights
from fsm_ros.spatial.scene import Scene
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.stream.frame import Camera
from fsm_ros.surface.agreement import AgreedPoints, agreed, witnesses_of
from fsm_ros.surface.cloud import Told
from fsm_ros.surface.depth_map import DepthMap

MOST_PIXELS = 160 * 120
"""Larger keyframes are looked at so large: surfaces are known no better."""
NEW_NEIGHBOURS = 2
"""Depth is worked out anew where so many other photographs than then would be looked at now."""


@dataclass(frozen=True, eq=False)
class KeyframeDepth:
    """Depth of a kept photograph.

    Attributes:
        keyframe: the photograph.
        map: what it tells.
        looked_at: numbers of the photographs that told it.
        offered: how many keyframes had been offered when that was last checked.
    """

    keyframe: Keyframe
    map: DepthMap
    looked_at: frozenset[int]
    offered: int


@torch.no_grad()
def keyframe_depth(
    model: FsmModel, recall: RecallNet, settings: MemorySettings, scene: Scene, keyframe: Keyframe
) -> KeyframeDepth:
    """Depth at the pose and the moment of a kept photograph: all of it not known where nothing finite comes of it."""
    camera, image = _camera_and_image(keyframe)
    pose, stamp_ns = keyframe.world_from_camera, keyframe.stamp_ns
    prior = from_fast_weights(model, settings, scene, camera, pose, stamp_ns)
    recalled: RecalledView | None = None
    if prior is not None:
        view = WantedView(camera.fxfycxcy, camera.width, camera.height, pose, stamp_ns)
        recalled = recall_view(recall, scene.keyframes.keyframes, view, prior, settings.photographs)
    depth_m = np.full(image.shape[:2], np.nan, dtype=np.float32)
    error = np.ones_like(depth_m)
    if recalled is not None:
        depth_m, error = (each.float().cpu().numpy() for each in (recalled.depth_m, recalled.depth_error))
    looked_at = frozenset(each.number for each in recalled.used) if recalled is not None else frozenset()
    depth = DepthMap(keyframe.number, image, depth_m, error, camera.fxfycxcy, pose)
    return KeyframeDepth(keyframe, depth, looked_at, scene.keyframes.next_number)


class Surfaces:
    """What the kept photographs tell of surfaces; a :meth:`step` is the work of about one view.

    Not thread-safe: it belongs to whoever the memory belongs to.

    Attributes:
        version: grows with every change.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self.version = 0
        self._depths: dict[int, KeyframeDepth] = {}
        self._agreed: dict[int, AgreedPoints] = {}
        self._unheard: dict[int, bool] = {}
        """Views whose agreement is to be worked out, and whether others have to hear of them."""
        self._depth_first = True

    def step(self, model: FsmModel, recall: RecallNet | None, settings: MemorySettings, scene: Scene | None) -> bool:
        """Do one piece of work, the newest keyframes first; depth and agreement take turns.

        Args:
            model: the weights.
            recall: those of recall; without them there is no depth, and nothing is known.
            settings: how the memory is kept.
            scene: what was observed.

        Returns:
            Whether there was anything to do.
        """
        kept = scene.keyframes.keyframes if scene is not None and recall is not None else ()
        self._forget_all_but(kept)
        if scene is None or recall is None:
            return False
        missing = next((each for each in reversed(kept) if each.number not in self._depths), None)
        if missing is not None and (self._depth_first or not self._unheard):
            self._take(keyframe_depth(model, recall, settings, scene, missing))
        elif self._unheard:
            self._hear(max(self._unheard))
        else:
            return self._check_one(model, recall, settings, scene)
        self._depth_first = not self._depth_first
        return True

    def views(self) -> list[Told]:
        """Every view with the points that others agree on, but for those that newer photographs contradict."""
        told = []
        for number, points in self._agreed.items():
            depth = self._depths[number]
            outdated = _enlarged(depth.keyframe.outdated, points.depth_m.shape)
            told.append((depth.map, replace(points, confidence=np.where(outdated, np.float32(0), points.confidence))))
        return told

    def _forget_all_but(self, kept: Sequence[Keyframe]) -> None:
        """Let go of keyframes that are not kept any more; numbers begin anew where a memory does."""
        by_number = {keyframe.number: keyframe for keyframe in kept}
        for number, depth in list(self._depths.items()):
            now = by_number.get(number)
            if now is None or now.image is not depth.keyframe.image:
                del self._depths[number]
                self._agreed.pop(number, None)
                self._unheard.pop(number, None)
                self.version += 1
            elif now is not depth.keyframe:  # other doubts
                self._depths[number] = replace(depth, keyframe=now)
                self.version += 1

    def _take(self, depth: KeyframeDepth) -> None:
        number = depth.keyframe.number
        self._depths[number] = depth
        self._unheard[number] = True

    def _hear(self, number: int) -> None:
        """Work out what others say of a view's points; where it is new, they are to hear of it too."""
        is_new = self._unheard.pop(number)
        own = self._depths[number].map
        witnesses = witnesses_of(own, [each.map for other, each in self._depths.items() if other != number])
        self._agreed[number] = agreed(own, witnesses)
        if is_new:
            self._unheard |= {each.number: False for each in witnesses if each.number not in self._unheard}
        self.version += 1

    def _check_one(self, model: FsmModel, recall: RecallNet, settings: MemorySettings, scene: Scene) -> bool:
        """See whether newer keyframes tell more of an older one's depth; returns whether any was left to check."""
        store = scene.keyframes
        unchecked = (depth for depth in self._depths.values() if depth.offered < store.next_number)
        depth = min(unchecked, key=lambda each: each.offered, default=None)
        if depth is None:
            return False
        keyframe = depth.keyframe
        height, width = keyframe.image.shape[:2]
        view = WantedView(keyframe.fxfycxcy, width, height, keyframe.world_from_camera, keyframe.stamp_ns)
        useful = {each.number for each in useful_keyframes(store.keyframes, view, None, settings.photographs)}
        if len(useful - depth.looked_at) >= NEW_NEIGHBOURS:
            self._take(keyframe_depth(model, recall, settings, scene, keyframe))
        else:
            self._depths[keyframe.number] = replace(depth, offered=store.next_number)
        return True


def _camera_and_image(keyframe: Keyframe) -> tuple[Camera, NDArray[np.uint8]]:
    """A keyframe's pinhole and picture, of :data:`MOST_PIXELS` at most."""
    height, width = keyframe.image.shape[:2]
    shrink = min(1.0, math.sqrt(MOST_PIXELS / (height * width)))
    rows, columns = max(1, round(height * shrink)), max(1, round(width * shrink))
    fx, fy, cx, cy = (keyframe.fxfycxcy * np.array([columns / width, rows / height] * 2)).tolist()
    image = keyframe.image
    if shrink < 1.0:
        image = np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return Camera(columns, rows, fx, fy, cx, cy), image


def _enlarged(cells: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """``[rows, columns]`` of larger cells as pixels of an image."""
    rows, columns = (np.arange(size) * count // size for size, count in zip(shape, cells.shape, strict=True))
    return np.asarray(cells[np.ix_(rows, columns)])
