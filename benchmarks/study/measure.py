# SPDX-License-Identifier: Apache-2.0
"""One arm on the streams: how good the memory is after few and after many chunks, and at what it is good."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fsm_ros.memory.atlas import Atlas, Submap, addresses_of, observe, render
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.views import Views
from fsm_ros.training.episodes import joined
from fsm_ros.training.evaluation import psnr
from study.arms import Arm, Order
from study.streams import Stream, StreamSettings

EXACT_DB = 60.0
"""What a view without any error counts as."""


@dataclass(frozen=True)
class SceneScores:
    """What one arm scored on one stream; lists run over the settings' chunk counts. PSNR in dB, means over views.

    Attributes:
        number: of the scene.
        held_out: views between the observed ones, of all that was seen so far.
        observed: observed views of all that was seen so far.
        first: the first chunk's own views.
        newest: the newest chunk's own views.
        pull_ratio: ``|pull| / |update|`` of the last chunk, for each layer.
        places: how many there are.
        probes: of every probe, after the settings' number of chunks for them.
    """

    number: int
    held_out: list[float]
    observed: list[float]
    first: list[float]
    newest: list[float]
    pull_ratio: list[list[float]]
    places: list[int]
    probes: list[float]


@torch.no_grad()
def measure(model: FsmModel, arm: Arm, stream: Stream, settings: StreamSettings) -> SceneScores:
    """Observe one stream under an arm's rule, and look at the memory on the way."""
    scores = SceneScores(stream.number, [], [], [], [], [], [], [])
    atlas = Atlas(model.initial_state(1))
    for count, chunk in enumerate(stream.chunks, 1):
        looked_at = count in stream.wanted
        if arm.order is Order.STREAMING:
            atlas = observe(model, atlas, chunk, arm.rule, arm.atlas)
        elif looked_at:
            atlas = _at_once(model, arm, stream.chunks[:count])
        if not looked_at:
            continue
        wanted = stream.wanted[count]
        for values, views in (
            (scores.held_out, wanted.held_out),
            (scores.observed, wanted.observed),
            (scores.first, wanted.first),
            (scores.newest, wanted.newest),
        ):
            values.append(float(_scored(model, atlas, views).mean()))
        scores.pull_ratio.append([float(layer.elastic_ratio.mean()) for layer in atlas.state.statistics])
        scores.places.append(len(atlas.submaps))
        if count == settings.probe_chunks:
            scores.probes.extend(_scored(model, atlas, stream.probe_views)[0].tolist())
    return scores


def nearest_view_scores(stream: Stream, settings: StreamSettings) -> SceneScores:
    """What the nearest observed view scores in place of a memory; nothing is said of observed views.

    Where nothing has changed it is the truth itself: that counts as `EXACT_DB`.
    """
    held_out = [
        float(psnr(stream.nearest_held_out[count], wanted.held_out.images).clamp(max=EXACT_DB).mean())
        for count, wanted in stream.wanted.items()
    ]
    probes: list[float] = psnr(stream.nearest_probes, stream.probe_views.images)[0].clamp(max=EXACT_DB).tolist()
    return SceneScores(stream.number, held_out, [], [], [], [], [], probes)


@torch.no_grad()
def measure_cost(model: FsmModel, arms: Sequence[Arm], stream: Stream) -> dict[str, float]:
    """Seconds that each streaming arm needs for all chunks of a stream, the arms taking turns chunk by chunk."""
    spent = dict.fromkeys((arm.name for arm in arms), 0.0)
    atlases = {arm.name: Atlas(model.initial_state(1)) for arm in arms}
    for chunk in stream.chunks:
        for arm in arms:
            _synchronise(model.device)
            started = time.perf_counter()
            atlases[arm.name] = observe(model, atlases[arm.name], chunk, arm.rule, arm.atlas)
            _synchronise(model.device)
            spent[arm.name] += time.perf_counter() - started
    return spent


def _at_once(model: FsmModel, arm: Arm, chunks: Sequence[Views]) -> Atlas:
    """A memory of one place, encoded in batch order from the start."""
    views = joined(chunks)
    tokens = views.cameras.height * views.cameras.width // model.config.patch_size**2
    size = views.cameras.views if arm.order is Order.ONE_CHUNK else chunks[0].cameras.views
    state = model.observe_batch(model.initial_state(1), views, size * tokens, arm.rule)
    address = addresses_of(views.cameras).mean(dim=0)
    return Atlas(model.initial_state(1), (Submap(state, address, views.cameras.views),))


def _scored(model: FsmModel, atlas: Atlas, views: Views) -> Tensor:
    """``[1, V]`` dB."""
    return psnr(render(model, atlas, views.cameras, views.times), views.images)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
