"""The fast spatial memory on a recorded bag: `ros2 launch fsm_ros replay.launch.py bag:=BAG`."""

from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import ExecutableInPackage, FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Plays a bag with its clock to a node on simulated time; everything ends with the bag."""
    arguments = [
        DeclareLaunchArgument("bag", description="A rosbag2 folder or file."),
        DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the replay."),
        DeclareLaunchArgument("image", default_value="/camera/image_raw", description="Topic of the raw images."),
        DeclareLaunchArgument("camera_info", default_value="/camera/camera_info", description="Its calibration."),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
    ]
    memory = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([FindPackageShare("fsm_ros"), "launch", "fsm.launch.py"])),
        launch_arguments={
            "use_sim_time": "true",
            "image": LaunchConfiguration("image"),
            "camera_info": LaunchConfiguration("camera_info"),
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
        on_exit=Shutdown(reason="the bag has ended"),
    )
    return LaunchDescription([*arguments, memory, player])
