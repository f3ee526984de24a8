# SPDX-License-Identifier: Apache-2.0
"""FsmNode: the managed node. Wiring only; every part is a file of its own."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import replace

from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from fsm_ros.configuration.model import load_model
from fsm_ros.configuration.settings import NodeSettings, Settings
from fsm_ros.configuration.table import BY_NAME
from fsm_ros.engine import MemoryEngine
from fsm_ros.errors import FsmError
from fsm_ros.memory.rules.naming import in_words
from fsm_ros.node.cameras import CameraSubscriptions
from fsm_ros.node.conversions import ns_to_stamp
from fsm_ros.node.delivery import Delivery, name_taken
from fsm_ros.node.diagnostics import Health, RecentTroubles, Troubles, diagnostic_array, memory_message
from fsm_ros.node.gate import ViewGate
from fsm_ros.node.ingest import Ingest
from fsm_ros.node.live_frames import LiveView
from fsm_ros.node.markers import keyframe_markers, no_markers
from fsm_ros.node.memory_services import MemoryServices
from fsm_ros.node.namespaces import scoped, storage_folder
from fsm_ros.node.outputs import Outputs
from fsm_ros.node.parameters import declare, on_change, read, values
from fsm_ros.node.parts import Active, Configured
from fsm_ros.node.poses import PoseSource
from fsm_ros.node.preview import PreviewServer
from fsm_ros.node.recall import RecallServer
from fsm_ros.node.requests import INACTIVE, Bridge
from fsm_ros.node.surfaces import SurfaceServer
from fsm_ros.node.transitions import refuse_impossible, telling
from fsm_ros.node.viewing import NodeSubject, opened
from fsm_ros.node.views import ViewServer
from fsm_ros.spatial.results import Failure, ObserveReport
from fsm_ros.spatial.scene import Scene
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.stream.ledger import FrameLedger, Refusal

NODE_NAME = "fsm"
TICK_S = 0.05
FRUSTUM_SHARE = 0.1  # of the memory's extent


class FsmNode(LifecycleNode):
    """The fast spatial memory as a managed node (REP design "Managed nodes").

    Configure loads the weights and warms up, activate subscribes and serves, deactivate keeps the memory, cleanup frees
    it.
    """

    def __init__(self) -> None:
        """Declare the parameters; nothing else happens before configure."""
        super().__init__(NODE_NAME)
        declare(self)
        self._configured: Configured | None = None
        self._active: Active | None = None
        self._last_report: ObserveReport | None = None
        self._render_s = math.nan
        self._jumps_told = 0
        self._hint_told = ""
        self.add_on_set_parameters_callback(on_change(lambda: values(self), lambda: self._configured is not None))
        self.add_post_set_parameters_callback(self._on_parameters_set)
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False),
            post_callback=self._on_clock_jump,
        )
        refuse_impossible(self)

    # --- transitions -------------------------------------------------------------------------------------------------

    def autostart(self) -> bool:
        """Configure and activate, where the parameter ``autostart`` asks for it. Returns whether that went well."""
        if not read(self, NodeSettings()).autostart:
            return True
        done = TransitionCallbackReturn.SUCCESS
        return bool(self.trigger_configure() == done and self.trigger_activate() == done)

    @telling
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the weights and warm up."""
        try:
            settings = read(self, Settings())
            loaded = load_model(settings)
            memory = loaded.new_memory(settings.memory)
        except (FsmError, ValueError) as error:
            self.get_logger().error(f"cannot be configured: {error}")
            return TransitionCallbackReturn.FAILURE
        frame, serving = settings.node.memory_frame, settings.serving
        engine = MemoryEngine(memory, serving.chunk_queue_size)
        engine.start()
        out = Outputs.on(self, publish_tf=serving.publish_tf)
        namespace = self.get_namespace()
        view_frame = scoped(serving.render_frame, namespace)
        folder = storage_folder(settings.node.storage_dir, namespace)
        bridge = Bridge(self, serving.render_timeout_s)
        gate = ViewGate(engine, bridge, frame)
        views = ViewServer(self, gate, view_frame, out.views, self._on_rendered)
        recall = RecallServer(self, gate, settings.memory.photographs)
        services = MemoryServices(self, engine, bridge, folder, self._on_memory_replaced)
        surfaces = SurfaceServer(self, gate, serving.surfaces, out.points, folder)
        preview = PreviewServer(self, gate, serving.preview_rate_hz, settings.memory, out.preview)
        subject = NodeSubject(engine, services, self._newest_view, self.get_logger())
        self._configured = Configured(
            *(settings, engine, FrameLedger(), out, view_frame, bridge, gate, views, recall, services, surfaces),
            *(preview, subject, None),
        )
        try:
            viewer = opened(subject, serving.viewer)
        except FsmError as error:
            self.get_logger().error(f"cannot be configured: {error}")
            self.close()
            return TransitionCallbackReturn.FAILURE
        if viewer is not None:
            self._configured = replace(self._configured, viewer=viewer)
            self.get_logger().info(f"viewer: open {viewer.url}")
        parameters = sum(p.numel() for p in loaded.model.parameters())
        self.get_logger().info(
            f"configured: {settings.model.checkpoint} ({parameters / 1e6:.1f} M parameters) on {memory.device}, "
            f"warmed up in {loaded.warm_up_s:.2f} s"
        )
        return TransitionCallbackReturn.SUCCESS

    @telling
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and serve."""
        parts = self._parts()
        settings = parts.settings
        memory_frame = settings.node.memory_frame
        with ExitStack() as undo:
            delivery, tf_delivery = Delivery(self), Delivery(self)
            own_frame = parts.view_frame if settings.serving.publish_tf else None
            poses = PoseSource(self, settings.input.tf_cache_s, own_frame, tf_delivery)
            undo.callback(poses.close)
            ingest = Ingest(
                parts.engine,
                lambda frame_id, stamp_ns: poses.lookup(memory_frame, frame_id, stamp_ns),
                lambda frame_id: poses.bad_reason(memory_frame, frame_id),
                lambda: self.get_clock().now().nanoseconds,
                settings,
                parts.ledger,
            )
            try:
                cameras = CameraSubscriptions(self, ingest, settings.input, delivery)
            except ValueError as error:
                self.get_logger().error(f"cannot be activated: {error}")
                return TransitionCallbackReturn.FAILURE
            undo.pop_all()
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand still
        timers = (
            self.create_timer(TICK_S, self._on_tick, clock=steady),
            self.create_timer(settings.serving.diagnostics_period_s, self._publish_diagnostics, clock=steady),
        )
        self._active = Active(poses, ingest, cameras, delivery, tf_delivery, RecentTroubles(), timers)
        self._jumps_told = 0
        self._hint_told = ""
        ingest.start()
        parts.gate.open(poses.lookup)
        parts.services.open(ingest)
        self.get_logger().info(f"active: listening to {', '.join(cameras.topics)} in frame {memory_frame}")
        return super().on_activate(state)

    @telling
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and serving; the memory stays."""
        self._close_active()
        self.get_logger().info(f"deactivated: listens no more and keeps a memory of {self._chunks_observed()} chunks")
        return super().on_deactivate(state)

    @telling
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the memory and the device."""
        chunks = self._chunks_observed()
        self.close()
        self.get_logger().info(f"cleaned up: a memory of {chunks} chunks and its device are freed")
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End in good order, from any state. What requests are answered through ends with the process."""
        self._close_active()
        chunks = self._chunks_observed()
        if self._configured is not None:
            self._tell_memory(None)
            self._configured.engine.stop()
        self.get_logger().info(f"shut down with a memory of {chunks} chunks, from {state.label}")
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Recover into the unconfigured state after a transition that raised."""
        self.get_logger().error(
            f"a transition from {state.label} failed: everything is freed, the node can be configured again"
        )
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self, patience_s: float = 10.0) -> bool:
        """Free all that configure and activate made. May be called at any time, and again.

        Args:
            patience_s: how long to wait for the job that the memory worker has in hand.

        Returns:
            Whether the worker has ended.
        """
        self._close_active()
        if self._configured is None:
            return True
        self._tell_memory(None)
        configured, self._configured = self._configured, None
        if configured.viewer is not None:
            configured.viewer.stop()
        worker_ended = configured.engine.stop(patience_s)
        if not worker_ended:
            self.get_logger().warning("the memory worker did not end in time")
        configured.views.destroy()
        configured.recall.destroy()
        configured.services.destroy()
        configured.surfaces.destroy()
        configured.out.destroy()
        self._last_report = None
        return worker_ended

    def _close_active(self) -> None:
        active, self._active = self._active, None
        if active is None:
            return
        for timer in active.timers:
            self.destroy_timer(timer)
        active.cameras.close()
        active.ingest.stop()
        parts = self._parts()
        parts.gate.close()
        parts.services.close()
        parts.preview.forget()
        parts.subject.told(None)
        parts.bridge.answer_all(INACTIVE)
        active.poses.close()

    # --- events ------------------------------------------------------------------------------------------------------

    def _on_tick(self) -> None:
        active = self._active
        if active is None:
            return
        parts = self._parts()
        parts.bridge.expire()
        for report in parts.engine.drain_reports():
            self._on_report(report)
        parts.services.tell_replaced()
        is_idle = parts.engine.status().chunks_waiting == 0 and not (parts.viewer is not None and parts.viewer.is_busy)
        parts.surfaces.tick(is_idle)
        parts.preview.tick(active.ingest.newest, is_idle)
        status = active.ingest.status()
        if status.frame_hint != self._hint_told:
            self._hint_told = status.frame_hint
            if status.frame_hint:
                self.get_logger().warning(status.frame_hint)
        if status.jumps > self._jumps_told:
            self._jumps_told = status.jumps
            self.get_logger().warning(
                f"the camera's pose jumped by {status.last_jump}: what was observed before is displaced; use odom as "
                "memory.frame_id, or call ~/reset",
                throttle_duration_sec=5.0,
            )

    def _on_report(self, report: ObserveReport) -> None:
        parts = self._parts()
        self._last_report = report
        if report.failure is not None:
            parts.ledger.demote(Refusal.OBSERVE_FAILED, len(report.chunk.frames))
            self.get_logger().error(f"a chunk was not observed: {report.failure.message}", throttle_duration_sec=5.0)
        if report.epoch_began is not None:
            self.get_logger().warning(
                f"the stream left the memory's frame ({report.epoch_began.value}): epoch {report.epoch} begins, seeded "
                "with the remembered keyframes; where that is too often, raise memory.extent or memory.horizon",
                throttle_duration_sec=5.0,
            )
        self._tell_memory(report)

    def _on_memory_replaced(self) -> None:
        """The memory was reset or loaded: what was said of the one before must not stay."""
        if self._configured is None:
            return
        engine = self._configured.engine
        for report in engine.drain_reports():  # of before, or of a chunk that came after
            self._on_report(report)
        self._last_report = None
        self._configured.surfaces.tell_nothing()
        self._configured.preview.forget()
        self._tell_memory(engine.memory.scene)

    def _tell_memory(self, known: ObserveReport | Scene | None) -> None:
        """Publish what the memory holds: after a chunk, in the place of another memory, or nothing any more."""
        parts = self._parts()
        memory, frame_id = parts.engine.memory, parts.settings.node.memory_frame
        observed_ns = known.chunk.newest_stamp_ns if isinstance(known, ObserveReport) else None
        stamp = self.get_clock().now().to_msg() if observed_ns is None else ns_to_stamp(observed_ns)
        message = memory_message(
            known,
            parts.ledger.snapshot(),
            parts.engine.status(),
            memory.settings,
            frame_id=frame_id,
            stamp=stamp,
            render_s=self._render_s,
            device=memory.device,
        )
        scene = None if known is None else memory.scene
        if scene is None:
            parts.out.tell_memory(message, no_markers())
            return
        depth_m = FRUSTUM_SHARE * scene.frame.extent_m
        if isinstance(known, ObserveReport) and known.failure is None:
            remembered, just_seen = known.keyframes, known.chunk.frames
        else:
            remembered, just_seen = memory.remembered, ()
        parts.out.tell_memory(message, keyframe_markers(remembered, just_seen, depth_m, frame_id, stamp))

    def _publish_diagnostics(self) -> None:
        active = self._active
        if active is None:
            return
        parts = self._parts()
        ledger, status, engine = parts.ledger.snapshot(), active.ingest.status(), parts.engine.status()
        scene, report = parts.engine.memory.scene, self._last_report
        if scene is None and report is not None and report.failure is None:
            report = None  # what it tells of has been forgotten since
        health = Health(
            ledger=ledger,
            input=status,
            engine=engine,
            last_report=report,
            paused=active.ingest.is_paused,
            transforms=(active.poses.received, active.poses.refused),
            lost=active.delivery.lost,
            unheard=active.delivery.mismatch,
            tf_unheard=active.tf_delivery.mismatch,
            name_taken=name_taken(self),
            device=parts.engine.memory.device,
            checkpoint=parts.settings.model.checkpoint,
            before=active.troubles.before(
                Troubles(ledger.refused, engine.chunks_dropped, status.jumps, active.delivery.lost),
                time.monotonic(),
            ),
            scene=scene,
            preview_difference=parts.preview.difference,
        )
        stamp = self.get_clock().now().to_msg()
        diagnostics = diagnostic_array(health, self.get_name(), self.get_namespace(), stamp)
        parts.subject.told(diagnostics)
        parts.out.diagnostics.publish(diagnostics)

    def _on_rendered(self, seconds: float) -> None:
        self._render_s = seconds

    def _on_clock_jump(self, jump: TimeJump) -> None:
        if jump.delta.nanoseconds >= 0:
            return
        if self._configured is not None:
            self._configured.views.clock_jumped_back()
        active = self._active
        if active is None:
            return
        self.get_logger().warning(
            f"time was set back by {-jump.delta.nanoseconds / 1e9:.3f} s: transforms and waiting frames are dropped, "
            "the memory stays (~/reset empties it)",
            throttle_duration_sec=5.0,
        )
        active.poses.clear()
        active.ingest.clock_jumped_back()

    def _on_parameters_set(self, parameters: list[Parameter]) -> None:
        configured = self._configured
        if configured is None or not any(p.name in BY_NAME and BY_NAME[p.name].at_run_time for p in parameters):
            return
        rule = read(self, MemorySettings()).rule
        changed = configured.engine.ask(lambda memory: memory.set_rule(rule))
        changed.add_done_callback(
            lambda done: (
                self.get_logger().error(f"the rule was not changed: {done.result()}")
                if isinstance(done.result(), Failure)
                else self.get_logger().info(f"chunks are written by {in_words(rule)}")
            )
        )

    # --- parts -------------------------------------------------------------------------------------------------------

    def _newest_view(self) -> LiveView | None:
        active = self._active
        return None if active is None else active.ingest.newest

    def _chunks_observed(self) -> int:
        scene = None if self._configured is None else self._configured.engine.memory.scene
        return 0 if scene is None else scene.chunks_observed

    def _parts(self) -> Configured:
        if self._configured is None:
            raise RuntimeError("the node is not configured")
        return self._configured
