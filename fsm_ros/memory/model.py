# SPDX-License-Identifier: Apache-2.0
"""FsmModel: write posed images into fast weights, render views from them.

The 4D-LVSM of "Fast Spatial Memory with Elastic Test-Time Training" (arXiv 2604.07350), in two orders that
are different functions for more than one chunk:

* *streaming* (:meth:`FsmModel.observe`): chunk by chunk; in every layer a chunk is written, then
  read by its own tokens, and never touched again. Activation memory is that of one chunk.
* *batch* (:meth:`FsmModel.observe_batch`): in every layer all chunks are written before any token
  reads, as the release was trained. Activation memory grows with the number of views.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn

from fsm_ros.errors import FsmError
from fsm_ros.memory.camera import Cameras, pluecker_map
from fsm_ros.memory.configuration import ModelConfig
from fsm_ros.memory.layers import Block, FeedForward, LaCETLayer, ViewAttention
from fsm_ros.memory.precision import MuonPrecision, Precision
from fsm_ros.memory.rules.base import LayerMemory, LayerStatistics, WriteRule
from fsm_ros.memory.rules.elastic import AnchorSharing, ElasticRule
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.state import MemoryState
from fsm_ros.memory.views import Geometry, Rendering, Views, check_times

PIXEL_CHANNELS = 13  # origin, direction, moment, rgb, time
TYPICAL_LOG_INVERSE_DISTANCE = 0.7
"""Where the geometry head begins: half a memory unit away, along the ray."""
TYPICAL_SCALE = 0.3
"""And how sure of it, in units of the natural logarithm."""
MAX_LOG_SCALE = 4.0
"""The scale stays within this factor's exponential of the typical one."""


class NonFiniteUpdateError(FsmError, ArithmeticError):
    """Writing a chunk would have left a weight that is not finite; the state before it still stands."""


class FsmModel(nn.Module):
    """The model: weights that know how to remember, and no memory of its own.

    Methods that change a memory take a state and return a new one.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        precision: Precision = Precision.FP32,
        muon_precision: MuonPrecision = MuonPrecision.FP32,
    ) -> None:
        """Make a model with random weights.

        Args:
            config: the architecture.
            precision: arithmetic of the matrix products.
            muon_precision: arithmetic of Newton-Schulz.

        Raises:
            ValueError: an unknown precision.
        """
        super().__init__()
        self.config = config
        self.precision = Precision(precision)
        self.muon_precision = MuonPrecision(muon_precision)
        token = config.patch_size**2
        self.input_linear = nn.Linear(PIXEL_CHANNELS * token, config.dim, bias=False)
        self.input_layernorm = nn.LayerNorm(config.dim, eps=1e-5, bias=False)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.num_layers))
        self.image_token_decoder = nn.Sequential(
            nn.LayerNorm(config.dim, eps=1e-5, bias=False),
            nn.Linear(config.dim, 3 * token, bias=False),
            nn.Sigmoid(),
        )
        if config.geometry:
            self.geometry_token_decoder = nn.Sequential(
                nn.LayerNorm(config.dim, eps=1e-5, bias=False), nn.Linear(config.dim, 2 * token)
            )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.input_linear.weight.device

    @property
    def memory_layers(self) -> list[LaCETLayer]:
        """The fast-weight layers, in order."""
        return [block.memory for block in self._blocks()]

    def fingerprint(self) -> str:
        """A hash of architecture and weights: memories of one model mean nothing to another."""
        digest = hashlib.sha256(json.dumps(self.config.as_mapping(), sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def initial_state(self, batch: int = 1, prior: Sequence[LayerMemory] | None = None) -> MemoryState:
        """A memory that has seen nothing.

        Args:
            batch: number of scenes ``B``.
            prior: anchors and importance to start from instead of the slow weights and a small constant, one
                ``[1, H, ., .]`` entry per layer (:attr:`fsm_ros.memory.checkpoint.Checkpoint.elastic_prior`).

        Raises:
            ValueError: no scene, or a prior of another model.
        """
        if batch < 1:
            raise ValueError(f"a memory holds at least one scene, got {batch}")
        layers = tuple(block.memory.initial_memory(batch) for block in self._blocks())
        if prior is not None:
            if len(prior) != len(layers):
                raise ValueError(f"the elastic prior has {len(prior)} layers, the model {len(layers)}")
            layers = tuple(
                replace(
                    layer,
                    anchor=given.anchor.map(_expanded, layer.weights),
                    importance=given.importance.map(_expanded, layer.weights),
                )
                for layer, given in zip(layers, prior, strict=True)
            )
        return MemoryState(layers)

    def observe(
        self, state: MemoryState, chunk: Views, rule: WriteRule = Plastic(), *, checked: bool = True
    ) -> MemoryState:
        """Write one chunk, in streaming order.

        Args:
            state: the memory before; not changed.
            chunk: the views to write. Their order does not matter.
            rule: how to write, such as the elastic prior.
            checked: look for weights that are not finite, which waits for the device. A trainer, which looks at
                its gradients anyway, does not.

        Returns:
            The memory after.

        Raises:
            ValueError: shapes that do not fit the state or the patch size.
            NonFiniteUpdateError: the chunk would have left a weight that is not finite.
        """
        return self._written(state, chunk, rule, None, False, checked)

    def observe_batch(
        self,
        state: MemoryState,
        views: Views,
        chunk_tokens: int,
        rule: WriteRule = Plastic(),
        sharing: AnchorSharing = AnchorSharing.PER_LAYER,
        *,
        checked: bool = True,
    ) -> MemoryState:
        """Write many views at once, in batch order: all chunks in a layer before any token reads.

        Args:
            state: the memory before; not changed.
            views: all views, in order.
            chunk_tokens: size of a chunk in tokens; chunks ignore view borders, the last one may be shorter.
            rule: how to write, such as the elastic prior.
            sharing: whether anchors and importance are handed from layer to layer, as in the release.
            checked: as in :meth:`observe`.

        Returns:
            The memory after; with shared anchors each layer holds the set as that layer left it.

        Raises:
            ValueError: shapes that do not fit, an unknown sharing, or one that the rule does not have.
            NonFiniteUpdateError: a weight would not be finite.
        """
        if chunk_tokens <= 0:
            raise ValueError(f"chunk_tokens must be positive, got {chunk_tokens}")
        # Plain LaCT leaves anchors and importance as they are, so there is nothing to hand on.
        shared = AnchorSharing(sharing) is AnchorSharing.SHARED and not isinstance(rule, Plastic)
        if shared and not isinstance(rule, ElasticRule):
            raise ValueError("anchors are shared between layers under the elastic rule only: use per_layer")
        return self._written(state, views, rule, chunk_tokens, shared, checked)

    def _written(
        self, state: MemoryState, seen: Views, rule: WriteRule, chunk_tokens: int | None, shared: bool, checked: bool
    ) -> MemoryState:
        """The memory after some views, in each layer written in chunks of so many tokens, or as one chunk."""
        self._check_fits(state, seen.cameras)
        layers: list[LayerMemory] = []
        statistics: list[LayerStatistics] = []
        with self._autocast():
            x = self._embed(seen.cameras, seen.times, seen.images)
            tokens = x.shape[1] * x.shape[2]
            blocks = self._blocks()
            for block, before in zip(blocks, state.layers, strict=True):
                if shared and layers:
                    before = replace(before, anchor=layers[-1].anchor, importance=layers[-1].importance)
                attended = block.attend(x)
                after, did = block.write(attended, before, rule, self.muon_precision.dtype, chunk_tokens)
                layers.append(after)
                statistics.append(did)
                if block is not blocks[-1]:  # nothing comes after the last write
                    x = block.respond(attended, after.weights)
        chunks = state.chunks_observed + (1 if chunk_tokens is None else -(-tokens // chunk_tokens))
        views = state.views_observed + seen.cameras.views
        written = MemoryState(tuple(layers), chunks, views, tuple(statistics))
        if checked and not written.is_finite():
            raise NonFiniteUpdateError(
                "writing this chunk would leave weights that are not finite; the memory before it is kept. "
                "Check the images, poses and intrinsics of the chunk for values that are not finite or extreme"
            )
        return written

    def render(self, state: MemoryState, cameras: Cameras, times: Tensor) -> Tensor:
        """The images of :meth:`render_all`, ``[B, V, 3, H, W]``, RGB in (0, 1), float32."""
        return self.render_all(state, cameras, times).images

    def render_all(self, state: MemoryState, cameras: Cameras, times: Tensor) -> Rendering:
        """Views from the memory with all that it knows of them. Only reads; every view is independent of the others.

        Args:
            state: the memory.
            cameras: where to look from.
            times: ``[B, V]``, the moments to look at, memory time in [-1, 1].

        Raises:
            ValueError: shapes that do not fit.
        """
        check_times(times, cameras)
        self._check_fits(state, cameras)
        with self._autocast():
            x = self._embed(cameras, times, images=None)
            for block, layer in zip(self._blocks(), state.layers, strict=True):
                x = block.respond(block.attend(x), layer.weights)
            patches: Tensor = self.image_token_decoder(x)
            shape: Tensor | None = self.geometry_token_decoder(x) if self.config.geometry else None
        images = self._pixels(patches.float(), cameras)
        if shape is None:
            return Rendering(images, None)
        along_ray, spread = self._pixels(shape.float(), cameras).unbind(dim=2)
        log_inverse_depth = along_ray + _log_stretch(cameras) + TYPICAL_LOG_INVERSE_DISTANCE
        scale = TYPICAL_SCALE * spread.clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE).exp()
        return Rendering(images, Geometry(log_inverse_depth, scale))

    def _pixels(self, patches: Tensor, cameras: Cameras) -> Tensor:
        """``[B, V, N, C p^2]`` to ``[B, V, C, H, W]``."""
        p = self.config.patch_size
        return rearrange(
            patches,
            "b v (h w) (p q c) -> b v c (h p) (w q)",
            h=cameras.height // p,
            w=cameras.width // p,
            p=p,
            q=p,
        )

    def patch_features(self, cameras: Cameras, times: Tensor, images: Tensor | None) -> Tensor:
        """Raw tokens ``[B, V, N, 13 p^2]`` before the first linear layer; no images: views to render."""
        p = self.config.patch_size
        if cameras.height % p or cameras.width % p:
            raise ValueError(
                f"views of {cameras.width}x{cameras.height} pixels cannot be cut into patches of {p}: use a "
                f"width and height that are multiples of {p}"
            )
        rays = pluecker_map(cameras)
        size = (cameras.batch, cameras.views, 1, cameras.height, cameras.width)
        rgb = torch.zeros_like(rays[:, :, :3]) if images is None else 2 * images.to(rays) - 1
        time = times.to(rays)[:, :, None, None, None].expand(size)
        pixels = torch.cat([rays, rgb, time], dim=2)
        return rearrange(pixels, "b v c (h p) (w q) -> b v (h w) (p q c)", p=p, q=p)

    def _embed(self, cameras: Cameras, times: Tensor, images: Tensor | None) -> Tensor:
        features = self.patch_features(cameras, times, images).to(self.input_linear.weight.dtype)
        x: Tensor = self.input_layernorm(self.input_linear(features))
        return x

    def _blocks(self) -> list[Block]:
        return cast("list[Block]", list(self.blocks))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision is Precision.BF16)

    def _check_fits(self, state: MemoryState, cameras: Cameras) -> None:
        found = [tuple(layer.weights.w0.shape[1:]) for layer in state.layers]
        expected = [tuple(block.memory.w0.shape) for block in self._blocks()]
        if found != expected:
            raise ValueError(f"the memory is of another model: layers of {found}, expected {expected}")
        if state.batch != cameras.batch:
            raise ValueError(f"the memory holds {state.batch} scenes, the cameras are of {cameras.batch}")


def _block(c: ModelConfig) -> Block:
    return Block(
        ViewAttention(c.dim, c.attention_head_dim),
        LaCETLayer(c.dim, c.fast_head_dim, c.fast_inter_multi, c.base_lr, c.muon_update_steps),
        FeedForward(c.dim, c.mlp_inter_multi),
        c.dim,
    )


def _log_stretch(cameras: Cameras) -> Tensor:
    """Logarithm of distance along the ray over depth along the optical axis, ``[B, V, H, W]``."""
    intrinsics = cameras.fxfycxcy
    column = torch.arange(cameras.width, device=intrinsics.device) + 0.5
    row = torch.arange(cameras.height, device=intrinsics.device) + 0.5
    fx, fy, cx, cy = (intrinsics[..., i, None] for i in range(4))
    x, y = ((column - cx) / fx)[:, :, None, :], ((row - cy) / fy)[:, :, :, None]
    return 0.5 * (1 + x * x + y * y).log()


def _expanded(given: Tensor, like: Tensor) -> Tensor:
    found, expected = tuple(given.shape), (1, *like.shape[1:])
    if found != expected:
        raise ValueError(f"the elastic prior is of another model: shape {found}, expected {expected}")
    return given.to(like).expand_as(like)
