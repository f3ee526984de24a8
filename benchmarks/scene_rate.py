# SPDX-License-Identifier: Apache-2.0
"""Frames a second that the scene supply renders, per family and in the default mixture.

``python benchmarks/scene_rate.py --device cuda`` prints a table; state the machine's load with it.
"""

from __future__ import annotations

import argparse
import os
import time

import torch

from fsm_ros.training.scenes import Family, SceneSettings, SceneSource, Split


def frames_per_second(source: SceneSource, arguments: argparse.Namespace) -> tuple[float, float]:
    """Best of some repetitions, each with clips of its own; everything that `clips` does counts.

    Returns:
        Frames a second, and frames a second of processor time, which says more on a machine that others use too.
    """
    best, best_per_core = 0.0, 0.0
    for repetition in range(arguments.repeats + 1):
        indices = range(repetition * arguments.clips, (repetition + 1) * arguments.clips)
        start, start_busy = time.perf_counter(), time.process_time()
        images = source.clips(indices, arguments.size, arguments.size, samples=arguments.samples).images
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        taken, busy = time.perf_counter() - start, time.process_time() - start_busy
        if repetition:  # the first one warms up
            frames = images.shape[0] * images.shape[1]
            best, best_per_core = max(best, frames / taken), max(best_per_core, frames / busy)
    return best, best_per_core


def main() -> None:
    """Prints the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch on a CPU")
    parser.add_argument("--size", type=int, default=64, help="pixels along each side of a frame")
    parser.add_argument("--samples", type=int, default=1, help="rays along each side of a pixel")
    parser.add_argument("--clips", type=int, default=16, help="clips a batch")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--no-photographs", action="store_true", help="procedural textures only")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    wanted: dict[str, SceneSettings] = {
        family.value: SceneSettings(families=((family, 1.0),), photographs=not arguments.no_photographs)
        for family in Family
    }
    wanted["mixed"] = SceneSettings(photographs=not arguments.no_photographs)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{arguments.device}, {arguments.threads} threads, {arguments.size}x{arguments.size}, load {load}")
    for name, settings in wanted.items():
        source = SceneSource(0, Split.TRAIN, settings, torch.device(arguments.device))
        rate, per_core = frames_per_second(source, arguments)
        print(f"{name:>10s} {rate:8.0f} frames/s {per_core:8.0f} frames per core and second", flush=True)


if __name__ == "__main__":
    main()
