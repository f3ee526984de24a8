# SPDX-License-Identifier: Apache-2.0
"""The command `fsm` and the programs behind it: what they say before they do anything."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from deadline import DEADLINE_S

from fsm_ros.command_line import USAGE, in_a_line
from fsm_ros.tools.fsm import PROGRAMS, main

HEAVY = ("cv2", "matplotlib", "numpy", "rclpy", "rosbags", "torch", "viser")
CALLED = {
    "evaluate_bag": "evaluate",
    "export_surface": "export",
    "make_bag": "record",
    "play_bag": "play",
    "python -m fsm_ros.replay.demo": "demo",
    "python -m fsm_ros.training.evaluate": "score",
    "python -m fsm_ros.training.scenes": "scenes",
    "-m fsm_ros.training.train": "train",
    "render_view": "render",
    "save_memory": "save",
    "scripts/demo": "demo",
    **{f"fsm {name}": name for name in PROGRAMS},
}
"""What documents call a subcommand."""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "fsm_ros", *words]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=DEADLINE_S)


def help_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a subcommand says of itself."""
    try:
        assert main([name, "--help"]) == 0
    except SystemExit as ended:
        assert ended.code == 0
    return capsys.readouterr().out


def flags_of(name: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The flags that its help names."""
    return set(re.findall(r"--[a-z][a-z-]*", help_of(name, capsys)))


def letters(text: str) -> str:
    """A text without what depends on the width of a terminal."""
    return re.sub(r"\W+", "", text)


# --- help -------------------------------------------------------------------------------------------------------------


def test_without_a_command_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for name, program in PROGRAMS.items():
        first_line = (program.options.__doc__ or "").partition("\n")[0]
        assert re.search(rf"\b{name}\b", told) and letters(first_line) in letters(told)


HELP = """
import sys
from fsm_ros.tools.fsm import PROGRAMS, main
for words in ([], *([name, "--help"] for name in PROGRAMS)):
    try:
        main(words)
    except SystemExit as ended:
        assert ended.code == 0
print(*sorted(sys.modules), file=sys.stderr)
"""


def test_help_waits_for_nothing_that_is_slow_to_import() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    assert {"fsm_ros.tools.render_view", "tyro"} <= set(done.stderr.split())
    assert set(HEAVY) & set(done.stderr.split()) == set()


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_names_every_option_and_says_what_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = help_of(name, capsys)
    assert f"usage: fsm {name} " in told
    options = PROGRAMS[name].options
    said = dict(re.findall(r"^    (\w+): (.+(?:\n        .+)*)", inspect.getdoc(options) or "", re.MULTILINE))
    assert set(said) == {each.name for each in fields(options)}  # type: ignore[arg-type]
    for field, description in said.items():
        assert letters(description) in letters(told), field


def documented() -> list[tuple[str, str, str]]:
    """Where a flag is documented: file, subcommand, flag."""
    root = Path(__file__).resolve().parents[2]
    found = []
    for path in (root / "README.md", *sorted((root / "docs").glob("*.md")), *(root / "config/train").glob("*.yaml")):
        text = re.sub(r" *\\\n[# ]*", " ", path.read_text(encoding="utf-8"))
        for called, name in CALLED.items():
            commands = re.findall(rf"(?<![\w/`]){re.escape(called)} ([^`#\n]*)", text)
            commands += re.findall(rf"`{re.escape(called)} ([^`#]*)", text)
            commands += re.findall(rf"^\| `{re.escape(called)}`(?:, `[^`]*`)*(.*)$", text, re.MULTILINE)
            for command in commands:
                own = command.partition("--ros-args")[0]
                found += [(path.name, name, flag) for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", own)]
    return sorted(set(found))


def test_every_flag_that_is_documented_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    flags = {name: flags_of(name, capsys) for name in PROGRAMS}
    places = documented()
    assert len(places) > 40
    assert [place for place in places if place[2] not in flags[place[1]]] == []


# --- completion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_every_command_and_flag(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = run("--tyro-print-completion", shell)
    assert done.returncode == 0, done.stderr
    for name in PROGRAMS:
        words = {name} if name == "node" else {name, *flags_of(name, capsys)}
        assert {word for word in words if word not in done.stdout} == set()


COMPLETE = """
source <(python_of_the_test -m fsm_ros --tyro-print-completion bash)
PATH=$(dirname python_of_the_test):$PATH
COMP_WORDS=(fsm re) COMP_CWORD=1
_tyro_fsm
echo "${COMPREPLY[@]}"
"""


def test_bash_completes_a_word() -> None:
    script = COMPLETE.replace("python_of_the_test", sys.executable)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=DEADLINE_S)
    assert set(done.stdout.split()) == {"record", "render"}, done.stderr


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("launch", "launch; Available subcommands: node, view"),
        ("render --positon 1 2 3", "--positon, 1, 2, 3; Perhaps you meant: --position X Y Z"),
        ("render --position 1 2", "Missing value for argument '--position'. Expected 3 values"),
        ("render --look-at 1 2 x", "--look-at: could not convert string to float: 'x'"),
        ("render --look-at 1 2 3 --quaternion 0 0 0 1", "--look-at and --quaternion are not allowed together"),
        ("save", "Missing from fsm save: NAME"),
        ("play bag --rate 0", "--rate must be above 0 and finite, got 0; For full helptext, see fsm play --help"),
        ("evaluate --out out", "give a recording at least, BAG"),
        ("evaluate bag --out out --ray auto there", "one address at most"),
        ("train --config a.yaml --out out --device tpu", "invalid choice 'tpu' for argument '--device'"),
        ("score --rule-entry strength", "--rule-entry takes NAME=VALUE, got 'strength'"),
        ("score --depth lidar", "('none', 'exact', 'sensor')"),
    ],
)
def test_a_command_that_cannot_be_understood_ends_with_one_line(
    words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == USAGE
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("fsm") and told in said.err


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_it_is_one_line_in_every_encoding(encoding: str) -> None:
    command = [sys.executable, "-m", "fsm_ros", "save"]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == USAGE
    what = "of the file, below the node's storage_dir. (required)"
    assert done.stderr == f"fsm save: Missing from fsm save: NAME {what}; For full helptext, run: fsm save --help\n"


def test_it_is_one_line_without_colours_on_a_terminal() -> None:
    box = """
\x1b[31m╭─\x1b[0m Value error \x1b[31m─╮\x1b[0m
\x1b[31m│\x1b[0m a \x1b[1mbad\x1b[0m        │
│ one          │
│ ──────────── │
│ see b --help │
╰──────────────╯
"""
    assert in_a_line(box.lstrip()) == "a bad one; see b --help"


WITHOUT = """
import sys
for name in {absent}:
    sys.modules[name] = None
from fsm_ros.tools.fsm import main
sys.exit(main(sys.argv[1:]))
"""
OF_ROS = ("rclpy", "geometry_msgs", "diagnostic_msgs", "rosgraph_msgs")


@pytest.mark.slow
@pytest.mark.parametrize("words", ["node", "render", "save room", "play bag"])
def test_where_ros_is_not_there_what_needs_it_says_so(words: str) -> None:
    script = WITHOUT.replace("{absent}", repr(OF_ROS))
    done = subprocess.run(
        [sys.executable, "-c", script, *words.split()], capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == 1
    assert "ROS 2 is not there" in done.stderr and "source" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
