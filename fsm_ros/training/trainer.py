# SPDX-License-Identifier: Apache-2.0
"""The training loop: one CPU, one GPU, or many processes; cut off and taken up again at any time."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from fsm_ros.errors import FsmError
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.naming import rule_as_plain, rule_from
from fsm_ros.recall.net import RecallNet
from fsm_ros.training.budget import Budget
from fsm_ros.training.evaluation import EvaluationSettings, HeldOut, evaluate, trace_held_out
from fsm_ros.training.files import AVERAGE, STATE, RunFolder
from fsm_ros.training.objective import StreamObjective
from fsm_ros.training.optimizers import WeightAverage, build_optimizers, rate_at, set_rate
from fsm_ros.training.reporting import Reporter
from fsm_ros.training.settings import TrainSettings
from fsm_ros.training.settings_file import as_plain
from fsm_ros.training.supply import ClipSupply, EpisodeSupply, Piece

MAX_BAD_STEPS = 20
"""So many steps in a row whose gradient is not finite end a run."""


class TrainingError(FsmError, RuntimeError):
    """A run that cannot go on; the message says why and what to do."""


_Agreed = TypeVar("_Agreed", float, bool)


@dataclass
class _Counters:
    step: int = 0
    elapsed_s: float = 0.0


class Trainer:
    """Trains one memory."""

    def __init__(
        self,
        fabric: Fabric,
        settings: TrainSettings,
        memory: FsmModel,
        clips: ClipSupply,
        out: Path,
        *,
        start: str = "scratch",
        recall: RecallNet | None = None,
    ) -> None:
        """Prepare; every process makes its own.

        Args:
            fabric: the processes, launched.
            settings: the run's.
            memory: with the weights to start from.
            clips: where episodes are cut from.
            out: the run's folder, the same for all processes; an earlier part of the run in it is taken up.
            start: what the weights are, in words; a run is only taken up with the same.
            recall: the net that recalls views, with the weights to start from, where the settings have one.

        Raises:
            TrainingError: the batch cannot be split evenly, or the folder is of another run.
        """
        if settings.optimizer.batch % (fabric.world_size * settings.optimizer.accumulate):
            raise TrainingError(
                f"optimizer.batch {settings.optimizer.batch} must be a multiple of the {fabric.world_size} processes "
                f"times optimizer.accumulate {settings.optimizer.accumulate}"
            )
        self._fabric = fabric
        self._settings = settings
        self._start = start
        self._supply = EpisodeSupply(settings, clips)
        self._folder = RunFolder(fabric, out)
        objective = StreamObjective(
            memory,
            settings.rule,
            activation_checkpoints=settings.optimizer.activation_checkpoints,
            memory_size=settings.episodes.memory_size,
            learn=settings.learn,
            recall=recall,
            recalling=settings.recall,
        )
        self._objective = fabric.setup_module(objective)
        self._optimizers = [
            cast("Optimizer", fabric.setup_optimizers(optimizer))
            for optimizer in build_optimizers(self._objective, settings.optimizer)
        ]
        self._average = WeightAverage(self._objective, settings.optimizer.average_decay)
        self._counters = _Counters()
        self._held_out: HeldOut | None = None
        self._reporter = Reporter(out, speaks=fabric.is_global_zero, tensorboard=settings.report.tensorboard)
        self._take_up()

    @property
    def step(self) -> int:
        """Steps that were made so far."""
        return self._counters.step

    @property
    def elapsed_s(self) -> float:
        """Seconds that the run took so far."""
        return self._counters.elapsed_s

    @property
    def memory(self) -> FsmModel:
        """The model as it stands; with sharded parameters only inside of :meth:`averaged`."""
        return cast("StreamObjective", self._objective.module).memory

    @property
    def recall(self) -> RecallNet | None:
        """The net that recalls views, likewise."""
        return cast("StreamObjective", self._objective.module).recall

    def run(self, budget: Budget) -> None:
        """Train until the budget is spent; save at the end.

        Raises:
            TrainingError: gradients stay infinite, or are not numbers.
        """
        report = self._settings.report
        began_s = time.monotonic() - self._counters.elapsed_s
        last_log_s = last_save_s = last_evaluation_s = self._counters.elapsed_s
        errors: list[Tensor] = []  # of the memory, of recall, and of depth
        views, bad = 0, 0
        # All processes agree on the time, and so on the progress and on the end.
        while (progress := budget.progress(self._counters.step, self._counters.elapsed_s)) < 1.0:
            error, norm, seen = self._train_step(progress)
            views += seen
            errors.append(error)
            bad = 0 if self._finish_step(norm, progress) else bad + 1
            if bad >= MAX_BAD_STEPS:
                raise TrainingError(
                    f"{bad} steps in a row had gradients that are not finite: lower optimizer.learning_rate, or use "
                    "precision: fp32"
                )
            self._counters.elapsed_s = self._agree(time.monotonic() - began_s)
            now_s = self._counters.elapsed_s
            if now_s - last_log_s >= report.log_every_s:
                self._log(progress, errors, views, now_s - last_log_s, norm)
                errors, views, last_log_s = [], 0, now_s
            if now_s - last_evaluation_s >= report.evaluate_every_s:
                self.show()
                self._counters.elapsed_s = self._agree(time.monotonic() - began_s)
                # Evaluations are part of the run's time, but not of the rate that is told.
                last_log_s += self._counters.elapsed_s - now_s
                last_evaluation_s = self._counters.elapsed_s
            if now_s - last_save_s >= report.save_every_s:
                self.save()
                last_save_s = now_s
        self.save()

    @property
    def evaluation_settings(self) -> EvaluationSettings:
        """What is evaluated on the way: held-out scenes like those that are learned from."""
        report = self._settings.report
        return EvaluationSettings(
            scenes=self._settings.data.scenes,
            count=report.scenes,
            size=64 if self._settings.recall else self._settings.episodes.size,
            chunk_counts=report.chunk_counts,
        )

    def show(self) -> None:
        """Score the averaged weights on held-out scenes, and tell of it; every process takes part, one scores."""
        with self.averaged() as memory:
            if not self._fabric.is_global_zero:
                return
            settings = self.evaluation_settings
            if self._held_out is None:
                self._held_out = trace_held_out(settings, memory.device)
            shown = self._settings.report.sheet_scenes
            evaluation = evaluate(
                memory, settings, self._settings.rule, shown=shown, held_out=self._held_out, recall=self.recall
            )
        self._reporter.show(self._counters.step, self._counters.elapsed_s, evaluation)

    @contextmanager
    def averaged(self) -> Iterator[FsmModel]:
        """The model with the averaged weights, whole on every process."""
        module = self._objective.module
        with self._average.applied(), _whole(module):
            yield self.memory

    def save(self) -> None:
        """Write where to go on from."""
        with self._folder.replacing_resume(self._identity()) as folder:
            self._fabric.save(folder / STATE, self._state())
            with self._average.applied():
                self._fabric.save(folder / AVERAGE, {"objective": self._objective})

    def close(self) -> None:
        """End what is told."""
        self._reporter.close()

    def say(self, line: str) -> None:
        """A line for whoever watches."""
        self._reporter.say(line)

    # --- a step ------------------------------------------------------------------------------------------------------

    def _train_step(self, progress: float) -> tuple[Tensor, Tensor, int]:
        """Gradients of one step: its mean errors (memory, recall, depth), their norm, how many views it took."""
        optimizer = self._settings.optimizer
        edges = optimizer.gradient_loss if progress >= optimizer.gradient_loss_from else 0.0
        share = optimizer.batch // self._fabric.world_size
        count = share // optimizer.accumulate
        errors, views = [], 0
        for piece in range(optimizer.accumulate):
            first = self._fabric.global_rank * share + piece * count
            episodes = self._supply.episodes(Piece(self._counters.step, first, count), progress)
            is_last = piece == optimizer.accumulate - 1
            with self._fabric.no_backward_sync(self._objective, enabled=not is_last):
                outcome = self._objective(episodes, edges)
                self._fabric.backward(outcome.loss / optimizer.accumulate)
            errors.append(torch.stack([outcome.squared_error, outcome.recalled_error, outcome.depth_error]))
            views += episodes.views
        norm = self._clip()
        return torch.stack(errors).mean(dim=0), norm, views * self._fabric.world_size

    def _clip(self) -> Tensor:
        parameters = [p for p in self._objective.parameters() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, self._settings.optimizer.gradient_clip)
        full = getattr(norm, "full_tensor", None)  # of sharded gradients
        return norm if full is None else cast("Tensor", full())

    def _finish_step(self, norm: Tensor, progress: float) -> bool:
        """Move the weights; ``False`` where the gradient is not finite and they stay."""
        finite = bool(torch.isfinite(norm))
        optimizer = self._settings.optimizer
        if finite:
            set_rate(self._optimizers, rate_at(optimizer, self._counters.step, progress))
            for each in self._optimizers:
                each.step()
            self._average.update(self._counters.step)
        for each in self._optimizers:
            each.zero_grad(set_to_none=True)
        self._counters.step += 1
        return finite

    # --- telling, saving, taking up ----------------------------------------------------------------------------------

    def _log(self, progress: float, errors: list[Tensor], views: int, seconds: float, norm: Tensor) -> None:
        error, recalled, depth = torch.stack(errors).mean(dim=0).tolist()
        values = {
            "train/psnr": -10.0 * math.log10(max(error, 1e-10)),
            "train/squared_error": error,
            "train/gradient_norm": float(norm),
            "train/rate": rate_at(self._settings.optimizer, self._counters.step - 1, progress),
            "train/views_per_s": views / seconds,
            "train/steps_per_s": len(errors) / seconds,
            "train/progress": progress,
        }
        words = f"{values['train/psnr']:.2f} dB"
        if not math.isnan(recalled):
            values["train/recall_psnr"] = -10.0 * math.log10(max(recalled, 1e-10))
            words += f"  recalled {values['train/recall_psnr']:.2f} dB"
        if not math.isnan(depth):
            values["train/log_depth_error"] = depth
            words += f"  depth {depth:.3f}"
        elapsed_s = self._counters.elapsed_s
        left_s = elapsed_s * (1.0 - progress) / progress if progress > 0 else math.inf
        self._reporter.say(
            f"step {self._counters.step}  {elapsed_s / 60:.1f} min, {left_s / 60:.1f} left  "
            f"{words}  gradient {values['train/gradient_norm']:.3f}  "
            f"{values['train/steps_per_s']:.2f} steps/s  {values['train/views_per_s']:.0f} views/s"
        )
        self._reporter.note(self._counters.step, elapsed_s, values)

    def _state(self) -> dict[str, Any]:
        return {
            "objective": self._objective,
            **{f"optimizer_{i}": optimizer for i, optimizer in enumerate(self._optimizers)},
            "step": self._counters.step,
            "elapsed_s": self._counters.elapsed_s,
        }

    def _identity(self) -> dict[str, Any]:
        """What must not change while a run goes on."""
        plain = as_plain(self._settings)
        del plain["report"]
        return {"start": self._start, **plain}

    def _take_up(self) -> None:
        folder = self._folder.resume
        if self._agree(folder is not None) != (folder is not None):
            raise TrainingError(
                f"process {self._fabric.global_rank} does not see in {self._folder.path} what the first one sees: "
                "--out must be one folder that all machines share"
            )
        if folder is None:
            return
        begun, own = self._folder.identity(folder), json.loads(json.dumps(self._identity()))
        begun["rule"] = rule_as_plain(rule_from(begun.get("rule")))  # null, once, for plain LaCT
        changed = sorted(name for name in begun.keys() | own.keys() if begun.get(name) != own.get(name))
        if changed:
            raise TrainingError(
                f"{folder} is of a run with other settings ({', '.join(changed)}): use another folder, or begin from "
                "its weights with --from"
            )
        state = self._state()
        try:
            self._fabric.load(folder / AVERAGE, {"objective": self._objective})
            self._average.take()
            self._fabric.load(folder / STATE, state)
        except (KeyError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
            raise TrainingError(f"{folder} is damaged: {error}. Use another folder for a new run") from error
        self._counters = _Counters(int(state["step"]), float(state["elapsed_s"]))
        self._reporter.say(f"taking up the run in {self._folder.path} at step {self._counters.step}")

    def _agree(self, value: _Agreed) -> _Agreed:
        """The first process's value, as clocks and folders may differ."""
        if self._fabric.world_size == 1:
            return value
        agreed: _Agreed = self._fabric.broadcast(value)
        return agreed


@contextmanager
def _whole(module: nn.Module) -> Iterator[None]:
    """Sharded parameters gathered, for as long as the context lasts."""
    unshard, reshard = getattr(module, "unshard", None), getattr(module, "reshard", None)
    if unshard is None or reshard is None:
        yield
        return
    unshard()
    try:
        yield
    finally:
        reshard()
