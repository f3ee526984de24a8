# SPDX-License-Identifier: Apache-2.0
"""The node as a process: its lifecycle, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from action_msgs.msg import GoalStatus
from deadline import DEADLINE_S, POLL_S
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from node_camera import Camera, camera_info, pose_in
from node_harness import CHUNK_VIEWS, NodeProcess, Robot, active_node, free_domain, running_node
from rclpy.action import ActionClient
from rclpy.node import Node

from fsm_ros_msgs.action import RenderTrajectory
from fsm_ros_msgs.srv import Recall

pytestmark = pytest.mark.slow

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
UP = {"unconfigured": CONFIGURE, "inactive": ACTIVATE}
DOWN = {"active": DEACTIVATE, "inactive": CLEANUP}

# Chunks and views that take a second or so, and a view that takes minutes.
SLOW = {"memory.width": 160, "memory.height": 160, "chunk.views": 8, "render.resolution": "request"}
LARGE_VIEW, HUGE_VIEW = camera_info(640, 480), camera_info(1600, 1600)

signals = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])


def bring(robot: Robot, goal: str) -> None:
    """To a state, by way of the states between."""
    order = ["unconfigured", "inactive", "active"]
    while (state := robot.state()) != goal:
        steps = UP if order.index(state) < order.index(goal) else DOWN
        assert robot.change_state(steps[state]), robot.process.log


# --- the lifecycle ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """A node that waits for somebody to manage it."""
    parameters = {"autostart": False, "model.checkpoint": "/no/such/weights.safetensors"}
    with running_node(tmp_path_factory.mktemp("managed"), parameters) as robot:
        yield robot


@pytest.fixture
def fresh(managed: Robot) -> Robot:
    """The managed node, configured anew and active."""
    bring(managed, "unconfigured")
    assert managed.set_parameters({"model.checkpoint": "shipped"})[0].successful
    bring(managed, "active")
    return managed


def test_without_autostart_it_waits_and_a_wrong_checkpoint_can_be_corrected(managed: Robot) -> None:
    assert managed.state() == "unconfigured"
    assert not managed.change_state(CONFIGURE)
    assert "cannot be configured" in managed.process.log
    assert "/no/such/weights.safetensors" in managed.process.log
    assert managed.state() == "unconfigured"
    assert managed.set_parameters({"model.checkpoint": "shipped"})[0].successful
    assert managed.change_state(CONFIGURE)
    assert managed.state() == "inactive"
    assert managed.change_state(ACTIVATE)
    assert managed.state() == "active"


def test_deactivate_keeps_the_memory(fresh: Robot) -> None:
    Camera(fresh).stream(2)
    bring(fresh, "inactive")
    bring(fresh, "active")
    view = fresh.render(pose_in("map"))
    assert view.success, view.message
    assert view.chunks_observed == 2
    assert [report.chunks_observed for report in Camera(fresh).stream(1)] == [3]


def test_cleanup_frees_the_memory(fresh: Robot) -> None:
    Camera(fresh).stream(1)
    bring(fresh, "unconfigured")
    bring(fresh, "active")
    view = fresh.render(pose_in("map"))
    assert not view.success
    assert "nothing has been observed" in view.message
    assert fresh.counts() == {"received": 0, "keyframed": 0, "pending": 0}
    assert [report.chunks_observed for report in Camera(fresh).stream(1)] == [1]


@pytest.mark.parametrize("state", ["unconfigured", "inactive", "active"])
def test_a_transition_that_is_not_possible_is_refused(fresh: Robot, state: str) -> None:
    bring(fresh, state)
    possible = {UP.get(state), DOWN.get(state)}
    for transition in {CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE} - possible:
        assert not fresh.change_state(transition)
        assert fresh.state() == state


def test_a_camera_of_an_impossible_name_is_refused_and_can_be_corrected(fresh: Robot) -> None:
    bring(fresh, "unconfigured")
    assert fresh.set_parameters({"cameras": ["left", "no such topic!"]})[0].successful
    bring(fresh, "inactive")
    assert not fresh.change_state(ACTIVATE)
    assert "no such topic!" in fresh.process.log
    assert fresh.state() == "inactive"
    bring(fresh, "unconfigured")
    assert fresh.set_parameters({"cameras": ["left"]})[0].successful
    bring(fresh, "active")
    Camera(fresh, topics=("left/image_raw", "left/camera_info")).stream(1)
    # No subscription of the first attempt was left behind.
    fresh.wait_until(lambda: fresh.node.count_subscribers("/left/image_raw") == 1, "the only subscription")
    assert fresh.node.count_subscribers("/left/camera_info") == 2  # latched calibrations have one of their own
    bring(fresh, "unconfigured")
    assert fresh.set_parameters({"cameras": [""]})[0].successful


def test_while_it_is_inactive_requests_are_answered_so(fresh: Robot) -> None:
    Camera(fresh).stream(1)
    bring(fresh, "inactive")
    recalled = fresh.ask(Recall, f"{fresh.name}/recall", Recall.Request(pose=pose_in("map")))
    others = (fresh.reset(), fresh.pause(True), fresh.save("it"), fresh.load("it"))
    for answer in (fresh.render(pose_in("map")), recalled, *others):
        assert not answer.success
        assert "not active" in answer.message
    bring(fresh, "active")
    assert fresh.render(pose_in("map")).chunks_observed == 1


@pytest.mark.parametrize("transitions", [[DEACTIVATE], [DEACTIVATE, CLEANUP]], ids=["deactivate", "and clean up"])
def test_a_view_that_is_under_way_is_answered_all_the_same(fresh: Robot, transitions: list[int]) -> None:
    bring(fresh, "unconfigured")
    assert fresh.set_parameters({"render.resolution": "request"})[0].successful
    bring(fresh, "active")
    Camera(fresh).stream(1)
    view = fresh.begin_render(pose_in("map"), camera_info=LARGE_VIEW)
    fresh.wait_until(lambda: is_busy(fresh), "the worker at work")
    for done in [fresh.begin_transition(transition) for transition in transitions]:
        assert fresh.result(done).success
    answer = fresh.result(view)
    assert answer.success or "not active" in answer.message
    bring(fresh, "unconfigured")
    assert fresh.set_parameters({"render.resolution": "memory"})[0].successful


def test_a_trajectory_that_is_under_way_ends_with_deactivation(fresh: Robot) -> None:
    Camera(fresh).stream(1)
    client = ActionClient(fresh.node, RenderTrajectory, f"{fresh.name}/render_trajectory")
    fresh.wait_until(client.server_is_ready, "the action")
    seen: list[object] = []
    goal = RenderTrajectory.Goal(poses=[pose_in("map")] * 2000)
    handle = fresh.result(client.send_goal_async(goal, feedback_callback=seen.append))
    fresh.wait_until(lambda: seen, "the first view")
    bring(fresh, "inactive")
    answer = fresh.result(handle.get_result_async())
    assert answer.status == GoalStatus.STATUS_ABORTED
    assert "not active" in answer.result.message
    assert not fresh.result(client.send_goal_async(goal)).accepted
    client.destroy()


def test_another_node_of_its_name_is_told_for_as_long_as_it_is_there(fresh: Robot) -> None:
    assert fresh.status("name").level == DiagnosticStatus.OK
    for name, namespace, level in (
        ("fsm", "/", DiagnosticStatus.WARN),
        ("fsm", "/robot2", DiagnosticStatus.OK),
        ("fsm2", "/", DiagnosticStatus.OK),
    ):
        other = Node(name, namespace=namespace, context=fresh.node.context, start_parameter_services=False)
        fresh.wait_until(lambda: (name, namespace) in fresh.node.get_node_names_and_namespaces(), "the other node")  # noqa: B023
        fresh.wait_until(lambda: fresh.status("name").level == level, f"the status beside {namespace}{name}")  # noqa: B023
        other.destroy_node()
        fresh.wait_until(lambda: fresh.status("name").level == DiagnosticStatus.OK, "the status of before")


# --- the end ---------------------------------------------------------------------------------------------------------


def test_autostart_that_fails_ends_with_exit_code_1_and_says_why(tmp_path: Path) -> None:
    process = NodeProcess(
        tmp_path / "node.log", {"model.checkpoint": "/no/such/weights.safetensors"}, domain_id=free_domain()
    )
    assert process.exit_code() == 1
    assert "/no/such/weights.safetensors" in process.log
    assert "Traceback" not in process.log


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-p", "memory.extent_margin:=far"], "memory.extent_margin must be of type float, got 'far'"),
        (["-p", "memory.submaps:=0"], "memory.submaps must be from 1 to 64, got 0"),
        (["--params-file", "/no/such/file.yaml"], "/no/such/file.yaml"),
        (["--log-level", "loud"], "loud"),
        (["--nonsense"], "--nonsense"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_arguments_that_cannot_be_used_are_told_in_one_line(arguments: list[str], told: str, tmp_path: Path) -> None:
    process = NodeProcess(tmp_path / "node.log", domain_id=free_domain(), arguments=arguments)
    assert process.exit_code() == 1
    (line,) = (line for line in process.log.splitlines() if "[rcl]" not in line)
    assert line.startswith("fsm_node: ") and told in line


def run_node(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m fsm_ros.node.fsm_node` to its end, with a folder before all others that modules come from."""
    before = {} if path is None else {"PYTHONPATH": os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "fsm_ros.node.fsm_node", *arguments]
    return subprocess.run(command, env=os.environ | before, capture_output=True, text=True, timeout=DEADLINE_S)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_its_usage_names_topics_and_starts_nothing(word: str) -> None:
    done = run_node(word)
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("image_raw", "camera_info", "/tf", "~/render", "config/fsm.yaml"))
    assert done.stderr == ""


def test_a_remap_without_ros_args_is_refused_and_not_passed_over() -> None:
    done = run_node("image_raw:=/camera/image_raw")
    assert done.returncode == 1
    assert done.stderr == (
        "fsm_node: no argument image_raw:=/camera/image_raw is known: "
        "ROS arguments stand behind --ros-args; see --help\n"
    )


@pytest.mark.parametrize("is_there", [False, True], ids=["not built", "of an earlier version"])
def test_interfaces_that_are_not_built_are_told_with_what_builds_them(is_there: bool, tmp_path: Path) -> None:
    package = tmp_path / "fsm_ros_msgs"
    package.mkdir()
    (package / "__init__.py").write_text("")
    if is_there:
        for module in ("action", "msg", "srv"):
            (package / f"{module}.py").write_text("")
    done = run_node("--ros-args", path=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "the interfaces are not built, or of another version" in line
    assert "colcon build --base-paths src/fsm_ros src/fsm_ros/fsm_ros_msgs" in line


def test_a_transition_that_fails_says_why(tmp_path: Path) -> None:
    wrong_qos = ["-p", "qos_overrides./image_raw.subscription.reliability:=rather"]
    process = NodeProcess(tmp_path / "node.log", domain_id=free_domain(), arguments=wrong_qos)
    assert process.exit_code() == 1
    assert "on_activate failed" in process.log
    assert "rather" in process.log


@signals
def test_a_signal_while_idle_ends_it_with_exit_code_0(tmp_path: Path, number: signal.Signals) -> None:
    with active_node(tmp_path) as robot:
        robot.process.signal(number)
        assert ended(robot.process) == 0


@signals
def test_a_signal_while_observing_and_rendering_ends_it_with_exit_code_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    with active_node(tmp_path, SLOW) as robot:
        Camera(robot).shoot(4 * 8)
        robot.wait_until(lambda: robot.heard.memory, "the first chunk")
        views = [robot.begin_render(pose_in("map"), camera_info=LARGE_VIEW) for _ in range(4)]
        robot.process.signal(number)
        assert ended(robot.process) == 0
        for view in views:
            view.cancel()


def test_a_job_that_takes_long_holds_nothing_up(tmp_path: Path) -> None:
    parameters = {"render.max_pixels": 1600 * 1600, "render.resolution": "request", "render.timeout": 1.0}
    with active_node(tmp_path, parameters) as robot:
        camera = Camera(robot)
        camera.stream(1)
        huge = robot.begin_render(pose_in("map"), camera_info=HUGE_VIEW)
        robot.wait_until(lambda: is_busy(robot), "the worker at work")
        # Frames and TF are heard, requests are answered, and the node ends when it is told to.
        camera.shoot(2)
        robot.wait_for_counts(keyframed=4)
        view = robot.render(pose_in("no_such_frame"))
        assert "no_such_frame" in view.message
        for view in (robot.result(huge), robot.render(pose_in("map"))):
            assert not view.success
            assert "render.timeout" in view.message
        robot.process.signal(signal.SIGTERM)
        assert ended(robot.process) == 0


def test_shutdown_answers_what_is_under_way_and_any_number_of_signals_ends_the_process(tmp_path: Path) -> None:
    with active_node(tmp_path, SLOW | {"chunk.views": CHUNK_VIEWS}) as robot:
        Camera(robot).stream(1)
        views = [robot.begin_render(pose_in("map"), camera_info=LARGE_VIEW) for _ in range(4)]
        assert robot.change_state(Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert robot.state() == "finalized"
        answers = [robot.result(view) for view in views]
        assert not answers[-1].success
        deadline_s = time.monotonic() + DEADLINE_S
        while robot.process.is_alive:
            robot.process.signal(signal.SIGINT)
            assert time.monotonic() < deadline_s, robot.process.log
            time.sleep(POLL_S)
        assert ended(robot.process) == 0


def maps_pytorch(process: NodeProcess) -> bool:
    return "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()


def has_said_something(process: NodeProcess) -> bool:
    return "configured" in process.log


@signals
@pytest.mark.parametrize("moment", [maps_pytorch, has_said_something])
def test_a_signal_during_the_start_ends_it_with_exit_code_0(
    tmp_path: Path, number: signal.Signals, moment: Callable[[NodeProcess], bool]
) -> None:
    process = NodeProcess(tmp_path / "node.log", domain_id=free_domain())
    try:
        process.wait_until(lambda: moment(process), "the moment for the signal")
        process.signal(number)
        assert ended(process) == 0
    finally:
        process.kill()


def is_busy(robot: Robot) -> bool:
    """Whether the memory worker is at work."""
    return next(float(entry.value) for entry in robot.status("device").values if entry.key == "busy_s") > 0


def ended(process: NodeProcess) -> int:
    """The exit code of a process that was told to end; it must not have ended in disorder."""
    code = process.exit_code()
    assert "Traceback" not in process.log, process.log
    return code
