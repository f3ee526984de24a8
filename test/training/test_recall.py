# SPDX-License-Identifier: Apache-2.0
"""What recall and the geometry head learn from, and that they learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_memory import CONFIG

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.views import Rendering, Views
from fsm_ros.recall.checkpoint import RecallWeightsError, load_recall, save_recall
from fsm_ros.recall.choose import PosedCameras
from fsm_ros.recall.net import RecallConfig, RecallNet
from fsm_ros.recall.planes import Photographs, Wanted, landings, step_of_depth
from fsm_ros.recall.sampling import sampled
from fsm_ros.training.episodes import Episodes
from fsm_ros.training.objective import StreamObjective
from fsm_ros.training.recalling import RecallTask, prepared, recall_loss
from fsm_ros.training.run import initial_recall
from fsm_ros.training.scenes import SceneSettings, SceneSource, Split
from fsm_ros.training.settings import (
    DataSettings,
    EpisodeSettings,
    LearnSettings,
    OptimizerSettings,
    RecallTraining,
    SettingsError,
    TrainSettings,
)
from fsm_ros.training.supply import EpisodeSupply, Piece, SceneClips
from fsm_ros.training.trainer import TrainingError

NET = RecallConfig(features=4, coarse=4, fine=4, blend=4)
SETTINGS = TrainSettings(
    model=replace(CONFIG, geometry=True),
    episodes=EpisodeSettings(
        size=32, memory_size=16, chunk_views={2: 1.0}, chunk_counts={2: 1.0}, max_views=8, targets=2, targets_beside=2
    ),
    data=DataSettings(scenes=SceneSettings(frames=24, photographs=False), frames_beside=6),
    optimizer=OptimizerSettings(batch=2),
    learn=LearnSettings(memory=True, geometry=True, recall=True),
    recall=RecallTraining(net=NET, views=2),
)


def episodes(settings: TrainSettings = SETTINGS) -> Episodes:
    return EpisodeSupply(settings, SceneClips(settings, torch.device("cpu"))).episodes(Piece(0, 0, 2), 0.5)


def an_objective(learn: LearnSettings) -> StreamObjective:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        memory, net = FsmModel(SETTINGS.model), RecallNet(NET)
    return StreamObjective(memory, Plastic(), memory_size=16, learn=learn, recall=net, recalling=SETTINGS.recall)


@pytest.mark.slow
def test_true_depth_places_what_one_view_shows_where_another_shows_it() -> None:
    """The tracer's depth and poses, by the projection that recall uses: standing things land on themselves."""
    source = SceneSource(
        0, Split.CHOOSE, SceneSettings(frames=24, sensor=0.0, difficulty=(0.0, 0.2)), torch.device("cpu")
    )
    clips = source.clips(range(4), 48, 48, samples=2)
    for i in range(4):
        lens = torch.from_numpy(clips.fxfycxcy[i, 10]).float()
        relative = np.linalg.inv(clips.world_from_camera[i, 13]) @ clips.world_from_camera[i, 10]
        photographs = Photographs(
            clips.images[i, 13][None, None],
            lens[None, None],
            torch.tensor([[[48.0, 48.0]]]),
            torch.from_numpy(relative).float()[None, None],
            torch.zeros(1, 1),
            torch.ones(1, 1, dtype=torch.bool),
        )
        step = step_of_depth(-clips.depth_m[i, 10].log()[None, None], photographs.baseline_m)
        landed = landings(Wanted(lens[None], 48, 48), photographs, step, photographs.baseline_m, 0)
        shown = sampled(photographs.images, landed.grid, "bilinear")[0, 0, 0]
        off = (shown - clips.images[i, 10]).abs().mean(dim=0)[landed.seen[0, 0, 0]]
        unplaced = (clips.images[i, 13] - clips.images[i, 10]).abs().mean(dim=0)
        assert float(off.median()) < 0.01
        assert float(off.median()) < 0.25 * float(unplaced.median())


@pytest.mark.slow
def test_depth_costs_no_picture_and_views_beside_change_none_on_the_path() -> None:
    source = SceneSource(3, Split.TRAIN, SceneSettings(frames=8), torch.device("cpu"))
    bare, more = source.clips([5, 6], 16, 16), source.clips([5, 6], 16, 16, beside=4)
    assert more.path_frames == bare.path_frames == 8 and more.images.shape[1] == 12
    assert np.array_equal(more.world_from_camera[:, :8], bare.world_from_camera)
    assert torch.equal(more.depth_m[:, :8], bare.depth_m)
    assert bool((more.depth_m > 0).all())
    beside = more.world_from_camera[:, 8:]
    assert np.allclose(beside[..., :3, :3] @ np.swapaxes(beside[..., :3, :3], -1, -2), np.eye(3), atol=1e-9)
    assert set(more.stamps_ns[0, 8:]) <= set(more.stamps_ns[0, :8])


def test_views_beside_the_path_are_asked_for_and_never_observed() -> None:
    made = episodes()
    wanted = made.wanted[-1]
    assert wanted is not None and wanted.cameras.views == 4
    depth = made.log_inverse_depth[-1]
    assert depth is not None and depth.shape == wanted.images[:, :, 0].shape and bool(depth.isfinite().all())


@pytest.mark.slow
@pytest.mark.parametrize(
    "learn, moves",
    [
        (LearnSettings(memory=True), {"memory"}),
        (LearnSettings(memory=False, geometry=True), {"geometry"}),
        (LearnSettings(memory=False, recall=True), {"recall"}),
        (LearnSettings(memory=True, geometry=True, recall=True), {"memory", "geometry", "recall"}),
    ],
    ids=["memory", "geometry", "recall", "all"],
)
def test_what_is_to_learn_learns_and_the_rest_stays(learn: LearnSettings, moves: set[str]) -> None:
    objective = an_objective(learn)
    objective(episodes()).loss.backward()
    moved = set()
    for name, parameter in objective.named_parameters():
        part = "geometry" if "geometry_token_decoder" in name else name.split(".")[0]
        if parameter.grad is not None and bool(parameter.grad.abs().sum() > 0):
            moved.add(part)
    assert moved == moves


@pytest.mark.slow
def test_a_few_steps_make_recall_and_depth_better_on_the_same_episodes() -> None:
    objective, made = an_objective(LearnSettings(memory=False, geometry=True, recall=True)), episodes()
    optimizer = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(12):
        outcome = objective(made)
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
        losses.append((float(outcome.loss.detach()), float(outcome.depth_error)))
    assert losses[-1][0] < losses[0][0] and losses[-1][1] < losses[0][1]


SOUND = RecallTraining(
    net=NET, forgotten=(0.0, 0.0), without_memory=0.0, fewer=0.0, pose_noise_m=0.0, pose_noise_rad=0.0
)


def a_task() -> RecallTask:
    made = episodes()
    wanted = made.wanted[-1]
    assert wanted is not None and made.extent_m is not None and made.horizon_s is not None
    nothing = Rendering(torch.zeros_like(wanted.images), None)
    return RecallTask(wanted, None, made.chunks[0], nothing, made.extent_m, made.horizon_s)


def test_a_view_that_no_photograph_shows_teaches_nothing_and_spoils_no_other() -> None:
    task = a_task()
    scene, view = 0, 1
    away = task.wanted.cameras.memory_from_camera.clone()
    away[scene, view, :3, :3] = -away[scene, view, :3, :3] @ torch.diag(torch.tensor([1.0, -1.0, 1.0]))
    turned = replace(task, wanted=replace(task.wanted, cameras=replace(task.wanted.cameras, memory_from_camera=away)))
    views = task.wanted.cameras.views
    _, photographs, _ = prepared(turned, SOUND, torch.Generator().manual_seed(0))
    unseen = [i for i, present in enumerate(photographs.present) if not present.any()]
    assert scene * views + view in unseen
    assert len(unseen) < len(photographs.present)

    torch.manual_seed(0)
    net = RecallNet(NET)
    outcome = recall_loss(net, turned, SOUND, torch.Generator().manual_seed(0))
    other_truth = turned.wanted.images.clone()
    for i in unseen:
        other_truth[i // views, i % views] = 0.0
    likewise = recall_loss(
        net, replace(turned, wanted=replace(turned.wanted, images=other_truth)), SOUND, torch.Generator().manual_seed(0)
    )

    outcome.loss.backward()
    assert torch.isfinite(outcome.loss)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    assert torch.equal(outcome.loss.detach(), likewise.loss.detach())


def test_without_anything_wrong_on_purpose_the_photographs_are_where_they_are() -> None:
    task = a_task()
    wanted = task.wanted
    _, photographs, _ = prepared(task, SOUND, torch.Generator().manual_seed(0))
    observed = task.observed.cameras.memory_from_camera
    scene, view = 1, 2
    pose = photographs.photograph_from_view[scene * wanted.cameras.views + view, 0]
    candidates = [torch.linalg.inv(each) @ wanted.cameras.memory_from_camera[scene, view] for each in observed[scene]]
    for each in candidates:
        each[:3, 3] *= task.extent_m[scene]
    assert any(torch.allclose(pose, each, atol=1e-4) for each in candidates)


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"learn": LearnSettings(geometry=True), "model": CONFIG}, "geometry head"),
        ({"recall": None}, "entry recall"),
    ],
    ids=["no head", "no net"],
)
def test_what_is_not_there_cannot_learn(changes: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        replace(SETTINGS, **changes)


def test_weights_of_recall_come_back_as_they_were(tmp_path: Path) -> None:
    net = RecallNet(NET)
    save_recall(tmp_path / "net.safetensors", net, {"seed": "1"})
    back = load_recall(str(tmp_path / "net.safetensors"))
    assert back.config == NET and not back.training
    for name, tensor in net.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor)


@pytest.mark.parametrize("content", [b"", b"not safetensors", None], ids=["empty", "other", "missing"])
def test_weights_of_recall_that_are_none_are_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecallWeightsError, match=r"net\.safetensors"):
        load_recall(str(path))


def test_weights_of_the_memory_are_no_weights_of_recall() -> None:
    from importlib import resources

    with pytest.raises(RecallWeightsError, match="does not hold weights of recall"):
        load_recall(str(resources.files("fsm_ros") / "weights" / "small_64.safetensors"))


def test_a_geometry_head_changes_no_colour() -> None:
    with_head = FsmModel(SETTINGS.model).eval()
    without = FsmModel(CONFIG).eval()
    without.load_state_dict(with_head.state_dict(), strict=False)
    cameras = Cameras(torch.tensor([[[14.0, 14.0, 8.0, 8.0]] * 2]), torch.eye(4).expand(1, 2, 4, 4), 16, 16)
    times = torch.zeros(1, 2)
    views = Views(torch.rand(1, 2, 3, 16, 16), cameras, times)
    with torch.no_grad():
        one = with_head.observe(with_head.initial_state(), views)
        other = without.observe(without.initial_state(), views)
        rendered = with_head.render_all(one, cameras, times)
        assert torch.equal(rendered.images, without.render(other, cameras, times))
    assert rendered.geometry is not None and bool((rendered.geometry.scale > 0).all())
    assert rendered.geometry.log_inverse_depth.shape == (1, 2, 16, 16)


def test_cameras_without_a_scene_are_posed_in_metres() -> None:
    from fsm_ros.training.recalling import posed

    pose = torch.eye(4).expand(1, 1, 4, 4).clone()
    pose[..., :3, 3] = 0.5
    made: PosedCameras = posed(Cameras(torch.ones(1, 1, 4), pose, 8, 10), torch.tensor([4.0]))
    assert made.world_from_camera[0, 0, :3, 3].tolist() == [2.0, 2.0, 2.0] and made.size.tolist() == [[[10.0, 8.0]]]


def test_weights_of_before_the_fusion_of_depth_go_on_with_one(tmp_path: Path) -> None:
    """What is new begins as it does from scratch, and everything else as it was."""
    old = RecallNet(replace(NET, fusion=0, side=16))
    path = tmp_path / "old.safetensors"
    save_recall(path, old, {})
    grown = initial_recall(SETTINGS, str(path))
    assert grown is not None and grown.config == NET and grown.fusion is not None
    after = grown.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in old.state_dict().items())
    assert not grown.fusion.out.weight.any()
    assert all(parameter.requires_grad for parameter in grown.parameters())


def test_weights_of_another_net_are_refused_with_both_told(tmp_path: Path) -> None:
    save_recall(tmp_path / "other.safetensors", RecallNet(replace(NET, features=5)), {})
    with pytest.raises(TrainingError, match="is recall of .*features=5.*the settings want .*features=4"):
        initial_recall(SETTINGS, str(tmp_path / "other.safetensors"))
