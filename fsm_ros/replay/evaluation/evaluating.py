# SPDX-License-Identifier: Apache-2.0
"""What `evaluate_bag` does: every recording under every setting, and one report of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fsm_ros.configuration.files import read_changes
from fsm_ros.errors import FsmError
from fsm_ros.replay.evaluation.columns import summary_text
from fsm_ros.replay.evaluation.findings import findings
from fsm_ros.replay.evaluation.hold_out import parse_hold_out
from fsm_ros.replay.evaluation.job import Job, Reading
from fsm_ros.replay.evaluation.limits import Limits
from fsm_ros.replay.evaluation.run import check
from fsm_ros.replay.evaluation.schedule import Outcome, run_here, run_on_ray, terminable
from fsm_ros.replay.evaluation.settings import Setting, settings_of
from fsm_ros.replay.evaluation.show import show
from fsm_ros.replay.evaluation.summary import by_recording, told_once
from fsm_ros.sources.errors import SourceError

if TYPE_CHECKING:
    from fsm_ros.replay.evaluation.evaluate_bag import Options

_NEEDED = ("torchmetrics", "matplotlib", "jinja2", "pyarrow", "av")
_REMEDY = "pip install 'fsm_ros[evaluate]'"
_REMEDIES = {"pyarrow": f"{_REMEDY}, and beside NumPy 1 'pyarrow<26'", "ray": "pip install 'fsm_ros[ray]'"}
GOOD, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: all went well; some of it failed; nothing was begun; it was interrupted."""
_FLAGS = {"cameras": "--camera", "world_frame": "--frame", "image_folder": "--images"}
"""What arguments of :func:`fsm_ros.sources.opening.open_rig` are called on the command line."""


def evaluated(options: Options, prog: str, command: str) -> int:
    """Measure and report all that was asked for; returns the exit code.

    Args:
        options: of the command line.
        prog: what the command was called by.
        command: the options in words, for the report.
    """
    try:
        with terminable():
            return _evaluated(options, prog, command)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted: the same command goes on with what was measured", file=sys.stderr)
        return INTERRUPTED


def _evaluated(options: Options, prog: str, command: str) -> int:
    """All that was asked for; returns the exit code."""
    try:
        _check_packages(on_ray=options.ray is not None)
        jobs = _jobs(options, command)
        for job in {job.path: job for job in jobs}.values():
            print(check(job), flush=True)
        for job in jobs:
            _ = job.fingerprint  # names weights that are not there before anything runs
    except (FsmError, ImportError, ValueError, OSError) as error:
        flag = _FLAGS.get(error.argument) if isinstance(error, SourceError) else None
        return _refused(prog, f"{error} ({flag})" if flag else str(error))
    out: Path = options.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        if options.ray is None:
            outcomes = run_here(out, jobs, _say)
        else:
            outcomes = run_on_ray(out, jobs, options.ray or None, _say)
    except (ImportError, OSError) as error:
        return _refused(prog, str(error))
    try:
        return _finish(out, outcomes, prog)
    except (ImportError, OSError) as error:
        print(
            f"{prog}: the report cannot be written: {error}; what was measured is kept, and the same command "
            "measures none of it again",
            file=sys.stderr,
        )
        return FAILED


def _finish(out: Path, outcomes: Sequence[Outcome], prog: str) -> int:
    """Show what there is, say what there is not."""
    runs = [outcome.run for outcome in outcomes if outcome.run is not None]
    failures = [outcome for outcome in outcomes if outcome.failure]
    for outcome in failures:
        print(f"{prog}: {outcome.job.recording}, {outcome.job.setting.name}: {outcome.failure}", file=sys.stderr)
    interrupted = any(not run.complete for run in runs) or any(
        outcome.run is None and not outcome.failure for outcome in outcomes
    )
    if runs:
        show(out, runs)
        print(f"\n{summary_text(runs)}")
        for recording, own in by_recording(runs).items():
            print(
                "\n".join(
                    [
                        f"{recording}:",
                        *(f"  {told}" for told in [*findings(own), *told_once(own, lambda run: run.notes)]),
                    ]
                )
            )
        print(f"\n{out / 'report.html'}")
    if interrupted:
        print(f"{prog}: interrupted: the report holds what was done; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    return FAILED if failures else GOOD


def _check_packages(*, on_ray: bool) -> None:
    """Miss nothing at the end of a long run that could be missed at its beginning.

    A package that is installed may still not go with the others, so each is imported.

    Raises:
        ImportError: packages are not installed, or cannot be imported; each is named with its cause.
    """
    missing = []
    for module in (*_NEEDED, *(("ray",) if on_ray else ())):
        try:
            importlib.import_module(module)
        except ImportError as error:
            missing.append(f"{module} cannot be imported ({error}): {_REMEDIES.get(module, _REMEDY)}")
    if missing:
        raise ImportError("; ".join(missing))


def _jobs(options: Options, command: str) -> list[Job]:
    """Every recording under every setting.

    Raises:
        ValueError: options that do not go together.
    """
    parse_hold_out(options.hold_out)
    base = read_changes(options.parameter_files, options.assignments)
    settings = settings_of(options.compare.split(","), base)
    if options.lpips is not None and not options.lpips.is_file():
        raise ValueError(f"there is no file {options.lpips} with weights of LPIPS")
    if options.out.exists() and not options.out.is_dir():
        raise ValueError(f"{options.out} is no folder: choose another for the report")
    for bag in options.bags:
        if options.out.resolve().is_relative_to(bag.resolve()):
            raise ValueError(f"{options.out} lies in the recording {bag}: choose a folder outside for the report")
    images = options.images and options.images.absolute()
    reading = Reading(options.cameras, options.frame, options.frame_rate_hz, options.duration_s, images)
    limits = Limits(options.views, options.matrix_chunks, options.matrix_views)

    def job(path: Path, name: str, setting: Setting) -> Job:
        return Job(path, name, setting, options.hold_out, reading, limits, options.lpips, command)

    named = zip(options.bags, _names(options.bags), strict=True)
    return [job(path.absolute(), name, setting) for path, name in named for setting in settings]


def _names(paths: Sequence[Path]) -> list[str]:
    """A name for each recording: of its folder or file, with a number where that was taken.

    Raises:
        ValueError: a recording is given twice.
    """
    absolute = [path.resolve() for path in paths]
    twice = sorted({str(path) for path in absolute if absolute.count(path) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is given twice: give each recording once")
    names: list[str] = []
    for path in absolute:
        stem, number = path.name if path.is_dir() else path.stem, 2
        name = stem
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return names


def _refused(prog: str, message: str) -> int:
    print(f"{prog}: {message}", file=sys.stderr)
    return REFUSED


def _say(line: str) -> None:
    print(line, flush=True)
