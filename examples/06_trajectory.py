# SPDX-License-Identifier: Apache-2.0
"""A flight through a memory: views along a smooth way between keyframes, as a moving picture.

    python examples/06_trajectory.py [RECORDING]

A node does the same by its action ~/render_trajectory. Writes out/trajectory.gif.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

import a_room
import fsm_ros

VIEWS = 24

recording = fsm_ros.open_recording(sys.argv[1] if len(sys.argv) > 1 else a_room.bag())
memory = fsm_ros.Memory()
memory.observe(recording)

# A spline through every fourth pose: of the place, and of the attitude.
through = np.stack([frame.world_from_camera for frame in recording.posed[::4]])
place = CubicSpline(range(len(through)), through[:, :3, 3])
attitude = RotationSpline(np.arange(len(through)), Rotation.from_matrix(through[:, :3, :3]))

pictures = []
for when in np.linspace(0, len(through) - 1, VIEWS):
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = attitude(when).as_matrix(), place(when)
    pictures.append(Image.fromarray(memory.render(pose).image))
Path("out").mkdir(exist_ok=True)
pictures[0].save("out/trajectory.gif", save_all=True, append_images=pictures[1:], duration=100, loop=0)
print(f"out/trajectory.gif: {len(pictures)} views of {memory}")
