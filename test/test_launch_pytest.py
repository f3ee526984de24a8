"""The launch files under launch_pytest, where it is installed; `test_launch.py` has their twin for everywhere else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

launch_pytest = pytest.importorskip("launch_pytest", reason="launch_pytest is not on PyPI: needs a ROS installation")
pytest.importorskip("launch_ros", reason="launch_ros is not on PyPI: needs a ROS installation")

import rclpy  # noqa: E402
from launch.actions import IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from lifecycle_msgs.srv import GetState  # noqa: E402
from node_harness import DEADLINE_S  # noqa: E402

from fsm_ros.replay.demo_bag import write_demo_bag  # noqa: E402
from launch import LaunchDescription  # noqa: E402

LAUNCH = Path(__file__).resolve().parent.parent / "launch"


def _included(name: str, **arguments: str) -> LaunchDescription:
    source = PythonLaunchDescriptionSource(str(LAUNCH / name))
    include = IncludeLaunchDescription(source, launch_arguments=list(arguments.items()))
    return LaunchDescription([include, launch_pytest.actions.ReadyToTest()])


@launch_pytest.fixture
def fsm_launch() -> LaunchDescription:
    return _included("fsm.launch.py")


@launch_pytest.fixture
def replay_launch(tmp_path: Path) -> LaunchDescription:
    bag = tmp_path / "bag"
    # Long enough to be asked while it plays: the launch ends with the bag.
    write_demo_bag(bag, duration_s=12.0)
    return _included("replay.launch.py", bag=str(bag))


@pytest.mark.launch(fixture=fsm_launch)
def test_fsm_launch_brings_the_node_to_active() -> None:
    assert _state_within(DEADLINE_S) == "active"


@pytest.mark.launch(fixture=replay_launch)
def test_replay_launch_brings_the_node_to_active() -> None:
    assert _state_within(DEADLINE_S) == "active"


def _state_within(seconds: float) -> str:
    """The lifecycle state of the node, as soon as it is active, else after so long."""
    context = rclpy.Context()
    context.init()
    node = rclpy.create_node("watcher", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    client = node.create_client(GetState, "/fsm/get_state")
    state = "absent"
    deadline_s = time.monotonic() + seconds
    try:
        while state != "active" and time.monotonic() < deadline_s:
            if not client.wait_for_service(timeout_sec=1.0):
                continue
            future = client.call_async(GetState.Request())
            executor.spin_until_future_complete(future, timeout_sec=5.0)
            if future.done():
                state = future.result().current_state.label
        return state
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
