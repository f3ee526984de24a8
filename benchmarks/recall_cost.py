# SPDX-License-Identifier: Apache-2.0
"""What photographs cost: a chunk with and without them, and a view of several sizes.

The demo's room at 320x240, driven through round after round, in one process, synchronously: no ROS, no threads of the
node. Chunks are observed in turn by a memory that keeps photographs and by one that does not, so that the ratio is one
of the same seconds. The resident set is told as it grows, so that a stream of any length can be seen to stay flat.

    python benchmarks/recall_cost.py [--chunks 96] [--threads 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fsm_ros.allocator import keep_freed_memory
from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.recall.keyframes import KeyframeLimits
from fsm_ros.replay.demo.bag import DemoRobot, find_demo_world
from fsm_ros.spatial.settings import MemorySettings, RenderMethod
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import Camera, Photograph, PosedImage

ROUND_S = 30.0
FRAMES_A_ROUND = 96
NANOSECONDS = 1_000_000_000
MIB = 2**20
CAMERA = Camera(320, 240, 250.0, 250.0, 160.0, 120.0)
SMALL = Camera(64, 64, 50.0, 50.0, 32.0, 32.0)


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=96, help="chunks of 4 frames (%(default)s)")
    parser.add_argument("--repeats", type=int, default=21, help="views of each size (%(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    one_round = _frames()
    model = load_checkpoint("shipped").build()
    settings = MemorySettings(extent_m=4.0)
    without = replace(settings, keyframes=KeyframeLimits(count=0))
    recalling = SpatialMemory(model, settings, None, load_recall("shipped"))
    alone = SpatialMemory(model, without, None, None)
    chunks: list[tuple[float, float]] = []
    sizes: list[tuple[int, float]] = []
    for number, chunk in enumerate(_stream(one_round, options.chunks), 1):
        chunks.append((_seconds(partial(recalling.observe, chunk)), _seconds(partial(alone.observe, chunk))))
        if number in (8, options.chunks // 4, options.chunks // 2, options.chunks):
            sizes.append((number, _resident_mib()))
    view = one_round[len(one_round) // 2 + 1]
    views = {
        f"{name}, {camera.width}x{camera.height}": _median_ms(
            partial(_rendered, recalling, view, camera, method), options.repeats
        )
        for name, method in (("both", RenderMethod.RECALL), ("the fast weights alone", RenderMethod.MEMORY))
        for camera in (SMALL, CAMERA)
    }
    late = chunks[len(chunks) // 4 :]
    found = {
        "chunk_ms": 1e3 * statistics.median(first for first, _ in late),
        "chunk_without_photographs_ms": 1e3 * statistics.median(second for _, second in late),
        "chunk_ratio": statistics.median(first / second for first, second in late),
        "views_ms": views,
        "resident_mib": dict(sizes),
    }
    print(
        f"a chunk with photographs {found['chunk_ms']:.1f} ms, without {found['chunk_without_photographs_ms']:.1f} ms"
    )
    print(f"x{found['chunk_ratio']:.2f}, the median of {len(late)} chunks, each observed by both")
    for name, value in views.items():
        print(f"a view, {name}: {value:.1f} ms")
    print("resident: " + ", ".join(f"{size:.0f} MiB after {number} chunks" for number, size in sizes))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _frames() -> list[PosedImage]:
    robot = DemoRobot(ROUND_S)
    room = find_demo_world(0, robot, ROUND_S)
    times_s = np.linspace(0.0, ROUND_S, FRAMES_A_ROUND, endpoint=False)
    poses = np.stack([robot.map_from_camera(time_s) for time_s in times_s])
    rendered = (room.render(camera, poses, times_s) for camera in (CAMERA, SMALL))
    return [
        PosedImage(small, SMALL, pose, round(time_s * NANOSECONDS), photograph=Photograph(sharp, CAMERA))
        for pose, time_s, sharp, small in zip(poses, times_s.tolist(), *rendered, strict=True)
    ]


def _stream(frames: list[PosedImage], count: int) -> Iterator[Chunk]:
    for number in range(count):
        parts = []
        for i in range(4 * number, 4 * number + 4):
            rounds, index = divmod(i, len(frames))
            later_ns = round(rounds * ROUND_S * NANOSECONDS)
            parts.append(replace(frames[index], stamp_ns=frames[index].stamp_ns + later_ns))
        yield Chunk(tuple(parts))


def _rendered(memory: SpatialMemory, view: PosedImage, camera: Camera, method: RenderMethod) -> None:
    memory.render(view.world_from_camera, view.stamp_ns, camera, method)


def _median_ms(run: Callable[[], object], repeats: int) -> float:
    run()
    return 1e3 * statistics.median(_seconds(run) for _ in range(repeats))


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / MIB


if __name__ == "__main__":
    sys.exit(main())
