# SPDX-License-Identifier: Apache-2.0
"""A running node in a process of its own, and a client that feeds and asks it over DDS.

Nothing here sleeps to let something happen: everything waits for what it needs, and gives up after ``DEADLINE_S``.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

from deadline import DEADLINE_S, POLL_S
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TransformStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from fsm_ros.replay.demo import ros_domain
from fsm_ros_msgs.msg import MemoryDiagnostics
from fsm_ros_msgs.srv import LoadMemory, RenderView, SaveMemory

CHUNK_VIEWS = 2

# Small and quick, and nothing in it depends on how fast the machine is.
QUICK: Mapping[str, object] = {
    "model.threads": 1,
    "model.device": "cpu",
    "chunk.views": CHUNK_VIEWS,
    "chunk.timeout": 0.0,
    "chunk.queue_size": 100,
    "memory.extent": 5.0,
    "memory.horizon": 3600.0,
    "memory.reservoir": 8,
    "memory.retention_views": 1,
    "keyframes.translation": 0.05,
    "keyframes.static_interval": 0.0,
    "keyframes.max_speed": 1000.0,
    "keyframes.max_turn": 1000.0,
    "input.queue_size": 100,
    "input.reliability": "reliable",
    # As long as they may be: what was sent does come, however late.
    "input.info_timeout": 60.0,
    "tf.timeout": 60.0,
    "tf.cache": 600.0,
    "render.timeout": DEADLINE_S,
    "diagnostics.period": 0.05,
}


class NeverCameError(AssertionError):
    """What was waited for did not happen before the deadline."""


class NodeProcess:
    """`python -m fsm_ros.node.fsm_node` in a process of its own."""

    def __init__(
        self,
        log: Path,
        parameters: Mapping[str, object] | None = None,
        *,
        domain_id: int,
        defaults: Mapping[str, object] = QUICK,
        arguments: Sequence[str] = (),
    ) -> None:
        """Start it.

        Args:
            log: file for all that it says.
            parameters: changes to the defaults.
            domain_id: the ROS domain it lives in.
            defaults: changes to the node's own defaults.
            arguments: further ROS arguments, ``-r FROM:=TO`` say.
        """
        command = [sys.executable, "-m", "fsm_ros.node.fsm_node", "--ros-args", *arguments]
        for name, value in (dict(defaults) | dict(parameters or {})).items():
            command += ["-p", f"{name}:={_yaml(value)}"]
        environment = os.environ | {"ROS_DOMAIN_ID": str(domain_id), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        self._log = log
        with open(log, "wb") as file:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """All it has said so far."""
        return self._log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def exit_code(self) -> int:
        """Wait for its end."""
        try:
            return self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise NeverCameError(f"the node did not end:\n{self.log}") from None

    def kill(self) -> None:
        """End it if it has not ended."""
        if self.is_alive:
            self._process.kill()
        self._process.wait()

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something that the node is to do."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            if not self.is_alive:
                raise NeverCameError(f"the node ended with {self._process.returncode} before {what}:\n{self.log}")
            if time.monotonic() > deadline_s:
                raise NeverCameError(f"never came: {what}\n{self.log}")
            time.sleep(POLL_S)


@dataclass
class Heard:
    """What the node has said on its topics, oldest first; ``replaced``: ~/memory after a reset or a load."""

    memory: list[MemoryDiagnostics] = field(default_factory=list)
    replaced: list[MemoryDiagnostics] = field(default_factory=list)
    diagnostics: list[DiagnosticArray] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    infos: list[CameraInfo] = field(default_factory=list)
    transforms: list[TransformStamped] = field(default_factory=list)


class Robot:
    """A running node, and a client beside it, in a ROS domain that nobody else is in."""

    def __init__(self, process: NodeProcess, context: Context, domain_id: int, namespace: str = "") -> None:
        """Listen to a node.

        Args:
            process: the node.
            context: of its ROS domain.
            domain_id: that domain.
            namespace: of the node, ``/robot1`` say.
        """
        self.process = process
        self.domain_id = domain_id
        self.name = f"{namespace}/fsm"
        self.heard = Heard()
        self.node = Node("client", context=context, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Client] = {}
        for kind, topic, kept in (
            (Image, f"{self.name}/rendered/image", self.heard.images),
            (CameraInfo, f"{self.name}/rendered/camera_info", self.heard.infos),
        ):
            self.node.create_subscription(kind, topic, kept.append, 100)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        self.node.create_subscription(MemoryDiagnostics, f"{self.name}/memory", self._on_memory, 100)
        self.node.create_subscription(TFMessage, "/tf", lambda m: self.heard.transforms.extend(m.transforms), 100)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        if all(status.name.startswith(f"{self.name.lstrip('/')}: ") for status in message.status):
            self.heard.diagnostics.append(message)

    def _on_memory(self, message: MemoryDiagnostics) -> None:
        # What replaced a memory took no time to be observed.
        (self.heard.replaced if math.isnan(message.observe_time) else self.heard.memory).append(message)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass  # the way to end it

    def close(self) -> None:
        """Stop listening."""
        self._executor.shutdown()
        self._thread.join(DEADLINE_S)
        self.node.destroy_node()

    # --- asking ------------------------------------------------------------------------------------------------------

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something that the node is to do."""
        self.process.wait_until(condition, what)

    def result(self, future: Future, what: str = "an answer") -> Any:  # noqa: ANN401  # of whatever type was asked for
        """What a future of the client comes to."""
        self.wait_until(future.done, what)
        return future.result()

    def begin(self, kind: type, name: str, request: object) -> Future:
        """Send a request, as soon as somebody serves it."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self.node.create_client(kind, name)
            self._executor.wake()
        self.wait_until(client.service_is_ready, f"the service {name}")
        return client.call_async(request)

    def ask(self, kind: type, name: str, request: object) -> Any:  # noqa: ANN401  # of whatever type was asked for
        """Send a request and wait for the answer."""
        return self.result(self.begin(kind, name, request), f"an answer of {name}")

    def state(self) -> str:
        """Its lifecycle state."""
        label: str = self.ask(GetState, f"{self.name}/get_state", GetState.Request()).current_state.label
        return label

    def begin_transition(self, transition: int) -> Future:
        """Ask for a transition."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.begin(ChangeState, f"{self.name}/change_state", request)

    def change_state(self, transition: int) -> bool:
        """Ask for a transition; whether it succeeded."""
        return bool(self.result(self.begin_transition(transition), "an answer about the transition").success)

    def set_parameters(self, values: Mapping[str, object]) -> list[SetParametersResult]:
        """Set parameters, each on its own."""
        wanted = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParameters.Request(parameters=wanted)
        results: list[SetParametersResult] = self.ask(SetParameters, f"{self.name}/set_parameters", request).results
        return results

    def begin_render(self, pose: PoseStamped, **request: object) -> Future:
        """Ask for a view."""
        return self.begin(RenderView, f"{self.name}/render", RenderView.Request(pose=pose, **request))

    def render(self, pose: PoseStamped, **request: object) -> RenderView.Response:
        """Ask for a view and wait for it."""
        return self.result(self.begin_render(pose, **request), "a view")

    def reset(self) -> Trigger.Response:
        """Ask it to forget everything."""
        return self.ask(Trigger, f"{self.name}/reset", Trigger.Request())

    def pause(self, paused: bool) -> SetBool.Response:
        """Ask it to refuse frames, or to take them again."""
        return self.ask(SetBool, f"{self.name}/pause", SetBool.Request(data=paused))

    def save(self, path: str) -> SaveMemory.Response:
        """Ask it to write its memory."""
        return self.ask(SaveMemory, f"{self.name}/save_memory", SaveMemory.Request(path=path))

    def load(self, path: str) -> LoadMemory.Response:
        """Ask it to read a memory."""
        return self.ask(LoadMemory, f"{self.name}/load_memory", LoadMemory.Request(path=path))

    # --- listening ---------------------------------------------------------------------------------------------------

    def status(self, name: str) -> DiagnosticStatus:
        """The newest status of one name on /diagnostics, made after this was called."""
        seen = len(self.heard.diagnostics)
        # The first to come may have been on its way already.
        self.wait_until(lambda: len(self.heard.diagnostics) >= seen + 2, "/diagnostics")
        return next(status for status in self.heard.diagnostics[-1].status if status.name.endswith(f": {name}"))

    def counts(self) -> dict[str, int]:
        """The frame ledger, as /diagnostics tells it: received, keyframed, pending, and refused.REASON."""
        values = {entry.key: entry.value for entry in self.status("input").values}
        return {
            key.removeprefix("frames_"): int(value)
            for key, value in values.items()
            if key.startswith(("refused.", "frames_")) and key != "frames_waiting"
        }

    def refused(self) -> dict[str, int]:
        """How many frames were refused, by reason."""
        counts = self.counts().items()
        return {name.removeprefix("refused."): count for name, count in counts if name.startswith("refused.")}

    def wait_for_counts(self, **expected: int) -> dict[str, int]:
        """Wait until counters have come this far; returns all of them."""
        counts = self.counts()

        def arrived() -> bool:
            counts.update(self.counts())
            return all(counts[name] >= number for name, number in expected.items())

        try:
            self.wait_until(arrived, f"{expected} frames")
        except NeverCameError as error:
            raise NeverCameError(f"{error}\nlast heard: {counts}") from None
        return counts

    def latched(self, kind: type, topic: str) -> Any:  # noqa: ANN401  # of whatever type was asked for
        """What a late subscriber hears first on a topic of the node."""
        heard: list[object] = []
        qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        subscription = self.node.create_subscription(kind, f"{self.name}/{topic}", heard.append, qos)
        self._executor.wake()
        self.wait_until(lambda: heard, f"what is latched on {topic}")
        self.node.destroy_subscription(subscription)
        return heard[0]

    def latched_markers(self) -> MarkerArray:
        """What a late subscriber hears on ~/keyframes."""
        markers: MarkerArray = self.latched(MarkerArray, "keyframes")
        return markers

    # --- feeding -----------------------------------------------------------------------------------------------------

    def publisher(self, kind: type, topic: str, qos: QoSProfile | int = 100) -> Publisher:
        """A publisher that the node listens to already."""
        publisher = self.node.create_publisher(kind, topic, qos)
        self.wait_until(lambda: publisher.get_subscription_count() > 0, f"a subscription to {topic}")
        return publisher


@contextmanager
def running_node(
    folder: Path,
    parameters: Mapping[str, object] | None = None,
    *,
    namespace: str = "",
    defaults: Mapping[str, object] = QUICK,
    arguments: Sequence[str] = (),
    domain_id: int | None = None,
) -> Iterator[Robot]:
    """A node and its client, both gone afterwards; in a domain of their own unless one is named."""
    domain_id = free_domain() if domain_id is None else domain_id
    folder.mkdir(parents=True, exist_ok=True)
    if namespace:
        arguments = [*arguments, "-r", f"__ns:={namespace}"]
    process = NodeProcess(folder / "node.log", parameters, domain_id=domain_id, defaults=defaults, arguments=arguments)
    context = Context()
    try:
        context.init(domain_id=domain_id)
        robot = Robot(process, context, domain_id, namespace)
        try:
            yield robot
        finally:
            robot.close()
    finally:
        process.kill()
        context.try_shutdown()


@contextmanager
def active_node(folder: Path, parameters: Mapping[str, object] | None = None, **options: Any) -> Iterator[Robot]:  # noqa: ANN401
    """A node that has started by itself, and serves."""
    with running_node(folder, parameters, **options) as robot:
        robot.wait_until(lambda: robot.state() == "active", "the active state")
        yield robot


_domains = count(int(os.environ["ROS_DOMAIN_ID"]))


def free_domain() -> int:
    """A ROS domain in which nobody is; never the same twice in a row."""
    return ros_domain.free_domain(islice(_domains, ros_domain.LAST))


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
