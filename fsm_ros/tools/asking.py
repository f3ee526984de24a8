# SPDX-License-Identifier: Apache-2.0
"""What `render_view` does: one request for a view, and the files of its answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray

from fsm_ros.messages.images import decode
from fsm_ros.node.calibration import info_from_camera
from fsm_ros.node.conversions import matrix_to_transform, ns_to_stamp
from fsm_ros.node.images import decode_floats
from fsm_ros.stream.frame import Camera
from fsm_ros.tools.services import a_node, ask, find
from fsm_ros_msgs.srv import RenderView

if TYPE_CHECKING:
    from fsm_ros.tools.render_view import Options

UP = np.array([0.0, 0.0, 1.0])  # REP-103: z up in map and odom
FLOAT_FILES = (".tiff", ".tif")


@dataclass(frozen=True)
class Answer:
    """What is told of a view that was rendered and saved.

    Attributes:
        line: about it.
        notes: what the node remarked.
    """

    line: str
    notes: tuple[str, ...]


def look_at(position: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The optical frame (x right, y down, z forward) of a level camera, ``[4, 4]``.

    Args:
        position: ``[3]`` metres.
        target: ``[3]`` what it looks at.

    Raises:
        ValueError: not finite, nothing to look at, or straight up or down, where "level" means nothing.
    """
    forward = target - position
    if not np.isfinite(forward).all():
        raise ValueError(f"--position {position.tolist()} and --look-at {target.tolist()} must be finite")
    if np.linalg.norm(np.cross(forward, UP)) < 1e-9:
        raise ValueError("--look-at must be another point than --position, and not right above or below it")
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, UP)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose


def request_from(options: Options) -> RenderView.Request:
    """What the options ask for.

    Raises:
        ValueError: options that make no request.
    """
    position = np.array(options.position)
    pose = np.eye(4)
    pose[:3, 3] = position
    if options.look_at is not None:
        pose = look_at(position, np.array(options.look_at))
    stamped = PoseStamped()
    stamped.header.frame_id = options.frame
    transform = matrix_to_transform(pose)
    stamped.pose.position.x = transform.translation.x
    stamped.pose.position.y = transform.translation.y
    stamped.pose.position.z = transform.translation.z
    stamped.pose.orientation = transform.rotation
    if options.quaternion is not None:
        q = stamped.pose.orientation
        q.x, q.y, q.z, q.w = options.quaternion
    for path in (options.depth, options.confidence):
        if path is not None and path.suffix.lower() not in FLOAT_FILES:
            raise ValueError(f"{path} cannot hold numbers with fractions: let it end in {' or '.join(FLOAT_FILES)}")
    request = RenderView.Request(pose=stamped, method=options.method)
    if options.time_s is not None:
        if not math.isfinite(options.time_s):
            raise ValueError(f"--time must be finite, got {options.time_s}")
        request.scene_time = ns_to_stamp(round(options.time_s * 1e9))
    if options.size is not None:
        width, height = options.size
        if not 0 < options.fov_deg < 180:
            raise ValueError(f"--fov must lie between 0 and 180 degrees, got {options.fov_deg:g}")
        focal = width / (2 * math.tan(math.radians(options.fov_deg) / 2))
        camera = Camera(width, height, focal, focal, width / 2, height / 2)
        request.camera_info = info_from_camera(camera, options.frame, request.scene_time)
    return request


def render(request: RenderView.Request, options: Options, ros_arguments: Sequence[str]) -> Answer:
    """Ask, and write the files.

    Raises:
        fsm_ros.tools.services.NoAnswer: there is no view; it says why.
        OSError: a file cannot be written.
    """
    with a_node("render_view", ros_arguments) as node:
        client = node.create_client(RenderView, f"{options.node}/render")
        find(client, options.timeout_s)
        response = ask(node, client, request, options.timeout_s)
    files = {options.output: cv2.cvtColor(decode(response.image), cv2.COLOR_RGB2BGR)}
    for path, image in ((options.depth, response.depth), (options.confidence, response.confidence)):
        if path is not None:
            files[path] = decode_floats(image)
    for path, pixels in files.items():
        if not cv2.imwrite(str(path), pixels):
            raise OSError(f"{path} could not be written")
    return Answer(
        f"{options.output}: {response.image.width}x{response.image.height}, {response.chunks_observed} chunks, "
        f"moment {response.scene_time.sec}.{response.scene_time.nanosec:09d} s, "
        f"{response.recalled:.0%} from {len(response.keyframes)} photographs, {1e3 * response.render_time:.1f} ms",
        (response.message,) if response.message else (),
    )
