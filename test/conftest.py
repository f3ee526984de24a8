# SPDX-License-Identifier: Apache-2.0
"""What every test shares: a ROS domain of its own, on this machine only, the checkout, and the marks of tests."""

import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

# Before anything imports rclpy: tests must not hear a robot, another test run, or be heard by them.
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 101))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
# And before anything imports PyTorch: on a busy machine its threads wait longer for one another than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # Nothing is left behind all the same, and not every process of a test compiles PyTorch's Python anew.
    _bytecode = TemporaryDirectory(prefix="fsm-ros-bytecode-")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = _bytecode.name
    sys.dont_write_bytecode = False

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

NEEDS_ROS = re.compile(
    r"^(?:(?:from|import) (?:rclpy|\w+_msgs|ament_index_python|fsm_ros\.node|node_\w+)\b"
    r"|(?:rclpy = )?pytest\.importorskip\(.(?:rclpy|\w+_msgs)\b)",
    re.MULTILINE,
)
"""What the source of a test says that cannot run where there is no ROS."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of modules that need ROS."""
    needs_ros: dict[Path, bool] = {}
    for item in items:
        if item.path not in needs_ros:
            needs_ros[item.path] = NEEDS_ROS.search(item.path.read_text()) is not None
        if needs_ros[item.path]:
            item.add_marker(pytest.mark.ros)


pytest.register_assert_rewrite("player_harness")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent
