# SPDX-License-Identifier: Apache-2.0
"""Points out: the surfaces of a memory as coloured points, in arrays and in a PLY file.

    python examples/07_points.py [RECORDING]

Files want trimesh (``pip install fsm_ros[surface]``). Writes out/points.ply; a name that ends in .glb gives a mesh.
"""

import sys

import a_room
import fsm_ros

recording = fsm_ros.open_recording(sys.argv[1] if len(sys.argv) > 1 else a_room.bag())
memory = fsm_ros.Memory()
memory.observe(recording)

cloud = memory.points(resolution_m=0.02)
low, high = cloud.points.min(axis=0), cloud.points.max(axis=0)
print(f"{len(cloud)} points from {low.round(1)} to {high.round(1)} m, mean confidence {cloud.confidence.mean():.2f}")

written = memory.export("out/points.ply", min_confidence=0.2)
print(f"{written.path}: {written.points} points, {written.size} bytes")
