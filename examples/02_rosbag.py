# SPDX-License-Identifier: Apache-2.0
"""Five lines: weights, a recording, and a picture from one of its poses.

    python examples/02_rosbag.py [RECORDING]

A recording is a rosbag of ROS 2 or ROS 1, a folder with transforms.json, a COLMAP model, or a video with poses; ROS
need not be installed. Writes out/view.png.
"""

import sys

import a_room
import fsm_ros

path = sys.argv[1] if len(sys.argv) > 1 else a_room.bag()

memory = fsm_ros.Memory()
recording = fsm_ros.open_recording(path)
memory.observe(recording)
view = memory.render(recording.posed[0].world_from_camera)
view.save("out/view.png")

print(recording.told)
print(memory)
