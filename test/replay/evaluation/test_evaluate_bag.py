# SPDX-License-Identifier: Apache-2.0
"""The command: one report for one recording or many, named errors, interruption, going on, and Ray."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation_bags import QUICK, changed, drive
from evaluation_commands import evaluate, names
from recordings import camera_info, colours, raw_image, transform, write_bag

from fsm_ros.replay.evaluation import schedule
from fsm_ros.replay.evaluation.evaluate_bag import main
from fsm_ros.replay.evaluation.evaluating import FAILED, GOOD, REFUSED
from fsm_ros.replay.evaluation.job import Job
from fsm_ros.replay.evaluation.settings import settings_of


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drive(tmp_path_factory.mktemp("bag") / "drive")


@pytest.fixture(scope="module")
def compared(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("compared") / "out"
    done = evaluate(bag, "--out", out, "--hold-out", "every:6", "--compare", "configured,plastic,windowed")
    assert done.returncode == GOOD, done.stderr
    return out, done


def metrics(out: Path) -> dict[str, object]:
    return dict(json.loads((out / "metrics.json").read_text()))


# --- one recording ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_command_leaves_a_report_tables_pictures_and_a_recording(
    compared: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, done = compared
    files = {path.name for path in out.iterdir()}
    assert {
        "report.html",
        "metrics.json",
        "frames.csv",
        "frames.parquet",
        "sheet.png",
        "renders.mp4",
        "renders",
    } <= files
    assert not [name for name in files if name.startswith(".")]
    assert names(out) == [("drive", setting, True) for setting in ("configured", "plastic", "windowed")]
    assert "30 images on /camera/image_raw (96x72, camera_optical_frame)" in done.stdout
    for setting in ("configured", "plastic", "windowed", "nearest"):
        assert setting in done.stdout
    assert str(out / "report.html") in done.stdout
    assert "stream" in done.stderr, "progress is told"


@pytest.mark.slow
def test_the_report_says_the_very_command(compared: tuple[Path, subprocess.CompletedProcess[str]], bag: Path) -> None:
    out, _ = compared
    page = (out / "report.html").read_text()
    assert f"evaluate_bag {bag} --out {out} --hold-out every:6 --compare configured,plastic,windowed" in page


@pytest.mark.slow
def test_the_same_command_again_measures_nothing_again(
    compared: tuple[Path, subprocess.CompletedProcess[str]], bag: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    shutil.copytree(compared[0], out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/run.json")}
    assert len(before) == 3
    done = evaluate(bag, "--out", out, "--hold-out", "every:6", "--compare", "configured,plastic,windowed")
    assert done.returncode == GOOD, done.stderr
    assert done.stdout.count("done already") == 3
    assert {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/run.json")} == before
    other = evaluate(bag, "--out", out, "--hold-out", "every:5", "--compare", "plastic")
    assert other.returncode == GOOD, other.stderr
    assert "done already" not in other.stdout
    assert names(out) == [("drive", "plastic", True)], "the report is of this evaluation only"


@pytest.mark.slow
def test_a_parameter_file_is_a_column(bag: Path, tmp_path: Path) -> None:
    own = tmp_path / "far.yaml"
    own.write_text("/**:\n  ros__parameters:\n    memory.extent: 2.0\n")
    out = tmp_path / "out"
    done = evaluate(bag, "--out", out, "--hold-out", "block:2-3", "--compare", f"far={own}")
    assert done.returncode == GOOD, done.stderr
    (run,) = metrics(out)["runs"]  # type: ignore[misc]
    assert (run["setting"], run["values"]["memory.extent"]) == ("far", 2.0)
    assert all(2.0 <= view["time_s"] < 3.0 for view in run["held_out"])


# --- wrong inputs ----------------------------------------------------------------------------------------------------


def without(topic: str) -> object:
    return lambda name, _, message: None if name == topic else message


def two_cameras(bag: Path, into: Path) -> Path:
    """The same images under two names: nobody can tell which is meant."""
    messages = [transform("map", "camera", stamp_ns) for stamp_ns in (10**9, 2 * 10**9)]
    for name in ("left", "right"):
        _, kind, stamp_ns, info = camera_info(32, 24)
        messages += [
            raw_image(colours(24, 32), topic=f"/{name}/image_raw"),
            (f"/{name}/camera_info", kind, stamp_ns, info),
        ]
    return write_bag(into, messages)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("nothing there", "nothing at"),
        ("no images", "has no images"),
        ("no tf", "never where that is"),
        ("truncated", "cannot be read"),
        ("two cameras", "(--camera)"),
        ("hold-out leaves nothing to ask", "nothing could be measured"),
        ("hold-out leaves nothing to see", "leaves no image"),
        ("hold-out is none", "a hold-out is"),
        ("unknown setting", "there is no setting"),
        ("unknown parameter", "did you mean memory.extent"),
        ("no weights", "there is no checkpoint"),
        ("no such frame", "(--frame)"),
        ("no such camera", "(--camera)"),
        ("given twice", "given twice"),
        ("out is a file", "no folder"),
        ("out is in the recording", "lies in the recording"),
        ("views that are not rendered", "render.max_pixels"),
        ("no lpips weights", "LPIPS"),
        ("a limit of nothing", "at least"),
    ],
)
def test_a_wrong_input_is_named_and_nothing_is_left_behind(
    case: str, told: str, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    path, more = bag, []
    if case == "nothing there":
        path = tmp_path / "none"
    elif case == "no images":
        path = changed(bag, tmp_path / "bag", without("/camera/image_raw"))  # type: ignore[arg-type]
    elif case == "no tf":
        path = changed(bag, tmp_path / "bag", without("/tf"))  # type: ignore[arg-type]
    elif case == "truncated":
        path = Path(shutil.copytree(bag, tmp_path / "bag"))
        (file,) = path.glob("*.mcap")
        os.truncate(file, file.stat().st_size * 2 // 3)
    elif case == "two cameras":
        path = two_cameras(bag, tmp_path / "bag")
    else:
        more = {
            "hold-out leaves nothing to ask": ["--hold-out", "every:1000"],
            "hold-out leaves nothing to see": ["--hold-out", "block:0-100"],
            "hold-out is none": ["--hold-out", "sometimes"],
            "unknown setting": ["--compare", "rubber"],
            "unknown parameter": ["--set", "memory.extend=1.0"],
            "no weights": ["--set", "model.checkpoint=/nowhere/weights.safetensors"],
            "no such frame": ["--frame", "moon"],
            "no such camera": ["--camera", "rear"],
            "given twice": [str(bag)],
            "out is a file": [],
            "out is in the recording": [],
            "views that are not rendered": ["--set", "memory.width=640", "--set", "memory.height=640"],
            "no lpips weights": ["--lpips", str(tmp_path / "alexnet.pth")],
            "a limit of nothing": ["--views", "0"],
        }[case]
    if case == "out is a file":
        out.write_text("mine")
    if case == "out is in the recording":
        out = bag / "out"
    code = main([str(path), *more, "--out", str(out)])
    error = capsys.readouterr().err
    assert code == REFUSED
    assert error.startswith("evaluate_bag: ")
    assert told in error
    assert "Traceback" not in error
    if case == "out is a file":
        assert out.read_text() == "mine"
    else:
        assert not out.exists()


ABSENT = "import of {} halted; None in sys.modules"
NEEDS_NUMPY_2 = "pyarrow requires NumPy 2.0 or newer, found 1.26.4"


@pytest.mark.parametrize(
    ("missing", "cause", "remedy"),
    [
        *((name, ABSENT, "pip install 'fsm_ros[evaluate]'") for name in ("jinja2", "matplotlib", "av", "torchmetrics")),
        ("ray", ABSENT, "pip install 'fsm_ros[ray]'"),
        ("pyarrow", ABSENT, "pip install 'fsm_ros[evaluate]', and beside NumPy 1 'pyarrow<26'"),
        ("pyarrow", NEEDS_NUMPY_2, "pip install 'fsm_ros[evaluate]', and beside NumPy 1 'pyarrow<26'"),
    ],
)
def test_a_package_that_cannot_be_imported_is_named_with_its_cause_before_anything_runs(
    missing: str,
    cause: str,
    remedy: str,
    bag: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if cause == ABSENT:
        monkeypatch.setitem(sys.modules, missing, None)
    else:
        (tmp_path / f"{missing}.py").write_text(f"raise ImportError({cause!r})")
        monkeypatch.delitem(sys.modules, missing, raising=False)
        monkeypatch.syspath_prepend(tmp_path)
    assert main([str(bag), "--out", str(tmp_path / "out"), "--ray"]) == REFUSED
    told = capsys.readouterr().err
    assert told == f"evaluate_bag: {missing} cannot be imported ({cause.format(missing)}): {remedy}\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_recording_that_fails_half_way_leaves_the_others_and_says_so(bag: Path, tmp_path: Path) -> None:
    def broken(topic: str, _: int, message: object) -> object:
        return replace(message, encoding="32FC7") if topic.endswith("image_raw") else message  # type: ignore[type-var]

    bad = changed(bag, tmp_path / "bad", broken)
    done = evaluate(bad, bag, "--out", tmp_path / "out", "--hold-out", "every:6")
    assert done.returncode == FAILED
    assert "bad, configured: " in done.stderr
    assert "unreadable_image" in done.stderr
    assert names(tmp_path / "out") == [("drive", "configured", True)]
    assert not (tmp_path / "out" / "runs" / "bad").exists()


# --- what a worker says ----------------------------------------------------------------------------------------------


def raises(error: BaseException) -> Callable[..., None]:
    def evaluate(*_: object) -> None:
        raise error

    return evaluate


@pytest.mark.parametrize(
    ("error", "told"),
    [(RuntimeError("no device"), "no device"), (RuntimeError(), "RuntimeError"), (OSError(), "OSError")],
)
def test_a_failure_is_never_told_as_nothing(
    error: Exception, told: str, bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that says nothing has succeeded."""
    monkeypatch.setattr(schedule, "evaluate", raises(error))
    (setting,) = settings_of(["configured"], QUICK)
    answer = schedule._on_ray(Job(bag, "drive", setting, "every:6"))
    assert isinstance(answer, str)
    assert told in answer


@pytest.mark.parametrize(
    ("device", "there_are", "asked"), [("auto", 0, 0), ("auto", 4, 1), ("cuda", 1, 1), ("cpu", 4, 0)]
)
def test_a_task_on_ray_asks_for_the_gpu_that_it_is_to_use(device: str, there_are: int, asked: int, bag: Path) -> None:
    """Ray shows a task no other."""
    (setting,) = settings_of(["configured"], {**QUICK, "model.device": device})
    assert schedule.gpus_for(Job(bag, "drive", setting, "every:6"), there_are) == asked


# --- many recordings -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_recordings_on_a_local_ray_give_one_merged_report_and_equal_figures(
    compared: tuple[Path, subprocess.CompletedProcess[str]], bag: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    second = drive(tmp_path / "second", seed=1)
    out = tmp_path / "out"
    done = evaluate(bag, second, "--out", out, "--hold-out", "every:6", "--compare", "configured,plastic", "--ray")
    assert done.returncode == GOOD, done.stderr
    assert names(out) == [
        (name, setting, True) for name in ("drive", "second") for setting in ("configured", "plastic")
    ]
    page = (out / "report.html").read_text()
    assert "drive" in page
    assert "second" in page
    assert (out / "second" / "sheet.png").exists()
    alone = {run["setting"]: run for run in metrics(compared[0])["runs"]}  # type: ignore[attr-defined]
    for run in metrics(out)["runs"]:  # type: ignore[attr-defined]
        if run["recording"] == "drive":
            assert [view["render"] for view in run["held_out"]] == [
                view["render"] for view in alone[run["setting"]]["held_out"]
            ]
    again = evaluate(bag, second, "--out", out, "--hold-out", "every:6", "--compare", "configured,plastic", "--ray")
    assert again.returncode == GOOD, again.stderr
    assert again.stdout.count("done already") == 4
