# SPDX-License-Identifier: Apache-2.0
"""The launch files, and the same set-up without launch: node, player and `render_view`, each a process of its own."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import rclpy
from ament_index_python.packages import get_package_prefix, get_packages_with_prefixes
from deadline import DEADLINE_S, wait_until
from lifecycle_msgs.srv import GetState
from node_harness import Robot, active_node, free_domain

from fsm_ros.node.large_images import reason_against
from fsm_ros.replay.demo.bag import write_demo_bag
from fsm_ros.stream.frame import Camera

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
BAG_S = 3.0
SMALL_CAMERA = Camera(width=80, height=60, fx=51.0, fy=51.0, cx=40.0, cy=30.0)


# --- the launch files as text ----------------------------------------------------------------------------------------


def arguments_of(path: Path) -> set[str]:
    """The launch arguments that a file declares."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(), str(path))) if isinstance(node, ast.Call)]
    return {ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func) == "DeclareLaunchArgument"}


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_the_launch_files_are_sound_python(path: Path) -> None:
    tree = compile(path.read_text(), str(path), "exec", flags=ast.PyCF_ONLY_AST)
    assert "generate_launch_description" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_launch_files_take_the_documented_arguments() -> None:
    declared = {path.name: arguments_of(path) for path in LAUNCH_FILES}
    assert declared.keys() == {"fsm.launch.py", "replay.launch.py"}
    assert declared["fsm.launch.py"] >= {"namespace", "params_file", "use_sim_time", "log_level", "autostart"}
    assert {"large_images", "respawn", "enclave", "rviz", "viewer"} <= declared["fsm.launch.py"]
    taken = {"camera", "image", "camera_info", "params_file", "set", "checkpoint", "device", "reliability"}
    assert taken <= declared["fsm.launch.py"]
    replays = {"bag", "rate", "loop", "topics", "hold_out", "remap", "on_end", "save"}
    assert declared["replay.launch.py"] == replays | {"reliability"}, "the others are those of fsm.launch.py"


# --- a bag, and a view -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_bag(tmp_path_factory.mktemp("bag") / "room", duration_s=BAG_S, camera=SMALL_CAMERA)


@pytest.fixture(autouse=True)
def _environment_as_it_was() -> Iterator[None]:
    """What launch sets it sets in its own process, which for some tests here is this one."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def program(name: str) -> str:
    """A console script: of this environment, or where `ros2 run` looks for it."""
    folders = [str(Path(sys.executable).parent), f"{get_package_prefix('fsm_ros')}/lib/fsm_ros"]
    found = shutil.which(name, path=os.pathsep.join(folders))
    assert found is not None, f"{name} is not installed in {folders}"
    return found


def render_view(*arguments: object, domain_id: int | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({} if domain_id is None else {"ROS_DOMAIN_ID": str(domain_id)})
    command = [program("render_view"), "--position", "0", "0", "1", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * DEADLINE_S)


def size_of(path: Path) -> tuple[int, int]:
    image = cv2.imread(str(path))
    assert image is not None
    assert image.std() > 0
    return image.shape[1], image.shape[0]


LARGE_IMAGES_BYTES = 33_554_432
"""What config/fastdds_large_images.xml asks for."""


def shared_memory_bytes(pid: int) -> int:
    """The largest segment of shared memory that Fast DDS has in a process."""
    mapped = re.findall(r"^(\w+)-(\w+) .*/fast\w+$", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE)
    return max((int(end, 16) - int(begin, 16) for begin, end in mapped), default=0)


def is_installed(package: str) -> bool:
    """Whether there is a ROS package of this name."""
    return package in get_packages_with_prefixes()


# --- with launch -----------------------------------------------------------------------------------------------------

# The folder launch/ of this checkout can pass for the package of that name, so its own parts are asked for.
HAS_LAUNCH = all(importlib.util.find_spec(name) is not None for name in ("launch_ros", "launch_pytest"))
needs_launch = pytest.mark.skipif(
    not HAS_LAUNCH,
    reason="launch_ros and launch_pytest are not on PyPI: they come with ROS 2 (ros-jazzy-launch-pytest)",
)
with_fsm_launch = with_replay_launch = needs_launch
if HAS_LAUNCH:
    import launch_pytest
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from launch import LaunchDescription

    def launched(name: str, **arguments: object) -> LaunchDescription:
        source = PythonLaunchDescriptionSource(str(ROOT / "launch" / name))
        given = [(key, str(value)) for key, value in arguments.items()]
        return LaunchDescription([IncludeLaunchDescription(source, launch_arguments=given)])

    @launch_pytest.fixture
    def fsm_launch() -> LaunchDescription:
        return launched("fsm.launch.py", namespace="robot1")

    @launch_pytest.fixture
    def replay_launch(bag: Path) -> LaunchDescription:
        # Slowly, as a view is asked for while it plays.
        return launched("replay.launch.py", bag=bag, rate=0.1)

    with_fsm_launch = pytest.mark.launch(fixture=fsm_launch)
    with_replay_launch = pytest.mark.launch(fixture=replay_launch)


@with_fsm_launch
def test_fsm_launch_brings_the_node_up_in_its_namespace() -> None:
    context = rclpy.Context()
    context.init()
    node = rclpy.create_node("launch_client", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    client = node.create_client(GetState, "/robot1/fsm/get_state")
    label, deadline_s = "", time.monotonic() + DEADLINE_S
    while label != "active":
        assert time.monotonic() < deadline_s, f"the node is {label or 'not there'}"
        if client.wait_for_service(timeout_sec=1.0):
            answer = client.call_async(GetState.Request())
            executor.spin_until_future_complete(answer, timeout_sec=5.0)
            label = answer.result().current_state.label if answer.done() else label
    executor.shutdown()
    node.destroy_node()
    context.try_shutdown()


@with_replay_launch
def test_replay_launch_plays_a_bag_that_can_be_looked_into(tmp_path: Path) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while (done := render_view("--output", tmp_path / "view.png")).returncode != 0:
        assert time.monotonic() < deadline_s, done.stderr
    assert size_of(tmp_path / "view.png") == (64, 64)


LAUNCH_SERVICE = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

source = PythonLaunchDescriptionSource(sys.argv[1])
arguments = [tuple(word.split(":=", 1)) for word in sys.argv[2:]]
service = LaunchService()
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)]))
sys.exit(service.run())
"""


@contextmanager
def active_launch(folder: Path, name: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A real launch service, in a process of its own as `ros2 launch` runs it, and its log; interrupted at the end."""
    script, log = folder / "run_launch.py", folder / "launch.log"
    script.write_text(LAUNCH_SERVICE)
    with log.open("w") as file:
        launching = subprocess.Popen(
            [sys.executable, str(script), str(ROOT / "launch" / name), *arguments],
            env=os.environ | {"ROS_DOMAIN_ID": str(free_domain())},
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline_s = time.monotonic() + 2 * DEADLINE_S
        while "active: listening to /camera/image_raw" not in log.read_text():
            assert time.monotonic() < deadline_s and launching.poll() is None, log.read_text()
            time.sleep(0.1)
        yield launching, log
    finally:
        launching.send_signal(signal.SIGINT)
        assert launching.wait(DEADLINE_S) == 0, log.read_text()


@needs_launch
@pytest.mark.parametrize("name", ["fsm.launch.py", "replay.launch.py"])
def test_what_was_launched_ends_cleanly(name: str, bag: Path, tmp_path: Path) -> None:
    with active_launch(tmp_path, name, f"bag:={bag}") as (launching, log):
        if name == "replay.launch.py":
            assert launching.wait(DEADLINE_S) == 0, "it ends with the bag"
    assert "process has finished cleanly" in log.read_text()
    assert "process has died" not in log.read_text()


def launch_to_its_end(folder: Path, name: str, *arguments: str) -> tuple[int, str]:
    """Exit code and log of a launch that ends by itself."""
    script = folder / "run_launch.py"
    script.write_text(LAUNCH_SERVICE)
    launching = subprocess.Popen(
        [sys.executable, str(script), str(ROOT / "launch" / name), *arguments],
        env=os.environ | {"ROS_DOMAIN_ID": str(free_domain())},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        log, _ = launching.communicate(timeout=3 * DEADLINE_S)
        wait_until(lambda: not is_running(launching.pid), "the end of all that was launched")
    finally:
        if is_running(launching.pid):
            os.killpg(launching.pid, signal.SIGKILL)
    return launching.returncode, log


def is_running(group: int) -> bool:
    """Whether a process of this group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@needs_launch
@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("log_level:=loud", "Valid options are"),
        ("autostart:=yes", "Valid options are"),
        ("params_file:=/no/such/file.yaml", "/no/such/file.yaml: there is no such file"),
        ("set:=memory.extent", "a parameter is set by NAME=VALUE"),
        ("set:=memory.extent=far", "memory.extent must be of type float, got 'far'"),
        ("checkpoint:=/no/such/weights.safetensors", "there is no checkpoint /no/such/weights.safetensors"),
        ("camera:=//x", "the ROS arguments cannot be used"),
    ],
)
def test_a_launch_ends_with_an_error_where_the_node_cannot_start(argument: str, told: str, tmp_path: Path) -> None:
    code, log = launch_to_its_end(tmp_path, "fsm.launch.py", argument)
    assert code == 1, log
    assert told in log
    assert "Traceback" not in log


@needs_launch
def test_single_parameters_and_a_stray_slash_are_taken(tmp_path: Path) -> None:
    words = ("camera:=/camera/", "set:=memory.extent=5 memory.submaps=2", "namespace:=robot1/")
    with active_launch(tmp_path, "fsm.launch.py", *words) as (_, log):
        assert "process started" in log.read_text()


@needs_launch
@pytest.mark.parametrize("name", ["fsm.launch.py", "replay.launch.py"])
def test_the_viewer_is_served_where_it_is_asked_for(name: str, bag: Path, tmp_path: Path) -> None:
    words = ["viewer:=true", "set:=viewer.port=0", *([f"bag:={bag}", "on_end:=keep"] if "replay" in name else [])]
    with active_launch(tmp_path, name, *words) as (_, log):
        (page,) = re.findall(r"viewer: open (http://127\.0\.0\.1:\d+)", log.read_text())
        assert urllib.request.urlopen(page, timeout=DEADLINE_S).status == 200


@needs_launch
def test_a_node_that_dies_is_started_again_where_that_is_asked_for(tmp_path: Path) -> None:
    with active_launch(tmp_path, "fsm.launch.py", "respawn:=true") as (launching, log):
        (pid,) = re.findall(r"fsm_node-1\]: process started with pid \[(\d+)\]", log.read_text())
        os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: log.read_text().count("active: listening to /camera/image_raw") == 2, "the second node")
        assert launching.poll() is None


@needs_launch
def test_a_replay_saves_the_memory_and_ends(bag: Path, tmp_path: Path) -> None:
    words = (f"bag:={bag}", "save:=kitchen", f"set:=storage_dir={tmp_path} model.threads=1", "hold_out:=5")
    code, log = launch_to_its_end(tmp_path, "replay.launch.py", *words)
    assert code == 0, log
    assert (tmp_path / "kitchen.safetensors").is_file()


@needs_launch
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("loop:=true", "save:=kitchen"), "save:=kitchen: nothing is saved with loop:=true"),
        (("topics:='/tf",), "topics:='/tf: No closing quotation"),
        (("set:=memory.extent",), "a parameter is set by NAME=VALUE"),
        (("rviz:=true", "set:=memory.extent"), "a parameter is set by NAME=VALUE"),
    ],
)
def test_a_replay_that_cannot_be_as_asked_starts_nothing(
    arguments: tuple[str, ...], told: str, bag: Path, tmp_path: Path
) -> None:
    code, log = launch_to_its_end(tmp_path, "replay.launch.py", f"bag:={bag}", *arguments)
    assert code == 1, log
    assert told in log


@needs_launch
@pytest.mark.skipif(is_installed("rviz2"), reason="RViz is installed")
@pytest.mark.parametrize("name", ["fsm.launch.py", "replay.launch.py"])
def test_without_rviz_none_is_promised_and_nothing_started(name: str, bag: Path, tmp_path: Path) -> None:
    code, log = launch_to_its_end(tmp_path, name, f"bag:={bag}", "rviz:=true")
    assert code == 1, log
    assert "rviz:=true: RViz is not installed; it comes with ros-jazzy-rviz2" in log


@needs_launch
def test_a_replay_to_other_topics_than_the_node_takes_ends_with_an_error(bag: Path, tmp_path: Path) -> None:
    code, log = launch_to_its_end(tmp_path, "replay.launch.py", f"bag:={bag}", "camera:=/front")
    assert code == 1, log
    assert re.search(r"/fsm listens to .*/front/image_raw,", log)
    assert "the recording has images on /camera/image_raw" in log


@needs_launch
def test_a_node_that_is_kept_after_a_replay_still_answers(bag: Path, tmp_path: Path) -> None:
    with active_launch(tmp_path, "replay.launch.py", f"bag:={bag}", "on_end:=keep", "rate:=4") as (launching, log):
        wait_until(lambda: "play_bag-2]: process has finished cleanly" in log.read_text(), "the end of the bag")
        assert launching.poll() is None


@needs_launch
@pytest.mark.parametrize("given", ["auto", "true", "false"])
def test_large_images_reach_the_shared_memory_of_the_node(given: str, tmp_path: Path) -> None:
    with active_launch(tmp_path, "fsm.launch.py", f"large_images:={given}") as (_, log):
        (pid,) = re.findall(r"fsm_node-1\]: process started with pid \[(\d+)\]", log.read_text())
        held_bytes = shared_memory_bytes(int(pid))
    is_wanted = given == "true" or (given == "auto" and not reason_against(os.environ, tmp_path))
    assert (held_bytes >= LARGE_IMAGES_BYTES) is is_wanted, held_bytes


# --- without launch --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def robot(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """What replay.launch.py starts: the node with the shipped parameters, fed from a bag with its clock."""
    arguments = ["--params-file", str(ROOT / "config" / "fsm.yaml")]
    for name in ("image_raw", "image_raw/compressed", "camera_info"):
        arguments += ["-r", f"{name}:=/camera/{name}"]
    storage = tmp_path_factory.mktemp("storage")
    with active_node(
        tmp_path_factory.mktemp("replay"),
        {"use_sim_time": True, "model.threads": 1, "input.reliability": "reliable", "storage_dir": str(storage)},
        defaults={},
        arguments=arguments,
    ) as robot:
        play = [sys.executable, "-m", "fsm_ros.tools.play_bag", str(bag), "--clock", "--no-progress"]
        subprocess.run(
            [*play, "--wait-for-subscribers", str(DEADLINE_S), "--wait-for-node", "/fsm"],
            env=os.environ | {"ROS_DOMAIN_ID": str(robot.domain_id)},
            check=True,
            timeout=3 * DEADLINE_S,
        )
        robot.wait_until(lambda: robot.heard.memory, "the first chunk")
        yield robot


def test_a_bag_is_observed(robot: Robot) -> None:
    counts = robot.wait_for_counts(received=round(10 * BAG_S))
    assert counts["keyframed"] >= 4
    assert counts["received"] == counts["keyframed"] + counts["pending"] + sum(robot.refused().values())


def test_render_view_writes_the_live_cameras_view(robot: Robot, tmp_path: Path) -> None:
    done = render_view("--output", tmp_path / "view.png", domain_id=robot.domain_id)
    assert done.returncode == 0, done.stderr
    assert "64x64" in done.stdout
    assert size_of(tmp_path / "view.png") == (64, 64)


def test_render_view_writes_a_view_of_a_wanted_size(robot: Robot, tmp_path: Path) -> None:
    wanted = ["--look-at", 2, 1, 1, "--size", 96, 40, "--fov", 80]
    done = render_view(*wanted, "--output", tmp_path / "view.png", domain_id=robot.domain_id)
    assert done.returncode == 0, done.stderr
    assert size_of(tmp_path / "view.png") == (96, 40)


def test_render_view_writes_depth_and_confidence_beside_the_colours(robot: Robot, tmp_path: Path) -> None:
    depth, confidence = tmp_path / "depth.tiff", tmp_path / "confidence.tif"
    files = ["--output", tmp_path / "view.png", "--depth", depth, "--confidence", confidence]
    done = render_view("--frame", "camera_optical_frame", "--size", 96, 40, *files, domain_id=robot.domain_id)
    assert done.returncode == 0, done.stderr
    metres, sureness = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (depth, confidence))
    assert metres.shape == sureness.shape == (40, 96) and metres.dtype == sureness.dtype == np.float32
    assert ((metres > 0) | np.isnan(metres)).all() and np.isfinite(metres).any()
    assert sureness.min() >= 0 and 0 < sureness.max() <= 1
    assert size_of(tmp_path / "view.png") == (96, 40)


def test_render_view_asks_for_the_fast_weights_alone(robot: Robot, tmp_path: Path) -> None:
    done = render_view("--method", "memory", "--output", tmp_path / "view.png", domain_id=robot.domain_id)
    assert done.returncode == 0, done.stderr
    assert "0% from 0 photographs" in done.stdout


def test_save_memory_waits_for_what_is_on_its_way_and_saves(robot: Robot, tmp_path: Path) -> None:
    def save(*arguments: object) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"ROS_DOMAIN_ID": str(robot.domain_id)}
        command = [program("save_memory"), *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * DEADLINE_S)

    done = save("kitchen", "--settle", DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, "")
    path, _, size = done.stdout.partition(": ")
    assert Path(path).stat().st_size == int(size.split()[0])
    refused = save("../kitchen", "--settle", 0)
    assert refused.returncode == 1
    assert "save_memory: " in refused.stderr and "Traceback" not in refused.stderr
    nobody = save("kitchen", "--node", "/nobody", "--timeout", 0.5)
    assert nobody.returncode == 1
    assert "no service /nobody/save_memory" in nobody.stderr


def test_render_view_says_why_there_is_no_view(robot: Robot, tmp_path: Path) -> None:
    done = render_view("--frame", "nowhere", "--output", tmp_path / "view.png", domain_id=robot.domain_id)
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert not (tmp_path / "view.png").exists()


@pytest.mark.parametrize("is_given", [True, False])
def test_the_profile_for_large_images_is_understood_by_fast_dds(is_given: bool) -> None:
    profile = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(ROOT / "config/fastdds_large_images.xml")}
    code = "import rclpy; rclpy.init(); node = rclpy.create_node('camera'); print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | (profile if is_given else {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as camera:
        assert camera.stdout is not None and camera.stdout.readline() == "ready\n"
        held_bytes = shared_memory_bytes(camera.pid)
        assert camera.communicate("\n")[1] == ""
    assert 0 < held_bytes
    assert (held_bytes >= LARGE_IMAGES_BYTES) is is_given


def test_render_view_does_not_wait_for_ever_for_a_node(tmp_path: Path) -> None:
    done = render_view("--timeout", 0.5, "--output", tmp_path / "view.png", domain_id=free_domain())
    assert done.returncode == 1
    assert "no service" in done.stderr
