"""Recorded streams of posed images, read without ROS and without torch: rosbags, image folders, videos with poses.

`opening.open_source` finds out what a path holds; every kind comes as a `source.PosedSource`.
"""
