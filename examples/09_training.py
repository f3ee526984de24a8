# SPDX-License-Identifier: Apache-2.0
"""Training on one's own data: a few steps on a recording, and a memory with the weights that came of it.

    python examples/09_training.py [RECORDING [STEPS]]

It wants ``pip install fsm_ros[train]``. A few steps show the way and learn nothing: docs/training.md says what it
takes. Writes out/training and out/trained.png; the same command goes on from there.
"""

import os
import sys
from pathlib import Path

import torch

import a_room
import fsm_ros
from fsm_ros.training.budget import Budget
from fsm_ros.training.launching import launch
from fsm_ros.training.run import train
from fsm_ros.training.settings_file import load_settings

CONFIG = Path(__file__).resolve().parent.parent / "config/train/tiny.yaml"
OUT = Path("out/training")

path = sys.argv[1] if len(sys.argv) > 1 else a_room.bag()
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 2
own = {
    "data.recordings": [{"path": str(path)}],
    "data.recorded_share": 1.0,
    "optimizer.batch": 2,
    "report.scenes": 2,
    "report.chunk_counts": [1],
}
settings = load_settings(CONFIG, own)
fabric = launch(settings.parallelism, "auto", os.environ)
command = f"examples/09_training.py {path}"
start = {"start": None, "recall_start": None}  # from scratch; or "shipped", or a file
train(fabric, settings, Budget(steps=steps), OUT, command, **start, dtype=torch.float16, score=False)

memory = fsm_ros.Memory({"model.checkpoint": str(OUT / "weights.safetensors")})
recording = fsm_ros.open_recording(path)
memory.observe(recording)
memory.render(recording.posed[0].world_from_camera, method=fsm_ros.RenderMethod.MEMORY).save("out/trained.png")
print(f"out/trained.png: {memory}, with weights of {steps} steps")
