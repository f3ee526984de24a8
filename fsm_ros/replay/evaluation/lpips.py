# SPDX-License-Identifier: Apache-2.0
"""LPIPS with AlexNet: a learned perceptual distance, from weights that are given as a file."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

SMALLEST_EDGE = 31
"""Pixels: below it nothing is left for the second max-pooling of AlexNet to pool."""
_TAPS = (1, 4, 7, 9, 11)
"""Where the features are read: after each of the five rectified convolutions."""
_CHANNELS = (64, 192, 384, 256, 256)
_MEAN = (-0.030, -0.088, -0.188)
"""Of the photographs that AlexNet was trained on, scaled to [-1, 1]."""
_DEVIATION = (0.458, 0.448, 0.450)
_EPSILON = 1e-8
"""Keeps features that are zero everywhere from being divided by zero."""
_REMEDY = (
    "give the state dict of torchvision.models.alexnet with its ImageNet weights, alexnet-owt-7be5be79.pth, "
    "as .pth or .safetensors"
)


class Lpips:
    """Learned perceptual image patch similarity, version 0.1, on the CPU.

    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, equation 1. The
    features are those of torchvision's AlexNet; the weights of its channels are the linear heads that torchmetrics
    ships. Nothing is downloaded. torchvision itself is not needed: its compiled part has to match the build of PyTorch,
    and five convolutions are not worth that.
    """

    def __init__(self, weights: Path) -> None:
        """Load the features and the heads.

        Args:
            weights: AlexNet's state dict as torchvision saves it, ``.pth`` or ``.safetensors``.

        Raises:
            ValueError: the file is absent, cannot be read, or is not a state dict of AlexNet.
            ImportError: torchmetrics, which ships the heads, is not installed.
        """
        # Made without values, which would come from the generator that all of PyTorch shares.
        with torch.device("meta"):
            self._features = _alexnet_features()
        _fill(self._features, _state_dict(weights), weights)
        self._features.eval().requires_grad_(False)
        self._heads = _linear_heads()
        self._mean = torch.tensor(_MEAN).view(1, 3, 1, 1)
        self._deviation = torch.tensor(_DEVIATION).view(1, 3, 1, 1)
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        self.told = f"AlexNet of {weights.name} (SHA-256 {digest[:12]}), linear heads v0.1 of torchmetrics"
        """What it is, in words."""

    @torch.no_grad()
    def distance(self, image: Tensor, truth: Tensor) -> float:
        """How far apart two images look: 0 for equal ones.

        Args:
            image: ``[1, 3, height, width]`` float32 in [0, 1].
            truth: the same; no edge shorter than `SMALLEST_EDGE`.
        """
        both = (2.0 * torch.cat([image, truth]) - 1.0 - self._mean) / self._deviation
        total = 0.0
        for number, layer in enumerate(self._features):
            both = layer(both)
            if number in _TAPS:
                # Not torch's `normalize`: that clamps the norm, and the metric's own adds to its square.
                unit = both / torch.sqrt(_EPSILON + both.square().sum(dim=1, keepdim=True))
                squares = (unit[:1] - unit[1:]).square()
                total += float((self._heads[_TAPS.index(number)] * squares).sum(dim=1).mean())
        return total


def _alexnet_features() -> nn.Sequential:
    """The convolutions of AlexNet, numbered as torchvision does, up to the last one whose features are read."""
    return nn.Sequential(
        nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(64, 192, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(192, 384, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, kernel_size=3, padding=1),
        nn.ReLU(),
    )


def _state_dict(path: Path) -> dict[str, object]:
    """What a file holds, by name.

    Raises:
        ValueError: it is absent, or cannot be read as a state dict.
    """
    if not path.is_file():
        raise ValueError(f"LPIPS: there is no file {path}: {_REMEDY}")
    try:
        # No other device than the CPU, and nothing but tensors: weights come from strangers.
        read: object = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, UnpicklingError, SafetensorError) as error:
        raise ValueError(f"LPIPS: {path} cannot be read as weights ({_first_line(error)}): {_REMEDY}") from error
    if not isinstance(read, dict):
        raise ValueError(f"LPIPS: {path} holds a {type(read).__name__} and no state dict: {_REMEDY}")
    return read


def _fill(features: nn.Sequential, found: dict[str, object], path: Path) -> None:
    """Put weights into the features; those of the classifier are not needed.

    Raises:
        ValueError: a tensor is absent, of another shape, or not finite.
    """
    wanted = features.state_dict()
    chosen: dict[str, Tensor] = {}
    for name, tensor in wanted.items():
        value = found.get(f"features.{name}")
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.shape != tensor.shape:
            got = f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else "nothing"
            raise ValueError(
                f"LPIPS: {path} is no state dict of AlexNet: features.{name} should be {tuple(tensor.shape)}, "
                f"and is {got}: {_REMEDY}"
            )
        if not torch.isfinite(value).all():
            raise ValueError(f"LPIPS: {path} is damaged: features.{name} is not finite: {_REMEDY}")
        chosen[name] = value
    features.load_state_dict({name: value.float() for name, value in chosen.items()}, assign=True)


def _linear_heads() -> list[Tensor]:
    """The weights of each layer's channels, ``[1, channels, 1, 1]`` float32, as torchmetrics ships them.

    Raises:
        ImportError: torchmetrics is not installed, or ships them no longer.
    """
    remedy = "pip install 'fsm_ros[evaluate]'"
    # Found without importing torchmetrics, which would import a torchvision that may not fit.
    package = find_spec("torchmetrics")
    if package is None or not package.submodule_search_locations:
        raise ImportError(f"LPIPS needs torchmetrics, which is not installed: {remedy}")
    heads = Path(package.submodule_search_locations[0]) / "functional" / "image" / "lpips_models" / "alex.pth"
    if not heads.is_file():
        raise ImportError(f"LPIPS: this torchmetrics does not ship AlexNet's linear heads, {heads}: {remedy}")
    state: dict[str, Tensor] = torch.load(heads, map_location="cpu", weights_only=True)
    weights = [state[f"lin{layer}.model.1.weight"].float() for layer in range(len(_CHANNELS))]
    return [weight.reshape(1, channels, 1, 1) for weight, channels in zip(weights, _CHANNELS, strict=True)]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
