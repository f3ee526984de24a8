# SPDX-License-Identifier: Apache-2.0
"""An atlas: several memories of one scene, each for where the camera was; a chunk overwrites only its own submap.

A bank of at most so many :class:`MemoryState` values, addressed by position and viewing direction of the camera. A
chunk is written into the submap it was seen from, or opens a new one; a view is rendered from the submap nearest to its
camera. Where the bank is full and a chunk comes from elsewhere, the two nearest submaps are merged into one, which
:class:`fsm_ros.memory.rules.consolidation.Consolidation` can do without loss of evidence; under other rules the nearest
submap is written. So the memory stays of a fixed size, however far the camera goes, and gets coarser instead of
forgetful. With one submap it is the plain memory. After a change of the rule in mid-stream submaps may not be mergeable
with each other; then, too, the nearest is written. Not of the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.memory.model import FsmModel, NonFiniteUpdateError
from fsm_ros.memory.rules.base import WriteRule
from fsm_ros.memory.rules.consolidation import Consolidation
from fsm_ros.memory.state import MemoryState, size_bytes
from fsm_ros.memory.views import Rendering, Views

ADDRESS = 6


@dataclass(frozen=True, eq=False)
class Submap:
    """One memory, and where its views were seen from.

    Attributes:
        state: what it remembers.
        address: ``[6]`` float64 on the CPU: mean position of its cameras in memory units, and mean optical axis.
        views: how many the mean is over.
    """

    state: MemoryState
    address: Tensor
    views: int

    def grown(self, state: MemoryState, address: Tensor, views: int) -> Submap:
        """The submap with so many more views of a mean address, and what it remembers with them."""
        total = self.views + views
        return Submap(state, (self.views * self.address + views * address) / total, total)


@dataclass(frozen=True, eq=False)
class Atlas:
    """The submaps of one scene, as a value.

    Attributes:
        blank: the memory that every submap begins as.
        submaps: in the order they were opened; none before the first chunk.
        newest: which of them was written last.
    """

    blank: MemoryState
    submaps: tuple[Submap, ...] = ()
    newest: int = 0

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            ValueError: several scenes, a blank memory that is none, or a newest submap that is not there.
        """
        if self.blank.batch != 1:
            raise ValueError(f"an atlas is of one scene, got a memory of {self.blank.batch}")
        if self.blank.chunks_observed:
            raise ValueError("submaps begin blank, got a memory that has seen something")
        if not 0 <= self.newest < max(1, len(self.submaps)):
            raise ValueError(f"there is no submap {self.newest} among {len(self.submaps)}")

    @property
    def states(self) -> tuple[MemoryState, ...]:
        """The memories of all submaps; a blank one before the first chunk."""
        return tuple(submap.state for submap in self.submaps) or (self.blank,)

    @property
    def state(self) -> MemoryState:
        """The memory of the submap that was written last."""
        return self.states[self.newest]

    @property
    def size_bytes(self) -> int:
        """Bytes of all submaps together."""
        return size_bytes(*self.states)

    def reanchored(self) -> Atlas:
        """All submaps anchored where they stand: for going on under another rule in mid-stream."""
        # Submaps share what they have in common: one set of tensors says that nothing is important yet.
        fresh = self.blank.reanchored()

        def anchored(state: MemoryState) -> MemoryState:
            layers = zip(state.reanchored().layers, fresh.layers, strict=True)
            return replace(state, layers=tuple(replace(mine, importance=f.importance) for mine, f in layers))

        return replace(self, submaps=tuple(replace(submap, state=anchored(submap.state)) for submap in self.submaps))

    def nearest(self, addresses: Tensor) -> Tensor:
        """For each of ``[N, 6]`` addresses which submap is nearest, ``[N]``."""
        return torch.cdist(addresses, self._addresses()).argmin(dim=1)

    def distance_to(self, address: Tensor) -> tuple[int, float]:
        """The submap nearest to an address ``[6]``, and how far it is."""
        distances = (self._addresses() - address).norm(dim=1)
        nearest = int(distances.argmin())
        return nearest, float(distances[nearest])

    def closest_pair(self) -> tuple[int, int, float]:
        """The two submaps that are nearest to each other, and how far that is."""
        distances = torch.cdist(self._addresses(), self._addresses())
        distances.fill_diagonal_(math.inf)
        one, other = divmod(int(distances.argmin()), len(self.submaps))
        return min(one, other), max(one, other), float(distances[one, other])

    def _addresses(self) -> Tensor:
        return torch.stack([submap.address for submap in self.submaps])


def addresses_of(cameras: Cameras) -> Tensor:
    """Where the views of one scene are seen from, ``[V, 6]`` float64 on the CPU: position, and optical axis.

    Raises:
        ValueError: cameras of several scenes.
    """
    if cameras.batch != 1:
        raise ValueError(f"an atlas is of one scene, the cameras are of {cameras.batch}")
    pose = cameras.memory_from_camera[0].detach().cpu().double()
    return torch.cat([pose[:, :3, 3], pose[:, :3, 2]], dim=1)


def observe(
    model: FsmModel,
    atlas: Atlas,
    chunk: Views,
    rule: WriteRule,
    settings: AtlasSettings,
) -> Atlas:
    """Write one chunk into the submap it was seen from.

    Args:
        model: the weights.
        atlas: the memory before; not changed.
        chunk: the views to write.
        rule: how to write.
        settings: how many submaps, and how far apart.

    Returns:
        The memory after.

    Raises:
        ValueError: see :meth:`FsmModel.observe`.
        NonFiniteUpdateError: see there.
    """
    address = addresses_of(chunk.cameras).mean(dim=0)
    atlas, chosen = _place_for(model, atlas, address, rule, settings)
    views = chunk.cameras.views
    if chosen == len(atlas.submaps):
        submap = Submap(model.observe(atlas.blank, chunk, rule), address, views)
    else:
        before = atlas.submaps[chosen]
        submap = before.grown(model.observe(before.state, chunk, rule), address, views)
    return replace(atlas, submaps=(*atlas.submaps[:chosen], submap, *atlas.submaps[chosen + 1 :]), newest=chosen)


def render(model: FsmModel, atlas: Atlas, cameras: Cameras, times: Tensor) -> Tensor:
    """The images of :func:`render_all`, ``[1, V, 3, H, W]``, RGB in (0, 1), float32."""
    return render_all(model, atlas, cameras, times).images


def render_all(model: FsmModel, atlas: Atlas, cameras: Cameras, times: Tensor) -> Rendering:
    """Views from the atlas with all that its memories know of them, each from the submap nearest to its camera.

    Args:
        model: the weights.
        atlas: the memory.
        cameras: where to look from, of one scene.
        times: ``[1, V]``, memory time in [-1, 1].

    Raises:
        ValueError: shapes that do not fit.
    """
    if len(atlas.submaps) < 2:
        return model.render_all(atlas.state, cameras, times)
    addresses = addresses_of(cameras)
    if times.shape != (1, cameras.views):
        raise ValueError(f"times must be {(1, cameras.views)} like their cameras, got {tuple(times.shape)}")
    nearest = atlas.nearest(addresses)
    numbers = sorted(set(nearest.tolist()))
    chosen = [(nearest == number).nonzero()[:, 0].to(times.device) for number in numbers]
    rendered = [
        model.render_all(atlas.submaps[number].state, cameras[views], times[:, views])
        for number, views in zip(numbers, chosen, strict=True)
    ]
    return Rendering.joined(rendered, dim=1)[torch.cat(chosen).argsort()]


def _place_for(
    model: FsmModel, atlas: Atlas, address: Tensor, rule: WriteRule, settings: AtlasSettings
) -> tuple[Atlas, int]:
    """Which submap a chunk goes to; the number after the last one is a new submap. Two may have been merged for it."""
    if not atlas.submaps:
        return atlas, 0
    nearest, distance = atlas.distance_to(address)
    if distance <= settings.apart:
        return atlas, nearest
    if len(atlas.submaps) < settings.submaps:
        return atlas, len(atlas.submaps)
    if isinstance(rule, Consolidation) and len(atlas.submaps) > 1:
        one, other, gap = atlas.closest_pair()
        merged = _merged(model, atlas.submaps[one], atlas.submaps[other], rule) if gap < distance else None
        if merged is not None:
            kept = [submap for i, submap in enumerate(atlas.submaps) if i not in (one, other)]
            atlas = replace(atlas, submaps=(*kept, merged), newest=len(kept))
            return atlas, len(atlas.submaps)
    return atlas, nearest


def _merged(model: FsmModel, one: Submap, other: Submap, rule: Consolidation) -> Submap | None:
    """The submap that had been written what two were; ``None`` where their memories cannot be added up."""
    precision = model.muon_precision.dtype
    layers = [
        rule.merge(mine, theirs, layer.norms(), layer.muon(precision))
        for layer, mine, theirs in zip(model.memory_layers, one.state.layers, other.state.layers, strict=True)
    ]
    whole = tuple(layer for layer in layers if layer is not None)
    if len(whole) < len(layers):
        return None
    chunks = one.state.chunks_observed + other.state.chunks_observed
    state = MemoryState(whole, chunks, one.state.views_observed + other.state.views_observed)
    # Sums of what was finite: only the weights written from them are in question.
    if not bool(torch.stack([w.isfinite().all() for layer in whole for w in layer.weights]).all()):
        raise NonFiniteUpdateError("merging two submaps of the memory would leave weights that are not finite")
    return one.grown(state, other.address, other.views)
