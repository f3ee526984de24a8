# SPDX-License-Identifier: Apache-2.0
"""Own images whose poses are known: arrays in, a picture out. It needs neither a recording nor ROS.

    python examples/01_own_images.py [IMAGES.npz]

The file holds ``images`` ``[N, height, width, 3]`` uint8 RGB, ``world_from_camera`` ``[N, 4, 4]`` in metres (x right, y
down, z forward in the camera), ``fxfycxcy`` ``[4]`` in pixels and ``stamps_ns`` ``[N]``. Writes out/own_images.png.
"""

import sys

import numpy as np

import a_room
import fsm_ros

if len(sys.argv) > 1:
    with np.load(sys.argv[1]) as own:
        images, world_from_camera, stamps_ns = own["images"], own["world_from_camera"], own["stamps_ns"]
        # OpenCV's cx and cy are half a pixel less: to it, pixel centres lie at integers.
        camera = fsm_ros.Camera(images.shape[2], images.shape[1], *own["fxfycxcy"].tolist())
else:
    images, world_from_camera, camera, stamps_ns = a_room.arrays()

memory = fsm_ros.Memory()
memory.observe_arrays(images, world_from_camera, camera, stamps_ns)
print(memory)
for reason, count in memory.ledger.refused.items():
    if count:
        print(f"{count} images were not observed: {reason.value} ({reason.remedy})")

# From 5 cm beside the way, at the moment in its middle.
pose = world_from_camera[len(images) // 2].copy()
pose[:3, 3] += 0.05 * pose[:3, 0]
view = memory.render(pose, stamp_ns=int(stamps_ns[len(images) // 2]))
view.save("out/own_images.png")
print(f"out/own_images.png: {view.recalled:.0%} from photographs, {view.warning or 'no warning'}")
