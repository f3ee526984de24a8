"""The view service and the trajectory action: `~/render` and `~/render_trajectory`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TransformStamped
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle.publisher import LifecyclePublisher
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from fsm_ros.configuration.values import Values
from fsm_ros.engine import MemoryEngine
from fsm_ros.node.calibration import info_from_camera
from fsm_ros.node.conversions import matrix_to_transform, ns_to_stamp
from fsm_ros.node.images import encode, encode_floats
from fsm_ros.node.recall import keyframe_message
from fsm_ros.node.requests import INACTIVE, Bridge, PoseLookup, ViewRequest, parse_view
from fsm_ros.spatial.results import NOTHING_OBSERVED, Failure, FailureKind, Rendered
from fsm_ros.spatial.settings import RenderMethod
from fsm_ros_msgs.action import RenderTrajectory
from fsm_ros_msgs.srv import RenderView


@dataclass(frozen=True)
class ViewPublishers:
    """Where everything about a rendered view goes."""

    image: LifecyclePublisher
    camera_info: LifecyclePublisher
    depth: LifecyclePublisher
    confidence: LifecyclePublisher
    transforms: LifecyclePublisher


@dataclass(frozen=True)
class ViewMessages:
    """A rendered view, as messages of one stamp and frame."""

    image: Image
    camera_info: CameraInfo
    depth: Image
    confidence: Image


class ViewServer:
    """Answers requests for views, and publishes every view that it renders.

    It is there from configure to cleanup, and serves while it is open: a request that is under way when the node is
    deactivated still needs a service to be answered through.
    """

    def __init__(
        self,
        node: LifecycleNode,
        engine: MemoryEngine,
        bridge: Bridge,
        values: Values,
        publishers: ViewPublishers,
        on_rendered: Callable[[float], None],
    ) -> None:
        """Refuse requests, until opened.

        Args:
            node: where the service and the action live.
            engine: who renders.
            bridge: how to await it.
            values: the node's parameters.
            publishers: of what is rendered.
            on_rendered: told the seconds that a view took.
        """
        self._node = node
        self._engine = engine
        self._bridge = bridge
        self._lookup: PoseLookup | None = None
        self._memory_frame = values["memory.frame_id"]
        self._view_frame = values["render.frame_id"]
        self._publishers = publishers
        self._on_rendered = on_rendered
        self._service = node.create_service(RenderView, "~/render", self._render, callback_group=bridge.group)
        self._action = ActionServer(
            node,
            RenderTrajectory,
            "~/render_trajectory",
            execute_callback=self._render_trajectory,
            goal_callback=lambda _: GoalResponse.REJECT if self._lookup is None else GoalResponse.ACCEPT,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=bridge.group,
        )

    def open(self, lookup: PoseLookup) -> None:
        """Serve, with poses from there."""
        self._lookup = lookup

    def close(self) -> None:
        """Refuse requests from now on."""
        self._lookup = None

    def destroy(self) -> None:
        """Take the service and the action away."""
        self._node.destroy_service(self._service)
        self._action.destroy()

    async def _render(self, request: RenderView.Request, response: RenderView.Response) -> RenderView.Response:
        view = await self._view(request.pose, request.scene_time, request.camera_info, request.method)
        if isinstance(view, Failure):
            response.success = False
            response.message = view.message
            scene = self._engine.memory.scene
            response.chunks_observed = 0 if scene is None else scene.chunks_observed
            return response
        rendered, messages = view
        response.success = True
        response.message = rendered.warning
        response.camera_info = messages.camera_info
        response.chunks_observed = rendered.chunks_observed
        response.recalled = rendered.recalled
        response.epoch = rendered.epoch
        response.keyframes = [keyframe_message(each, None, self._memory_frame) for each in rendered.keyframes]
        response.render_time = rendered.render_s
        if not request.omit_image:
            response.image = messages.image
            response.depth = messages.depth
            response.confidence = messages.confidence
        return response

    async def _render_trajectory(self, goal: ServerGoalHandle) -> RenderTrajectory.Result:
        request: RenderTrajectory.Goal = goal.request
        result = RenderTrajectory.Result()
        times = list(request.scene_times) or [Time()]
        if len(times) == 1:
            times *= len(request.poses)
        if len(times) != len(request.poses) or not request.poses:
            result.message = (
                f"{len(request.poses)} poses and {len(request.scene_times)} scene_times: give at least one pose, and "
                "one scene time for each pose, one for all, or none"
            )
            goal.abort()
            return result
        for index, (pose, scene_time) in enumerate(zip(request.poses, times, strict=True)):
            if goal.is_cancel_requested:
                goal.canceled()
                result.message = f"canceled after {index} of {len(request.poses)} views"
                return result
            view = await self._view(pose, scene_time, request.camera_info, "")
            if isinstance(view, Failure):
                result.message = f"view {index}: {view.message}"
                goal.abort()
                return result
            _, messages = view
            goal.publish_feedback(
                RenderTrajectory.Feedback(view=index, image=messages.image, camera_info=messages.camera_info)
            )
            result.views_rendered = index + 1
        result.success = True
        goal.succeed()
        return result

    async def _view(
        self, pose: PoseStamped, scene_time: Time, info: CameraInfo, method: str
    ) -> tuple[Rendered, ViewMessages] | Failure:
        if self._lookup is None:
            return INACTIVE
        if self._engine.memory.scene is None:
            return NOTHING_OBSERVED
        made_of = _method(method)
        if isinstance(made_of, Failure):
            return made_of
        wanted = parse_view(pose, scene_time, info, self._lookup, self._memory_frame)
        if isinstance(wanted, Failure):
            return wanted
        rendered = await self._bridge.wait(
            self._engine.ask(
                lambda memory: memory.render(wanted.world_from_camera, wanted.stamp_ns, wanted.camera, made_of)
            )
        )
        if isinstance(rendered, Failure):
            return rendered
        self._on_rendered(rendered.render_s)
        return rendered, self._publish(rendered, wanted)

    def _publish(self, rendered: Rendered, wanted: ViewRequest) -> ViewMessages:
        stamp = ns_to_stamp(rendered.stamp_ns)
        transform = TransformStamped(
            child_frame_id=self._view_frame, transform=matrix_to_transform(wanted.world_from_camera)
        )
        transform.header.frame_id = self._memory_frame
        transform.header.stamp = stamp
        messages = ViewMessages(
            encode(rendered.image, self._view_frame, stamp),
            info_from_camera(rendered.camera, self._view_frame, stamp),
            encode_floats(rendered.depth_m, self._view_frame, stamp),
            encode_floats(rendered.confidence, self._view_frame, stamp),
        )
        out = self._publishers
        out.transforms.publish(TFMessage(transforms=[transform]))
        out.camera_info.publish(messages.camera_info)
        out.image.publish(messages.image)
        out.depth.publish(messages.depth)
        out.confidence.publish(messages.confidence)
        return messages


def _method(name: str) -> RenderMethod | None | Failure:
    """What a request wants a view made of; ``None``: what the parameter says."""
    if not name:
        return None
    try:
        return RenderMethod(name)
    except ValueError:
        known = ", ".join(method.value for method in RenderMethod)
        return Failure(FailureKind.BAD_REQUEST, f"method {name!r} is unknown: use {known}, or leave it empty")
