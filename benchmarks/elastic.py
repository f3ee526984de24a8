# SPDX-License-Identifier: Apache-2.0
"""Which write rule keeps what a long stream has shown: the whole study in one command, resumable.

    python benchmarks/elastic.py --quick              # minutes on two cores: every step, with too little of everything
    python benchmarks/elastic.py                      # the study of docs/science.md
    python benchmarks/elastic.py --device cuda --config config/train/shipped.yaml --from WEIGHTS --steps 2000 --size 128

Training computes as its configuration says; everything is measured in fp32.

Three stages, each of which goes on where it was cut off: every rule on the scenes for choosing, all with the same
weights; the finalists trained, each with its own rule, on the same episodes; the finalists on the scenes for
reporting. Tables and plots are made from the results files at the end, or by --only tables at any time. Several
processes share the measuring with --part 1 --parts 2 and so on, a stage at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fsm_ros.memory.checkpoint import CheckpointError, load_checkpoint
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.rules.naming import rule_as_plain
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.training.scenes import Split
from fsm_ros.training.train import main as train
from study import arms as known
from study.arms import Arm
from study.comparison import ProbeTable
from study.measure import SceneScores, measure, measure_cost, nearest_view_scores
from study.plots import Line, plot_chunks, plot_gap, plot_shortcut
from study.report import arms_table, curves_table, differences_table, ratios_table, twins_table
from study.results import ArmResult, ResultStore, StudyError, agree_with, write_whole
from study.streams import Stream, StreamSettings, streams

START = "start"
NEAREST = Arm("nearest_view", "nearest observed view", Plastic())


@dataclass(frozen=True)
class Finalist:
    """A rule that weights are trained with, and the arms that those weights are measured with.

    Attributes:
        trained: the rule of the training.
        measured: the arms.
    """

    trained: Arm
    measured: tuple[Arm, ...]


CONTROL = known.smaller_step(0.7)
FINALISTS = (
    Finalist(known.PLASTIC, (known.PLASTIC, known.PLASTIC_PLACES)),
    Finalist(
        CONTROL,
        (CONTROL, Arm("smaller_step_0.7_places", f"{CONTROL.title}, 8 places", CONTROL.rule, known.EIGHT_PLACES)),
    ),
    Finalist(known.CONSOLIDATION, (known.CONSOLIDATION, known.CONSOLIDATION_PLACES)),
)
CHOSEN = known.CONSOLIDATION_PLACES


class Study:
    """The stages."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Take the options of the command."""
        self._options = options
        self._out: Path = options.out
        self._device = torch.device(options.device)
        quick = options.quick
        counts = (1, 2, 4) if quick else tuple(options.chunks)
        base = StreamSettings(size=options.size, chunk_counts=counts, probe_chunks=4 if quick else options.probe_chunks)
        self._choose = replace(base, split=Split.CHOOSE, count=2 if quick else options.choose)
        self._report = replace(base, split=Split.REPORT, count=2 if quick else options.report)
        self._steps = 2 if quick else options.steps
        self._seeds = (1,) if quick else tuple(range(1, options.seeds + 1))
        self._traced: dict[Split, list[Stream]] = {}
        config = Path(options.config).read_text(encoding="utf-8")
        start = self._model(options.start).fingerprint()
        agree_with(self._out / "study.json", {"start": start, "config": config, "steps": self._steps})

    def choose(self) -> None:
        """Every arm on the scenes for choosing, with the weights that all training starts from."""
        store = ResultStore(self._out / "choose", self._choose)
        self._measure_all(store, self._choose, START, self._options.start, tuple(known.EVERY_ARM.values()))

    def train(self) -> None:
        """The finalists, each with its own rule, on the same episodes."""
        for finalist in FINALISTS:
            for seed in self._seeds:
                folder = self._weights(finalist, seed).parent
                if self._weights(finalist, seed).exists():
                    continue
                rule = rule_as_plain(finalist.trained.rule)
                arguments = ["--config", self._options.config, "--from", self._options.start, "--out", str(folder)]
                arguments += ["--steps", str(self._steps), "--threads", str(self._options.threads)]
                arguments += ["--device", self._options.device]
                changes = [f"seed={seed}", f"rule={json.dumps(rule)}"]
                if self._options.quick:
                    changes += ["optimizer.batch=2", "report.scenes=1", "episodes.max_views=16"]
                for change in changes:
                    arguments += ["--set", change]
                print(f"training {folder.name}", flush=True)
                if train(arguments) != 0:
                    raise StudyError(f"training {folder.name} failed: see above")

    def report(self) -> None:
        """The finalists on the scenes for reporting, the orders of the release, and what everything costs."""
        store = ResultStore(self._out / "report", self._report)
        for finalist in FINALISTS:
            for seed in self._seeds:
                name, weights = _trained_name(finalist, seed), str(self._weights(finalist, seed))
                self._measure_all(store, self._report, name, weights, finalist.measured)
        self._measure_all(store, self._report, START, self._options.start, known.OTHER_ORDERS)
        if self._options.part > 1:
            return
        if not store.has(START, "", NEAREST):
            found = self._streams(self._report)
            scenes = [nearest_view_scores(stream, self._report) for stream in found]
            write_whole(self._out / "probes.json", json.dumps(ProbeTable.of(found).as_plain()))
            store.save(self._result(NEAREST, START, "", scenes, self._report))
        cost = self._out / "cost.json"
        if not cost.exists():
            streaming = [arm for arm in known.EVERY_ARM.values() if arm.order is known.Order.STREAMING]
            model = self._model(self._options.start)
            stream = self._streams(self._report)[0]
            measure_cost(model, streaming[:2], stream)  # warm
            write_whole(cost, json.dumps(measure_cost(model, streaming, stream), indent=1))

    def tables_and_plots(self) -> None:
        """Everything that is shown, from the files."""
        choose = ResultStore(self._out / "choose", self._choose)
        report = ResultStore(self._out / "report", self._report)
        cost = self._kept("cost.json")
        probes = ProbeTable.from_plain(self._kept("probes.json"))
        counts = self._report.chunk_counts
        shown = [k for k in counts if k in (4, 16, 32)] or [counts[-1]]
        everything = [choose.load(START, name) for name in known.EVERY_ARM]
        groups: dict[str, list[ArmResult]] = {}
        by_name: dict[str, list[ArmResult]] = {}
        for finalist in FINALISTS:
            for arm in finalist.measured:
                results = [report.load(_trained_name(finalist, seed), arm.name) for seed in self._seeds]
                groups[arm.title] = by_name[arm.name] = results
        nearest = report.load(START, NEAREST.name)
        chosen = by_name[CHOSEN.name]
        others = {title: results for title, results in groups.items() if results is not chosen}
        text = [
            "# Results of the study of write rules",
            "Written by `benchmarks/elastic.py`; docs/science.md says what they mean. PSNR in dB, K: chunks of "
            f"{self._report.chunk_views} views of {self._report.size}x{self._report.size} pixels.",
            f"## Every rule, same weights, nothing trained for it ({self._choose.count} scenes for choosing)",
            arms_table(everything, shown, cost),
            "## |pull| / |update| by layer, last chunk",
            ratios_table([r for r in everything if any(x > 0 for x in _ratios(r))], counts[-1]),
            f"## Trained with their rule ({self._report.count} scenes for reporting, seeds {list(self._seeds)})",
        ]
        for name, title in (
            ("held_out", "Held-out views of all that was seen"),
            ("first", "First chunk's views"),
            ("newest", "Newest chunk's views"),
            ("gap", "Observed minus held-out views"),
        ):
            text += [f"### {title}", twins_table(groups, name, counts)]
        text += [f"### {CHOSEN.title} above the others, paired (each seed in brackets)"]
        text += [differences_table(chosen, others, shown)]
        text += [f"### What nobody saw, after {self._report.probe_chunks} chunks"]
        gained = (f"{CHOSEN.title}, above plastic", chosen, by_name[known.PLASTIC.name])
        text += [curves_table({**groups, NEAREST.title: [nearest]}, probes, gained)]
        orders = [report.load(START, arm.name) for arm in known.OTHER_ORDERS]
        text += ["## Batch order, weights of the start (scenes for reporting)", arms_table(orders, shown, {})]
        publish: Path = self._options.publish or self._out
        publish.mkdir(parents=True, exist_ok=True)
        write_whole(publish / "results.md", "\n\n".join(text) + "\n")
        lines = [Line(title, results) for title, results in groups.items()]
        two = [line for line in lines if line.title in (known.PLASTIC.title, CHOSEN.title)]
        plot_chunks(publish / "chunks.png", lines, nearest)
        plot_gap(publish / "gap.png", two)
        plot_shortcut(publish / "shortcut.png", two, nearest, probes)
        print(f"wrote {publish}/results.md and three plots")

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _kept(self, name: str) -> Any:  # noqa: ANN401  # whatever the file holds
        path = self._out / name
        if not path.exists():
            raise StudyError(f"{path} is missing: run --only report first")
        return json.loads(path.read_text(encoding="utf-8"))

    def _measure_all(
        self, store: ResultStore, settings: StreamSettings, name: str, weights: str, arms: Sequence[Arm]
    ) -> None:
        model = self._model(weights)
        fingerprint = model.fingerprint()
        # Shared out by number, not by what is missing: processes that start at other times still share the same way.
        part = arms[self._options.part - 1 :: self._options.parts]
        mine = [arm for arm in part if not store.has(name, fingerprint, arm)]
        if not mine:
            return
        found = self._streams(settings)
        for arm in mine:
            result = self._result(
                arm, name, fingerprint, [measure(model, arm, stream, settings) for stream in found], settings
            )
            store.save(result)
            last = settings.chunk_counts[-1]
            print(
                f"{settings.split.value}  {name}  {arm.title}: {result.column('held_out', last).mean():.2f} dB, first "
                f"chunk {result.column('first', last).mean():.2f} dB after {last} chunks",
                flush=True,
            )

    def _result(
        self, arm: Arm, weights: str, fingerprint: str, scenes: Sequence[SceneScores], settings: StreamSettings
    ) -> ArmResult:
        return ArmResult(arm.as_plain(), weights, fingerprint, settings.chunk_counts, tuple(scenes))

    def _streams(self, settings: StreamSettings) -> list[Stream]:
        if settings.split not in self._traced:
            print(f"tracing {settings.count} streams ({settings.split.value})", flush=True)
            self._traced[settings.split] = list(streams(settings, self._device))
        return self._traced[settings.split]

    def _model(self, weights: str) -> FsmModel:
        return load_checkpoint(weights).build().to(self._device)

    def _weights(self, finalist: Finalist, seed: int) -> Path:
        return self._out / "train" / _trained_name(finalist, seed) / "weights.safetensors"


def _trained_name(finalist: Finalist, seed: int) -> str:
    return f"{finalist.trained.name}-{seed}"


def _ratios(result: ArmResult) -> list[float]:
    return [ratio for scene in result.scenes for ratio in scene.pull_ratio[-1]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.out is None:
        options.out = Path("out/elastic-quick" if options.quick else "out/elastic")
    try:
        if not 1 <= options.part <= options.parts:
            raise StudyError(f"--part must lie between 1 and --parts, got {options.part} of {options.parts}")
        if options.parts > 1 and options.only not in ("choose", "report"):
            raise StudyError("--parts shares the measuring: use it with --only choose or --only report")
        study = Study(options)
        stages = {
            "choose": study.choose,
            "train": study.train,
            "report": study.report,
            "tables": study.tables_and_plots,
        }
        for name, run in stages.items():
            if options.only in (None, name):
                run()
    except (CheckpointError, StudyError, ImportError, OSError, ValueError) as error:
        print(f"elastic: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two scenes, one seed, two steps of training")
    parser.add_argument("--only", choices=("choose", "train", "report", "tables"), help="one stage; all without it")
    parser.add_argument(
        "--out", type=Path, help="results and trained weights (out/elastic, with --quick out/elastic-quick)"
    )
    parser.add_argument("--publish", type=Path, help="where tables and plots go (--out)")
    parser.add_argument(
        "--config", default="config/train/elastic.yaml", help="how the finalists are trained (%(default)s)"
    )
    parser.add_argument(
        "--from", dest="start", default="config/train/plastic_64.safetensors", help="weights to start from"
    )
    parser.add_argument("--steps", type=int, default=90, help="of training, for each finalist and seed (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="of training (%(default)s)")
    parser.add_argument("--choose", type=int, default=16, help="scenes for choosing (%(default)s)")
    parser.add_argument("--report", type=int, default=48, help="scenes for reporting (%(default)s)")
    parser.add_argument(
        "--chunks", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32], help="when the memory is looked at"
    )
    parser.add_argument(
        "--probe-chunks", type=int, default=16, help="after how many chunks what nobody saw is asked for"
    )
    parser.add_argument("--size", type=int, default=64, help="edge of the views, pixels (%(default)s)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: PyTorch's choice")
    parser.add_argument("--part", type=int, default=1)
    parser.add_argument("--parts", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
