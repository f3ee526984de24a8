# SPDX-License-Identifier: Apache-2.0
"""What makes no demo ends it with a sentence, before anything is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from deadline import DEADLINE_S

from fsm_ros.replay.demo import command as demo
from fsm_ros.replay.demo.bag import write_demo_bag
from fsm_ros.stream.frame import Camera


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hold-out", "1"], "--hold-out must be at least 2"),
        (["--hold-out", "-3"], "--hold-out must be at least 2"),
        (["--hold-out", "x"], "--hold-out"),
        (["--rate", "0"], "--rate must be positive"),
        (["--rate", "nan"], "--rate must be positive"),
        (["--no-such-option"], "--no-such-option"),
    ],
    ids=" ".join,
)
def test_arguments_that_make_no_demo_end_it_at_once(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        demo.main([*arguments, "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content"), [("missing", None), ("foreign.mcap", b"no bag"), ("old.bag", b"#ROSBAG V2.0\n")]
)
def test_a_bag_that_cannot_be_read_ends_it_with_a_sentence(
    name: str, content: bytes | None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert demo.main(["--bag", str(path), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("demo: ") and str(path) in told


@pytest.fixture(scope="module")
def short_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of 32x24 pixels."""
    camera = Camera(32, 24, 20.0, 20.0, 16.0, 12.0)
    return write_demo_bag(tmp_path_factory.mktemp("bags") / "short", duration_s=1.0, camera=camera)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hold-out", "11"], "has 10 frames: --hold-out 11 withholds none of them"),
        (["--set", "memory.width"], "a parameter is set by NAME=VALUE, got 'memory.width'"),
        (["--set", "memory.width=["], "the value of memory.width, '[', is no YAML"),
    ],
    ids=["hold-out", "no value", "no yaml"],
)
def test_what_cannot_be_played_ends_it_before_anything_is_started(
    arguments: list[str], words: str, short_bag: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert demo.main(["--bag", str(short_bag), "--out", str(tmp_path), *arguments]) == 1
    told = capsys.readouterr().err
    assert told.startswith("demo: ") and words in told
    assert not (tmp_path / "node.log").exists()


@pytest.mark.slow
def test_it_ends_so_as_a_program_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fsm_ros.replay.demo", "--out", str(tmp_path / "out")]
    wrong = subprocess.run([*command, "--hold-out", "1"], capture_output=True, text=True, timeout=DEADLINE_S)
    assert wrong.returncode == 2 and "--hold-out must be at least 2" in wrong.stderr
    missing = subprocess.run([*command, "--bag", "/no/such/bag"], capture_output=True, text=True, timeout=DEADLINE_S)
    assert missing.returncode == 1
    assert missing.stderr.splitlines()[-1].startswith("demo: there is nothing at /no/such/bag")
    assert "Traceback" not in missing.stderr
