# SPDX-License-Identifier: Apache-2.0
"""How good, how forgetful and how fast is the memory on a recording? One command, one report.

evaluate_bag BAG... --out DIR --hold-out every:8 --compare elastic,plastic,windowed
"""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from fsm_ros.configuration.files import parse_assignment, read_parameter_file
from fsm_ros.errors import FsmError
from fsm_ros.replay.evaluation.columns import summary_text
from fsm_ros.replay.evaluation.findings import findings
from fsm_ros.replay.evaluation.hold_out import FORMS, parse_hold_out
from fsm_ros.replay.evaluation.job import Job, Limits, Reading
from fsm_ros.replay.evaluation.run import check
from fsm_ros.replay.evaluation.schedule import Outcome, run_here, run_on_ray, terminable
from fsm_ros.replay.evaluation.settings import CONFIGURED, TOLD, Setting, settings_of
from fsm_ros.replay.evaluation.show import show
from fsm_ros.replay.evaluation.summary import by_recording, told_once
from fsm_ros.sources.errors import SourceError

_NEEDED = ("torchmetrics", "matplotlib", "jinja2", "pyarrow", "av")
_REMEDY = "pip install 'fsm_ros[evaluate]'"
_REMEDIES = {"pyarrow": f"{_REMEDY}, and beside NumPy 1 'pyarrow<26'", "ray": "pip install 'fsm_ros[ray]'"}
LOCAL_RAY = "local"
GOOD, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: all went well; some of it failed; nothing was begun; it was interrupted."""
_FLAGS = {"cameras": "--camera", "world_frame": "--frame", "image_folder": "--images"}
"""What arguments of :func:`fsm_ros.sources.opening.open_rig` are called on the command line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate from the command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        with terminable():
            return _evaluated(options, "evaluate_bag " + shlex.join(given))
    except KeyboardInterrupt:
        print("evaluate_bag: interrupted: the same command goes on with what was measured", file=sys.stderr)
        return INTERRUPTED


def _evaluated(options: argparse.Namespace, command: str) -> int:
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
        return _refused(f"{error} ({flag})" if flag else str(error))
    out: Path = options.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        if options.ray is None:
            outcomes = run_here(out, jobs, _say)
        else:
            address = None if options.ray == LOCAL_RAY else options.ray
            outcomes = run_on_ray(out, jobs, address, _say)
    except (ImportError, OSError) as error:
        return _refused(str(error))
    try:
        return _finish(out, outcomes)
    except (ImportError, OSError) as error:
        print(
            f"evaluate_bag: the report cannot be written: {error}; what was measured is kept, and the same command "
            "measures none of it again",
            file=sys.stderr,
        )
        return FAILED


def _finish(out: Path, outcomes: Sequence[Outcome]) -> int:
    """Show what there is, say what there is not."""
    runs = [outcome.run for outcome in outcomes if outcome.run is not None]
    failures = [outcome for outcome in outcomes if outcome.failure]
    for outcome in failures:
        print(f"evaluate_bag: {outcome.job.recording}, {outcome.job.setting.name}: {outcome.failure}", file=sys.stderr)
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
        print("evaluate_bag: interrupted: the report holds what was done; the same command goes on", file=sys.stderr)
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


def _jobs(options: argparse.Namespace, command: str) -> list[Job]:
    """Every recording under every setting.

    Raises:
        ValueError: options that do not go together.
    """
    parse_hold_out(options.hold_out)
    base: dict[str, object] = {}
    for file in options.params:
        base |= read_parameter_file(file)
    for assignment in options.set:
        name, value = parse_assignment(assignment)
        base[name] = value
    settings = settings_of(options.compare.split(","), base)
    if options.lpips is not None and not options.lpips.is_file():
        raise ValueError(f"there is no file {options.lpips} with weights of LPIPS")
    if options.out.exists() and not options.out.is_dir():
        raise ValueError(f"{options.out} is no folder: choose another for the report")
    for bag in options.bags:
        if options.out.resolve().is_relative_to(bag.resolve()):
            raise ValueError(f"{options.out} lies in the recording {bag}: choose a folder outside for the report")
    images = options.images and options.images.absolute()
    reading = Reading(tuple(options.camera), options.frame, options.frame_rate, options.duration, images)
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


def _refused(message: str) -> int:
    print(f"evaluate_bag: {message}", file=sys.stderr)
    return REFUSED


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evaluate_bag",
        description="Measures the memory on recordings, and writes a report: DIR/report.html.",
        epilog="The same command goes on where it stopped, and measures again only what has changed. Example: "
        "evaluate_bag drive.mcap --out report --hold-out every:8 --compare configured,plastic. "
        "What every figure means: docs/evaluation.md.",
    )
    parser.add_argument(
        "bags", nargs="+", type=Path, metavar="BAG", help="rosbag2, ROS 1 bag, transforms.json or COLMAP folder"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the report")
    parser.add_argument(
        "--hold-out",
        default="every:8",
        metavar="WHICH",
        help=f"frames that are kept from the memory: {FORMS}; several joined by commas (default: %(default)s)",
    )
    named = "; ".join(f"{name}: {told}" for name, told in TOLD.items())
    parser.add_argument(
        "--compare",
        default=CONFIGURED,
        metavar="A,B,...",
        help=f"settings, each a column: names ({named}), parameter files, or NAME=FILE.yaml (default: %(default)s)",
    )
    parser.add_argument(
        "--params", action="append", default=[], type=Path, metavar="FILE", help="parameters that all settings share"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="one such parameter; may be repeated"
    )
    parser.add_argument(
        "--camera", action="append", default=[], metavar="NAME", help="image topic or camera; may be repeated; or 'all'"
    )
    parser.add_argument("--frame", help="TF frame that poses are taken in (default: memory.frame_id, or found)")
    parser.add_argument(
        "--frame-rate",
        type=float,
        metavar="HZ",
        help="of recordings without time stamps (default: 30, or the video's own)",
    )
    parser.add_argument(
        "--duration",
        type=float,
        metavar="S",
        help="how long time takes from 0 to 1 in a folder (default: by the frame rate)",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="of a COLMAP model (default: images beside it)")
    parser.add_argument("--lpips", type=Path, metavar="FILE", help="AlexNet weights of torchvision, to measure LPIPS")
    limits = Limits()
    parser.add_argument(
        "--views",
        type=int,
        default=limits.views,
        metavar="N",
        help="measure at most N held-out views (default: %(default)s)",
    )
    parser.add_argument(
        "--matrix-chunks",
        type=int,
        default=limits.matrix_chunks,
        metavar="N",
        help="at most N rows of the forgetting matrix (default: %(default)s)",
    )
    parser.add_argument(
        "--matrix-views",
        type=int,
        default=limits.matrix_views,
        metavar="N",
        help="ask again and again for N held-out views of each chunk (default: %(default)s)",
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const=LOCAL_RAY,
        metavar="ADDRESS",
        help="run on Ray: here, or on a cluster (auto, HOST:PORT); put it last",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
