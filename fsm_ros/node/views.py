# SPDX-License-Identifier: Apache-2.0
"""The view service and the trajectory action: `~/render` and `~/render_trajectory`."""

from __future__ import annotations

from collections.abc import Callable

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo

from fsm_ros.node.answering import EVERY_REQUEST, fault, serve_always
from fsm_ros.node.gate import ViewGate
from fsm_ros.node.view_messages import ViewMessages, ViewPublishers, messages_of, publish, tell
from fsm_ros.node.view_stamps import ViewStamps
from fsm_ros.spatial.results import Failure, FailureKind
from fsm_ros.spatial.settings import RenderMethod
from fsm_ros_msgs.action import RenderTrajectory
from fsm_ros_msgs.srv import RenderView


class ViewServer:
    """Answers requests for views, and publishes every view that it renders; there from configure to cleanup."""

    def __init__(
        self,
        node: LifecycleNode,
        gate: ViewGate,
        view_frame: str,
        publishers: ViewPublishers,
        on_rendered: Callable[[float], None],
    ) -> None:
        """Serve what the gate lets through.

        Args:
            node: where the service and the action live.
            gate: to the memory.
            view_frame: name of the optical frame of rendered views.
            publishers: of what is rendered.
            on_rendered: told the seconds that a view took.
        """
        self._node = node
        self._gate = gate
        self._view_frame = view_frame
        self._publishers = publishers
        self._on_rendered = on_rendered
        self._stamps = ViewStamps(node.get_clock())
        self._service = serve_always(node, RenderView, "~/render", self._render, gate.bridge.group)
        self._action = ActionServer(
            node,
            RenderTrajectory,
            "~/render_trajectory",
            execute_callback=self._answer_trajectory,
            goal_callback=lambda _: GoalResponse.ACCEPT if gate.is_open else GoalResponse.REJECT,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=gate.bridge.group,
            goal_service_qos_profile=EVERY_REQUEST,
            result_service_qos_profile=EVERY_REQUEST,
            cancel_service_qos_profile=EVERY_REQUEST,
        )

    def clock_jumped_back(self) -> None:
        """The node's clock was set back: the stamps of views follow it."""
        self._stamps.clock_jumped_back()

    def destroy(self) -> None:
        """Take the service and the action away."""
        self._node.destroy_service(self._service)
        self._action.destroy()

    async def _render(self, request: RenderView.Request, response: RenderView.Response) -> RenderView.Response:
        view = await self._view(request.pose, request.scene_time, request.camera_info, request.method)
        if isinstance(view, Failure):
            response.success = False
            response.message = view.message
            scene = self._gate.scene
            response.chunks_observed = 0 if scene is None else scene.chunks_observed
            return response
        response.success = True
        tell(response, view, self._gate.memory_frame, pixels=not request.omit_image)
        return response

    async def _answer_trajectory(self, goal: ServerGoalHandle) -> RenderTrajectory.Result:
        try:
            return await self._render_trajectory(goal)
        except Exception as error:
            goal.abort()
            return RenderTrajectory.Result(message=fault(self._node, error))

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
            view = await self._view(pose, scene_time, request.camera_info, request.method)
            if isinstance(view, Failure):
                result.message = f"view {index}: {view.message}"
                goal.abort()
                return result
            feedback = RenderTrajectory.Feedback(view=index)
            tell(feedback, view, self._gate.memory_frame, pixels=not request.omit_image)
            goal.publish_feedback(feedback)
            result.views_rendered = index + 1
        result.success = True
        goal.succeed()
        return result

    async def _view(self, pose: PoseStamped, scene_time: Time, info: CameraInfo, method: str) -> ViewMessages | Failure:
        made_of = _method(method)
        if isinstance(made_of, Failure):
            return made_of
        answer = await self._gate.ask(
            pose,
            scene_time,
            info,
            lambda memory, view: memory.render(view.world_from_camera, view.stamp_ns, view.camera, made_of),
        )
        if isinstance(answer, Failure):
            return answer
        wanted, rendered = answer
        self._on_rendered(rendered.render_s)
        messages = messages_of(rendered, self._view_frame, self._stamps.now())
        publish(messages, wanted.world_from_camera, self._gate.memory_frame, self._publishers)
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
