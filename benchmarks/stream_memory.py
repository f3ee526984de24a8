# SPDX-License-Identifier: Apache-2.0
"""Peak memory and time per chunk against the length of the stream, in streaming and in batch order.

Streaming is what a node does by default: consolidation, eight submaps, a camera that turns once in 64 chunks. Batch
order is the release's, under its elastic prior.

    python benchmarks/stream_memory.py [--chunks 4 16 64 256] [--device cpu] [--checkpoint shipped] [--json FILE]

Every length and order runs in a process of its own, so that one run's peak is not another's. On a CPU the peak is that
of the whole process (its resident set, PyTorch included) and, beside it, what it grew by since the model stood ready;
on CUDA it is what PyTorch allocated.

Time is measured in turn with a stream of 4 chunks in the same process, so that the last column is a ratio within one
run.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from fsm_ros.memory.atlas import Atlas, observe
from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.consolidation import Consolidation
from fsm_ros.memory.rules.elastic import ElasticRule
from fsm_ros.memory.state import MemoryState
from fsm_ros.memory.views import Views

ORDERS = ("streaming", "batch")
MIB = 2**20
_Memory = TypeVar("_Memory", MemoryState, Atlas)
TIMED_CHUNKS = 256
REFERENCE_CHUNKS = 4
CHUNKS_PER_TURN = 64
SUBMAPS = AtlasSettings(submaps=8)


def main() -> int:
    """Run all lengths in both orders and print the table."""
    options = _parse()
    if options.worker is not None:
        print(json.dumps(_measure(options.worker, options.chunks[0], options)))
        return 0
    rows = [_in_own_process(order, chunks, options) for order in ORDERS for chunks in options.chunks]
    print(_table(rows, options))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


@torch.no_grad()
def _measure(order: str, chunks: int, options: argparse.Namespace) -> dict[str, Any]:
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = load_checkpoint(options.checkpoint).build().to(device)
    # Warm up with one chunk, whose memory every run has to have.
    model.observe(model.initial_state(), _views(model, options.views, options.size), ElasticRule())
    _synchronise(device)
    ready = _peak_bytes(device)
    measure = _stream if order == "streaming" else _batch
    state, seconds, reference = measure(model, chunks, options)
    peak = _peak_bytes(device)
    return {
        "order": order,
        "chunks": chunks,
        "peak_mib": peak / MIB,
        "grown_mib": (peak - ready) / MIB,
        "state_mib": state.size_bytes / MIB,
        "ms_per_chunk": 1e3 * statistics.median(seconds),
        "time_ratio": statistics.median(seconds) / statistics.median(reference),
    }


def _stream(model: FsmModel, chunks: int, options: argparse.Namespace) -> tuple[Atlas, list[float], list[float]]:
    """Observe chunk by chunk, in turn with a short stream that starts anew every few chunks.

    Other processes disturb both alike, so their ratio says what the length of the stream costs.
    """
    atlas = short = Atlas(model.initial_state())
    seconds: list[float] = []
    reference: list[float] = []
    for index in range(max(chunks, TIMED_CHUNKS)):
        if index % chunks == 0:
            atlas = Atlas(model.initial_state())
        if index % REFERENCE_CHUNKS == 0:
            short = Atlas(model.initial_state())
        views = _views(model, options.views, options.size, turn=index / CHUNKS_PER_TURN)
        atlas, spent = _timed(model.device, observe, model, atlas, views, Consolidation(), SUBMAPS)
        seconds.append(spent)
        short, spent = _timed(model.device, observe, model, short, views, Consolidation(), SUBMAPS)
        reference.append(spent)
    return atlas, seconds, reference


def _batch(model: FsmModel, chunks: int, options: argparse.Namespace) -> tuple[MemoryState, list[float], list[float]]:
    """Observe all chunks at once, in turn with a short batch."""
    tokens = options.views * (options.size // model.config.patch_size) ** 2
    everything = _views(model, options.views * chunks, options.size)
    few = everything[: options.views * REFERENCE_CHUNKS]
    state = model.initial_state()
    seconds: list[float] = []
    reference: list[float] = []
    for _ in range(max(1, TIMED_CHUNKS // chunks)):
        start = model.initial_state()
        state, spent = _timed(model.device, model.observe_batch, start, everything, tokens, ElasticRule())
        seconds.append(spent / chunks)
        _, spent = _timed(model.device, model.observe_batch, start, few, tokens, ElasticRule())
        reference.append(spent / min(chunks, REFERENCE_CHUNKS))
    return state, seconds, reference


def _timed(device: torch.device, job: Callable[..., _Memory], *arguments: object) -> tuple[_Memory, float]:
    _synchronise(device)
    started = time.perf_counter()
    state = job(*arguments)
    _synchronise(device)
    return state, time.perf_counter() - started


def _views(model: FsmModel, views: int, size: int, turn: float = 0.0) -> Views:
    """Noise, seen from about one place by a camera that has made so many turns."""
    device = model.device
    intrinsics = torch.tensor([size, size, size / 2, size / 2], device=device).float().expand(1, views, 4)
    poses = torch.eye(4, device=device).repeat(1, views, 1, 1)
    poses[..., :3, 3] = 0.1 * (torch.rand(1, views, 3, device=device) - 0.5)
    cosine, sine = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    poses[..., :3, :3] = torch.tensor([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]], device=device)
    cameras = Cameras(intrinsics, poses, size, size)
    return Views(
        torch.rand(1, views, 3, size, size, device=device),
        cameras,
        2 * torch.rand(1, views, device=device) - 1,
    )


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _in_own_process(order: str, chunks: int, options: argparse.Namespace) -> dict[str, Any]:
    command = [
        sys.executable,
        __file__,
        "--worker",
        order,
        "--chunks",
        str(chunks),
        "--device",
        options.device,
    ]
    command += [
        "--checkpoint",
        options.checkpoint,
        "--views",
        str(options.views),
        "--size",
        str(options.size),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def _table(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    hardware = f"{platform.machine()}, {options.threads} threads"
    if options.device.startswith("cuda"):
        hardware = torch.cuda.get_device_name(torch.device(options.device))
    lines = [
        f"{options.checkpoint}, chunks of {options.views} views of {options.size}x{options.size}, {options.device} "
        f"({hardware}), torch {torch.__version__}",
        "",
        "| order | chunks | peak MiB | grown by MiB | state MiB | ms per chunk (median) | against 4 chunks |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['order']} | {r['chunks']} | {r['peak_mib']:.1f} | {r['grown_mib']:.1f} | {r['state_mib']:.2f} "
        f"| {r['ms_per_chunk']:.2f} | x{r['time_ratio']:.3f} |"
        for r in rows
    ]
    for order in ORDERS:
        mine = [r for r in rows if r["order"] == order]
        first, last = mine[0], mine[-1]
        lines.append(
            f"\n{order}, {last['chunks']} chunks against {first['chunks']}: "
            f"peak x{last['peak_mib'] / first['peak_mib']:.3f}, "
            f"time per chunk x{last['time_ratio']:.3f}"
        )
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", nargs="+", type=int, default=[4, 16, 64, 256])
    parser.add_argument("--views", type=int, default=4, help="views of a chunk")
    parser.add_argument("--size", type=int, default=64, help="edge of a view, pixels")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; one is the least disturbed by others")
    parser.add_argument("--checkpoint", default="shipped")
    parser.add_argument("--json", type=Path, help="also write the rows there")
    parser.add_argument("--worker", choices=ORDERS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
