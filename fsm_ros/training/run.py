# SPDX-License-Identifier: Apache-2.0
"""What the command for training does: from settings to weights."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import yaml
from lightning_fabric import Fabric

from fsm_ros.configuration.files import parse_assignment
from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.naming import rule_as_plain
from fsm_ros.recall.checkpoint import load_recall, save_recall
from fsm_ros.recall.net import RecallNet
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.training.budget import Budget
from fsm_ros.training.evaluation import conditions, evaluate, table
from fsm_ros.training.files import export_weights
from fsm_ros.training.launching import launch, precisions, resolve
from fsm_ros.training.scenes import Split
from fsm_ros.training.settings import TrainSettings
from fsm_ros.training.settings_file import as_plain, load_settings
from fsm_ros.training.supply import ClipSupply, RevisitedClips, SceneClips
from fsm_ros.training.trainer import Trainer, TrainingError

if TYPE_CHECKING:
    from fsm_ros.training.train import Options

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def run(options: Options, command: str) -> None:
    """Train as the command line says, in the processes that it says.

    Args:
        options: of the command line.
        command: the same in words, for the card.

    Raises:
        FsmError: settings or weights that cannot be used, or a run that cannot go on.
        ValueError: options that make no sense.
        ImportError: a library of the recordings is not installed.
        OSError: a file cannot be read or written.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    budget = Budget(options.minutes, options.steps)
    settings = load_settings(options.config, dict(map(parse_assignment, options.changes)))
    fabric = launch(settings.parallelism, options.device, os.environ)
    train(
        fabric,
        settings,
        budget,
        options.out,
        command,
        start=options.start,
        recall_start=options.recall_start,
        dtype=_DTYPES[options.dtype],
        score=options.score,
    )


def train(
    fabric: Fabric,
    settings: TrainSettings,
    budget: Budget,
    out: Path,
    command: str,
    *,
    start: str | None,
    recall_start: str | None,
    dtype: torch.dtype,
    score: bool,
) -> None:
    """Train, write ``weights.safetensors``, score what was written, and write its card.

    Args:
        fabric: the processes, launched.
        settings: the run's.
        budget: when it ends.
        out: the run's folder, the same for all processes; an unfinished run in it is taken up.
        command: that started this, for the card.
        start: weights to start from, as :func:`load_checkpoint` takes them; ``None``: from scratch.
        recall_start: weights of recall to start from, as :func:`load_recall` takes them; ``None``: from scratch.
        dtype: of the weights that are written.
        score: whether what was written is scored and its card written.

    Raises:
        TrainingError: the run cannot go on.
        CheckpointError: weights to start from that cannot be used.
    """
    settings = replace(
        settings,
        precision=resolve(settings.precision, fabric.device),
        muon_precision=resolve(settings.muon_precision, fabric.device),
    )
    memory = _initial_memory(settings, start)
    clips = clip_supply(settings, fabric.device)
    recall = initial_recall(settings, recall_start)
    began = start or "scratch"
    if recall is not None:
        began += f", recall from {recall_start or 'scratch'}"
    trainer = Trainer(fabric, settings, memory, clips, out, start=began, recall=recall)
    learning = [*memory.parameters(), *(recall.parameters() if recall is not None else ())]
    count = sum(p.numel() for p in learning if p.requires_grad)
    trainer.say(
        f"training {count:,} parameters on {fabric.world_size} x {fabric.device} in {settings.precision.value}; "
        f"everything goes to {out}"
    )
    try:
        if fabric.is_global_zero:
            plain = yaml.safe_dump(as_plain(settings), sort_keys=False)
            (out / "settings.yaml").write_text(plain, encoding="utf-8")
        trainer.run(budget)
        with trainer.averaged() as averaged:
            # The state dict of a sharded model is sharded even while its parameters are whole.
            weights = {name: p.detach().clone() for name, p in averaged.named_parameters()}
            own = trainer.recall
            recalled = None if own is None else {name: t.detach().clone() for name, t in own.state_dict().items()}
        if fabric.is_global_zero:
            notes = {
                "command": command,
                "start": began,
                "rule": json.dumps(rule_as_plain(settings.rule)),
                "seed": str(settings.seed),
                "steps": str(trainer.step),
                "minutes": f"{trainer.elapsed_s / 60:.1f}",
                "hardware": _hardware(fabric),
            }
            path = out / "weights.safetensors"
            export_weights(path, weights, settings.model, dtype, notes)
            if settings.recall is not None and recalled is not None:
                net = RecallNet(settings.recall.net)
                net.load_state_dict(recalled)
                save_recall(out / "recall.safetensors", net, notes)
            trainer.say(f"wrote {path}")
            if score:
                _score_what_was_written(trainer, settings, path, notes, fabric.device)
        fabric.barrier()
    finally:
        trainer.close()


def _score_what_was_written(
    trainer: Trainer, settings: TrainSettings, path: Path, notes: Mapping[str, str], device: torch.device
) -> None:
    """The figures of the card: of the very file, with a node's number of submaps, on scenes that decided nothing."""
    precision, muon_precision = precisions(settings.precision, settings.muon_precision)
    memory = load_checkpoint(str(path)).build(precision=precision, muon_precision=muon_precision).to(device)
    told = replace(trainer.evaluation_settings, split=Split.REPORT, atlas=MemorySettings().atlas)
    evaluation = evaluate(memory, told, settings.rule)
    lines = [f"- {name}: {value}" for name, value in notes.items()]
    card = "\n".join([f"# {path.name}", "", *lines, "", table(evaluation), "", conditions(told, settings.rule), ""])
    path.with_name("card.md").write_text(card, encoding="utf-8")
    trainer.say(table(evaluation))


def clip_supply(settings: TrainSettings, device: torch.device) -> ClipSupply:
    """Where the settings say that clips come from."""
    visits = settings.data.visits
    scenes = RevisitedClips(SceneClips(settings, device), visits)
    if not settings.data.recordings:
        return scenes
    try:
        from fsm_ros.training.recordings import MixedClips, RecordedClips
    except ImportError as error:
        raise ImportError(
            f"data.recordings are undistorted and cut by libraries that training from scenes does without ({error}): "
            "pip install opencv-python-headless pillow scipy"
        ) from error
    return MixedClips(settings, scenes, RevisitedClips(RecordedClips(settings, device), visits))


def _initial_memory(settings: TrainSettings, start: str | None) -> FsmModel:
    precision, muon_precision = precisions(settings.precision, settings.muon_precision)
    if start is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            return FsmModel(settings.model, precision=precision, muon_precision=muon_precision)
    checkpoint = load_checkpoint(start)
    if checkpoint.config not in (settings.model, replace(settings.model, geometry=False)):
        raise TrainingError(f"{start} is a memory of {checkpoint.config}, the settings want {settings.model}")
    memory = checkpoint.build(precision=precision, muon_precision=muon_precision)
    if settings.model.geometry and not checkpoint.config.geometry:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            grown = FsmModel(settings.model, precision=precision, muon_precision=muon_precision)
        grown.load_state_dict(memory.state_dict(), strict=False)
        memory = grown
    return memory.train().requires_grad_(True)


def initial_recall(settings: TrainSettings, start: str | None) -> RecallNet | None:
    """The net that learns to recall: from scratch, or from weights, whose net may lack what tells the depth.

    Raises:
        TrainingError: weights of another net, or none wanted.
        RecallWeightsError: weights that cannot be used.
    """
    if settings.recall is None:
        if start is not None:
            raise TrainingError(f"weights of recall ({start}) are given, but the settings have no entry recall")
        return None
    if start is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            return RecallNet(settings.recall.net)
    net, wanted = load_recall(start), settings.recall.net
    # How many depths are looked at, and how coarsely, is no matter of the weights; what tells the depth may be new.
    same = replace(wanted, side=net.config.side, depths=net.config.depths)
    if net.config not in (same, replace(same, fusion=0)):
        raise TrainingError(f"{start} is recall of {net.config}, the settings want {wanted}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        grown = RecallNet(wanted)
    grown.load_state_dict(net.state_dict(), strict=net.config.fusion == wanted.fusion)
    return grown.train()


def _hardware(fabric: Fabric) -> str:
    if fabric.device.type == "cuda":
        name = torch.cuda.get_device_name(fabric.device)
    else:
        name = f"{platform.machine()} CPU, {torch.get_num_threads()} threads each"
    return f"{fabric.world_size} x {name}, torch {torch.__version__}"
