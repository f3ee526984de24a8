# SPDX-License-Identifier: Apache-2.0
"""A rendered view as messages: on its topics, and in the answers of whoever asked for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.lifecycle.publisher import LifecyclePublisher
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from fsm_ros.node.calibration import info_from_camera
from fsm_ros.node.conversions import matrix_to_transform, ns_to_stamp
from fsm_ros.node.images import encode, encode_floats
from fsm_ros.node.recall import keyframe_message
from fsm_ros.spatial.results import Rendered
from fsm_ros_msgs.action import RenderTrajectory
from fsm_ros_msgs.srv import RenderView


@dataclass(frozen=True)
class ViewPublishers:
    """Where everything about a rendered view goes; ``transforms`` is ``None`` where TF is left to others."""

    image: LifecyclePublisher
    camera_info: LifecyclePublisher
    depth: LifecyclePublisher
    confidence: LifecyclePublisher
    transforms: LifecyclePublisher | None


@dataclass(frozen=True)
class ViewMessages:
    """A rendered view, and its messages of one stamp and frame."""

    rendered: Rendered
    image: Image
    camera_info: CameraInfo
    depth: Image
    confidence: Image


def messages_of(rendered: Rendered, view_frame: str, stamp: Time) -> ViewMessages:
    """The messages of a rendered view, in a frame of its own.

    Args:
        rendered: the view.
        view_frame: its optical frame.
        stamp: when it was rendered: whoever places it by TF knows where everything is now, not at the moment that was
            looked at.
    """
    return ViewMessages(
        rendered,
        encode(rendered.image, view_frame, stamp),
        info_from_camera(rendered.camera, view_frame, stamp),
        encode_floats(rendered.depth_m, view_frame, stamp),
        encode_floats(rendered.confidence, view_frame, stamp),
    )


def publish(
    view: ViewMessages, world_from_camera: NDArray[np.float64], memory_frame: str, publishers: ViewPublishers
) -> None:
    """Publish a view on its topics, and where it was seen from on TF.

    Args:
        view: what to publish.
        world_from_camera: ``[4, 4]`` rigid, its optical frame to the frame the memory lives in.
        memory_frame: the name of that frame.
        publishers: where.
    """
    if publishers.transforms is not None:
        header = view.image.header
        transform = TransformStamped(child_frame_id=header.frame_id, transform=matrix_to_transform(world_from_camera))
        transform.header.frame_id = memory_frame
        transform.header.stamp = header.stamp
        publishers.transforms.publish(TFMessage(transforms=[transform]))
    publishers.camera_info.publish(view.camera_info)
    publishers.image.publish(view.image)
    publishers.depth.publish(view.depth)
    publishers.confidence.publish(view.confidence)


def tell(
    answer: RenderView.Response | RenderTrajectory.Feedback, view: ViewMessages, memory_frame: str, *, pixels: bool
) -> None:
    """Put a view into an answer.

    Args:
        answer: what is filled in.
        view: the view.
        memory_frame: the frame the memory lives in.
        pixels: whether image, depth and confidence belong into it.
    """
    rendered = view.rendered
    answer.message = rendered.warning
    answer.camera_info = view.camera_info
    answer.chunks_observed = rendered.chunks_observed
    answer.render_time = rendered.render_s
    answer.recalled = rendered.recalled
    answer.keyframes = [keyframe_message(each, None, memory_frame) for each in rendered.keyframes]
    answer.epoch = rendered.epoch
    answer.scene_time = ns_to_stamp(rendered.stamp_ns)
    if pixels:
        answer.image = view.image
        answer.depth = view.depth
        answer.confidence = view.confidence
