# SPDX-License-Identifier: Apache-2.0
"""Rosbags of ROS 2 and ROS 1, read by rosbags, without ROS: their cameras, calibrations and TF."""
