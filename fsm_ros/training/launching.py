# SPDX-License-Identifier: Apache-2.0
"""Devices and processes of a run, by Lightning Fabric."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.precision import Precision as AsItIs
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.single_device import SingleDeviceStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from fsm_ros.memory.precision import MuonPrecision, Precision
from fsm_ros.training.settings import Arithmetic, Parallelism


def launch(parallelism: Parallelism, device: str, environment: Mapping[str, str]) -> Fabric:
    """The processes of this run: one, or those that ``torchrun`` started.

    Args:
        parallelism: how several processes share the run.
        device: ``auto``, ``cpu`` or ``cuda``.
        environment: where ``torchrun`` says how many processes there are.

    Raises:
        ValueError: an unknown device, or CUDA where there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device {device!r} is unknown: use auto, cpu or cuda")
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise ValueError("device is cuda, but PyTorch sees no CUDA device: use auto or cpu")
    accelerator = "cuda" if has_cuda and device != "cpu" else "cpu"
    world = int(environment.get("WORLD_SIZE", "1"))
    if world == 1 and parallelism is Parallelism.DDP:
        name = "cuda:0" if accelerator == "cuda" else "cpu"
        strategy = SingleDeviceStrategy(torch.device(name))
        # The model chooses its own arithmetic: Fabric leaves what goes in and comes out as it is.
        fabric = Fabric(accelerator=accelerator, devices=1, strategy=strategy, plugins=[AsItIs()])
    else:
        local = int(environment.get("LOCAL_WORLD_SIZE", "1"))
        fabric = Fabric(
            accelerator=accelerator,
            devices=local,
            num_nodes=max(1, world // local),
            strategy=_strategy(parallelism, world),
            plugins=[AsItIs()],
        )
    fabric.launch()
    return fabric


def resolve(arithmetic: Arithmetic, device: torch.device, cpu_info: Path = Path("/proc/cpuinfo")) -> Arithmetic:
    """BF16 or FP32; AUTO is BF16 on accelerators that have it, and on CPUs with instructions for it.

    Args:
        arithmetic: what the settings say.
        device: where it is computed.
        cpu_info: where Linux tells of the CPU.
    """
    if arithmetic is not Arithmetic.AUTO:
        return arithmetic
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        words = set(cpu_info.read_text(encoding="utf-8").split()) if cpu_info.exists() else set()
        fast = bool(words & {"avx512_bf16", "amx_bf16", "bf16"})
    return Arithmetic.BF16 if fast else Arithmetic.FP32


def precisions(arithmetic: Arithmetic, muon_arithmetic: Arithmetic) -> tuple[Precision, MuonPrecision]:
    """What the model takes, of arithmetic that was resolved."""
    return Precision(arithmetic.value), MuonPrecision(muon_arithmetic.value)


def _strategy(parallelism: Parallelism, world: int) -> DDPStrategy | ModelParallelStrategy:
    if parallelism is Parallelism.DDP:
        return DDPStrategy()
    return ModelParallelStrategy(
        parallelize_fn=_shard, data_parallel_size=world, tensor_parallel_size=1, save_distributed_checkpoint=False
    )


def _shard(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Spread the whole module's parameters as one unit.

    Blocks are used in three steps and not by ``forward``, and the slow weights are read before the first of them, so
    the parameters are gathered once for a step. What is spread for good is what takes most: optimizer and gradients.
    """
    sharded: nn.Module = fully_shard(module, mesh=mesh["data_parallel"])  # type: ignore[assignment]  # the module itself
    return sharded
