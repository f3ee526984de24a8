# SPDX-License-Identifier: Apache-2.0
"""The layers of the model: attention inside a view, the LaCET fast-weight memory across views, the MLP.

Module names follow the released state dict, so that official weights load by name.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fsm_ros.memory.fast_weights import (
    FastWeights,
    WriteTokens,
    column_norms,
    newton_schulz,
    read,
)
from fsm_ros.memory.rules.base import LayerMemory, LayerStatistics, Muon, WriteRule

# PyTorch's default RMSNorm epsilon depends on the input's type; the released model was run with float32's.
QK_NORM_EPSILON = torch.finfo(torch.float32).eps
UNIT_EPSILON = 1e-5


class ViewAttention(nn.Module):
    """Full self-attention among the tokens of one view; views never mix here."""

    def __init__(self, dim: int, head_dim: int) -> None:
        """Args: ``dim`` model width ``D``; ``head_dim`` width of a head, a divisor of it."""
        super().__init__()
        self.heads = dim // head_dim
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.c_proj = nn.Linear(dim, dim, bias=False)
        self.q_norm = nn.RMSNorm(head_dim, eps=QK_NORM_EPSILON)
        self.k_norm = nn.RMSNorm(head_dim, eps=QK_NORM_EPSILON)

    def forward(self, tokens: Tensor) -> Tensor:
        """``[B, V, N, D]`` to the same."""
        batch = tokens.shape[0]
        qkv = self.to_qkv(tokens)
        q, k, v = rearrange(qkv, "b v n (three h d) -> three (b v) h n d", three=3, h=self.heads)
        # Norms in float32, like their weights, also where autocast gives bfloat16; in one piece, as they are slow else.
        q, k = (x.to(torch.float32, memory_format=torch.contiguous_format) for x in (q, k))
        q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)
        mixed = _attend(q, k, v)
        out: Tensor = self.c_proj(rearrange(mixed, "(b v) h n d -> b v n (h d)", b=batch))
        return out


class LaCETLayer(nn.Module):
    """Large-chunk elastic test-time training: the layer whose fast weights are the memory.

    The parameters ``w0``, ``w1``, ``w2`` are the slow weights, where every memory starts. Nothing here
    changes them: fast weights come in and go out as values.
    """

    def __init__(self, dim: int, head_dim: int, inter_multi: int, base_lr: float, muon_update_steps: int) -> None:
        """Args: widths, the step size at zero input, and the Newton-Schulz iterations."""
        super().__init__()
        self.heads = dim // head_dim
        self.muon_update_steps = muon_update_steps
        hidden = inter_multi * head_dim
        self.w0 = nn.Parameter(torch.randn(self.heads, head_dim, hidden) / math.sqrt(head_dim))
        self.w1 = nn.Parameter(torch.randn(self.heads, hidden, head_dim) / math.sqrt(hidden))
        self.w2 = nn.Parameter(torch.randn(self.heads, head_dim, hidden) / math.sqrt(head_dim))
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.c_proj = nn.Linear(dim, dim, bias=False)
        self.lr_fc = nn.Linear(dim, 3 * self.heads)
        self.o_norm = nn.RMSNorm(head_dim, eps=UNIT_EPSILON)
        # softplus(0 + shift) = base_lr
        self.lr_shift = math.log(math.expm1(base_lr))

    def slow_weights(self, batch: int) -> FastWeights:
        """The weights every memory starts from, ``[B, H, ., .]``; they share memory with the parameters."""
        return FastWeights(*(w.float().expand(batch, *w.shape) for w in (self.w0, self.w1, self.w2)))

    def initial_memory(self, batch: int) -> LayerMemory:
        """A memory that has seen nothing: anchored where it starts, nothing important yet."""
        # A copy: a memory is a value, it must not follow the parameters when they are trained or loaded.
        return LayerMemory.beginning_at(self.slow_weights(batch).map(torch.clone))

    def queries(self, tokens: Tensor) -> Tensor:
        """What tokens ``[B, V, N, D]`` ask the memory, ``[B, H, V*N, d]``, unit length."""
        return _unit(self._heads(F.silu(F.linear(tokens, self.to_qkv.weight[: self.to_qkv.in_features]))))

    def write_tokens(self, tokens: Tensor) -> WriteTokens:
        """What tokens ``[B, V, N, D]`` ask the memory to remember."""
        key_value = F.silu(F.linear(tokens, self.to_qkv.weight[self.to_qkv.in_features :]))
        keys, values = key_value.chunk(2, dim=-1)
        with torch.autocast(tokens.device.type, enabled=False):
            raw = F.linear(tokens.float(), self.lr_fc.weight.float(), self.lr_fc.bias.float())
            step_sizes = F.softplus(raw + self.lr_shift)
        eta0, eta1, eta2 = rearrange(step_sizes, "b v n (three h) -> three b h (v n) 1", three=3)
        return WriteTokens(_unit(self._heads(keys)), self._heads(values), (eta0, eta1, eta2))

    def norms(self) -> FastWeights:
        """The column norms that every write restores, ``[1, H, 1, .]``."""
        return column_norms(self.slow_weights(1))

    def muon(self, dtype: torch.dtype) -> Muon:
        """The layer's Newton-Schulz iteration, in this precision."""
        return lambda gradient: gradient.map(lambda g: newton_schulz(g, self.muon_update_steps, dtype))

    def read(self, weights: FastWeights, queries: Tensor, views: int) -> Tensor:
        """Answer queries ``[B, H, V*N, d]`` from the fast weights, ``[B, V, N, D]``."""
        answer = self.o_norm(read(weights, queries).float())
        out: Tensor = self.c_proj(rearrange(answer, "b h (v n) d -> b v n (h d)", v=views))
        return out

    def _heads(self, tokens: Tensor) -> Tensor:
        return rearrange(tokens, "b v n (h d) -> b h (v n) d", h=self.heads)


class FeedForward(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, dim: int, inter_multi: int) -> None:
        """Args: model width and how much wider the hidden layer is."""
        super().__init__()
        self.c_fc = nn.Linear(dim, inter_multi * dim, bias=False)
        self.c_proj = nn.Linear(inter_multi * dim, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """``[..., D]`` to the same."""
        out: Tensor = self.c_proj(F.gelu(self.c_fc(tokens)))
        return out


_Layer = TypeVar("_Layer", bound=nn.Module)


class PreNorm(nn.Module, Generic[_Layer]):
    """A layer ``f`` and the LayerNorm ``ln`` before it; the residual is added by the block."""

    def __init__(self, dim: int, f: _Layer) -> None:
        """Args: model width and the layer."""
        super().__init__()
        self.ln = nn.LayerNorm(dim, eps=1e-5, bias=False)
        self.f = f


class Block(nn.Module):
    """Attention inside each view, the memory across views, an MLP: three pre-norm residual layers.

    One block is used in three steps, as writing comes between them: :meth:`attend`, :meth:`write` (observed
    views only), :meth:`respond`.
    """

    def __init__(self, attention: ViewAttention, memory: LaCETLayer, mlp: FeedForward, dim: int) -> None:
        """Args: the three layers and the model width."""
        super().__init__()
        self.module_list = nn.ModuleList([PreNorm(dim, attention), PreNorm(dim, memory), PreNorm(dim, mlp)])

    @property
    def memory(self) -> LaCETLayer:
        """The fast-weight layer."""
        return self._layers[1].f

    @property
    def _layers(self) -> tuple[PreNorm[ViewAttention], PreNorm[LaCETLayer], PreNorm[FeedForward]]:
        layers = tuple(self.module_list)
        return cast("tuple[PreNorm[ViewAttention], PreNorm[LaCETLayer], PreNorm[FeedForward]]", layers)

    def attend(self, x: Tensor) -> Tensor:
        """Residual stream ``[B, V, N, D]`` after attention inside each view."""
        attention, _, _ = self._layers
        out: Tensor = x + attention.f(attention.ln(x))
        return out

    def write(
        self,
        attended: Tensor,
        memory: LayerMemory,
        rule: WriteRule,
        muon_dtype: torch.dtype,
        chunk_tokens: int | None = None,
    ) -> tuple[LayerMemory, LayerStatistics]:
        """Write attended tokens ``[B, V, N, D]`` into the layer's memory.

        Args:
            attended: from :meth:`attend`.
            memory: the layer before.
            rule: how to write.
            muon_dtype: precision of Newton-Schulz.
            chunk_tokens: write in chunks of so many tokens, in order, the last one maybe shorter; ``None``:
                all in one.

        Returns:
            The layer after, and what the last chunk did.
        """
        _, layer, _ = self._layers
        tokens = layer.f.write_tokens(layer.ln(attended))
        norms, muon = layer.f.norms(), layer.f.muon(muon_dtype)
        for chunk in tokens.split(chunk_tokens):
            memory, statistics = rule.write(memory, chunk, norms, muon)
        return memory, statistics

    def respond(self, attended: Tensor, weights: FastWeights) -> Tensor:
        """Residual stream ``[B, V, N, D]`` after the memory was read and the MLP applied."""
        _, memory, mlp = self._layers
        queries = memory.f.queries(memory.ln(attended))
        x = attended + memory.f.read(weights, queries, views=attended.shape[1])
        out: Tensor = x + mlp.f(mlp.ln(x))
        return out


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if v.device.type == "cpu" and v.dtype is torch.bfloat16 and v.requires_grad:
        # PyTorch's fused kernel takes seven times as long to differentiate here.
        mixed: Tensor = ((q @ k.mT) * q.shape[-1] ** -0.5).softmax(dim=-1) @ v
        return mixed
    return F.scaled_dot_product_attention(q, k, v)


def _unit(vectors: Tensor) -> Tensor:
    unit: Tensor = vectors / (vectors.norm(dim=-1, keepdim=True) + UNIT_EPSILON)
    return unit
