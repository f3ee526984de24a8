"""``train``: from settings to weights, in one command."""

from __future__ import annotations

import argparse
import math
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from lightning_fabric import Fabric

from fsm_ros.memory.checkpoint import CheckpointError, load_checkpoint
from fsm_ros.memory.model import FastSpatialMemory
from fsm_ros.training.evaluation import table
from fsm_ros.training.files import export_weights
from fsm_ros.training.launching import launch
from fsm_ros.training.settings import SettingsError, TrainSettings, as_plain, load_settings
from fsm_ros.training.supply import ClipSupply, SceneClips
from fsm_ros.training.trainer import Budget, Trainer, TrainingError

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        budget = Budget(options.minutes if options.minutes is not None else math.inf, options.steps)
        settings = load_settings(options.config, dict(options.changes))
        fabric = launch(settings.parallelism, options.device)
        train(fabric, settings, budget, options.out, start=options.start, dtype=_DTYPES[options.dtype])
    except (SettingsError, TrainingError, CheckpointError, ImportError, ValueError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"train: stopped; the same command goes on from {options.out}", file=sys.stderr)
        return 130
    return 0


def entry() -> None:
    """The console script."""
    sys.exit(main())


def train(
    fabric: Fabric,
    settings: TrainSettings,
    budget: Budget,
    out: Path,
    *,
    start: str | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Train, evaluate, and write ``weights.safetensors`` with its card.

    Args:
        fabric: the processes, launched.
        settings: the run's.
        budget: when it ends.
        out: the run's folder; an unfinished run in it is taken up.
        start: weights to start from, as :func:`load_checkpoint` takes them; ``None``: from scratch.
        dtype: of the weights that are written.

    Raises:
        TrainingError: the run cannot go on.
        CheckpointError: weights to start from that cannot be used.
    """
    memory = _initial_memory(settings, start)
    trainer = Trainer(fabric, settings, memory, clip_supply(settings, fabric.device), out)
    count = sum(p.numel() for p in memory.parameters())
    trainer.say(f"training {count:,} parameters on {fabric.world_size} x {fabric.device}; everything goes to {out}")
    if fabric.is_global_zero:
        (out / "settings.yaml").write_text(yaml.safe_dump(as_plain(settings), sort_keys=False), encoding="utf-8")
    trainer.run(budget)
    with trainer.averaged() as averaged:
        # The state dict of a sharded model is sharded even while its parameters are whole.
        weights = {name: p.detach().clone() for name, p in averaged.named_parameters()}
    evaluation = trainer.show()
    if fabric.is_global_zero:
        command = shlex.join(["python", "-m", "fsm_ros.training.train", *sys.argv[1:]])
        notes = {
            "command": command,
            "start": start or "scratch",
            "steps": str(trainer.step),
            "minutes": f"{trainer.elapsed_s / 60:.1f}",
            "hardware": _hardware(fabric),
        }
        export_weights(out / "weights.safetensors", weights, settings.model, dtype, notes)
        lines = [f"- {name}: {value}" for name, value in notes.items()]
        (out / "card.md").write_text(
            "\n".join([*lines, "", "Held-out scenes (for choosing), chunks of 4 views:", "", table(evaluation), ""]),
            encoding="utf-8",
        )
    trainer.say(table(evaluation))
    trainer.say(f"wrote {out / 'weights.safetensors'}")
    trainer.close()


def clip_supply(settings: TrainSettings, device: torch.device) -> ClipSupply:
    """Where the settings say that clips come from."""
    scenes = SceneClips(settings, device)
    if not settings.data.recordings:
        return scenes
    from fsm_ros.training.recordings import MixedClips, RecordedClips  # needs OpenCV, and rosbags for bags

    return MixedClips(settings, scenes, RecordedClips(settings, device))


def _initial_memory(settings: TrainSettings, start: str | None) -> FastSpatialMemory:
    if start is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            return FastSpatialMemory(
                settings.model, precision=settings.precision, muon_precision=settings.muon_precision
            )
    checkpoint = load_checkpoint(start)
    if checkpoint.config != settings.model:
        raise TrainingError(f"{start} is a memory of {checkpoint.config}, the settings want {settings.model}")
    memory = checkpoint.build(precision=settings.precision, muon_precision=settings.muon_precision)
    return memory.train().requires_grad_(True)


def _hardware(fabric: Fabric) -> str:
    if fabric.device.type == "cuda":
        name = torch.cuda.get_device_name(fabric.device)
    else:
        name = f"{platform.machine()} CPU, {torch.get_num_threads()} threads each"
    return f"{fabric.world_size} x {name}, torch {torch.__version__}"


def _change(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"the value of {name} is not YAML: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="train", description="Train a fast spatial memory.")
    parser.add_argument("--config", type=Path, required=True, help="settings (YAML), config/train/*.yaml")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an unfinished run is taken up")
    parser.add_argument("--minutes", type=float, help="wall-clock budget of the whole run")
    parser.add_argument("--steps", type=int, help="optimizer steps of the whole run; repeatable to the bit")
    parser.add_argument("--from", dest="start", metavar="WEIGHTS", help="start from: shipped, a file, hf://...")
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        type=_change,
        metavar="NAME=VALUE",
        help="replace one entry of the settings, such as optimizer.batch=8; may be repeated",
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of each process; 0: PyTorch's choice")
    parser.add_argument("--dtype", default="fp16", choices=tuple(_DTYPES), help="of the weights that are written")
    return parser


if __name__ == "__main__":
    entry()
