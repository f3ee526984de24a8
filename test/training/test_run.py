# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from statistics import fmean

import pytest
import torch
from deadline import DEADLINE_S
from safetensors.torch import load_file
from training_runs import finish, plain_settings, run_script, start_training, write_settings

from fsm_ros.memory.checkpoint import load_checkpoint

pytestmark = pytest.mark.slow

STEPS = 12


def weights_of(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "weights.safetensors")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve steps that nothing disturbed."""
    folder = tmp_path_factory.mktemp("run")
    config = write_settings(folder / "run.yaml")
    finish(start_training("--config", config, "--steps", STEPS, "--dtype", "fp32", "--out", folder / "out"))
    return folder


def test_what_a_run_leaves_can_be_used_and_says_how_it_came_about(uninterrupted: Path) -> None:
    out = uninterrupted / "out"
    checkpoint = load_checkpoint(str(out / "weights.safetensors"))
    assert checkpoint.config.dim == plain_settings()["model"]["dim"]
    assert sum(p.numel() for p in checkpoint.build().parameters()) > 10_000
    card = (out / "card.md").read_text(encoding="utf-8")
    assert f"- steps: {STEPS}" in card
    assert "fsm_ros.training.train --config" in card
    assert card.count("\n| 1 |") == 1 and card.count("\n| 2 |") == 1


CUT_OFF = """
import os, signal, sys
from fsm_ros.training.train import main
from fsm_ros.training.trainer import Trainer

# A shell without job control starts what is to run in the background with this signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
saves, save = 0, Trainer.save

def save_and_end(self):
    global saves
    save(self)
    saves += 1
    if saves == 4:
        os.kill(os.getpid(), signal.{name})

Trainer.save = save_and_end
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_a_run_that_was_cut_off_and_taken_up_equals_one_that_was_not(
    uninterrupted: Path, tmp_path: Path, name: str
) -> None:
    config = write_settings(tmp_path / "run.yaml", report={**plain_settings()["report"], "save_every_s": 1e-6})
    arguments = ("--config", config, "--steps", STEPS, "--dtype", "fp32", "--out", tmp_path / "out")
    script = tmp_path / "cut_off.py"
    script.write_text(CUT_OFF.replace("{name}", name), encoding="utf-8")
    done = run_script(script, *arguments)
    assert done.returncode == {"SIGKILL": -signal.SIGKILL, "SIGINT": 130}[name], done.stdout + done.stderr
    assert "goes on from" in done.stderr or name == "SIGKILL"
    assert not (tmp_path / "out" / "weights.safetensors").exists()
    assert "taking up the run" in finish(start_training(*arguments))
    expected, found = weights_of(uninterrupted / "out"), weights_of(tmp_path / "out")
    assert expected.keys() == found.keys()
    for key, tensor in expected.items():
        assert torch.equal(tensor, found[key]), key


def test_a_folder_of_another_run_is_not_taken_up(uninterrupted: Path, tmp_path: Path) -> None:
    config = write_settings(tmp_path / "run.yaml", seed=4)
    process = start_training("--config", config, "--steps", 20, "--out", uninterrupted / "out")
    printed, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert "other settings (seed)" in printed


def test_a_run_begun_before_plain_lact_was_a_rule_is_taken_up(uninterrupted: Path, tmp_path: Path) -> None:
    out = shutil.copytree(uninterrupted / "out", tmp_path / "out")
    path = out / "resume" / "identity.json"
    begun = json.loads(path.read_text(encoding="utf-8"))
    assert begun["rule"] == {"kind": "plastic"}
    path.write_text(json.dumps(begun | {"rule": None}), encoding="utf-8")
    arguments = ("--config", uninterrupted / "run.yaml", "--steps", STEPS, "--dtype", "fp32", "--out", out)
    assert "taking up the run" in finish(start_training(*arguments))


TOLD = {"log_every_s": 1e-6}


def curve(out: Path, name: str) -> list[float]:
    """A number of every step."""
    lines = [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process learns in four steps, all of a batch at once; every step is told of."""
    folder = tmp_path_factory.mktemp("alone")
    config = write_settings(folder / "run.yaml", report={**plain_settings()["report"], **TOLD})
    finish(start_training("--config", config, "--steps", 4, "--dtype", "fp32", "--out", folder / "out"))
    return folder / "out"


@pytest.mark.parametrize(
    ("processes", "parallelism", "accumulate"),
    [(2, "ddp", 1), (2, "fsdp", 1), (1, "ddp", 2), (2, "ddp", 2)],
    ids=["ddp", "fsdp", "accumulated", "ddp accumulated"],
)
def test_however_a_step_is_shared_out_its_gradients_are_those_of_one_process(
    alone: Path, tmp_path: Path, processes: int, parallelism: str, accumulate: int
) -> None:
    config = write_settings(
        tmp_path / "run.yaml",
        parallelism=parallelism,
        optimizer={**plain_settings()["optimizer"], "accumulate": accumulate},
        report={**plain_settings()["report"], **TOLD},
    )
    out = tmp_path / "out"
    finish(start_training("--config", config, "--steps", 4, "--dtype", "fp32", "--out", out, processes=processes))
    expected = curve(alone, "train/gradient_norm")
    assert len(expected) == 4 and min(expected) > 0.01
    # The optimizer does not see the size of a gradient, so it is the norm that tells a sum from a mean.
    assert curve(out, "train/gradient_norm") == pytest.approx(expected, rel=1e-3)
    found = weights_of(out)
    for name, tensor in weights_of(alone).items():
        # Sums are taken in another order; AdamW makes much of gradients that are nearly zero.
        torch.testing.assert_close(found[name], tensor, atol=2e-4, rtol=2e-3, msg=name)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    config = write_settings(
        tmp_path / "run.yaml",
        optimizer={"batch": 8, "warmup_steps": 10, "learning_rate": 2e-3},
        report={**plain_settings()["report"], **TOLD},
    )
    finish(start_training("--config", config, "--steps", 60, "--out", tmp_path / "out"))
    errors = curve(tmp_path / "out", "train/squared_error")
    assert fmean(errors[-10:]) < 0.75 * fmean(errors[:10])


WITHOUT_ROS = """
import builtins, sys

import_anything = builtins.__import__

def import_what_is_there(name, globals=None, locals=None, fromlist=(), level=0):
    # Other packages may use what happens to be installed.
    importer = (globals or {}).get("__name__", "")
    if level == 0 and importer.startswith("fsm_ros") and name.partition(".")[0] in {absent}:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return import_anything(name, globals, locals, fromlist, level)

builtins.__import__ = import_what_is_there
from fsm_ros.training.train import main
sys.exit(main(sys.argv[1:]))
"""
ABSENT = ("rclpy", "sensor_msgs", "cv2", "PIL", "scipy", "rosbags", "skimage", "tensorboard", "huggingface_hub")


def test_training_runs_where_there_is_no_ros_and_none_of_the_streams_libraries(tmp_path: Path) -> None:
    script = tmp_path / "without_ros.py"
    script.write_text(WITHOUT_ROS.replace("{absent}", repr(set(ABSENT))), encoding="utf-8")
    config = write_settings(tmp_path / "run.yaml")
    done = run_script(script, "--config", config, "--steps", 2, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "weights.safetensors").exists()
