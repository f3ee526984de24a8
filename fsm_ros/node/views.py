"""The view service and the trajectory action: `~/render` and `~/render_trajectory`."""

from __future__ import annotations

from collections.abc import Callable

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
from fsm_ros.node.images import encode
from fsm_ros.node.requests import INACTIVE, Bridge, PoseLookup, ViewRequest, parse_view
from fsm_ros.spatial.results import NOTHING_OBSERVED, Failure, Rendered
from fsm_ros_msgs.action import RenderTrajectory
from fsm_ros_msgs.srv import RenderView


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
        publishers: tuple[LifecyclePublisher, LifecyclePublisher, LifecyclePublisher],
        on_rendered: Callable[[float], None],
    ) -> None:
        """Refuse requests, until opened.

        Args:
            node: where the service and the action live.
            engine: who renders.
            bridge: how to await it.
            values: the node's parameters.
            publishers: of rendered images, their camera_info, and transforms.
            on_rendered: told the seconds that a view took.
        """
        self._node = node
        self._engine = engine
        self._bridge = bridge
        self._lookup: PoseLookup | None = None
        self._memory_frame = values["memory.frame_id"]
        self._view_frame = values["render.frame_id"]
        self._images, self._infos, self._transforms = publishers
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
        view = await self._view(request.pose, request.scene_time, request.camera_info)
        if isinstance(view, Failure):
            response.success = False
            response.message = view.message
            scene = self._engine.memory.scene
            response.chunks_observed = 0 if scene is None else scene.chunks_observed
            return response
        rendered, image, info = view
        response.success = True
        response.message = rendered.warning
        response.camera_info = info
        response.chunks_observed = rendered.chunks_observed
        response.render_time = rendered.render_s
        if not request.omit_image:
            response.image = image
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
            view = await self._view(pose, scene_time, request.camera_info)
            if isinstance(view, Failure):
                result.message = f"view {index}: {view.message}"
                goal.abort()
                return result
            _, image, info = view
            goal.publish_feedback(RenderTrajectory.Feedback(view=index, image=image, camera_info=info))
            result.views_rendered = index + 1
        result.success = True
        goal.succeed()
        return result

    async def _view(
        self, pose: PoseStamped, scene_time: Time, info: CameraInfo
    ) -> tuple[Rendered, Image, CameraInfo] | Failure:
        if self._lookup is None:
            return INACTIVE
        if self._engine.memory.scene is None:
            return NOTHING_OBSERVED
        wanted = parse_view(pose, scene_time, info, self._lookup, self._memory_frame)
        if isinstance(wanted, Failure):
            return wanted
        rendered = await self._bridge.wait(
            self._engine.ask(lambda memory: memory.render(wanted.world_from_camera, wanted.stamp_ns, wanted.camera))
        )
        if isinstance(rendered, Failure):
            return rendered
        self._on_rendered(rendered.render_s)
        return (rendered, *self._publish(rendered, wanted))

    def _publish(self, rendered: Rendered, wanted: ViewRequest) -> tuple[Image, CameraInfo]:
        stamp = ns_to_stamp(rendered.stamp_ns)
        transform = TransformStamped(
            child_frame_id=self._view_frame, transform=matrix_to_transform(wanted.world_from_camera)
        )
        transform.header.frame_id = self._memory_frame
        transform.header.stamp = stamp
        image = encode(rendered.image, self._view_frame, stamp)
        info = info_from_camera(rendered.camera, self._view_frame, stamp)
        self._transforms.publish(TFMessage(transforms=[transform]))
        self._infos.publish(info)
        self._images.publish(image)
        return image, info
