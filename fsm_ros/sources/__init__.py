# SPDX-License-Identifier: Apache-2.0
"""Recorded streams of posed images, read without ROS and without torch: rosbags, image folders, videos with poses.

`opening.open_rig` finds out what a path holds; every kind comes as a `rig.Rig` of `recorded.RecordedCamera`.
"""
