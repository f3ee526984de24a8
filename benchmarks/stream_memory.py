"""Peak memory and time per chunk against the length of the stream, in streaming and in batch order.

    python benchmarks/stream_memory.py [--chunks 4 16 64 256] [--device cpu] [--checkpoint shipped] [--json FILE]

Every length and order runs in a process of its own, so that one run's peak is not another's. On a CPU the peak is that
of the whole process (its resident set, PyTorch included) and, beside it, what it grew by since the model stood ready;
on CUDA it is what PyTorch allocated.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.memory.elastic import ElasticRule
from fsm_ros.memory.model import FastSpatialMemory, Views

ORDERS = ("streaming", "batch")
MIB = 2**20
TIMED_CHUNKS = 256


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
    rule = ElasticRule()
    chunk = _views(model, options.views, options.size)
    # Warm up with one chunk, whose memory every run has to have.
    model.observe(model.initial_state(), chunk, rule)
    _synchronise(device)
    ready = _peak_bytes(device)
    seconds: list[float] = []
    # Short streams are repeated, so that every row is a median over as many chunks and as long a stretch of noise.
    for _ in range(-(-TIMED_CHUNKS // chunks) if order == "streaming" else 1):
        state = model.initial_state()
        for _ in range(chunks if order == "streaming" else 1):
            views = _views(model, options.views * (1 if order == "streaming" else chunks), options.size)
            _synchronise(device)
            started = time.perf_counter()
            if order == "streaming":
                state = model.observe(state, views, rule)
            else:
                tokens = options.views * (options.size // model.config.patch_size) ** 2
                state = model.observe_batch(state, views, tokens, rule)
            _synchronise(device)
            seconds.append((time.perf_counter() - started) / (1 if order == "streaming" else chunks))
    peak = _peak_bytes(device)
    return {
        "order": order,
        "chunks": chunks,
        "peak_mib": peak / MIB,
        "grown_mib": (peak - ready) / MIB,
        "state_mib": state.size_bytes / MIB,
        "ms_per_chunk": 1e3 * statistics.median(seconds),
        "ms_per_chunk_mean": 1e3 * statistics.fmean(seconds),
    }


def _views(model: FastSpatialMemory, views: int, size: int) -> Views:
    device = model.device
    intrinsics = torch.tensor([size, size, size / 2, size / 2], device=device).float().expand(1, views, 4)
    poses = torch.eye(4, device=device).repeat(1, views, 1, 1)
    poses[..., :3, 3] = torch.rand(1, views, 3, device=device) - 0.5
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
        "| order | chunks | peak MiB | grown by MiB | state MiB | ms per chunk (median) |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['order']} | {r['chunks']} | {r['peak_mib']:.1f} | {r['grown_mib']:.1f} | {r['state_mib']:.2f} "
        f"| {r['ms_per_chunk']:.2f} |"
        for r in rows
    ]
    for order in ORDERS:
        mine = [r for r in rows if r["order"] == order]
        first, last = mine[0], mine[-1]
        lines.append(
            f"\n{order}, {last['chunks']} chunks against {first['chunks']}: "
            f"peak x{last['peak_mib'] / first['peak_mib']:.3f}, "
            f"time per chunk x{last['ms_per_chunk'] / first['ms_per_chunk']:.3f}"
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
