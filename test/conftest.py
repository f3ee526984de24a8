"""What every test shares: a ROS domain of its own, on this machine only, and the checkout."""

import os
from pathlib import Path

import pytest

# Before anything imports rclpy: tests must not hear a robot, another test run, or be heard by them.
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 101))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
# And before anything imports PyTorch: on a busy machine its threads wait longer for one another than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")


pytest.register_assert_rewrite("player_harness")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent
