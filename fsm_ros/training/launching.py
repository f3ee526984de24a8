"""Devices and processes of a run, by Lightning Fabric."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.precision import Precision
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.single_device import SingleDeviceStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from fsm_ros.training.settings import Parallelism


def launch(parallelism: Parallelism, device: str = "auto", environment: Mapping[str, str] = os.environ) -> Fabric:
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
        fabric = Fabric(accelerator=accelerator, devices=1, strategy=strategy, plugins=[Precision()])
    else:
        local = int(environment.get("LOCAL_WORLD_SIZE", "1"))
        fabric = Fabric(
            accelerator=accelerator,
            devices=local,
            num_nodes=max(1, world // local),
            strategy=_strategy(parallelism, world),
            plugins=[Precision()],
        )
    fabric.launch()
    return fabric


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
