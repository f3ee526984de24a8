"""sensor_msgs/CameraInfo to our Camera, and back."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo

from fsm_ros.stream.calibration import delivered_camera, distortion_from_name
from fsm_ros.stream.frame import Camera, Distortion


def camera_from_info(info: CameraInfo, width: int, height: int, *, rectified: bool = False) -> Camera:
    """The camera of a delivered image.

    Args:
        info: the calibration that came with it; binning and region of interest are honoured (REP-104).
        width: columns of the image that came.
        height: rows of it.
        rectified: the image was rectified: P holds its intrinsics, and there is no distortion left.

    Raises:
        fsm_ros.stream.calibration.SizeMismatchError: the image has another size than the calibration says.
        ValueError: not calibrated, not finite, or of an unknown distortion model.
    """
    k = [info.p[i] for i in (0, 1, 2, 4, 5, 6, 8, 9, 10)] if rectified else list(info.k)
    roi = info.roi
    return delivered_camera(
        width=info.width,
        height=info.height,
        k=k,
        distortion=Distortion.NONE if rectified else distortion_from_name(info.distortion_model),
        coefficients=() if rectified else tuple(info.d),
        binning=(info.binning_x, info.binning_y),
        roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
        image_width=width,
        image_height=height,
    )


def delivered_size(info: CameraInfo) -> tuple[int, int]:
    """Width and height of the image that a calibration describes, after region of interest and binning."""
    width, height = (info.roi.width, info.roi.height) if info.roi.width else (info.width, info.height)
    return width // max(info.binning_x, 1), height // max(info.binning_y, 1)


def info_from_camera(camera: Camera, frame_id: str, stamp: Time) -> CameraInfo:
    """The calibration of an image without distortion; ROS puts pixel centres at integers, we at half-integers."""
    cx, cy = camera.cx - 0.5, camera.cy - 0.5
    info = CameraInfo(width=camera.width, height=camera.height, distortion_model=Distortion.PLUMB_BOB.value)
    info.header.frame_id = frame_id
    info.header.stamp = stamp
    info.d = [0.0] * 5
    info.k = [camera.fx, 0.0, cx, 0.0, camera.fy, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [camera.fx, 0.0, cx, 0.0, 0.0, camera.fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info
