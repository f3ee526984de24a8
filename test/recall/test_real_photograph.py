# SPDX-License-Identifier: Apache-2.0
"""Real photographs with true depth: Middlebury's motorcycle, a stereo pair inside of scikit-image's wheel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.recall.evidence import Prior
from fsm_ros.recall.keyframes import Keyframe
from fsm_ros.recall.view import RecalledView, WantedView, recall_view

FOCAL_PX, BASELINE_M = 994.978, 0.193001
LEFT_CX, CY, OFFSET_PX = 311.193, 254.877, 31.086
"""Principal points differ by the offset: that of the right camera lies so much further right."""
SHRINK = 4


class Pair:
    """The pair at a quarter of its size: the left view is wanted, the right one is the only photograph."""

    def __init__(self) -> None:
        skimage_data = pytest.importorskip("skimage.data")
        left, right, disparity = skimage_data.stereo_motorcycle()
        height, width = left.shape[0] // SHRINK * SHRINK, left.shape[1] // SHRINK * SHRINK
        small = (width // SHRINK, height // SHRINK)
        self.left, self.right = (
            cv2.resize(image[:height, :width], small, interpolation=cv2.INTER_AREA) for image in (left, right)
        )
        # Where the disparity is not known it is not finite: nearest-neighbour keeps it so.
        thin = disparity[:height, :width][SHRINK // 2 :: SHRINK, SHRINK // 2 :: SHRINK]
        with np.errstate(divide="ignore"):
            self.depth_m = np.where(np.isfinite(thin), FOCAL_PX * BASELINE_M / (thin + OFFSET_PX), np.nan)
        # Corners at integers to centres at half-integers: half a pixel.
        self.lens = np.array([FOCAL_PX, FOCAL_PX, LEFT_CX + 0.5, CY + 0.5]) / SHRINK
        self.right_lens = self.lens + np.array([0.0, 0.0, OFFSET_PX / SHRINK, 0.0])

    def recalled(self, prior: Prior) -> RecalledView:
        pose = np.eye(4)
        pose[0, 3] = BASELINE_M
        height, width = self.left.shape[:2]
        wanted = WantedView(self.lens, width, height, np.eye(4), 0)
        keyframe = Keyframe(0, self.right, self.right_lens, pose, 0)
        recalled = recall_view(load_recall("shipped"), [keyframe], wanted, prior, 4)
        assert recalled is not None
        return recalled


def psnr(image: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(image - truth)[where].mean()))


def test_with_true_depth_one_photograph_shows_the_view_of_the_other_camera() -> None:
    pair = Pair()
    known = np.isfinite(pair.depth_m)
    depth = np.where(known, pair.depth_m, np.nanmedian(pair.depth_m))
    logarithm = torch.from_numpy(-np.log(depth)).float()[None, None]
    grey = torch.full((1, 3, *pair.left.shape[:2]), 0.5)
    recalled = pair.recalled(Prior(grey, logarithm, torch.full_like(logarithm, 0.01)))
    truth, nearest = pair.left / 255.0, pair.right / 255.0
    shown = recalled.image.permute(1, 2, 0).numpy()
    seen = known & (recalled.share.numpy() > 0.5)
    assert seen.mean() > 0.4  # measured: 0.50
    assert psnr(shown, truth, seen) > psnr(nearest, truth, seen) + 5.5  # measured: 6.9
    off = np.abs(recalled.depth_m.numpy() / depth - 1)[seen]
    assert np.nanmedian(off) < 0.08
