"""The fast spatial memory on a recorded bag: `ros2 launch fsm_ros replay.launch.py bag:=BAG`."""

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import ExecutableInPackage, FindPackageShare

from launch import LaunchContext, LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Plays a bag with its clock to a node on simulated time; everything ends with the bag."""
    defaults = PathJoinSubstitution([FindPackageShare("fsm_ros"), "config", "fsm.yaml"])
    arguments = [
        DeclareLaunchArgument("bag", description="A rosbag2 folder or file, or a .bag of ROS 1."),
        DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the replay."),
        DeclareLaunchArgument("camera", default_value="/camera", description="Namespace of the camera's topics."),
        DeclareLaunchArgument(
            "image",
            default_value=[LaunchConfiguration("camera"), "/image_raw"],
            description="Topic of the raw images; compressed ones are expected below it, at IMAGE/compressed.",
        ),
        DeclareLaunchArgument(
            "camera_info",
            default_value=[LaunchConfiguration("camera"), "/camera_info"],
            description="Topic of the calibration.",
        ),
        DeclareLaunchArgument("params_file", default_value=defaults, description="Parameters; see config/fsm.yaml."),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
    ]
    memory = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([FindPackageShare("fsm_ros"), "launch", "fsm.launch.py"])),
        launch_arguments={
            "use_sim_time": "true",
            "image": LaunchConfiguration("image"),
            "camera_info": LaunchConfiguration("camera_info"),
            "params_file": LaunchConfiguration("params_file"),
            "log_level": LaunchConfiguration("log_level"),
        }.items(),
    )
    player = ExecuteProcess(
        cmd=[
            ExecutableInPackage(package="fsm_ros", executable="play_bag"),
            LaunchConfiguration("bag"),
            "--clock",
            "--rate",
            LaunchConfiguration("rate"),
            "--wait-for-subscribers",
            "60",
        ],
        output="screen",
        on_exit=OpaqueFunction(function=_end_with_the_bag),
    )
    return LaunchDescription([*arguments, memory, player])


def _end_with_the_bag(context: LaunchContext) -> list[Shutdown]:
    # A second shutdown while the first one is under way would be an error of launch.
    return [] if context.is_shutdown else [Shutdown(reason="the bag has ended")]
