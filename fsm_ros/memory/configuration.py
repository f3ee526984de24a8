# SPDX-License-Identifier: Apache-2.0
"""The architecture of the model and the size of its atlas, in numbers. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fsm_ros.parameter import Checked, parameter


@dataclass(frozen=True)
class ModelConfig:
    """The architecture. Everything that decides what the weights mean.

    Attributes:
        patch_size: edge of a token's square of pixels.
        dim: width ``D`` of the residual stream.
        num_layers: number of blocks.
        attention_head_dim: width of an attention head.
        fast_head_dim: width ``d`` of a fast-weight head.
        fast_inter_multi: hidden width of the fast-weight network in multiples of ``d``.
        mlp_inter_multi: hidden width of the MLP in multiples of ``D``.
        base_lr: step size of a token before the learned offset.
        muon_update_steps: Newton-Schulz iterations.
        geometry: whether it tells depth beside colour (ours; weights of the release have no such head).
    """

    patch_size: int = 8
    dim: int = 768
    num_layers: int = 24
    attention_head_dim: int = 64
    fast_head_dim: int = 768
    fast_inter_multi: int = 2
    mlp_inter_multi: int = 4
    base_lr: float = 0.01
    muon_update_steps: int = 5
    geometry: bool = False

    def __post_init__(self) -> None:
        """Check that the numbers fit together.

        Raises:
            ValueError: a size is not a positive whole number, or a head width does not divide the model width.
        """
        for name, value in asdict(self).items():
            if name == "geometry":
                if not isinstance(value, bool):
                    raise ValueError(f"model configuration: geometry must be true or false, got {value!r}")
                continue
            if name != "base_lr" and not isinstance(value, int):
                raise ValueError(f"model configuration: {name} must be a whole number, got {value!r}")
            if not (value > 0 or (name == "muon_update_steps" and value == 0)):
                raise ValueError(f"model configuration: {name} must be positive, got {value}")
        for name in ("attention_head_dim", "fast_head_dim"):
            width = getattr(self, name)
            if self.dim % width:
                raise ValueError(f"model configuration: {name} {width} must divide dim {self.dim}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> ModelConfig:
        """From names and numbers; a name that is not a field raises ``ValueError``."""
        unknown = sorted(values.keys() - cls.__dataclass_fields__.keys())
        if unknown:
            raise ValueError(f"model configuration: unknown {', '.join(unknown)}")
        return cls(**values)

    def as_mapping(self) -> dict[str, Any]:
        """The inverse of :meth:`from_mapping`; without ``geometry`` where there is none, as before there was any."""
        return {name: value for name, value in asdict(self).items() if name != "geometry" or value}


@dataclass(frozen=True)
class AtlasSettings(Checked):
    """How many submaps, and how far apart. An atlas that has more submaps already keeps them.

    The distance of directions is the chord between unit vectors (radians, where they are few).
    """

    submaps: int = parameter(
        1,
        "memory.submaps",
        "Streaming mode: at most so many memories, each for where the camera was (ours). 1: one for everywhere "
        "(published).",
        "",
        1,
        64,
    )
    apart: float = parameter(
        0.1,
        "memory.submap_distance",
        "A chunk nearer to a submap than this is written there: units of the model's frame for the position, radians "
        "for the direction, root of the sum of squares.",
        "",
        0.0,
        10.0,
    )
