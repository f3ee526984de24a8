# SPDX-License-Identifier: Apache-2.0
"""The package as others meet it: manifests, environment, programs, and messages on the wire."""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from ament_index_python.packages import get_package_prefix, get_package_share_directory
from deadline import DEADLINE_S
from geometry_msgs.msg import TransformStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

import fsm_ros
from fsm_ros_msgs.srv import RenderView

# RIHS01 of tf2_msgs/msg/TFMessage in ROS 2 Jazzy: peers with another hash do not hear each other.
TF_MESSAGE_HASH = "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"

# What rosdep calls the package of a module that is called otherwise.
ROSDEP_KEY_OF = {
    "PIL": "python3-pil",
    "cv2": "python3-opencv",
    "hypothesis": "python3-hypothesis",
    "numpy": "python3-numpy",
    "pytest": "python3-pytest",
    "scipy": "python3-scipy",
    "tf2_ros": "tf2_ros_py",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
}
# What pip calls it, likewise.
REQUIREMENT_OF = {
    "jinja2": "Jinja2",
    "lightning_fabric": "lightning-fabric",
    "markupsafe": "MarkupSafe",
    "skimage": "scikit-image",
}
# A plugin of pytest, which nobody imports.
PLUGINS = {"python3-pytest-timeout"}

uses_wheels = Path(sys.prefix).resolve() == Path(__file__).resolve().parent.parent / ".venv"
on_wheels = pytest.mark.skipif(
    not uses_wheels, reason="needs the environment that scripts/bootstrap builds without ROS"
)


def manifest(path: Path) -> ElementTree.Element:
    return ElementTree.parse(path).getroot()


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in the environment of this process, as changed; a variable set to "" is removed."""
    merged = {name: value for name, value in (os.environ | environment).items() if value}
    return subprocess.run(command, env=merged, capture_output=True, text=True, stdin=subprocess.DEVNULL)


# ---------------------------------------------------------------- manifests


def test_every_file_that_names_a_version_names_the_same(repo_root: Path) -> None:
    changelog = (repo_root / "CHANGELOG.rst").read_text()
    newest = re.search(r"^(\d+\.\d+\.\d+) \(", changelog, re.MULTILINE)
    assert newest is not None
    assert {
        manifest(repo_root / "package.xml").findtext("version"),
        manifest(repo_root / "fsm_ros_msgs/package.xml").findtext("version"),
        newest.group(1),
        fsm_ros.__version__,
        importlib.metadata.version("fsm_ros"),
    } == {fsm_ros.__version__}


def test_the_manifest_says_what_fsm_stands_for_and_under_which_licence(repo_root: Path) -> None:
    root = manifest(repo_root / "package.xml")
    description = " ".join((root.findtext("description") or "").split())
    assert "Fast Spatial Memory" in description
    assert "not a finite state machine" in description
    assert root.get("format") == "3"
    assert root.findtext("license") == "Apache-2.0"
    assert root.findtext("export/build_type") == "ament_python"
    assert "Apache License" in (repo_root / "LICENSE").read_text()


def imported_modules(paths: Iterator[Path]) -> set[str]:
    """The top-level names of all modules that these files import, wherever in the file they do."""
    names = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return names


def third_party(root: Path, folders: tuple[str, ...]) -> set[str]:
    """What the Python files of these folders import that is neither Python's own nor of this checkout."""
    files = [path for folder in folders for path in (root / folder).rglob("*.py")]
    of_tests = {path.stem for folder in ("test", "benchmarks") for path in (root / folder).rglob("*.py")}
    return imported_modules(iter(files)) - sys.stdlib_module_names - of_tests - {"fsm_ros", "study"}


@pytest.mark.parametrize(
    ("folders", "tags"),
    [(("fsm_ros", "launch"), ("depend",)), (("test", "benchmarks"), ("depend", "test_depend"))],
    ids=["what is installed", "what is tested"],
)
def test_the_manifest_names_what_is_imported(folders: tuple[str, ...], tags: tuple[str, ...], repo_root: Path) -> None:
    declared = {depend.text for tag in tags for depend in manifest(repo_root / "package.xml").iter(tag)}
    by_pip = {re.split(r"[^\w-]", each)[0] for each in importlib.metadata.requires("fsm_ros") or []}
    imported = third_party(repo_root, folders)
    assert {"rclpy", "torch"} <= imported
    assert {
        name
        for name in imported
        if ROSDEP_KEY_OF.get(name, name) not in declared and REQUIREMENT_OF.get(name, name) not in by_pip
    } == set()


@pytest.mark.parametrize(("tag", "folders"), [("depend", ("fsm_ros", "launch")), ("test_depend", ("test",))])
def test_the_manifest_names_nothing_that_nobody_imports(tag: str, folders: tuple[str, ...], repo_root: Path) -> None:
    keys = {ROSDEP_KEY_OF.get(name, name) for name in third_party(repo_root, folders)}
    keys |= set(
        re.findall(r"importorskip\(\"(\w+)\"", "".join(p.read_text() for p in (repo_root / "test").rglob("*.py")))
    )
    assert {depend.text for depend in manifest(repo_root / "package.xml").iter(tag)} - keys - PLUGINS == set()


def test_the_index_finds_the_launch_and_configuration_files(repo_root: Path) -> None:
    share = Path(get_package_share_directory("fsm_ros"))
    for directory in ("launch", "config", "config/security"):
        for path in (repo_root / directory).glob("*.*"):
            assert (share / directory / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "program",
    [
        "fsm",
        "fsm_node",
        "render_view",
        "play_bag",
        "save_memory",
        "train_memory",
        "evaluate_bag",
        "make_bag",
        "export_surface",
    ],
)
def test_the_programs_are_installed_and_lead_somewhere(program: str) -> None:
    entries = [
        entry
        for entry in importlib.metadata.distribution("fsm_ros").entry_points
        if entry.group == "console_scripts" and entry.name == program
    ]
    assert len(entries) == 1
    assert callable(entries[0].load())
    if uses_wheels:
        assert Path(sys.executable).with_name(program).exists()
    # Where `ros2 run` and launch files look for it.
    assert (Path(get_package_prefix("fsm_ros")) / "lib" / "fsm_ros" / program).exists()


# ---------------------------------------------------------------- the environment without ROS


def test_every_requirement_is_pinned_to_one_version(repo_root: Path) -> None:
    lines = (repo_root / "scripts/pip_ros/requirements.txt").read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]
    assert requirements
    assert [
        line for line in requirements if not re.fullmatch(r"[\w.-]+==[\w.]+(; python_version (<|>=) \"3\.\d+\")?", line)
    ] == []


@on_wheels
def test_the_requirements_are_complete_and_agree() -> None:
    done = run(sys.executable, "-m", "pip", "check")
    assert done.returncode == 0, done.stdout + done.stderr


@on_wheels
def test_a_second_bootstrap_finds_nothing_to_do(repo_root: Path) -> None:
    done = run("bash", str(repo_root / "scripts/bootstrap"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Up to date")
    assert len(done.stdout.splitlines()) == 1


@on_wheels
def test_the_environment_is_the_same_sourced_twice_and_leaves_nothing_behind(repo_root: Path) -> None:
    script = """
    shown() { env | grep -v '^_=' | sort; }
    options=$(set +o; shopt)
    cd /
    source "$1/scripts/env"; once=$(shown)
    source "$1/scripts/env"; twice=$(shown)
    [ "$once" = "$twice" ] || { echo "sourcing twice differs"; exit 1; }
    [ "$options" = "$(set +o; shopt)" ] || { echo "shell options changed"; exit 1; }
    compgen -A function -A variable | grep '^_fsm' && { echo "left behind"; exit 1; }
    [ "$(command -v fsm_node)" = "$1/.venv/bin/fsm_node" ] || { echo "fsm_node not on PATH"; exit 1; }
    """
    done = run("bash", "-c", script, "bash", str(repo_root), PYTHONPATH="", LD_LIBRARY_PATH="", AMENT_PREFIX_PATH="")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def fresh_checkout(repo_root: Path, tmp_path: Path) -> Path:
    """What scripts/bootstrap reads, with nothing built yet."""
    for name in ("fsm_ros_msgs", "scripts"):
        shutil.copytree(repo_root / name, tmp_path / name)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "package.xml"):
        shutil.copy(repo_root / name, tmp_path)
    return tmp_path


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A search path with the everyday tools, without Python and without a compiler."""
    directory = tmp_path / "bin"
    directory.mkdir()
    names = "bash cat cut dirname find flock getconf grep head ls mkdir paste rm sed sha256sum sort tail tr uname"
    for tool in names.split():
        program = shutil.which(tool)
        assert program is not None
        (directory / tool).symlink_to(program)
    return directory


def bootstrap_fails(checkout: Path, tools: Path, **environment: str) -> str:
    """Runs scripts/bootstrap where it cannot succeed and returns the one sentence that it says."""
    program = str(checkout / "scripts/bootstrap")
    done = run("bash", program, **({"PATH": str(tools), "ROS_DISTRO": "", "FSM_PYTHON": ""} | environment))
    assert done.returncode == 1, done.stdout + done.stderr
    assert not (checkout / ".venv").exists()
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def add_program(tools: Path, name: str, script: str = "exit 0") -> Path:
    (tools / name).write_text(f"#!/bin/sh\n{script}\n")
    (tools / name).chmod(0o755)
    return tools / name


def test_without_a_compiler_bootstrap_says_which_package_to_install(fresh_checkout: Path, tools: Path) -> None:
    assert "build-essential" in bootstrap_fails(fresh_checkout, tools, CC="", CXX="")


@pytest.mark.parametrize(
    ("problem", "remedy"),
    [
        ("3.9.18 range", "3.10 to 3.13"),
        ("3.14.0 range", "3.10 to 3.13"),
        ("3.12.1 venv", "python3.12-venv"),
        ("3.12.1 headers", "python3.12-dev"),
    ],
)
def test_an_unfit_python_is_named_with_its_remedy(fresh_checkout: Path, tools: Path, problem: str, remedy: str) -> None:
    for compiler in ("cc", "c++"):
        add_program(tools, compiler)
    add_program(tools, "python3", f"echo {problem}")
    message = bootstrap_fails(fresh_checkout, tools)
    assert remedy in message
    assert problem.split()[0] in message


def test_a_chosen_python_that_does_not_run_is_named(fresh_checkout: Path, tools: Path) -> None:
    for compiler in ("cc", "c++"):
        add_program(tools, compiler)
    assert "/no/such/python does not run" in bootstrap_fails(fresh_checkout, tools, FSM_PYTHON="/no/such/python")


def test_another_release_of_ros_is_refused(fresh_checkout: Path, tools: Path) -> None:
    message = bootstrap_fails(fresh_checkout, tools, ROS_DISTRO="humble", AMENT_PREFIX_PATH="/opt/ros/humble")
    assert "ROS_DISTRO=humble" in message


# ---------------------------------------------------------------- colcon


@pytest.mark.skipif(shutil.which("colcon") is None, reason="colcon is not installed")
def test_a_workspace_build_finds_the_two_packages_and_no_stand_in(repo_root: Path) -> None:
    command = ["colcon", "--log-base", os.devnull, "list", "--names-only", "--base-paths"]
    both = run(*command, str(repo_root), str(repo_root / "fsm_ros_msgs"))
    assert sorted(both.stdout.split()) == ["fsm_ros", "fsm_ros_msgs"], both.stderr
    assert run(*command, str(repo_root / "scripts")).stdout == ""


# ---------------------------------------------------------------- messages


def test_tf_message_has_the_type_hash_of_jazzy() -> None:
    description = Path(get_package_share_directory("tf2_msgs"), "msg", "TFMessage.json")
    hashes = {entry["type_name"]: entry["hash_string"] for entry in json.loads(description.read_text())["type_hashes"]}
    assert hashes["tf2_msgs/msg/TFMessage"] == TF_MESSAGE_HASH


@pytest.fixture
def node_pair() -> Iterator[tuple[Node, Node, SingleThreadedExecutor]]:
    """Two nodes in a context of their own, and what spins them."""
    context = rclpy.Context()
    context.init()
    executor = SingleThreadedExecutor(context=context)
    nodes = [rclpy.create_node(name, context=context) for name in ("packaging_left", "packaging_right")]
    for node in nodes:
        executor.add_node(node)
    yield nodes[0], nodes[1], executor
    executor.shutdown()
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def test_a_transform_travels_from_publisher_to_subscriber(
    node_pair: tuple[Node, Node, SingleThreadedExecutor],
) -> None:
    left, right, executor = node_pair
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    received: list[TFMessage] = []
    right.create_subscription(TFMessage, "packaging/tf", received.append, latched)
    sent = TransformStamped()
    sent.header.frame_id, sent.child_frame_id = "map", "camera"
    sent.transform.translation.x = 1.25
    left.create_publisher(TFMessage, "packaging/tf", latched).publish(TFMessage(transforms=[sent]))
    deadline_s = time.monotonic() + DEADLINE_S
    while not received and time.monotonic() < deadline_s:
        executor.spin_once(timeout_sec=0.1)
    assert [message.transforms for message in received] == [[sent]]


def test_a_render_request_travels_to_its_service_and_back(
    node_pair: tuple[Node, Node, SingleThreadedExecutor],
) -> None:
    left, right, executor = node_pair

    def answer(request: RenderView.Request, response: RenderView.Response) -> RenderView.Response:
        response.success = request.omit_image
        response.message = request.pose.header.frame_id
        response.chunks_observed = 7
        return response

    right.create_service(RenderView, "packaging/render", answer)
    client = left.create_client(RenderView, "packaging/render")
    request = RenderView.Request(omit_image=True)
    request.pose.header.frame_id = "camera_optical"
    deadline_s = time.monotonic() + DEADLINE_S
    while not client.service_is_ready() and time.monotonic() < deadline_s:
        executor.spin_once(timeout_sec=0.1)
    future = client.call_async(request)
    executor.spin_until_future_complete(future, timeout_sec=DEADLINE_S)
    response = future.result()
    assert response is not None
    assert (response.success, response.message, response.chunks_observed) == (True, "camera_optical", 7)
