# SPDX-License-Identifier: Apache-2.0
"""The memory itself, as a value: what observing changes, and nothing else.

A state is never changed in place: observing makes a new one. It can be kept, compared, moved, saved, loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fsm_ros.errors import FsmError
from fsm_ros.memory.fast_weights import FastWeights
from fsm_ros.memory.rules.base import LayerMemory, LayerStatistics

FORMAT = "fsm_ros.memory/1"
_PARTS = ("weights", "anchor", "importance", "evidence")
_MATRICES = ("w0", "w1", "w2")


class MemoryFileError(FsmError):
    """A file is not a memory of this model; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class MemoryState:
    """Everything that observing changes.

    Attributes:
        layers: fast weights, anchor and importance of every layer.
        chunks_observed: how many chunks were written.
        views_observed: how many views they held.
        statistics: what the last chunk did to each layer; empty before the first.
    """

    layers: tuple[LayerMemory, ...]
    chunks_observed: int = 0
    views_observed: int = 0
    statistics: tuple[LayerStatistics, ...] = ()

    @property
    def batch(self) -> int:
        """Number of scenes, ``B``."""
        return self.layers[0].weights.w0.shape[0]

    @property
    def size_bytes(self) -> int:
        """Bytes that the state takes; once written, the same however long the stream is. Shared tensors count once."""
        return size_bytes(self)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor under its name in a file, ``layers.<i>.<weights|anchor|importance|evidence>.<w0|w1|w2>``.

        There is no evidence where the rule keeps none.
        """
        return {
            f"layers.{i}.{part}.{name}": getattr(held, name)
            for i, layer in enumerate(self.layers)
            for part in _PARTS
            if (held := getattr(layer, part)) is not None
            for name in _MATRICES
        }

    def map(self, function: Callable[[Tensor], Tensor]) -> MemoryState:
        """The same state with every tensor replaced; statistics are dropped."""
        return _from_tensors({name: function(t) for name, t in self.tensors().items()}, self)

    def to(self, device: torch.device | str) -> MemoryState:
        """The state on another device."""
        return self.map(lambda t: t.to(device))

    def detach(self) -> MemoryState:
        """The state without its history of gradients."""
        return self.map(torch.Tensor.detach)

    def reanchored(self) -> MemoryState:
        """The state anchored where it stands, nothing important yet, no evidence: for going on under another rule.

        Rules keep different things in importance and evidence, so what one of them kept means nothing to the next.
        """
        return replace(self, layers=tuple(LayerMemory.beginning_at(layer.weights) for layer in self.layers))

    def equals(self, other: MemoryState) -> bool:
        """Bit for bit the same memory (statistics aside)."""
        mine, theirs = self.tensors(), other.tensors()
        return (
            (self.chunks_observed, self.views_observed) == (other.chunks_observed, other.views_observed)
            and mine.keys() == theirs.keys()
            and all(torch.equal(mine[name], theirs[name]) for name in mine)
        )

    def is_finite(self) -> bool:
        """Whether every tensor holds finite numbers only."""
        return bool(torch.stack([t.isfinite().all() for t in self.tensors().values()]).all())


def size_bytes(*states: MemoryState) -> int:
    """Bytes that states take together; tensors that they share count once."""
    unique = {id(t): t for state in states for t in state.tensors().values()}
    return sum(t.numel() * t.element_size() for t in unique.values())


def _from_tensors(tensors: Mapping[str, Tensor], like: MemoryState) -> MemoryState:
    def part(i: int, which: str) -> FastWeights:
        return FastWeights(*(tensors[f"layers.{i}.{which}.{name}"] for name in _MATRICES))

    def layer(i: int) -> LayerMemory:
        evidence = part(i, "evidence") if f"layers.{i}.evidence.w0" in tensors else None
        return LayerMemory(part(i, "weights"), part(i, "anchor"), part(i, "importance"), evidence)

    return replace(like, layers=tuple(layer(i) for i in range(len(like.layers))), statistics=())


@dataclass(frozen=True, eq=False)
class SavedMemory:
    """What a memory file holds.

    Attributes:
        state: the memory.
        notes: what the writer wanted to keep beside it (the memory frame, say); JSON values.
        attachments: further tensors of the writer.
    """

    state: MemoryState
    notes: Mapping[str, object] = field(default_factory=dict)
    attachments: Mapping[str, Tensor] = field(default_factory=dict)


def save_memory(path: Path, memory: SavedMemory, fingerprint: str) -> int:
    """Write a memory file atomically: a crash leaves either the old file or the new one, never half of one.

    Args:
        path: where; the folder must exist.
        memory: what to write.
        fingerprint: of the model that the memory belongs to.

    Returns:
        Bytes written.

    Raises:
        OSError: the disk is full or the folder cannot be written to.
    """
    state = memory.state
    named = {f"state.{name}": t for name, t in state.tensors().items()}
    named |= {f"attachments.{name}": t for name, t in memory.attachments.items()}
    # Copies: tensors that share memory, as an anchor does with its weights, cannot be written.
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in named.items()}
    metadata = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "chunks_observed": str(state.chunks_observed),
        "views_observed": str(state.views_observed),
        "notes": json.dumps(dict(memory.notes)),
    }
    metadata["digest"] = _digest(tensors, metadata)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    try:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            raise OSError(f"cannot write {path}: {error}") from error
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        size = os.path.getsize(temporary)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return size


def load_memory(path: Path, like: MemoryState, fingerprint: str) -> SavedMemory:
    """Read a memory file.

    Args:
        path: a file that :func:`save_memory` wrote.
        like: any state of the model that the memory must fit; its device is used.
        fingerprint: of that model.

    Raises:
        MemoryFileError: missing, corrupt, of another model or not a memory at all.
    """
    device = like.layers[0].weights.w0.device
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise MemoryFileError(
                    f"{path} is not a memory file of this version (format {metadata.get('format')!r}, "
                    f"expected {FORMAT!r}): save one anew"
                )
            if metadata.get("fingerprint") != fingerprint:
                raise MemoryFileError(
                    f"{path} was written by another model (fingerprint {metadata.get('fingerprint')}, this "
                    f"model is {fingerprint}): load the checkpoint it was made with, or observe it anew"
                )
            # Copies: what is read is mapped from the file, and would change with it.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
        if metadata.pop("digest", None) != _digest(tensors, metadata):
            raise MemoryFileError(
                f"{path} is damaged, its content is not what was written: use another file, or observe the scene anew"
            )
        chunks, views = int(metadata["chunks_observed"]), int(metadata["views_observed"])
        notes = json.loads(metadata["notes"])
    except FileNotFoundError as error:
        raise MemoryFileError(f"there is no memory file {path}") from error
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise MemoryFileError(f"{path} cannot be read as a memory, it is damaged or cut short: {error}") from error
    state = {name.removeprefix("state."): t.to(device) for name, t in tensors.items() if name.startswith("state.")}
    try:
        loaded = replace(state_from_tensors(state, like), chunks_observed=chunks, views_observed=views)
    except ValueError as error:
        raise MemoryFileError(f"{path} {error}") from error
    attachments = {
        name.removeprefix("attachments."): t for name, t in tensors.items() if name.startswith("attachments.")
    }
    return SavedMemory(loaded, notes, attachments)


def state_from_tensors(tensors: Mapping[str, Tensor], like: MemoryState) -> MemoryState:
    """The inverse of :meth:`MemoryState.tensors`; counters are those of ``like``.

    Args:
        tensors: with evidence in every layer, or in none.
        like: any state of the model.

    Raises:
        ValueError: names, shapes or types that are not those of the model, or a number that is not finite; the message
            goes on after the name of what holds the tensors.
    """
    has_evidence = any(".evidence." in name for name in tensors)
    layers = (replace(layer, evidence=layer.weights if has_evidence else None) for layer in like.layers)
    wanted = replace(like, layers=tuple(layers)).tensors()
    expected = {name: (t.shape, t.dtype) for name, t in wanted.items()}
    found = {name: (t.shape, t.dtype) for name, t in tensors.items()}
    if found != expected:
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise ValueError(
            f"does not fit this model: {len(wrong)} tensors differ, the first is {wrong[0]} "
            f"(found {found.get(wrong[0])}, expected {expected.get(wrong[0])})"
        )
    state = _from_tensors(tensors, like)
    if not state.is_finite():
        raise ValueError("holds weights that are not finite: it is damaged")
    return state


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """A checksum of a file's content: a flipped bit mostly leaves weights that look sound."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
