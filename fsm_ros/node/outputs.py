# SPDX-License-Identifier: Apache-2.0
"""All that the node publishes, from configure to cleanup; late viewers are told what holds."""

from __future__ import annotations

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle.publisher import LifecyclePublisher
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from fsm_ros.node.preview import PreviewPublishers
from fsm_ros.node.view_messages import ViewPublishers
from fsm_ros_msgs.msg import MemoryDiagnostics

LAST_WORDS_S = 0.5
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""A late subscriber hears the last message."""


@dataclass(frozen=True)
class Outputs:
    """The publishers.

    Attributes:
        node: whose they are.
        views: of rendered views; latched but for TF.
        diagnostics: ``/diagnostics``.
        memory: ``~/memory``, latched. No lifecycle publisher, like ``keyframes``: that the memory is freed is told by a
            node which is not active any more.
        keyframes: ``~/keyframes``, latched.
        points: ``~/points``, latched.
        preview: what the memory shows where the camera is.
    """

    node: LifecycleNode
    views: ViewPublishers
    diagnostics: LifecyclePublisher
    memory: Publisher
    keyframes: Publisher
    points: LifecyclePublisher
    preview: PreviewPublishers

    @classmethod
    def on(cls, node: LifecycleNode, *, publish_tf: bool) -> Outputs:
        """Create them.

        Args:
            node: whose they are.
            publish_tf: whether the frames of rendered views go out on ``/tf``.
        """
        made = node.create_lifecycle_publisher
        return cls(
            node,
            views=ViewPublishers(
                image=made(Image, "~/rendered/image", LATCHED),
                camera_info=made(CameraInfo, "~/rendered/camera_info", LATCHED),
                depth=made(Image, "~/rendered/depth", LATCHED),
                confidence=made(Image, "~/rendered/confidence", LATCHED),
                transforms=made(TFMessage, "/tf", 100) if publish_tf else None,
            ),
            diagnostics=made(DiagnosticArray, "/diagnostics", 10),
            memory=node.create_publisher(MemoryDiagnostics, "~/memory", LATCHED),
            keyframes=node.create_publisher(MarkerArray, "~/keyframes", LATCHED),
            points=made(PointCloud2, "~/points", LATCHED),
            preview=PreviewPublishers(
                image=made(Image, "~/preview", 1), difference=made(Image, "~/preview/difference", 1)
            ),
        )

    def tell_memory(self, memory: MemoryDiagnostics, keyframes: MarkerArray) -> None:
        """What the memory holds now, in the place of what was said before."""
        if self.node.context.ok():  # a process that is told to end has none
            self.memory.publish(memory)
            self.keyframes.publish(keyframes)

    def destroy(self) -> None:
        """Take all of them away, after those who are there have heard the last words."""
        if self.node.context.ok():
            for publisher in (self.memory, self.keyframes):
                publisher.wait_for_all_acked(Duration(seconds=LAST_WORDS_S))
        self.node.destroy_publisher(self.memory)
        self.node.destroy_publisher(self.keyframes)
        for managed in (self.diagnostics, self.points, *vars(self.views).values(), *vars(self.preview).values()):
            if managed is not None:
                self.node.destroy_lifecycle_publisher(managed)
