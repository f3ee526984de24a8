"""The launch files, where launch is installed; and what they start, by hand, everywhere."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from node_harness import DEADLINE_S, NodeProcess, free_domain

from fsm_ros.replay.demo_bag import write_demo_bag

LAUNCH_FILES = ("fsm.launch.py", "replay.launch.py")
# The folder launch/ of this checkout can pass for the package of that name, so its own parts are asked for.
HAS_LAUNCH = all(importlib.util.find_spec(name) is not None for name in ("launch_ros", "launch_pytest"))
needs_launch = pytest.mark.skipif(not HAS_LAUNCH, reason="launch_ros and launch_pytest are not on PyPI: needs ROS")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("launch") / "bag"
    write_demo_bag(path, duration_s=3.0)
    return path


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_launch_files_are_python_that_describes_a_launch(name: str, repo_root: Path) -> None:
    source = (repo_root / "launch" / name).read_text()
    code = compile(source, name, "exec")
    assert "generate_launch_description" in code.co_names


@needs_launch
@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_launched_node_answers_and_ends_cleanly(name: str, repo_root: Path, bag: Path, tmp_path: Path) -> None:
    """Through the real launch service, in a process of its own, as `ros2 launch` runs it."""
    script = tmp_path / "run_launch.py"
    script.write_text(
        "import sys\n"
        "from launch import LaunchService\n"
        "from launch.actions import IncludeLaunchDescription, Shutdown, TimerAction\n"
        "from launch.launch_description_sources import PythonLaunchDescriptionSource\n"
        "service = LaunchService()\n"
        "arguments = [tuple(word.split(':=', 1)) for word in sys.argv[2:]]\n"
        "source = PythonLaunchDescriptionSource(sys.argv[1])\n"
        "from launch import LaunchDescription\n"
        "service.include_launch_description(LaunchDescription([\n"
        "    IncludeLaunchDescription(source, launch_arguments=arguments),\n"
        "    TimerAction(period=20.0, actions=[Shutdown(reason='enough')]),\n"
        "]))\n"
        "sys.exit(service.run())\n"
    )
    arguments = [f"bag:={bag}"] if name.startswith("replay") else ["camera:=/camera"]
    environment = os.environ | {"ROS_DOMAIN_ID": str(free_domain())}
    done = subprocess.run(
        [sys.executable, str(script), str(repo_root / "launch" / name), *arguments],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_S,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "active: listening to /camera/image_raw" in said
    assert "process has finished cleanly" in said
    assert "process has died" not in said


def test_twin_of_the_replay_launch(bag: Path, repo_root: Path, tmp_path: Path) -> None:
    """The same three programs by hand: the node with config/fsm.yaml, the player, and a view asked for."""
    domain_id = free_domain()
    remaps = ["-r", "image_raw:=/camera/image_raw", "-r", "camera_info:=/camera/camera_info"]
    config = ["--params-file", str(repo_root / "config" / "fsm.yaml")]
    quick = {"use_sim_time": True, "memory.extent": 1.0, "chunk.timeout": 0.5, "keyframes.translation": 0.1}
    node = NodeProcess(tmp_path / "node.log", quick, domain_id=domain_id, arguments=[*config, *remaps])
    environment = os.environ | {"ROS_DOMAIN_ID": str(domain_id)}

    def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)

    try:
        node.wait_until(lambda: "active: listening" in node.log, "the active state")
        played = run("fsm_ros.node.play_bag", str(bag), "--clock", "--wait-for-subscribers", "30", "--no-progress")
        assert played.returncode == 0, played.stderr
        picture = tmp_path / "view.png"
        asked = run(
            "fsm_ros.node.render_view",
            "--position",
            "0",
            "0",
            "0",
            "--look-at",
            "1",
            "0",
            "0",
            "--output",
            str(picture),
        )
        assert asked.returncode == 0, asked.stderr + node.log
        image = cv2.imread(str(picture))
        assert image is not None
        assert image.shape == (64, 64, 3)
        assert np.ptp(image) > 0
        node.signal(signal.SIGINT)
        assert node.exit_code() == 0
    finally:
        node.kill()
