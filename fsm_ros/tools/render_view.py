# SPDX-License-Identifier: Apache-2.0
"""The console script `render_view`: asks a running memory for one view and saves it, with its depth where wanted.

render_view --position 1 0 0.5 --look-at 3 0 0.5 --output view.png --depth depth.tiff --confidence confidence.tiff
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from fsm_ros.messages.images import decode
from fsm_ros.node.calibration import info_from_camera
from fsm_ros.node.conversions import matrix_to_transform, ns_to_stamp
from fsm_ros.node.images import decode_floats
from fsm_ros.stream.frame import Camera
from fsm_ros_msgs.srv import RenderView

UP = np.array([0.0, 0.0, 1.0])  # REP-103: z up in map and odom
FLOAT_FILES = (".tiff", ".tif")
EXIT_FAILED = 1
EXIT_USAGE = 2


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


def main(arguments: list[str] | None = None) -> int:
    """Ask and save; the exit code is 0 where the view was rendered."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        request = _request(options)
    except ValueError as error:
        print(f"render_view: {error}", file=sys.stderr)
        return EXIT_USAGE
    rclpy.init()
    node = rclpy.create_node("render_view", start_parameter_services=False)
    try:
        return _ask(node, request, options)
    except (KeyboardInterrupt, ExternalShutdownException):
        return EXIT_FAILED
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _request(options: argparse.Namespace) -> RenderView.Request:
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
    if options.time is not None:
        if not math.isfinite(options.time):
            raise ValueError(f"--time must be finite, got {options.time}")
        request.scene_time = ns_to_stamp(round(options.time * 1e9))
    if options.size is not None:
        width, height = options.size
        if not 0 < options.fov < 180:
            raise ValueError(f"--fov must lie between 0 and 180 degrees, got {options.fov:g}")
        focal = width / (2 * math.tan(math.radians(options.fov) / 2))
        camera = Camera(width, height, focal, focal, width / 2, height / 2)
        request.camera_info = info_from_camera(camera, options.frame, request.scene_time)
    return request


def _ask(node: Node, request: RenderView.Request, options: argparse.Namespace) -> int:
    client = node.create_client(RenderView, f"{options.node}/render")
    if not client.wait_for_service(timeout_sec=options.timeout):
        print(f"render_view: no service {client.srv_name}: is the node running and active?", file=sys.stderr)
        return EXIT_FAILED
    future = client.call_async(request)
    rclpy.spin_until_future_complete(node, future, timeout_sec=options.timeout)
    response = future.result() if future.done() else None
    if response is None:
        print(f"render_view: no answer within {options.timeout:g} s", file=sys.stderr)
        return EXIT_FAILED
    if not response.success:
        print(f"render_view: {response.message}", file=sys.stderr)
        return EXIT_FAILED
    if response.message:
        print(f"render_view: {response.message}", file=sys.stderr)
    files = {options.output: cv2.cvtColor(decode(response.image), cv2.COLOR_RGB2BGR)}
    for path, image in ((options.depth, response.depth), (options.confidence, response.confidence)):
        if path is not None:
            files[path] = decode_floats(image)
    for path, pixels in files.items():
        if not cv2.imwrite(str(path), pixels):
            print(f"render_view: {path} could not be written", file=sys.stderr)
            return EXIT_FAILED
    print(
        f"{options.output}: {response.image.width}x{response.image.height}, {response.chunks_observed} chunks, "
        f"moment {response.scene_time.sec}.{response.scene_time.nanosec:09d} s, "
        f"{response.recalled:.0%} from {len(response.keyframes)} photographs, {1e3 * response.render_time:.1f} ms"
    )
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="render_view", description="Ask a running memory for one view, and save it.")
    parser.add_argument(
        "--position", nargs=3, type=float, default=[0.0, 0.0, 0.0], metavar=("X", "Y", "Z"), help="metres"
    )
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument("--look-at", nargs=3, type=float, metavar=("X", "Y", "Z"), help="point to look at, z up")
    direction.add_argument(
        "--quaternion",
        nargs=4,
        type=float,
        metavar=("X", "Y", "Z", "W"),
        help="orientation of the optical frame",
    )
    parser.add_argument("--frame", default="map", help="TF frame of the pose; an optical frame alone is the live view")
    parser.add_argument("--time", type=float, help="moment to look at, seconds since the epoch; default: the newest")
    parser.add_argument("--size", nargs=2, type=int, metavar=("W", "H"), help="pixels; default: the live camera's view")
    parser.add_argument("--fov", type=float, default=70.0, help="horizontal field of view with --size, degrees")
    parser.add_argument("--node", default="/fsm", help="the memory node")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds")
    parser.add_argument("--method", default="", help="recall or memory; default: what the parameter render.method says")
    parser.add_argument("--output", type=Path, default=Path("view.png"), help="its colours (%(default)s)")
    parser.add_argument("--depth", type=Path, help="TIFF for its depth: float32, metres, NaN where it is not known")
    parser.add_argument("--confidence", type=Path, help="TIFF for how far its colours can be trusted: float32, 0 to 1")
    return parser.parse_args(rclpy.utilities.remove_ros_args(["render_view", *arguments])[1:])


if __name__ == "__main__":
    sys.exit(main())
