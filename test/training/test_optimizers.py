# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from tiny_memory import tiny_model
from torch import nn
from torch.optim import AdamW, Muon

from fsm_ros.training.files import AVERAGE, RunFolder
from fsm_ros.training.optimizers import WeightAverage, build_optimizers, rate_at, set_rate
from fsm_ros.training.settings import OptimizerKind, OptimizerSettings


@pytest.mark.parametrize("kind", OptimizerKind)
def test_every_weight_has_one_optimizer_and_only_matrices_decay(kind: OptimizerKind) -> None:
    model = tiny_model().requires_grad_(True)
    optimizers = build_optimizers(model, OptimizerSettings(kind=kind, weight_decay=0.1))
    assert [type(optimizer) for optimizer in optimizers] == ([AdamW] if kind is OptimizerKind.ADAMW else [AdamW, Muon])
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    held = [p for group in groups for p in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, model.parameters()))
    for group in groups:
        assert all((p.ndim >= 2) == (group["weight_decay"] > 0) for p in group["params"])


def test_muon_takes_the_matrices_of_the_blocks() -> None:
    model = tiny_model().requires_grad_(True)
    _, muon = build_optimizers(model, OptimizerSettings(kind=OptimizerKind.MUON))
    names = {id(p): name for name, p in model.named_parameters()}
    taken = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert taken == {name for name, p in model.named_parameters() if p.ndim == 2 and name.startswith("blocks.")}


@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(0, 500), st.floats(0, 1))
def test_the_learning_rate_warms_up_and_comes_down(step: int, progress: float, warmup: int, final: float) -> None:
    settings = OptimizerSettings(warmup_steps=warmup, final_share=final)
    share = rate_at(settings, step, progress)
    assert 0 < share <= 1 or (share == 0 and final < 1e-15 and progress == pytest.approx(1))
    if step >= warmup:
        assert share == pytest.approx(1 - (1 - final) * progress)
        assert rate_at(settings, step, 1.0) == pytest.approx(final)
    assert share <= rate_at(settings, step + 1, progress)
    assert share >= rate_at(settings, step, min(1.0, progress + 0.1))


def test_rates_of_both_optimizers_follow_their_own_peaks() -> None:
    settings = OptimizerSettings(kind=OptimizerKind.MUON, learning_rate=1e-3, muon_learning_rate=4e-3)
    optimizers = build_optimizers(tiny_model().requires_grad_(True), settings)
    set_rate(optimizers, 0.5)
    assert [group["lr"] for o in optimizers for group in o.param_groups] == [5e-4, 5e-4, 2e-3]


def test_the_average_forgets_its_start_quickly_and_is_an_exponential_one_later() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, decay=0.5)
    expected = float(model.weight.detach())
    for step in range(20):
        with torch.no_grad():
            model.weight.fill_(step)
        average.update(step)
        keep = min(0.5, (step + 1) / (step + 10))
        expected = keep * expected + (1 - keep) * step
    with average.applied():
        assert float(model.weight.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(model.weight.detach()) == 19


def test_the_weights_come_back_to_the_bit_whatever_happens_meanwhile() -> None:
    model = nn.Linear(3, 3)
    average = WeightAverage(model, decay=0.9)
    with torch.no_grad():
        model.weight.normal_()
    before = model.weight.detach().clone()
    with pytest.raises(RuntimeError, match="meanwhile"), average.applied():
        assert not torch.equal(model.weight, before)
        raise RuntimeError("meanwhile")
    assert torch.equal(model.weight, before)


def test_a_save_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    folder = RunFolder(Fabric(accelerator="cpu", devices=1), tmp_path)
    assert folder.resume is None
    with folder.replacing_resume({}) as new:
        (new / AVERAGE).write_text("first")
    with pytest.raises(OSError, match="full"), folder.replacing_resume({}) as new:
        (new / AVERAGE).write_text("half of the sec")
        raise OSError("the disk is full")
    assert folder.resume is not None
    assert (folder.resume / AVERAGE).read_text() == "first"
    with folder.replacing_resume({}) as new:
        (new / AVERAGE).write_text("second")
    assert (folder.resume / AVERAGE).read_text() == "second"


def test_a_run_cut_off_between_two_moves_finds_the_old_files(tmp_path: Path) -> None:
    (tmp_path / "resume.old").mkdir()
    (tmp_path / "resume.old" / AVERAGE).write_text("old")
    folder = RunFolder(Fabric(accelerator="cpu", devices=1), tmp_path)
    assert folder.resume == tmp_path / "resume.old"
