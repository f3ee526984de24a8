# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_memory import CONFIG, tiny_model

from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.consolidation import Consolidation
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.recall.net import RecallConfig, RecallNet
from fsm_ros.stream.rigid import distance_m, turn_rad
from fsm_ros.training.evaluate import main
from fsm_ros.training.evaluation import (
    STRIDE,
    EvaluationSettings,
    clip_frames,
    evaluate,
    evaluation_picks,
    held_out_clips,
    psnr,
    table,
)
from fsm_ros.training.scenes import SceneSettings, Split

SETTINGS = EvaluationSettings(
    scenes=SceneSettings(photographs=False), count=3, size=16, chunk_views=2, chunk_counts=(1, 3), targets=4, batch=2
)
CPU = torch.device("cpu")


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20))
def test_what_is_asked_for_lies_halfway_between_observed_views(views: int, count: int, targets: int) -> None:
    if views * count < 2:
        return
    picks = evaluation_picks(replace(SETTINGS, chunk_views=views, chunk_counts=(count,), targets=targets), count)
    assert len(picks.observed) == views * count
    assert [len(wanted) for wanted in picks.wanted[:-1]] == [0] * (count - 1)
    last = picks.wanted[-1]
    assert 1 <= len(last) <= targets
    assert all(number - STRIDE // 2 in picks.observed and number + STRIDE // 2 in picks.observed for number in last)


def test_psnr_is_that_of_every_view() -> None:
    truth = torch.full((2, 3, 3, 4, 4), 0.5)
    offsets = torch.tensor([[0.1, 0.01, 0.2], [0.3, 0.4, 0.05]])
    found = psnr(truth + offsets[..., None, None, None], truth)
    torch.testing.assert_close(found, -20 * offsets.log10(), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_the_baselines_are_the_nearest_observed_view_and_the_mean_colour() -> None:
    settings = replace(SETTINGS, count=2, chunk_counts=(3,))
    [score] = evaluate(tiny_model(), settings, Plastic()).scores
    nearest, colour = [], []
    for clip in held_out_clips(settings, clip_frames(settings, 3), CPU):
        picks = evaluation_picks(settings, 3)
        poses = clip.world_from_camera
        for number in picks.wanted[-1]:
            away = [distance_m(poses[n], poses[number]) + turn_rad(poses[n], poses[number]) for n in picks.observed]
            closest = picks.observed[int(np.argmin(away))]
            truth = clip.images[int(number)]
            nearest.append(-10 * float((clip.images[int(closest)] - truth).square().mean().log10()))
            mean = clip.images[torch.from_numpy(picks.observed)].mean(dim=(0, 2, 3))[:, None, None]
            colour.append(-10 * float((mean - truth).square().mean().log10()))
    assert score.nearest == pytest.approx(np.mean(nearest), abs=1e-3)
    assert score.mean_colour == pytest.approx(np.mean(colour), abs=1e-3)


@pytest.mark.slow
def test_an_evaluation_can_be_repeated_whatever_the_batch_and_differs_between_splits() -> None:
    memory = tiny_model()
    first = evaluate(memory, SETTINGS, Plastic())
    again = evaluate(memory, replace(SETTINGS, batch=3), Plastic())
    other = evaluate(memory, replace(SETTINGS, split=Split.REPORT), Plastic())
    for a, b in zip(first.scores, again.scores, strict=True):
        assert a.rendered == pytest.approx(b.rendered, abs=1e-3)
    assert first.scores[0].nearest != other.scores[0].nearest
    assert [score.chunk_count for score in first.scores] == [1, 3]
    assert first.score(3) is first.scores[1]


def test_what_else_is_evaluated_changes_nothing() -> None:
    alone = evaluate(tiny_model(), replace(SETTINGS, chunk_counts=(3,)), Plastic())
    among = evaluate(tiny_model(), replace(SETTINGS, chunk_counts=(1, 3, 9)), Plastic())
    assert among.score(3) == alone.score(3)


@pytest.mark.slow
def test_what_ships_is_told_beside_the_memory_alone_in_pictures_and_in_depth() -> None:
    """Of a net that learned nothing, which is a plane sweep, and of a memory with a geometry head."""
    settings = replace(SETTINGS, count=2, size=32, memory_size=16, chunk_counts=(3,))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        memory = FsmModel(replace(CONFIG, geometry=True)).eval()
        net = RecallNet(RecallConfig(features=4, coarse=4, fine=4, blend=4)).eval()
    [both] = evaluate(memory, settings, Plastic(), recall=net).scores
    [alone] = evaluate(memory, settings, Plastic()).scores
    assert both.memory == pytest.approx(alone.rendered, abs=1e-3) and both.rendered > both.memory
    assert both.ssim > alone.ssim and both.ms_ssim > alone.ms_ssim
    assert 0.0 <= both.recalled <= 1.0
    assert both.memory_depth_error > 0.0 and alone.memory_depth_error > 0.0
    for name in ("alone", "depth_error", "depth_close", "sure_depth_error", "sure_error", "recalled"):
        assert np.isfinite(getattr(both, name)) and np.isnan(getattr(alone, name))


def test_views_too_small_for_a_similarity_at_several_scales_have_none() -> None:
    [score] = evaluate(tiny_model(), replace(SETTINGS, count=1, chunk_counts=(1,)), Plastic()).scores
    assert np.isnan(score.ms_ssim) and np.isfinite(score.ssim)


@pytest.mark.parametrize("memory_size", [-1, 5, 32])
def test_the_memory_s_views_are_a_whole_part_of_the_others(memory_size: int) -> None:
    with pytest.raises(ValueError, match="must go into that of all views, 16"):
        replace(SETTINGS, memory_size=memory_size)


def test_pictures_are_of_the_first_scenes_after_all_chunks() -> None:
    evaluation = evaluate(tiny_model(), SETTINGS, Plastic(), shown=2)
    assert len(evaluation.shown) == 2
    assert evaluation.shown[0].truth.shape == evaluation.shown[0].rendered.shape == (4, 3, 16, 16)


def test_the_table_has_a_row_for_every_number_of_chunks() -> None:
    rows = table(evaluate(tiny_model(), SETTINGS, Plastic())).splitlines()
    assert [row.split("|")[1].strip() for row in rows] == ["chunks", "---", "1", "3"]


@pytest.mark.slow
def test_the_command_prints_the_table_and_writes_what_it_is_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--count", "1", "--chunks", "1", "--size", "16", "--split", "choose", "--families", "room"]
    assert main([*arguments, "--json", str(tmp_path / "s.json"), "--sheet", str(tmp_path / "s.png")]) == 0
    [score] = json.loads((tmp_path / "s.json").read_text())
    assert f"{score['nearest']:.2f}" in capsys.readouterr().out
    assert (tmp_path / "s.png").stat().st_size > 100
    assert main([*arguments, "--weights", "nowhere.safetensors"]) == 2
    assert "nowhere.safetensors" in capsys.readouterr().err


@pytest.mark.slow
def test_one_place_is_the_plain_memory_and_several_are_another() -> None:
    model = tiny_model()
    one = evaluate(model, SETTINGS, Consolidation())
    # So far apart that all is one submap, whatever the settings allow.
    same = evaluate(model, replace(SETTINGS, atlas=AtlasSettings(submaps=4, apart=10.0)), Consolidation())
    several = evaluate(model, replace(SETTINGS, atlas=AtlasSettings(submaps=4, apart=0.0)), Consolidation())
    for mine, theirs in zip(one.scores, same.scores, strict=True):
        assert asdict(mine) == pytest.approx(asdict(theirs), abs=1e-3, nan_ok=True)
    assert one.score(1).rendered == pytest.approx(several.score(1).rendered, abs=1e-3)
    assert abs(one.score(3).rendered - several.score(3).rendered) > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "elastic", "--rule-entry", "strength=much"], "strength must be a number"),
        (["--rule", "elastic", "--rule-entry", "force=1"], "has no force"),
        (["--submaps", "0"], "from 1 to 64"),
        (["--rule", "plastic", "--rule-entry", "strength=1"], "plastic has no strength: it has no entries"),
        (["--rule-entry", "kind=elastic"], "that --rule names"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--count", "1", "--size", "16", *arguments]) == 2
    assert message in capsys.readouterr().err
