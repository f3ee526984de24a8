# SPDX-License-Identifier: Apache-2.0
"""What is said where ROS, or the interfaces of this package, are not there. Standard library only."""

BUILD = "colcon build --base-paths src/fsm_ros src/fsm_ros/fsm_ros_msgs"
_INTERFACES = "fsm_ros_msgs"
_OF_ROS = ("rclpy", "rosidl", "rpyutils", "tf2_", "ament_", "cv_bridge", "launch", "builtin_interfaces")


def why(error: ImportError) -> str:
    """Cause and remedy, in a sentence.

    Raises:
        ImportError: the error itself, which is of neither.
    """
    package = (error.name or "").partition(".")[0]
    if package == _INTERFACES:
        return f"the interfaces are not built, or of another version ({error}): {BUILD} builds both packages"
    if package.startswith(_OF_ROS) or package.endswith(("_msgs", "_interfaces")):
        return (
            f"ROS 2 is not there ({error}): source ROS 2 Jazzy and the workspace, or run "
            "scripts/bootstrap and source scripts/env"
        )
    raise error
