# SPDX-License-Identifier: Apache-2.0
"""The fast spatial memory beside a camera: `ros2 launch fsm_ros fsm.launch.py camera:=/camera`."""

import shlex
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.events.process import ProcessExited
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue

from fsm_ros.configuration.files import parse_assignment
from fsm_ros.node.large_images import PROFILES_VARIABLE, reason_against
from launch import Action, LaunchContext, LaunchDescription

WORDS = ["true", "false"]
SHOWN = ("fsm/rendered/image", "fsm/rendered/depth", "fsm/rendered/confidence", "fsm/keyframes", "fsm/points")
"""Topics in config/fsm.rviz, which is of a node without a namespace."""


def generate_launch_description() -> LaunchDescription:
    """The node `fsm`, which configures and activates itself unless autostart is false.

    The launch ends with the node, and with an error where the node failed; unless it is to be started again.
    """
    config = Path(get_package_share_directory("fsm_ros")) / "config"
    arguments = [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
        DeclareLaunchArgument(
            "params_file", default_value=str(config / "fsm.yaml"), description="Parameters; see config/fsm.yaml."
        ),
        DeclareLaunchArgument(
            "set",
            default_value="",
            description="Single parameters, which go before the file's: set:='memory.extent=5 model.threads=1'.",
        ),
        DeclareLaunchArgument("checkpoint", default_value="", description="model.checkpoint; empty: as in the file."),
        DeclareLaunchArgument("device", default_value="", description="model.device; empty: as in the file."),
        DeclareLaunchArgument(
            "reliability",
            default_value="",
            choices=["", "best_effort", "reliable"],
            description="input.reliability; empty: as in the file.",
        ),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", choices=WORDS, description="Take the time from /clock."
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="What is logged.",
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            choices=WORDS,
            description="The node configures and activates itself; false where a lifecycle manager does it.",
        ),
        DeclareLaunchArgument(
            "respawn", default_value="false", choices=WORDS, description="Start the node again whenever it ends."
        ),
        DeclareLaunchArgument(
            "large_images",
            default_value="auto",
            choices=["auto", *WORDS],
            description="Let Fast DDS hold raw images of megabytes in shared memory, here and in all that is launched "
            "after this, which the camera's driver should be; auto: with Fast DDS, where nobody chose profiles or "
            "transports and there is room; see docs/middleware.md.",
        ),
        DeclareLaunchArgument(
            "rviz", default_value="false", choices=WORDS, description="Start RViz with config/fsm.rviz."
        ),
        DeclareLaunchArgument(
            "viewer",
            default_value="false",
            choices=WORDS,
            description="Serve a page that shows the memory, on viewer.host and viewer.port (127.0.0.1:8080).",
        ),
        DeclareLaunchArgument("enclave", default_value="/", description="SROS 2: /fsm, say; see docs/security.md."),
        DeclareLaunchArgument("camera", default_value="/camera", description="Namespace of the camera's topics."),
        DeclareLaunchArgument(
            "image",
            default_value="",
            description="Topic of the raw images; compressed ones are expected below it, at IMAGE/compressed. "
            "Empty: CAMERA/image_raw.",
        ),
        DeclareLaunchArgument(
            "camera_info", default_value="", description="Topic of the calibration. Empty: CAMERA/camera_info."
        ),
        DeclareLaunchArgument(
            "depth",
            default_value="",
            description="Namespace of image_rect_raw and camera_info of a depth camera, where there is one. "
            "Empty: CAMERA/depth.",
        ),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_everything)])


def _everything(context: LaunchContext) -> list[Action]:
    # All of it before any is started: launch leaves running what it has started when it meets an error here.
    return [*_make_room_for_large_images(context), *_node(context), *_rviz(context)]


def _make_room_for_large_images(context: LaunchContext) -> list[Action]:
    wanted = context.launch_configurations["large_images"]
    reason = reason_against(context.environment, Path.cwd()) if wanted == "auto" else ""
    if reason:
        return [LogInfo(msg=f"large_images: Fast DDS is left as it is: {reason}")]
    profile = Path(get_package_share_directory("fsm_ros")) / "config" / "fastdds_large_images.xml"
    return [] if wanted == "false" else [SetEnvironmentVariable(PROFILES_VARIABLE, str(profile))]


def _node(context: LaunchContext) -> list[Action]:
    given = context.launch_configurations
    image = _image_topic(given)
    depth = given["depth"].rstrip("/") or f"{given['camera'].rstrip('/')}/depth"
    info = given["camera_info"].rstrip("/") or f"{given['camera'].rstrip('/')}/camera_info"
    file = Path(given["params_file"]).expanduser()
    if not file.is_file():
        raise RuntimeError(f"params_file:={file}: there is no such file")
    changes = {
        "use_sim_time": given["use_sim_time"] == "true",
        "autostart": given["autostart"] == "true",
        **_named(given, {"checkpoint": "model.checkpoint", "device": "model.device"}),
        **_named(given, {"reliability": "input.reliability"}),
        **({"viewer.enabled": True} if given["viewer"] == "true" else {}),
        **_single(given["set"]),
    }
    respawn = given["respawn"] == "true"
    return [
        Node(
            package="fsm_ros",
            executable="fsm_node",
            name="fsm",
            namespace=given["namespace"].rstrip("/"),
            output="screen",
            parameters=[ParameterFile(str(file)), {name: _typed(value) for name, value in changes.items()}],
            remappings=[
                ("image_raw", image),
                ("image_raw/compressed", f"{image}/compressed"),
                ("camera_info", info),
                ("depth/image_rect_raw", f"{depth}/image_rect_raw"),
                ("depth/image_rect_raw/compressedDepth", f"{depth}/image_rect_raw/compressedDepth"),
                ("depth/camera_info", f"{depth}/camera_info"),
            ],
            # Of all loggers: the node's own is called NAMESPACE.fsm, and the namespace may be written in several ways.
            # The enclave / is ROS's own default.
            arguments=["--ros-args", "--log-level", given["log_level"], "--enclave", given["enclave"]],
            respawn=respawn,
            respawn_delay=1.0,
            on_exit=None if respawn else _end_with_the_node,
        )
    ]


def _rviz(context: LaunchContext) -> list[Action]:
    given = context.launch_configurations
    if given["rviz"] == "false":
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError as error:
        raise RuntimeError("rviz:=true: RViz is not installed; it comes with ros-jazzy-rviz2") from error
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=given["namespace"].rstrip("/"),
            arguments=["-d", str(Path(get_package_share_directory("fsm_ros")) / "config" / "fsm.rviz")],
            parameters=[{"use_sim_time": given["use_sim_time"] == "true"}],
            remappings=[("/camera/image_raw", _image_topic(given)), *((f"/{topic}", topic) for topic in SHOWN)],
        )
    ]


def _image_topic(given: dict[str, str]) -> str:
    return given["image"].rstrip("/") or f"{given['camera'].rstrip('/')}/image_raw"


def _named(given: dict[str, str], parameters: dict[str, str]) -> dict[str, str]:
    return {name: given[argument] for argument, name in parameters.items() if given[argument]}


def _single(text: str) -> dict[str, object]:
    """Parameters out of ``NAME=VALUE NAME=VALUE``."""
    try:
        return dict(parse_assignment(word) for word in shlex.split(text))
    except ValueError as error:
        raise RuntimeError(f"set:='{text}': {error}") from error


def _typed(value: object) -> object:
    # launch_ros would read words as YAML once more.
    return ParameterValue(value, value_type=str) if isinstance(value, str) else value


def _end_with_the_node(event: ProcessExited, context: LaunchContext) -> list[Shutdown]:
    if context.is_shutdown:
        return []
    if event.returncode:
        # What is raised here is what makes `ros2 launch` end with an exit code of its own.
        raise RuntimeError(f"{event.process_name} ended with exit code {event.returncode}")
    return [Shutdown(reason="the node has ended")]
