# SPDX-License-Identifier: Apache-2.0
"""The fast spatial memory on a recorded bag: `ros2 launch fsm_ros replay.launch.py bag:=BAG`."""

import shlex
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.substitutions import ExecutableInPackage

from launch import Action, LaunchContext, LaunchDescription

WORDS = ["true", "false"]


def generate_launch_description() -> LaunchDescription:
    """Plays a bag with its clock to a node on simulated time; by default everything ends with the bag.

    The other arguments are those of fsm.launch.py, which takes what is given here.
    """
    # A path and no substitution, so that --show-args looks into it.
    memory = Path(get_package_share_directory("fsm_ros")) / "launch" / "fsm.launch.py"
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="A rosbag2 folder or file, or a .bag of ROS 1."),
            DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the replay."),
            DeclareLaunchArgument("loop", default_value="false", choices=WORDS, description="Begin again at the end."),
            DeclareLaunchArgument("topics", default_value="", description="Play only these, by their recorded names."),
            DeclareLaunchArgument("hold_out", default_value="0", description="Withhold every N-th image."),
            DeclareLaunchArgument("remap", default_value="", description="New topic names: FROM:=TO FROM:=TO."),
            DeclareLaunchArgument(
                "on_end",
                default_value="shutdown",
                choices=["keep", "shutdown"],
                description="What happens when the bag has ended; keep: the node can be asked on.",
            ),
            DeclareLaunchArgument(
                "save", default_value="", description="Save the memory under this name when the bag has ended."
            ),
            DeclareLaunchArgument(
                "reliability",
                default_value="reliable",
                choices=["best_effort", "reliable"],
                description="input.reliability: a replay loses no image.",
            ),
            # Launch leaves running what it has started when it meets an error: first what may be wrong.
            OpaqueFunction(function=_check),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(memory)), launch_arguments={"use_sim_time": "true"}.items()
            ),
            OpaqueFunction(function=_player),
        ]
    )


def _check(context: LaunchContext) -> list[Action]:
    """Raises RuntimeError: what is asked for cannot be."""
    given = context.launch_configurations
    if given["loop"] == "true" and given["save"]:
        raise RuntimeError(f"save:={given['save']}: nothing is saved with loop:=true, for the bag never ends")
    for option in ("topics", "remap"):
        _split(option, given[option])
    return []


def _player(context: LaunchContext) -> list[Action]:
    given = context.launch_configurations
    words = [given["bag"], "--clock", "--rate", given["rate"], "--wait-for-subscribers", "60", "--wait-for-node"]
    words.append(_node_name(given))
    if given["loop"] == "true":
        words.append("--loop")
    if given["hold_out"] != "0":
        words += ["--hold-out", given["hold_out"]]
    for option in ("topics", "remap"):
        if given[option].strip():
            words += [f"--{option}", *_split(option, given[option])]
    return [
        ExecuteProcess(
            cmd=[ExecutableInPackage(package="fsm_ros", executable="play_bag"), *words],
            output="screen",
            on_exit=_bag_has_ended,
        )
    ]


def _split(argument: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise RuntimeError(f"{argument}:={text}: {error}") from error


def _bag_has_ended(event: ProcessExited, context: LaunchContext) -> list[Action]:
    if context.is_shutdown:
        return []
    if event.returncode:
        # What is raised here is what makes `ros2 launch` end with an exit code of its own.
        raise RuntimeError(f"{event.process_name} ended with exit code {event.returncode}")
    given = context.launch_configurations
    if not given["save"]:
        return _end(given)
    return [
        ExecuteProcess(
            cmd=[
                ExecutableInPackage(package="fsm_ros", executable="save_memory"),
                given["save"],
                "--node",
                _node_name(given),
            ],
            output="screen",
            on_exit=_is_saved,
        )
    ]


def _is_saved(event: ProcessExited, context: LaunchContext) -> list[Action]:
    if context.is_shutdown:
        return []
    if event.returncode:
        raise RuntimeError(f"{event.process_name} ended with exit code {event.returncode}: the memory is not saved")
    return _end(context.launch_configurations)


def _node_name(given: dict[str, str]) -> str:
    return "/".join(["", *filter(None, given["namespace"].split("/")), "fsm"])


def _end(given: dict[str, str]) -> list[Action]:
    # A second shutdown while the first one is under way would be an error of launch; the callers see to that.
    return [Shutdown(reason="the bag has ended")] if given["on_end"] == "shutdown" else []
