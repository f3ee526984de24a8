# SPDX-License-Identifier: Apache-2.0
"""One held-out scene, observed as a node observes it, and what is asked of it: the material of ``recall.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.consolidation import Consolidation
from fsm_ros.memory.views import Geometry, Rendering
from fsm_ros.recall.net import RecallNet
from fsm_ros.recall.planes import SHORTEST_BASELINE_M, Photographs, Wanted, landings, step_of_depth
from fsm_ros.replay.evaluation.baselines import warped
from fsm_ros.stream.frame import Camera, PosedImage
from fsm_ros.training.episodes import Clip, EpisodePlan, Picks, resized
from fsm_ros.training.evaluation import EvaluationSettings, episodes_of, remembered
from fsm_ros.training.evaluation.held_out import asked_at_the_end, evaluation_picks, images_of, nearest_frames, spread
from fsm_ros.training.evaluation.moments import at_other_moments
from fsm_ros.training.evaluation.moving import changed_pixels, moving_pixels
from fsm_ros.training.evaluation.run import Asked, ask, enlarged, task_of
from fsm_ros.training.recalling import RecalledViews, RecallTask, looks_inside, posed, recalled_views
from fsm_ros.training.scenes import SceneSource

SURE = 0.02
"""Scale of the Laplace distribution around a depth that is known."""
RULE = Consolidation()


@dataclass(frozen=True, eq=False)
class Weights:
    """What answers: the memory's weights and those of recall, and at most so many photographs for a view."""

    memory: FsmModel
    recall: RecallNet
    photographs: int = 4

    def both(self, task: RecallTask) -> RecalledViews:
        """What ships."""
        return recalled_views(self.recall, task, self.photographs)

    def alone(self, task: RecallTask, photographs: int | None = None) -> RecalledViews:
        """Recalled without asking the memory."""
        return recalled_views(self.recall, task, photographs or self.photographs, with_memory=False)


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene after its whole stream.

    Attributes:
        source: of the scene.
        number: of the scene there.
        clip: its frames.
        pick: which of them were observed, and which are asked for.
        asked: what the memory answered.
        settings: of the evaluation.
    """

    source: SceneSource
    number: int
    clip: Clip
    pick: Picks
    asked: Asked
    settings: EvaluationSettings

    @property
    def wanted(self) -> NDArray[np.int64]:
        """``[T]`` frames that are asked for."""
        return self.pick.wanted[-1]

    @property
    def task(self) -> RecallTask:
        """The views that are asked for, to be recalled."""
        return self.asked.task

    @property
    def truth(self) -> Tensor:
        """``[1, T, 3, H, W]`` of them."""
        return self.asked.wanted.images

    def moving(self) -> Tensor:
        """``[1, T, H, W]`` where they show a thing that moves."""
        return moving_pixels(self.source, self.number, self.clip, self.wanted)[None]

    def images(self, frames: NDArray[np.int64]) -> Tensor:
        """``[1, N, 3, H, W]`` of the clip."""
        return images_of(self.clip, frames)[None]


def observed_scene(
    weights: Weights, source: SceneSource, number: int, clip: Clip, chunks: int, settings: EvaluationSettings
) -> Scene:
    """Observe a scene, and ask for what lies between its observed views."""
    pick = evaluation_picks(settings, chunks)
    return Scene(source, number, clip, pick, ask(weights.memory, [clip], chunks, settings, RULE, pick), settings)


# --- other questions about the same scene ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Question:
    """Further views of a scene; nothing is observed anew.

    Attributes:
        task: to be recalled.
        memory: ``[1, T, 3, H, W]`` what the memory answers.
        photograph: ``[1, T, 3, H, W]`` what was observed nearest to there.
    """

    task: RecallTask
    memory: Tensor
    photograph: Tensor

    @property
    def changed(self) -> Tensor:
        """``[1, T, H, W]`` where the truth is another picture than the photograph from the same place."""
        return changed_pixels(self.photograph, self.task.wanted.images)


def at_another_moment(scene: Scene) -> tuple[Question, float]:
    """Views from observed poses when the camera was elsewhere, and how many seconds lie between, on average."""
    other = at_other_moments(scene.source, scene.number, scene.clip, scene.pick, scene.settings.targets)
    question = _question(scene, other.clip, other.pick.wanted[-1], other.seen)
    return question, float(other.seconds_apart.mean())


def beside_the_path(scene: Scene) -> Question | None:
    """Views from beside the path; nothing where all of them look at the inside of something."""
    clip = scene.clip
    if clip.depth_m is None or not clip.beside:
        return None
    inside = looks_inside(-clip.depth_m[clip.path_frames :].log())
    frames = clip.path_frames + np.flatnonzero(~inside.cpu().numpy())
    if not len(frames):
        return None
    return _question(scene, clip, frames, nearest_frames(clip, scene.pick.observed, frames))


def _question(scene: Scene, clip: Clip, frames: NDArray[np.int64], photographs: NDArray[np.int64]) -> Question:
    settings, chunks = scene.settings, len(scene.pick.wanted)
    pick = Picks(scene.pick.observed, asked_at_the_end(frames, chunks))
    episodes = episodes_of([clip], [pick], EpisodePlan(settings.chunk_views, chunks), settings)
    wanted = episodes.wanted[-1]
    if wanted is None:
        raise ValueError("nothing is asked for")
    small = resized(wanted, settings.factor)
    answer = scene.asked.remembered(small.cameras, small.times)
    return Question(task_of(episodes, wanted, answer), enlarged(answer.images, wanted), scene.images(photographs))


def after_eviction(scene: Scene) -> Question | None:
    """Views of the first half of the stream, with the photographs of that half gone; the memory saw all.

    Nothing, where the stream is too short to have two halves.
    """
    task, observed = scene.task, scene.pick.observed
    half = len(observed) // 2
    early = np.flatnonzero(scene.clip.stamps_ns[scene.wanted] < scene.clip.stamps_ns[observed[half]])
    if len(observed) < 8 or not len(early):
        return None
    views = torch.from_numpy(early)
    nearest = nearest_frames(scene.clip, observed[half:], scene.wanted[early])
    late = _of_views(task, views).with_observed(slice(half, None))
    return Question(late, scene.asked.memory[:, views], scene.images(nearest))


def knowing_depth(task: RecallTask) -> RecallTask:
    """The same, with a memory that knows the true depth."""
    truth, answer = _known(task), task.memory
    step = truth.shape[-1] // answer.images.shape[-1]
    known = truth[..., step // 2 :: step, step // 2 :: step]
    return replace(task, memory=Rendering(answer.images, Geometry(known, torch.full_like(known, SURE))))


def with_photographs(task: RecallTask, count: int) -> RecallTask:
    """The same, with so many of the photographs kept, spread over the stream."""
    views = task.observed.cameras.views
    return task.with_observed(torch.from_numpy(spread(np.arange(views), count)))


def in_one_submap(scene: Scene, weights: Weights) -> tuple[Tensor, int]:
    """``[1, T, 3, H, W]`` what a memory of one submap answers that observed the same, and its bytes."""
    known = remembered(weights.memory, scene.asked.chunks, RULE, AtlasSettings(submaps=1))
    small = resized(scene.asked.wanted, scene.settings.factor)
    return enlarged(known(small.cameras, small.times).images, scene.asked.wanted), known.size_bytes


# --- what photographs can tell ---------------------------------------------------------------------------------------


def best_plane(scene: Scene) -> Tensor:
    """``[1, T, 3, H, W]`` the nearest keyframe, warped as the plane that suits the truth best: an oracle."""
    nearest = nearest_frames(scene.clip, scene.pick.observed, scene.wanted)
    pairs = zip(_posed_images(scene.clip, nearest), _posed_images(scene.clip, scene.wanted), strict=True)
    images = np.stack([warped(keyframe, wanted).image for keyframe, wanted in pairs])
    return torch.from_numpy(images).permute(0, 3, 1, 2)[None].to(scene.truth.device) / 255.0


def seen_by_photographs(task: RecallTask) -> Tensor:
    """``[1, T, H, W]`` whether any photograph's frame holds the point, at its true depth; occlusion left aside."""
    cameras, seen = task.wanted.cameras, task.observed.cameras
    from_where, of_seen = (posed(each, task.extent_m).world_from_camera[0] for each in (cameras, seen))
    parts = []
    for view in range(cameras.views):
        pose = torch.linalg.inv(of_seen) @ from_where[view]
        photographs = Photographs(
            task.observed.images,
            seen.fxfycxcy,
            torch.tensor([float(seen.width), float(seen.height)]).expand(1, seen.views, 2),
            pose[None],
            torch.zeros(1, seen.views),
            torch.ones(1, seen.views, dtype=torch.bool),
        )
        depth = task.in_metres(_known(task))[:, view, None]
        # Counted in a short baseline every depth has a step; in that of all photographs near ones have none.
        unit_m = torch.full_like(photographs.baseline_m, SHORTEST_BASELINE_M)
        step = step_of_depth(depth, unit_m)
        view_of = Wanted(cameras.fxfycxcy[:, view], cameras.height, cameras.width)
        parts.append(landings(view_of, photographs, step, unit_m, 0).seen.any(dim=1)[:, 0])
    return torch.stack(parts, dim=1)


def _posed_images(clip: Clip, frames: NDArray[np.int64]) -> Sequence[PosedImage]:
    height, width = clip.images.shape[-2:]
    found = []
    for number in frames:
        image = (clip.images[int(number)] * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        fx, fy, cx, cy = (float(value) for value in clip.fxfycxcy[number])
        camera = Camera(width, height, fx, fy, cx, cy)
        found.append(PosedImage(image, camera, clip.world_from_camera[number], int(clip.stamps_ns[number])))
    return found


def _of_views(task: RecallTask, views: Tensor) -> RecallTask:
    depth = _known(task)[:, views]
    return replace(task, wanted=task.wanted[views], log_inverse_depth=depth, memory=task.memory[views])


def _known(task: RecallTask) -> Tensor:
    if task.log_inverse_depth is None:
        raise ValueError("the depth of procedural scenes is known")
    return task.log_inverse_depth
