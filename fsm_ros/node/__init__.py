# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 node; it and its tools are the only packages that import rclpy."""
