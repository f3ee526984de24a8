"""How good a memory is on scenes that training never saw, beside what simple answers score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from fsm_ros.memory.atlas import Atlas, AtlasSettings, observe, render_all
from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.elastic import WriteRule
from fsm_ros.memory.model import FastSpatialMemory, Geometry, Rendering, Views
from fsm_ros.memory.rules import rule_as_plain
from fsm_ros.recall.net import RecallNet
from fsm_ros.stream.rigid import camera_distance_m
from fsm_ros.stream.world import MemoryFrame
from fsm_ros.training.episodes import Clip, EpisodePlan, Episodes, Picks, assemble, joined, resized
from fsm_ros.training.recalling import RecallTask, recalled_views
from fsm_ros.training.scenes import Clips, SceneSettings, SceneSource, Split
from fsm_ros.training.supply import split_clips

SHORTEST_CHUNKS = 4
"""Clips are long enough for so many chunks at least."""
STRIDE = 4
"""Every fourth frame is observed, which is about as far apart as keyframes are; what lies halfway is asked for."""


HeldOut = Mapping[int, Sequence[Clip]]
"""Held-out clips by their number of frames."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated.

    Attributes:
        seed: of the scenes.
        split: of the scenes; `Split.CHOOSE` for decisions, `Split.REPORT` for what is told.
        scenes: which scenes; ``frames`` is replaced by what a number of chunks needs, and ``sensor`` by a clean one.
        count: how many scenes.
        size: edge of the views, pixels.
        chunk_views: views of a chunk.
        chunk_counts: numbers of chunks after which all views so far are asked for.
        targets: held-out views of a scene and chunk count, spread over what was observed.
        horizon_s: seconds of the memory's time axis.
        extent_m: metres of a memory unit, 0: read from the first chunk, as a node does by default.
        batch: scenes at once.
        atlas: how many places a memory has.
        memory_size: edge of the views that the memory observes and renders, a whole part of ``size``; 0: the same.
        photographs: keyframes that a view is recalled from, at most.
    """

    seed: int = 0
    split: Split = Split.CHOOSE
    scenes: SceneSettings = SceneSettings()
    count: int = 16
    size: int = 64
    chunk_views: int = 4
    chunk_counts: tuple[int, ...] = (1, 2, 4)
    targets: int = 8
    horizon_s: float = 60.0
    extent_m: float = 4.0
    batch: int = 8
    atlas: AtlasSettings = AtlasSettings()
    memory_size: int = 0
    photographs: int = 4

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: nothing to evaluate.
        """
        counts = (self.count, self.size, self.chunk_views, self.targets, self.batch)
        if min(counts) < 1 or not self.chunk_counts or min(self.chunk_counts) < 1:
            raise ValueError("an evaluation needs at least one scene, pixel, view, target and chunk")
        if min(self.chunk_counts) * self.chunk_views < 2:
            raise ValueError("between the views of an evaluation something is held out: observe at least two")


@dataclass(frozen=True)
class Score:
    """Results after one number of chunks, dB, means over scenes.

    Attributes:
        chunk_count: chunks that were observed.
        rendered: PSNR of the held-out views.
        rendered_error: its standard error over scenes.
        nearest: PSNR of the observed view whose camera stood closest.
        gain_error: standard error over scenes of what rendering gains over it.
        mean_colour: PSNR of the mean colour of all observed views.
        first_chunk: PSNR of the first chunk's own views, rendered now: what is forgotten goes down.
        newest_chunk: PSNR of the newest chunk's own views.
        memory: PSNR of what the memory alone renders.
        alone: PSNR of what is recalled without the memory; NaN without recall.
        blur: gradient energy of the rendered views over that of the truth; 1 is right, less is blurred.
        depth_error: mean of the absolute relative error of depth, in the pixels that some photograph saw.
        depth_close: share of those pixels whose depth is wrong by less than 5 %.
        sure_error: mean absolute error of the surer half of all pixels over that of the others.
        recalled: share of the pixels that come from photographs.
    """

    chunk_count: int
    rendered: float
    rendered_error: float
    nearest: float
    gain_error: float
    mean_colour: float
    first_chunk: float
    newest_chunk: float
    memory: float = math.nan
    alone: float = math.nan
    blur: float = math.nan
    depth_error: float = math.nan
    depth_close: float = math.nan
    sure_error: float = math.nan
    recalled: float = math.nan


@dataclass(frozen=True, eq=False)
class Shown:
    """Views of one scene to look at: each ``[N, 3, H, W]`` in [0, 1]."""

    truth: Tensor
    rendered: Tensor
    nearest: Tensor


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that was found.

    Attributes:
        scores: one for each number of chunks.
        shown: the first scenes, after the largest number of chunks.
    """

    scores: tuple[Score, ...]
    shown: tuple[Shown, ...]

    def score(self, chunk_count: int) -> Score:
        """The score after so many chunks."""
        for score in self.scores:
            if score.chunk_count == chunk_count:
                return score
        raise KeyError(f"{chunk_count} chunks were not evaluated, only {[s.chunk_count for s in self.scores]}")


def evaluate(
    memory: FastSpatialMemory,
    settings: EvaluationSettings,
    rule: WriteRule | None,
    *,
    shown: int = 0,
    held_out: HeldOut | None = None,
    recall: RecallNet | None = None,
) -> Evaluation:
    """Observe held-out scenes in streaming order and render what was held out.

    Args:
        memory: the model.
        settings: which scenes, and how.
        rule: how it writes; ``None`` for plain LaCT.
        shown: how many scenes to keep pictures of.
        held_out: what :func:`trace_held_out` gave for the same settings, where they are evaluated again and again.
        recall: recalls the views from what was observed; ``None``: the memory renders them.
    """
    if held_out is None:
        held_out = trace_held_out(settings, memory.device)
    found: dict[int, list[NDArray[np.float64]]] = {count: [] for count in settings.chunk_counts}
    pictures: list[Shown] = []
    for count in settings.chunk_counts:
        clips = held_out[clip_frames(settings, count)]
        for first in range(0, len(clips), settings.batch):
            rows, views = _evaluate_count(memory, clips[first : first + settings.batch], count, settings, rule, recall)
            found[count].append(rows)
            if count == max(settings.chunk_counts):
                pictures += views
    scores = tuple(_score(count, np.concatenate(rows)) for count, rows in found.items())
    return Evaluation(scores, tuple(pictures[:shown]))


def trace_held_out(settings: EvaluationSettings, device: torch.device) -> HeldOut:
    """The clips of an evaluation, all kept: for settings that are evaluated again and again."""
    lengths = {clip_frames(settings, count) for count in settings.chunk_counts}
    return {frames: held_out_clips(settings, frames, device) for frames in lengths}


def clip_frames(settings: EvaluationSettings, chunk_count: int) -> int:
    """Frames of the clips that a number of chunks is evaluated on, whatever else is evaluated with it.

    A clip's way and time are planned for all its frames: in a longer clip the same few chunks would be an easier task.
    """
    return STRIDE * settings.chunk_views * max(chunk_count, SHORTEST_CHUNKS)


def held_out_clips(settings: EvaluationSettings, frames: int, device: torch.device) -> list[Clip]:
    """The clips of an evaluation, of so many frames."""
    scenes = replace(settings.scenes, frames=frames, sensor=0.0)
    source = SceneSource(settings.seed, settings.split, scenes, device)
    clips: list[Clip] = []
    for first in range(0, settings.count, settings.batch):
        numbers = range(first, min(first + settings.batch, settings.count))
        batch: Clips = source.clips(numbers, settings.size, settings.size, samples=2)
        clips += split_clips(batch)
    return clips


def evaluation_picks(settings: EvaluationSettings, chunk_count: int) -> Picks:
    """Every `STRIDE`-th frame observed, and held-out frames spread over the stretch, each halfway between two."""
    views = settings.chunk_views * chunk_count
    observed = STRIDE * np.arange(views)
    unseen = observed[:-1] + STRIDE // 2
    spread = np.unique(np.linspace(0, len(unseen) - 1, min(settings.targets, len(unseen))).round().astype(np.int64))
    nothing = np.empty(0, dtype=np.int64)
    return Picks(observed, (*[nothing] * (chunk_count - 1), unseen[spread]))


def episodes_of(
    clips: Sequence[Clip], picks: Sequence[Picks], plan: EpisodePlan, settings: EvaluationSettings
) -> Episodes:
    """Episodes with the memory's frame laid around the first chunk, as a node does."""
    frames = [
        MemoryFrame.around(
            clip.world_from_camera[pick.observed[: plan.chunk_views]],
            start_ns=int(clip.stamps_ns[pick.observed[0]]),
            extent_m=settings.extent_m,
            horizon_s=settings.horizon_s,
        )
        for clip, pick in zip(clips, picks, strict=True)
    ]
    return assemble(clips, picks, frames, plan)


@torch.no_grad()
def _evaluate_count(
    memory: FastSpatialMemory,
    clips: Sequence[Clip],
    chunk_count: int,
    settings: EvaluationSettings,
    rule: WriteRule | None,
    recall: RecallNet | None,
) -> tuple[NDArray[np.float64], list[Shown]]:
    """Rows of the columns of a score, one a scene."""
    plan = EpisodePlan(settings.chunk_views, chunk_count)
    pick = evaluation_picks(settings, chunk_count)
    episodes = episodes_of(clips, [pick] * len(clips), plan, settings)
    factor = settings.size // (settings.memory_size or settings.size)
    chunks = [resized(chunk, factor) for chunk in episodes.chunks]
    rendering = remembered(memory, chunks, rule, settings.atlas)
    wanted = episodes.wanted[-1]
    if wanted is None:
        raise ValueError("an evaluation asks for at least one view")
    asked = resized(wanted, factor)
    answer = rendering(asked.cameras, asked.times)
    size = (wanted.cameras.height, wanted.cameras.width)
    remembered_views = F.interpolate(answer.images.flatten(0, 1), size, mode="bicubic") if factor > 1 else None
    from_memory = answer.images if remembered_views is None else remembered_views.view_as(wanted.images).clamp(0, 1)
    first, newest = chunks[0], chunks[-1]
    again = rendering(first.cameras, first.times).images
    just_now = rendering(newest.cameras, newest.times).images
    nearest = torch.stack([_nearest(clip, pick.observed, pick.wanted[-1]) for clip in clips])
    observed = torch.stack([clip.images[torch.from_numpy(pick.observed).to(clip.images.device)] for clip in clips])
    colour = observed.mean(dim=(1, 3, 4))[:, None, :, None, None].expand_as(wanted.images)
    rendered = from_memory
    nothing = torch.full_like(psnr(nearest, wanted.images), torch.nan)
    alone = depth_error = depth_close = sure_error = share = nothing
    if recall is not None:
        task = _task(episodes, wanted, answer)
        both = recalled_views(recall, task, settings.photographs)
        rendered = both.images
        alone = psnr(recalled_views(recall, task, settings.photographs, with_memory=False).images, wanted.images)
        depth_error, depth_close = both.depth_errors(task)
        sure_error = both.sure_error(wanted.images)
        share = both.share.mean(dim=(2, 3, 4))
    columns = (
        psnr(rendered, wanted.images),
        psnr(nearest, wanted.images),
        psnr(colour, wanted.images),
        psnr(again, first.images),
        psnr(just_now, newest.images),
        psnr(from_memory, wanted.images),
        alone,
        gradient_energy(rendered) / gradient_energy(wanted.images).clamp_min(1e-9),
        depth_error,
        depth_close,
        sure_error,
        share,
    )
    rows = torch.stack([column.mean(dim=1) for column in columns], dim=1)
    shown = [Shown(*views) for views in zip(wanted.images, rendered, nearest, strict=True)]
    return rows.double().cpu().numpy(), shown


def _task(episodes: Episodes, wanted: Views, answer: Rendering) -> RecallTask:
    if episodes.extent_m is None or episodes.horizon_s is None:
        raise ValueError("the episodes of an evaluation say what a memory unit is")
    truth = episodes.log_inverse_depth[-1] if episodes.log_inverse_depth else None
    return RecallTask(wanted, truth, joined(episodes.chunks), answer, episodes.extent_m, episodes.horizon_s)


def gradient_energy(images: Tensor) -> Tensor:
    """Mean square of the image's gradients, ``[B, V, 3, H, W]`` to ``[B, V]``."""
    return sum(images.diff(dim=dim).square().mean(dim=(-3, -2, -1)) for dim in (-1, -2))  # type: ignore[return-value]


def remembered(
    memory: FastSpatialMemory, chunks: Sequence[Views], rule: WriteRule | None, settings: AtlasSettings
) -> Callable[[Cameras, Tensor], Rendering]:
    """Observe chunks of ``B`` scenes; what comes back renders views of them."""
    scenes = chunks[0].cameras.batch
    if settings.places == 1:
        state = memory.initial_state(scenes)
        for chunk in chunks:
            state = memory.observe(state, chunk, rule)
        return lambda cameras, times: memory.render_all(state, cameras, times)
    atlases = [Atlas(memory.initial_state(1)) for _ in range(scenes)]
    for chunk in chunks:
        for i, atlas in enumerate(atlases):
            one = Views(chunk.images[i : i + 1], chunk.cameras.scene(i), chunk.times[i : i + 1])
            atlases[i] = observe(memory, atlas, one, rule, settings)

    def rendered(cameras: Cameras, times: Tensor) -> Rendering:
        each = [render_all(memory, atlas, cameras.scene(i), times[i : i + 1]) for i, atlas in enumerate(atlases)]
        geometries = [one.geometry for one in each if one.geometry is not None]
        images = torch.cat([one.images for one in each])
        if not geometries:
            return Rendering(images, None)
        medians, scales = zip(*((one.log_inverse_depth, one.scale) for one in geometries), strict=True)
        return Rendering(images, Geometry(torch.cat(medians), torch.cat(scales)))

    return rendered


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """PSNR of every view, dB: ``[B, V, 3, H, W]`` twice to ``[B, V]``."""
    flat = peak_signal_noise_ratio(
        images.flatten(0, 1).clamp(0, 1), truth.flatten(0, 1), data_range=1.0, reduction="none", dim=(1, 2, 3)
    )
    values: Tensor = flat.view(images.shape[:2])
    return values


def _nearest(clip: Clip, observed: NDArray[np.int64], wanted: NDArray[np.int64]) -> Tensor:
    """For every wanted frame the observed one whose camera stood closest, a radian counting like a metre."""
    poses = clip.world_from_camera
    distances = [[camera_distance_m(poses[seen], poses[number]) for seen in observed] for number in wanted]
    closest = observed[np.argmin(distances, axis=1)]
    return clip.images[torch.from_numpy(closest).to(clip.images.device)]


def _score(chunk_count: int, rows: NDArray[np.float64]) -> Score:
    means = [float(np.nanmean(column)) if np.isfinite(column).any() else math.nan for column in rows.T]
    root = np.sqrt(max(len(rows) - 1, 1))
    rendered, nearest, mean_colour, first_chunk, newest_chunk, memory, alone, blur, *others = means
    depth_error, depth_close, sure_error, share = others
    return Score(
        chunk_count,
        rendered=rendered,
        rendered_error=float(rows[:, 0].std() / root),
        nearest=nearest,
        gain_error=float((rows[:, 0] - rows[:, 1]).std() / root),
        mean_colour=mean_colour,
        first_chunk=first_chunk,
        newest_chunk=newest_chunk,
        memory=memory,
        alone=alone,
        blur=blur,
        depth_error=depth_error,
        depth_close=depth_close,
        sure_error=sure_error,
        recalled=share,
    )


def conditions(settings: EvaluationSettings, rule: WriteRule | None) -> str:
    """What the scores are of, in a line."""
    written = "plain LaCT" if rule is None else ", ".join(str(value) for value in rule_as_plain(rule).values())
    places = settings.atlas.places
    extent = f"{settings.extent_m:g} m" if settings.extent_m else "automatic"
    total = sum(weight for _, weight in settings.scenes.families)
    shares = [(family.value, weight / total) for family, weight in settings.scenes.families if weight > 0]
    families = ", ".join(f"{share:.0%} {name}" for name, share in shares)
    low, high = settings.scenes.difficulty
    return (
        f"{settings.count} scenes of the split {settings.split.value} ({families}; difficulty {low:g} to {high:g}; "
        f"seed {settings.seed}), {settings.size}x{settings.size} pixels, chunks of {settings.chunk_views} views, "
        f"extent {extent}; streaming order, {places} place{'s' * (places > 1)}, rule: {written}"
    )


def table(evaluation: Evaluation) -> str:
    """The scores as a Markdown table."""
    head = (
        "| chunks | rendered | nearest observed view | gain | mean colour | first chunk again | newest chunk | "
        "memory | recall alone | sharpness | depth error | within 5 % | surer half's error | recalled |"
    )
    lines = [head, "|" + "---|" * 14]
    lines += [
        f"| {s.chunk_count} | {s.rendered:.2f} ± {s.rendered_error:.2f} | {s.nearest:.2f} | "
        f"{s.rendered - s.nearest:+.2f} ± {s.gain_error:.2f} | {s.mean_colour:.2f} | {s.first_chunk:.2f} | "
        f"{s.newest_chunk:.2f} | {s.memory:.2f} | {s.alone:.2f} | {s.blur:.2f} | {s.depth_error:.3f} | "
        f"{s.depth_close:.2f} | {s.sure_error:.2f} | {s.recalled:.2f} |"
        for s in evaluation.scores
    ]
    return "\n".join(lines)
