# SPDX-License-Identifier: Apache-2.0
"""The values that travel through the system: a camera, a posed image, and the depth measured with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray


class Distortion(Enum):
    """Lens distortion models of sensor_msgs/CameraInfo (REP-104); the value is the name on the wire."""

    NONE = ""
    PLUMB_BOB = "plumb_bob"
    RATIONAL_POLYNOMIAL = "rational_polynomial"
    EQUIDISTANT = "equidistant"


@dataclass(frozen=True)
class Camera:
    """Intrinsics of the image they come with, in pixels.

    Pixel centres lie at half-integers: the centre of the image is ``(width / 2, height / 2)`` and the ray through
    column ``u`` and row ``v`` is ``((u + 0.5 - cx) / fx, (v + 0.5 - cy) / fy, 1)`` in the optical frame (x right, y
    down, z forward; REP-103). ROS and OpenCV put pixel centres at integers, so their principal point is 0.5 less.

    >>> k = np.array([[500.0, 0.0, 319.5], [0.0, 500.0, 239.5], [0.0, 0.0, 1.0]])  # cv2.calibrateCamera's
    >>> Camera(640, 480, k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5).fxfycxcy
    array([500., 500., 320., 240.])
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: Distortion = Distortion.NONE
    coefficients: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a camera that cannot see.

        Raises:
            ValueError: size or focal length not positive, or any number not finite.
        """
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"a camera needs a positive size, got {self.width}x{self.height} pixels")
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.coefficients)
        if not all(np.isfinite(numbers)):
            raise ValueError(f"camera intrinsics must be finite, got {numbers}")
        if self.fx <= 0 or self.fy <= 0:
            raise ValueError(
                f"focal lengths must be positive, got fx={self.fx}, fy={self.fy}: is the camera calibrated?"
            )

    @property
    def fxfycxcy(self) -> NDArray[np.float64]:
        """``[4]`` float64: focal lengths and principal point in pixels."""
        return np.array([self.fx, self.fy, self.cx, self.cy], dtype=np.float64)

    @property
    def is_distorted(self) -> bool:
        """Whether the lens bends straight lines."""
        return self.distortion is not Distortion.NONE and any(self.coefficients)

    def undistorted(self) -> Camera:
        """The same pinhole without its lens."""
        return replace(self, distortion=Distortion.NONE, coefficients=())


@dataclass(frozen=True)
class Photograph:
    """The same view as a posed image, as sharp as it is kept for recall.

    Attributes:
        image: ``[height, width, 3]`` uint8, RGB, without distortion.
        camera: intrinsics of exactly this image.
        depth_m: ``[rows, columns]`` float32, what a depth camera measured of the whole view, at its own resolution:
            metres along the optical axis, NaN where it did not; ``None``: there was none.
    """

    image: NDArray[np.uint8]
    camera: Camera
    depth_m: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Refuse an image that is not the camera's.

        Raises:
            ValueError: image and camera differ in size, or the image is not RGB uint8.
        """
        _check_image(self.image, self.camera)


@dataclass(frozen=True, eq=False)
class DepthImage:
    """A measured depth image, and where and when it was taken.

    Attributes:
        depth_m: ``[height, width]`` float32 metres along the optical axis; NaN where nothing was measured.
        camera: intrinsics and lens of exactly this image; of another optical frame than the colours, or of the same.
        world_from_camera: ``[4, 4]`` float64, rigid: its optical frame to the frame the memory lives in, metres.
        stamp_ns: acquisition time, nanoseconds.
    """

    depth_m: NDArray[np.float32]
    camera: Camera
    world_from_camera: NDArray[np.float64]
    stamp_ns: int

    def __post_init__(self) -> None:
        """Refuse an image whose parts do not belong together.

        Raises:
            ValueError: image and camera differ in size, the image is not float32, or the pose is not rigid.
        """
        if self.depth_m.shape != (self.camera.height, self.camera.width) or self.depth_m.dtype != np.float32:
            raise ValueError(
                f"depth must be float32 {(self.camera.height, self.camera.width)} like its camera, got "
                f"{self.depth_m.dtype} {self.depth_m.shape}"
            )
        validate_rigid(self.world_from_camera)


@dataclass(frozen=True)
class PosedImage:
    """An image, and where and when it was taken.

    Attributes:
        image: ``[height, width, 3]`` uint8, RGB.
        camera: intrinsics of exactly this image.
        world_from_camera: ``[4, 4]`` float64, rigid: optical frame to the frame the memory lives in, metres.
        stamp_ns: acquisition time, nanoseconds.
        source: which camera of a rig; free text.
        photograph: the view at the resolution that is kept for recall, where it is; of the same pose and moment.
        depth: what a depth camera measured at about that moment, before it is rectified; afterwards the photograph has
            it.
    """

    image: NDArray[np.uint8]
    camera: Camera
    world_from_camera: NDArray[np.float64]
    stamp_ns: int
    source: str = "camera"
    photograph: Photograph | None = None
    depth: DepthImage | None = None

    def __post_init__(self) -> None:
        """Refuse a frame whose parts do not belong together.

        Raises:
            ValueError: image and camera differ in size, the image is not RGB uint8, or the pose is not rigid.
        """
        _check_image(self.image, self.camera)
        validate_rigid(self.world_from_camera)

    @property
    def position(self) -> NDArray[np.float64]:
        """``[3]`` camera centre in the world, metres."""
        return self.world_from_camera[:3, 3]


def _check_image(image: NDArray[np.uint8], camera: Camera) -> None:
    expected = (camera.height, camera.width, 3)
    if image.shape != expected or image.dtype != np.uint8:
        raise ValueError(f"image must be uint8 {expected} like its camera, got {image.dtype} {image.shape}")


def validate_rigid(pose: NDArray[np.float64]) -> None:
    """Check that a ``[4, 4]`` matrix is a finite rigid transform.

    Raises:
        ValueError: wrong shape, not finite, or its rotation is not orthonormal and right-handed.
    """
    if pose.shape != (4, 4):
        raise ValueError(f"a pose must be a 4x4 matrix, got shape {pose.shape}")
    if not np.isfinite(pose).all():
        raise ValueError("a pose must be finite")
    rotation = pose[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-5) or np.linalg.det(rotation) < 0:
        raise ValueError("the rotation of a pose must be orthonormal and right-handed")
    if not np.array_equal(pose[3], [0.0, 0.0, 0.0, 1.0]):
        raise ValueError(f"the last row of a pose must be (0, 0, 0, 1), got {pose[3]}")
