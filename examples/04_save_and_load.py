# SPDX-License-Identifier: Apache-2.0
"""A memory that is saved, loaded and goes on where it was.

    python examples/04_save_and_load.py [MEMORY.safetensors]

A node saves and loads the same files (~/save_memory, ~/load_memory). Writes out/room.safetensors, or the file named.
"""

import sys
from pathlib import Path

import numpy as np

import a_room
import fsm_ros

path = Path(sys.argv[1] if len(sys.argv) > 1 else "out/room.safetensors")
images, poses, camera, stamps_ns = a_room.arrays()
half = len(images) // 2

memory = fsm_ros.Memory()
memory.observe_arrays(images[:half], poses[:half], camera, stamps_ns[:half])
size = memory.save(path)
print(f"{path}: {size / 1e6:.1f} MB, {memory}")

again = fsm_ros.Memory.load(path)
assert np.array_equal(again.render(poses[0]).image, memory.render(poses[0]).image)
again.observe_arrays(images[half:], poses[half:], camera, stamps_ns[half:])
print(f"it goes on: {again}")

try:
    fsm_ros.Memory.load(path, {"memory.width": 128})
except fsm_ros.RequestFailedError as error:
    print(f"what does not go together is refused ({error.failure.kind.value}): {error}")
