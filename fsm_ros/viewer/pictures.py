# SPDX-License-Identifier: Apache-2.0
"""From a memory to a picture on a screen: what a visitor's wish looks like. Runs on the memory's worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fsm_ros.recall.keyframes import Keyframe
from fsm_ros.spatial.results import Rendered
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.frame import Camera
from fsm_ros.stream.rigid import nearest_camera
from fsm_ros.viewer.wish import Mode, Wish

NEAREST_M, FARTHEST_M = 0.3, 30.0
"""What the colours of depth tell apart."""
UNKNOWN_GREY = 40
BEYOND_M = 160.0
"""Depth that is not known is shown behind everything."""
_GAP_PX = 2


@dataclass(frozen=True, eq=False)
class Picture:
    """What is shown.

    Attributes:
        image: ``[height, width, 3]`` uint8, RGB.
        depth_m: ``[height, width]`` float32 along the optical axis, what lies before or behind it; ``None`` where two
            pictures stand side by side.
        used: numbers of the kept photographs that it comes from.
        recalled: share of it that comes from photographs.
        render_s: seconds that it took.
        warning: empty, or why little is to be expected of it.
    """

    image: NDArray[np.uint8]
    depth_m: NDArray[np.float32] | None
    used: frozenset[int]
    recalled: float
    render_s: float
    warning: str


def picture(memory: SpatialMemory, wish: Wish, pixels: int) -> Picture:
    """Render what a visitor wants to see.

    Args:
        memory: that is asked.
        wish: what is to be seen.
        pixels: about how many, the nearest photograph beside it included.

    Raises:
        RequestFailedError: it cannot be rendered.
    """
    whole = wish.look.camera(pixels)
    camera = _left_half(whole) if wish.is_beside else whole
    rendered = memory.render(wish.look.world_from_camera, wish.stamp_ns, camera, wish.mode.method)
    image = coloured(rendered, wish.mode)
    depth: NDArray[np.float32] | None = None
    if wish.is_beside:
        scene = memory.scene
        kept = () if scene is None else scene.keyframes.keyframes
        image = beside(image, _nearest(kept, wish.look.world_from_camera, camera))
    else:
        depth = np.where(np.isfinite(rendered.depth_m), rendered.depth_m, np.float32(BEYOND_M))
    used = frozenset(keyframe.number for keyframe in rendered.keyframes)
    return Picture(image, depth, used, rendered.recalled, rendered.render_s, rendered.warning)


def coloured(rendered: Rendered, mode: Mode) -> NDArray[np.uint8]:
    """``[height, width, 3]`` uint8 RGB of what a mode shows.

    Confidence from black (0) over red to white (1); depth from near, bright, to far, dark, by its logarithm; grey
    where it is not known.
    """
    if mode is Mode.CONFIDENCE:
        return _mapped(rendered.confidence, cv2.COLORMAP_HOT)
    if mode is Mode.DEPTH:
        known = np.isfinite(rendered.depth_m)
        depth = np.where(known, rendered.depth_m, FARTHEST_M).clip(NEAREST_M, FARTHEST_M)
        nearness = np.log(FARTHEST_M / depth) / np.log(FARTHEST_M / NEAREST_M)
        return np.where(known[..., None], _mapped(nearness, cv2.COLORMAP_INFERNO), np.uint8(UNKNOWN_GREY))
    return rendered.image


def beside(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two pictures of one size side by side, with a line between them."""
    line = np.full((left.shape[0], _GAP_PX, 3), 255, dtype=np.uint8)
    return np.concatenate([left, line, right], axis=1)


def _left_half(camera: Camera) -> Camera:
    width = max(1, (camera.width - _GAP_PX) // 2)
    return Camera(width, camera.height, camera.fx, camera.fy, width / 2, camera.height / 2)


def _nearest(kept: Sequence[Keyframe], world_from_camera: NDArray[np.float64], camera: Camera) -> NDArray[np.uint8]:
    """The photograph that was taken nearest to a camera, as large as things look in it; dark where it has nothing."""
    shown = np.full((camera.height, camera.width, 3), UNKNOWN_GREY, dtype=np.uint8)
    if not kept:
        return shown
    nearest = kept[nearest_camera(np.stack([k.world_from_camera for k in kept]), world_from_camera)]
    fx, fy, cx, cy = nearest.fxfycxcy
    scale = np.array([camera.fx / fx, camera.fy / fy])
    # OpenCV's pixel centres are integers.
    shift = np.array([camera.cx, camera.cy]) - scale * np.array([cx, cy]) + 0.5 * scale - 0.5
    moved = np.array([[scale[0], 0.0, shift[0]], [0.0, scale[1], shift[1]]])
    size = (camera.width, camera.height)
    border = (UNKNOWN_GREY,) * 3
    warped = cv2.warpAffine(nearest.image, moved, size, flags=cv2.INTER_LINEAR, borderValue=border)
    return np.asarray(warped, dtype=np.uint8)


def _mapped(values: NDArray[np.floating], colours: int) -> NDArray[np.uint8]:
    """Values in [0, 1] in one of OpenCV's colour maps, RGB."""
    grey = (np.nan_to_num(values).clip(0.0, 1.0) * 255).round().astype(np.uint8)
    return np.asarray(cv2.applyColorMap(grey, colours)[..., ::-1], dtype=np.uint8)
