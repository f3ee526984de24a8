# SPDX-License-Identifier: Apache-2.0
"""The command, interrupted or killed: what is there is whole, and the same command goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pytest
from deadline import DEADLINE_S, wait_until
from evaluation_bags import drive
from evaluation_commands import COMMAND, QUICKLY, evaluate, names

from fsm_ros.replay.evaluation import evaluating
from fsm_ros.replay.evaluation.evaluate_bag import main
from fsm_ros.replay.evaluation.evaluating import FAILED, GOOD, INTERRUPTED
from fsm_ros.replay.evaluation.replacing import replacing
from fsm_ros.replay.evaluation.store import load_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drive(tmp_path_factory.mktemp("bag") / "drive")


@pytest.fixture(scope="module")
def done(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a whole evaluation."""
    out = tmp_path_factory.mktemp("done") / "out"
    whole = evaluate(bag, "--out", out, "--hold-out", "every:6")
    assert whole.returncode == GOOD, whole.stderr
    return out


def started(arguments: Sequence[object]) -> subprocess.Popen[str]:
    """The command, begun, with the stream under way."""
    words = [str(argument) for argument in arguments]
    process = subprocess.Popen([*COMMAND, *words, *QUICKLY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    seen = read_until(process.stderr, "stream")
    assert "stream" in seen, seen
    return process


def read_until(stream: IO[str], word: str) -> str:
    seen = ""
    while word not in seen:
        character = stream.read(1)
        if not character:
            break
        seen += character
    return seen


def test_an_interrupt_leaves_a_valid_partial_report_and_the_same_command_goes_on(tmp_path: Path) -> None:
    bag = drive(tmp_path / "long", duration_s=10.0, rate_hz=10.0)
    out = tmp_path / "out"
    arguments = [bag, "--out", out, "--hold-out", "every:2", "--views", "10"]
    arguments += ["--compare", "configured,plastic"]
    process = started(arguments)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == INTERRUPTED, errors
    assert "Traceback" not in errors
    assert names(out) == [("long", "configured", False)]
    assert "interrupted" in (out / "report.html").read_text().lower()
    assert (out / "sheet.png").exists()

    done = evaluate(*arguments)
    assert done.returncode == GOOD, done.stderr
    assert names(out) == [("long", "configured", True), ("long", "plastic", True)]


def test_a_killed_evaluation_leaves_nothing_that_looks_whole(bag: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = started([bag, "--out", out, "--hold-out", "every:6"])
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    process.communicate(timeout=DEADLINE_S)
    assert not (out / "report.html").exists()
    assert not list(out.glob("runs/*/*/run.json"))


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def worker_of(pid: int) -> int:
    """The process that evaluates, as soon as it is there: it has hardly begun its imports then."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        for child in children_of(pid):
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                return child
    raise AssertionError("no process was started")


def test_an_interrupt_while_a_process_starts_waits_for_it(bag: Path, tmp_path: Path) -> None:
    """From a terminal, which gives it to all processes at once."""
    out = tmp_path / "out"
    words = [str(word) for word in (bag, "--out", out, "--hold-out", "every:6", "--compare", "configured,plastic")]
    process = subprocess.Popen(
        [*COMMAND, *words, *QUICKLY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    worker_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == INTERRUPTED, errors
    assert "Traceback" not in errors
    assert "ended with code" not in errors
    assert names(out) == [("drive", "configured", False)]


def test_a_process_whose_parent_was_killed_ends_early(tmp_path: Path) -> None:
    bag = drive(tmp_path / "long", duration_s=10.0, rate_hz=10.0)
    out = tmp_path / "out"
    process = started([bag, "--out", out, "--hold-out", "every:2"])
    worker = worker_of(process.pid)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the end of the worker")
    stored = load_run(out / "runs" / "long" / "configured")
    assert stored is not None
    assert not stored.run.complete


def test_a_report_that_cannot_be_written_is_told_and_what_was_measured_stays(
    done: Path, bag: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done / "runs", out / "runs")
    (out / "renders").mkdir()
    (out / "renders" / "mine.txt").write_text("mine")
    ended = evaluate(bag, "--out", out, "--hold-out", "every:6")
    assert ended.returncode == FAILED
    assert "done already" in ended.stdout
    assert "evaluate_bag: the report cannot be written" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (out / "renders" / "mine.txt").read_text() == "mine"


@pytest.fixture
def heeded() -> Iterator[None]:
    """Ctrl-C as in a terminal; what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_the_report_is_written_leaves_nothing_half_written(
    number: signal.Signals,
    heeded: None,
    done: Path,
    bag: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done / "runs", out / "runs")

    def interrupted_half_way(out: Path, runs: object) -> None:
        with replacing(out / "report.html") as draft:
            draft.write_text("half")
            os.kill(os.getpid(), number)
            time.sleep(10.0)

    monkeypatch.setattr(evaluating, "show", interrupted_half_way)
    before = signal.getsignal(signal.SIGTERM)
    words = [bag, "--out", out, "--hold-out", "every:6"]
    assert main([*map(str, words), *QUICKLY]) == INTERRUPTED
    assert signal.getsignal(signal.SIGTERM) is before
    assert "the same command goes on" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["runs"]
