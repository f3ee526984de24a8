# SPDX-License-Identifier: Apache-2.0
"""Rectification: lens distortion out, then resize and crop to the model's size, with intrinsics kept true."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fsm_ros.stream.depth import kept_depth
from fsm_ros.stream.frame import Camera, Photograph, PosedImage
from fsm_ros.stream.lens import undistortion_maps, valid_pinhole

CACHED_CAMERAS = 8
"""Undistortion maps are kept for this many cameras: a rig's worth. Two float32 maps of a full-HD image are 17
MB."""


@dataclass(frozen=True)
class _CoverCrop:
    """Geometry of a cover-resize and centre crop."""

    scale: float
    resized_width: int
    resized_height: int
    left: int
    top: int

    @classmethod
    def between(cls, width: int, height: int, target_width: int, target_height: int) -> _CoverCrop:
        """The smallest resize that covers the target, and the crop in its middle."""
        if target_width <= 0 or target_height <= 0:
            raise ValueError(f"the target size must be positive, got {target_width}x{target_height} pixels")
        scale = max(target_width / width, target_height / height)
        resized_width, resized_height = round(width * scale), round(height * scale)
        return cls(
            scale,
            resized_width,
            resized_height,
            (resized_width - target_width) // 2,
            (resized_height - target_height) // 2,
        )

    def intrinsics(self, fxfycxcy: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """``[4]`` focal lengths and principal point after the crop."""
        fx, fy, cx, cy = (float(value) * self.scale for value in fxfycxcy)
        return np.array([fx, fy, cx - self.left, cy - self.top], dtype=np.float64)


def resize_and_crop(
    image: NDArray[np.uint8], fxfycxcy: NDArray[np.floating[Any]], height: int, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Scale an image until it covers the target size, and crop its middle.

    The arithmetic of the official FSM release (arXiv 2604.07350): Lanczos resampling, the resized size
    rounded half to even, and the unrounded scale applied to the intrinsics of both axes. Where the rounding
    bites, the intrinsics are off by at most half a pixel at the image's border.

    Args:
        image: ``[h, w, 3]`` uint8.
        fxfycxcy: ``[4]`` focal lengths and principal point in pixels of ``image``, pixel centres at
            half-integers.
        height: rows wanted.
        width: columns wanted.

    Returns:
        The image, ``[height, width, 3]`` uint8, and its ``[4]`` float64 intrinsics.

    Raises:
        ValueError: the image is not RGB uint8, it is empty, there are not four intrinsics, or the target is
            not positive.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"image must be a non-empty uint8 [h, w, 3], got {image.dtype} {image.shape}")
    if np.shape(fxfycxcy) != (4,):
        raise ValueError(f"fxfycxcy must have shape [4], got {np.shape(fxfycxcy)}")
    crop = _CoverCrop.between(image.shape[1], image.shape[0], width, height)
    resized = Image.fromarray(image).resize((crop.resized_width, crop.resized_height), Image.Resampling.LANCZOS)
    cropped = resized.crop((crop.left, crop.top, crop.left + width, crop.top + height))
    return np.array(cropped, dtype=np.uint8), crop.intrinsics(fxfycxcy)


def shrunk(image: NDArray[np.uint8], pinhole: Camera, width: int, height: int) -> Photograph:
    """The whole view, no larger than so many pixels; never enlarged, and nothing is cut off.

    Args:
        image: ``[h, w, 3]`` uint8.
        pinhole: its intrinsics, without distortion.
        width: columns at most.
        height: rows at most.
    """
    scale = min(1.0, width / pinhole.width, height / pinhole.height)
    columns, rows = max(1, round(pinhole.width * scale)), max(1, round(pinhole.height * scale))
    if (columns, rows) == (pinhole.width, pinhole.height):
        return Photograph(np.ascontiguousarray(image), pinhole)
    small = np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    fx, fy, cx, cy = (pinhole.fxfycxcy * ([columns / pinhole.width, rows / pinhole.height] * 2)).tolist()
    return Photograph(small, Camera(columns, rows, fx, fy, cx, cy))


@dataclass(frozen=True)
class _Undistortion:
    """What undistorting the frames of one camera needs."""

    pinhole: Camera
    columns: NDArray[np.float32]
    rows: NDArray[np.float32]


class Rectifier:
    """Turns frames of any camera into pinhole frames of one size.

    A distorted image is undistorted at its full resolution into the widest pinhole in which every pixel is
    valid (``lens.valid_pinhole``), and only then resized and cropped. The undistortion maps of the last
    ``CACHED_CAMERAS`` cameras are kept.
    """

    def __init__(self, width: int, height: int, photograph_size: tuple[int, int] | None = None) -> None:
        """Set the size that frames come out in.

        Args:
            width: columns.
            height: rows.
            photograph_size: columns and rows that the whole view is shrunk into beside, as it is kept for recall;
                ``None``: it is not.

        Raises:
            ValueError: a size that is not positive.
        """
        if width <= 0 or height <= 0:
            raise ValueError(f"frames need a positive size, got {width}x{height} pixels")
        if photograph_size is not None and min(photograph_size) <= 0:
            raise ValueError(f"photographs need a positive size, got {photograph_size[0]}x{photograph_size[1]} pixels")
        self._photograph_size = photograph_size
        self.width = width
        self.height = height
        self._undistortions: OrderedDict[Camera, _Undistortion] = OrderedDict()

    def rectify(self, frame: PosedImage) -> PosedImage:
        """Undistort, resize and crop a frame.

        Args:
            frame: image of any size and lens.

        Returns:
            The same moment and pose, ``[height, width, 3]`` uint8, with the camera of ``rectified_camera``.

        Raises:
            ValueError: the lens has the wrong number of coefficients for its model, or cannot be undistorted.
        """
        image, pinhole = self._undistorted(frame)
        cropped, fxfycxcy = resize_and_crop(image, pinhole.fxfycxcy, self.height, self.width)
        photograph = None
        if self._photograph_size is not None:
            photograph = shrunk(image, pinhole, *self._photograph_size)
            if frame.depth is not None:
                depth_m = kept_depth(frame.depth, photograph.camera, frame.world_from_camera)
                photograph = replace(photograph, depth_m=depth_m)
        return replace(frame, image=cropped, camera=self._camera(fxfycxcy), photograph=photograph, depth=None)

    def _undistorted(self, frame: PosedImage) -> tuple[NDArray[np.uint8], Camera]:
        if not frame.camera.is_distorted:
            return frame.image, frame.camera.undistorted()
        undistortion = self._undistortion(frame.camera)
        # Replicated, as float32 maps may step over the border by a hundredth of a pixel.
        remapped = cv2.remap(
            frame.image,
            undistortion.columns,
            undistortion.rows,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(remapped, dtype=np.uint8), undistortion.pinhole

    def rectified_camera(self, camera: Camera) -> Camera:
        """The camera that a frame of this camera has after ``rectify``.

        Raises:
            ValueError: the lens has the wrong number of coefficients for its model, or cannot be undistorted.
        """
        pinhole = self._undistortion(camera).pinhole if camera.is_distorted else camera
        crop = _CoverCrop.between(camera.width, camera.height, self.width, self.height)
        return self._camera(crop.intrinsics(pinhole.fxfycxcy))

    def _camera(self, fxfycxcy: NDArray[np.float64]) -> Camera:
        fx, fy, cx, cy = (float(value) for value in fxfycxcy)
        return Camera(width=self.width, height=self.height, fx=fx, fy=fy, cx=cx, cy=cy)

    def _undistortion(self, camera: Camera) -> _Undistortion:
        """Maps of a distorted camera, built once; the least recently used camera is forgotten."""
        known = self._undistortions.get(camera)
        if known is None:
            pinhole = valid_pinhole(camera)
            known = _Undistortion(pinhole, *undistortion_maps(camera, pinhole))
            self._undistortions[camera] = known
            if len(self._undistortions) > CACHED_CAMERAS:
                self._undistortions.popitem(last=False)
        self._undistortions.move_to_end(camera)
        return known
