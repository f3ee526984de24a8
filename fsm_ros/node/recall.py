"""The recall service: `~/recall`, the kept photographs that know a place."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode

from fsm_ros.configuration.values import Values
from fsm_ros.engine import MemoryEngine
from fsm_ros.node.calibration import info_from_camera
from fsm_ros.node.conversions import matrix_to_transform, ns_to_stamp
from fsm_ros.node.images import encode
from fsm_ros.node.requests import INACTIVE, Bridge, PoseLookup, parse_view
from fsm_ros.spatial.rendering import used_keyframe
from fsm_ros.spatial.results import NOTHING_OBSERVED, Failure, UsedKeyframe
from fsm_ros_msgs.msg import RecalledKeyframe
from fsm_ros_msgs.srv import Recall

MOST = 256
"""So many photographs an answer holds at most."""


class RecallServer:
    """Tells which kept photographs know a place; there from configure to cleanup, and serves while it is open."""

    def __init__(self, node: LifecycleNode, engine: MemoryEngine, bridge: Bridge, values: Values) -> None:
        """Refuse requests, until opened.

        Args:
            node: where the service lives.
            engine: who owns the memory.
            bridge: how to await it.
            values: the node's parameters.
        """
        self._node = node
        self._engine = engine
        self._bridge = bridge
        self._lookup: PoseLookup | None = None
        self._memory_frame = values["memory.frame_id"]
        self._count = values["recall.photographs"]
        self._service = node.create_service(Recall, "~/recall", self._recall, callback_group=bridge.group)

    def open(self, lookup: PoseLookup) -> None:
        """Serve, with poses from there."""
        self._lookup = lookup

    def close(self) -> None:
        """Refuse requests from now on."""
        self._lookup = None

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
        scene = self._engine.memory.scene
        if scene is not None:
            response.kept = len(scene.keyframes)
            response.epoch = scene.epoch
        return response

    async def _answer(self, request: Recall.Request) -> list[RecalledKeyframe] | Failure:
        if self._lookup is None:
            return INACTIVE
        if self._engine.memory.scene is None:
            return NOTHING_OBSERVED
        wanted = parse_view(request.pose, request.scene_time, request.camera_info, self._lookup, self._memory_frame)
        if isinstance(wanted, Failure):
            return wanted
        count = min(int(request.count) or self._count, MOST)
        known = await self._bridge.wait(
            self._engine.ask(
                lambda memory: memory.known_from(wanted.world_from_camera, wanted.stamp_ns, wanted.camera, count)
            )
        )
        if isinstance(known, Failure):
            return known
        return [
            keyframe_message(used_keyframe(keyframe), keyframe.image if request.images else None, self._memory_frame)
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
