# SPDX-License-Identifier: Apache-2.0
"""The example that asks a running node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from deadline import DEADLINE_S
from node_camera import Camera
from node_harness import Robot, active_node
from PIL import Image

pytestmark = pytest.mark.slow


def run(repo_root: Path, folder: Path, robot: Robot) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repo_root / "examples/05_render_client.py")]
    environment = os.environ | {"ROS_DOMAIN_ID": str(robot.domain_id)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)


def test_the_client_saves_what_the_node_shows_and_says_what_is_wrong(repo_root: Path, tmp_path: Path) -> None:
    with active_node(tmp_path / "node") as robot:
        early = run(repo_root, tmp_path, robot)
        assert early.returncode == 1 and "nothing has been observed" in early.stderr
        Camera(robot).stream(2)
        done = run(repo_root, tmp_path, robot)
    assert done.returncode == 0, done.stderr
    assert "after 2 chunks" in done.stdout
    assert Image.open(tmp_path / "out/client.png").size[0] > 0
