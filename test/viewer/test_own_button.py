# SPDX-License-Identifier: Apache-2.0
"""Programs that serve the page: the example with a button of one's own, and `view_memory` on a recording."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import Watched, chromium, needs_browser
from deadline import DEADLINE_S, wait_until
from viewed_rooms import a_room

from fsm_ros.replay.demo.bag import write_demo_bag

pytestmark = [pytest.mark.slow, needs_browser]


@contextmanager
def serving(folder: Path, *command: str) -> Iterator[str]:
    """A program that serves a page until it is interrupted, which it takes well; yields the page's address."""
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: b"open http" in log.read_bytes() or process.poll() is not None, "the page")
        assert process.poll() is None, log.read_text()
        (page,) = re.findall(r"open (http://\S+)", log.read_text())
        yield page
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_the_button_of_the_example_says_how_sure_the_memory_is(tmp_path: Path, repo_root: Path) -> None:
    memory = tmp_path / "room.safetensors"
    with a_room(chunks=2) as room:
        room.engine.ask(lambda held: held.save(memory)).result(DEADLINE_S)
    with serving(tmp_path, str(repo_root / "examples/08_viewer_button.py"), str(memory), "0") as page:
        with chromium("--use-angle=swiftshader", "--enable-unsafe-swiftshader") as browser:
            visitor = Watched(browser, width=900, height=700)
            visitor.page.goto(page)
            visitor.page.get_by_role("button", name="How sure is this?").click()
            visitor.page.get_by_text(re.compile(r"^\d+ %$")).first.wait_for()
            assert visitor.console == [] and visitor.asked_for == set()


def test_a_recording_is_observed_while_it_is_watched(tmp_path: Path) -> None:
    bag = write_demo_bag(tmp_path / "drive", duration_s=3.0)
    with serving(tmp_path, "-m", "fsm_ros", "view", str(bag), "--port", "0", "--rate", "0") as page:
        with chromium("--use-angle=swiftshader", "--enable-unsafe-swiftshader") as browser:
            visitor = Watched(browser, width=900, height=700)
            visitor.page.goto(page)
            visitor.page.get_by_role("tab", name="Memory").click()
            recording = visitor.page.locator("tr", has_text="recording")
            recording.get_by_text("100 %").wait_for()
            visitor.page.locator("tr", has_text="picture").first.wait_for()
            assert visitor.console == [] and visitor.asked_for == set()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["/no/such/bag"], "/no/such/bag"),
        (["/no/such.safetensors"], "/no/such.safetensors"),
        (["{bag}", "--rate", "-1"], "--rate is how many times real time"),
        (["{bag}", "--set", "memory.extend=4"], "memory.extent"),
        (["{bag}", "--port", "99999"], "viewer.port"),
    ],
)
def test_what_cannot_be_viewed_is_one_line(words: list[str], told: str, tmp_path: Path) -> None:
    bag = write_demo_bag(tmp_path / "drive", duration_s=0.5)
    command = [sys.executable, "-m", "fsm_ros", "view", *(word.format(bag=bag) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=DEADLINE_S)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("fsm view: ") and told in line
