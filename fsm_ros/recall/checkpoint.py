# SPDX-License-Identifier: Apache-2.0
"""Weights of recall in and out: safetensors, the architecture in the file's metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn.utils import convert_conv2d_weight_memory_format

from fsm_ros.errors import FsmError
from fsm_ros.recall.net import RecallConfig, RecallNet

SHIPPED = "shipped"
_SHIPPED_FILE = "recall.safetensors"
_BEFORE = {"side": 32, "fusion": 0}
"""What files that do not say it were made with."""


class RecallWeightsError(FsmError, ValueError):
    """Weights of recall that cannot be used; the message says which and why."""


def locate_recall(source: str) -> Path:
    """The file of weights; `source` as of :func:`load_recall`.

    Raises:
        RecallWeightsError: there is none.
    """
    path = Path(str(resources.files("fsm_ros") / "weights" / _SHIPPED_FILE)) if source == SHIPPED else Path(source)
    path = path.expanduser()
    if not path.is_file():
        raise RecallWeightsError(f"there are no weights of recall at {source}: give {SHIPPED!r} or a .safetensors file")
    return path


def load_recall(source: str) -> RecallNet:
    """Read weights, in evaluation mode.

    Args:
        source: ``shipped``, or a ``.safetensors`` file.

    Raises:
        RecallWeightsError: missing, unreadable, or not weights of this net.
    """
    path = locate_recall(source)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}
            stated = json.loads((file.metadata() or {})["recall"])
        stated = {**_BEFORE, **stated, "depths": tuple(stated["depths"])}
        net = RecallNet(RecallConfig(**stated))
        net.load_state_dict(tensors)
    except (SafetensorError, OSError) as error:
        raise RecallWeightsError(f"{path} cannot be read as safetensors: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RecallWeightsError(f"{path} does not hold weights of recall: {error}") from error
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise RecallWeightsError(f"{path} holds values that are not finite: {', '.join(broken[:6])}")
    # Convolutions of few channels are twice as fast with channels last, on a CPU.
    convert_conv2d_weight_memory_format(net, torch.channels_last)
    return net.eval().requires_grad_(False)


def save_recall(path: Path, net: RecallNet, notes: Mapping[str, str], dtype: torch.dtype = torch.float32) -> None:
    """Write weights that :func:`load_recall` reads, as a whole or not at all.

    Args:
        path: a ``.safetensors`` file.
        net: whose weights.
        notes: further entries of the file's metadata.
        dtype: what the tensors are rounded to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().to("cpu", dtype).contiguous() for name, t in net.state_dict().items()}
    temporary = path.with_suffix(".partial")
    save_file(tensors, temporary, {"recall": json.dumps(asdict(net.config)), **notes})
    temporary.chmod(0o644)  # safetensors lets nobody else read it
    os.replace(temporary, path)
