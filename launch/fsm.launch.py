"""The fast spatial memory beside a camera: `ros2 launch fsm_ros fsm.launch.py camera:=/camera`."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from fsm_ros.node.large_images import PROFILES_VARIABLE, reason_against
from launch import Action, LaunchContext, LaunchDescription

SHOWN = (
    "fsm/rendered/image",
    "fsm/rendered/depth",
    "fsm/rendered/confidence",
    "fsm/keyframes",
    "fsm/points",
)
"""Topics in config/fsm.rviz, which is of a node without a namespace."""


def generate_launch_description() -> LaunchDescription:
    """The node `fsm`, configured and activated by launch events unless autostart is false."""
    config = Path(get_package_share_directory("fsm_ros")) / "config"
    arguments = [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
        DeclareLaunchArgument(
            "params_file", default_value=str(config / "fsm.yaml"), description="Parameters; see config/fsm.yaml."
        ),
        DeclareLaunchArgument("use_sim_time", default_value="false", description="Take the time from /clock."),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
        DeclareLaunchArgument("autostart", default_value="true", description="Configure and activate at start."),
        DeclareLaunchArgument(
            "large_images",
            default_value="auto",
            choices=["auto", "true", "false"],
            description="Let Fast DDS hold raw images of megabytes in shared memory, here and in all that is launched "
            "after this, which the camera's driver should be; auto: with Fast DDS, where nobody chose profiles or "
            "transports and there is room; see docs/middleware.md.",
        ),
        DeclareLaunchArgument("rviz", default_value="false", description="Start RViz with config/fsm.rviz."),
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
    ]
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", str(config / "fsm.rviz")],
        parameters=[{"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)}],
        remappings=[
            ("/camera/image_raw", LaunchConfiguration("image")),
            *((f"/{topic}", topic) for topic in SHOWN),
        ],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    node = LifecycleNode(
        package="fsm_ros",
        executable="fsm_node",
        name="fsm",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            LaunchConfiguration("params_file"),
            {
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
                # Launch does it below, where its events can be seen.
                "autostart": False,
            },
        ],
        remappings=[
            ("image_raw", LaunchConfiguration("image")),
            ("image_raw/compressed", [LaunchConfiguration("image"), "/compressed"]),
            ("camera_info", LaunchConfiguration("camera_info")),
        ],
        # Of all loggers: the node's own is called NAMESPACE.fsm, and the namespace may be written in several ways.
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )
    autostart = IfCondition(LaunchConfiguration("autostart"))
    configure = EmitEvent(
        event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=Transition.TRANSITION_CONFIGURE),
        condition=autostart,
    )
    activate = RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=node,
            start_state="configuring",
            goal_state="inactive",
            entities=[
                EmitEvent(
                    event=ChangeState(
                        lifecycle_node_matcher=matches_action(node),
                        transition_id=Transition.TRANSITION_ACTIVATE,
                    )
                )
            ],
        ),
        condition=autostart,
    )
    large_images = OpaqueFunction(function=_make_room_for_large_images)
    return LaunchDescription([*arguments, large_images, activate, node, rviz, configure])


def _make_room_for_large_images(context: LaunchContext) -> list[Action]:
    wanted = LaunchConfiguration("large_images").perform(context)
    reason = reason_against(context.environment, Path.cwd()) if wanted == "auto" else ""
    if reason:
        return [LogInfo(msg=f"large_images: Fast DDS is left as it is: {reason}")]
    profile = Path(get_package_share_directory("fsm_ros")) / "config" / "fastdds_large_images.xml"
    return [] if wanted == "false" else [SetEnvironmentVariable(PROFILES_VARIABLE, str(profile))]
