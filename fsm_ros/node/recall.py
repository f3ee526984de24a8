# SPDX-License-Identifier: Apache-2.0
"""The recall service: `~/recall`, the kept photographs that know a place."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode

from fsm_ros.node.answering import serve_always
from fsm_ros.node.calibration import info_from_camera
from fsm_ros.node.conversions import matrix_to_transform, ns_to_stamp
from fsm_ros.node.gate import ViewGate
from fsm_ros.node.images import encode
from fsm_ros.spatial.rendering import used_keyframe
from fsm_ros.spatial.results import Failure, UsedKeyframe
from fsm_ros_msgs.msg import RecalledKeyframe
from fsm_ros_msgs.srv import Recall

MOST = 256
"""So many photographs an answer holds at most."""


class RecallServer:
    """Tells which kept photographs know a place; there from configure to cleanup."""

    def __init__(self, node: LifecycleNode, gate: ViewGate, count: int) -> None:
        """Serve what the gate lets through.

        Args:
            node: where the service lives.
            gate: to the memory.
            count: photographs that are told of where a request names no number.
        """
        self._node = node
        self._gate = gate
        self._count = count
        self._service = serve_always(node, Recall, "~/recall", self._recall, gate.bridge.group)

    def destroy(self) -> None:
        """Take the service away."""
        self._node.destroy_service(self._service)

    async def _recall(self, request: Recall.Request, response: Recall.Response) -> Recall.Response:
        found = await self._answer(request)
        if isinstance(found, Failure):
            response.success = False
            response.message = found.message
        else:
            response.success = True
            response.keyframes = found
        scene = self._gate.scene
        if scene is not None:
            response.kept = len(scene.keyframes)
            response.epoch = scene.epoch
        return response

    async def _answer(self, request: Recall.Request) -> list[RecalledKeyframe] | Failure:
        count = min(int(request.count) or self._count, MOST)
        answer = await self._gate.ask(
            request.pose,
            request.scene_time,
            request.camera_info,
            lambda memory, view: memory.known_from(view.world_from_camera, view.stamp_ns, view.camera, count),
        )
        if isinstance(answer, Failure):
            return answer
        _, known = answer
        return [
            keyframe_message(
                used_keyframe(keyframe), keyframe.image if request.images else None, self._gate.memory_frame
            )
            for keyframe in known
        ]


def keyframe_message(keyframe: UsedKeyframe, image: NDArray[np.uint8] | None, memory_frame: str) -> RecalledKeyframe:
    """A kept photograph as a message, with its pixels where they are given."""
    stamp = ns_to_stamp(keyframe.stamp_ns)
    transform = matrix_to_transform(keyframe.world_from_camera)
    place, turn = transform.translation, transform.rotation
    message = RecalledKeyframe(
        id=keyframe.number,
        camera=keyframe.source,
        pose=Pose(
            position=Point(x=place.x, y=place.y, z=place.z),
            orientation=Quaternion(x=turn.x, y=turn.y, z=turn.z, w=turn.w),
        ),
        camera_info=info_from_camera(keyframe.camera, memory_frame, stamp),
    )
    message.header.frame_id = memory_frame
    message.header.stamp = stamp
    if image is not None:
        message.image = encode(image, memory_frame, stamp)
    return message
