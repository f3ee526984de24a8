# SPDX-License-Identifier: Apache-2.0
"""Answers that need no memory but the keyframes themselves: the nearest, the nearest warped, the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fsm_ros.replay.evaluation.results import Baseline
from fsm_ros.stream.frame import Camera, PosedImage
from fsm_ros.stream.rigid import relative_poses

RATIOS = (0.0, *(float(ratio) for ratio in np.geomspace(0.005, 1.0, 24)))
"""Baseline over depth of the planes that are tried, free of the scene's scale; 0: infinitely far. From below a pixel of
parallax in a 256-pixel view to a plane as near as the cameras are apart."""
REFINEMENTS = 9
"""Planes tried between the best one's neighbours: those of `RATIOS` lie a quarter apart, pixels where parallax is
large."""
_SMALLEST_Z = 1e-6
"""Of a ray in front of the camera."""


@dataclass(frozen=True, eq=False)
class Warp:
    """A keyframe as another camera would see it, if the scene were a plane.

    Attributes:
        image: ``[height, width, 3]`` uint8.
        ratio: distance between the cameras over depth of the plane; 0: infinitely far.
    """

    image: NDArray[np.uint8]
    ratio: float


def last_index(stamps_ns: Sequence[int] | NDArray[np.int64], sources: Sequence[str], stamp_ns: int, source: str) -> int:
    """Which keyframe a robot without memory would have at hand: the newest one at a view's own time.

    Of the view's own camera where that has one by then, else of any; before the first keyframe, the oldest one.

    Args:
        stamps_ns: ``[n]`` moments of the keyframes, nanoseconds, in any order.
        sources: ``[n]`` which camera each is of.
        stamp_ns: moment of the view.
        source: its camera.

    Raises:
        ValueError: no keyframe, or counts that differ.
    """
    moments = np.asarray(stamps_ns, dtype=np.int64)
    if len(moments) == 0 or len(moments) != len(sources):
        raise ValueError(
            f"the last keyframe is one of several that each have a camera: got {len(moments)} moments and "
            f"{len(sources)} cameras"
        )
    own = np.asarray(sources) == source
    past = moments <= stamp_ns
    for candidates in (past & own, past):
        if candidates.any():
            indices = np.flatnonzero(candidates)
            # Of equal moments the later in order, which came last.
            return int(indices[::-1][np.argmax(moments[indices[::-1]])])
    oldest = np.flatnonzero(moments == moments.min())
    return int(oldest[np.argmax(own[oldest])])


def warped(keyframe: PosedImage, wanted: PosedImage) -> Warp:
    """A keyframe warped to where a view is, by the homography that a plane induces, at the best depth there is.

    The plane is parallel to the view's image. Its depth is that of `RATIOS`, refined, whose warp has the least squared
    error against the view itself: an oracle, which no method could know, so that the baseline is as strong as a plane
    can be. Infinity, which undoes the turning alone, is always tried; the keyframe as it is, is not: that is the
    baseline beside this one. What the keyframe did not see is filled from its border.

    Hartley and Zisserman, "Multiple View Geometry in Computer Vision", 2nd edition, 2004, section 13.1: points of the
    plane ``n^T X + d = 0`` in the first camera's axes go to the second by ``K' (R - t n^T / d) K^-1``. Here the view is
    the first, the keyframe the second, and ``n = (0, 0, -1)``, so that a plane at depth d in front gives
    ``K' (R + t (0, 0, 1) / d) K^-1``.

    Args:
        keyframe: what was observed.
        wanted: pose, camera and truth of the view; sizes and intrinsics may differ.

    Raises:
        ValueError: a lens is distorted.
    """
    for camera in (keyframe.camera, wanted.camera):
        if camera.is_distorted:
            raise ValueError(
                f"a plane induces a homography between pinholes only, got {camera.distortion.value}: rectify"
            )
    keyframe_from_wanted = relative_poses(keyframe.world_from_camera, wanted.world_from_camera)
    to_pixels = _pixels_from_rays(keyframe.camera)
    translation = keyframe_from_wanted[:3, 3]
    baseline = float(np.linalg.norm(translation))
    far = (_rays(wanted.camera) @ (to_pixels @ keyframe_from_wanted[:3, :3]).T).astype(np.float32)
    # The rays' last coordinate is 1, so that the plane adds the same to all of them.
    parallax = (to_pixels @ translation / baseline).astype(np.float32) if baseline > 0 else np.zeros(3, np.float32)

    def tried(ratios: Sequence[float]) -> list[tuple[float, float, NDArray[np.uint8]]]:
        images = [_sampled(keyframe.image, far + np.float32(ratio) * parallax) for ratio in ratios]
        errors = [float(cv2.norm(image, wanted.image, cv2.NORM_L2SQR)) for image in images]
        return list(zip(errors, ratios, images, strict=True))

    if baseline == 0:
        return Warp(_sampled(keyframe.image, far), 0.0)
    best = min(tried(RATIOS), key=lambda found: found[0])
    number = RATIOS.index(best[1])
    if number > 0:
        near = (RATIOS[max(number - 1, 1)], RATIOS[min(number + 1, len(RATIOS) - 1)])
        finer = [float(ratio) for ratio in np.geomspace(*near, REFINEMENTS + 2)[1:-1]]
        best = min([best, *tried(finer)], key=lambda found: found[0])
    return Warp(best[2], best[1])


def answers(nearest: PosedImage, last: PosedImage, wanted: PosedImage) -> dict[Baseline, NDArray[np.uint8]]:
    """What the baselines answer, where `nearest_camera` and `last_index` have chosen: only two images are needed.

    Args:
        nearest: the keyframe whose camera stands closest.
        last: the newest keyframe at the view's time.
        wanted: pose, camera, moment and truth of the view.

    Returns:
        Images, ``[height, width, 3]`` uint8 each.
    """
    return {
        Baseline.NEAREST: nearest.image,
        Baseline.WARPED: warped(nearest, wanted).image,
        Baseline.LAST: last.image,
    }


def _rays(camera: Camera) -> NDArray[np.float64]:
    """``[height, width, 3]`` of every pixel, in the optical frame, at depth 1."""
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    return np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)


def _pixels_from_rays(camera: Camera) -> NDArray[np.float64]:
    """``[3, 3]`` intrinsics for OpenCV, whose pixel centres lie at integers."""
    return np.array([[camera.fx, 0.0, camera.cx - 0.5], [0.0, camera.fy, camera.cy - 0.5], [0.0, 0.0, 1.0]])


def _sampled(image: NDArray[np.uint8], pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image at ``[height, width, 3]`` homogeneous pixels, linearly; outside, its border."""
    # What is behind the camera comes from the border it is nearest to: cv2.warpPerspective would mirror it into the
    # picture. Clipped, as cv2.remap holds coordinates in 16 bits.
    z = np.maximum(pixels[..., 2], _SMALLEST_Z)
    height, width = image.shape[:2]
    u = np.clip(pixels[..., 0] / z, -1.0, width)
    v = np.clip(pixels[..., 1] / z, -1.0, height)
    sampled = cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, dtype=np.uint8)
