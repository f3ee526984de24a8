# SPDX-License-Identifier: Apache-2.0
"""What the node says to people: one line for each thing that was done, in words and not in Python's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from node_camera import Camera, pose_in
from node_harness import Robot, active_node

pytestmark = pytest.mark.slow

PYTHONS = re.compile(
    r"<[\w.]+[ :]"  # <MemoryMode.STREAMING: ...>, <fsm_ros.engine.MemoryEngine object at ...>
    r"|\b[A-Z]\w*[a-z]\w*\("  # Settings(...), Elastic(...)
    r"|\b[A-Z]\w*[a-z]\w*\.[A-Z][A-Z_]+\b"  # MemoryMode.STREAMING
    r"|\bnp\.|\btensor\(|\bdtype\b|\bNone\b|\bobject at 0x"
)
"""What a repr of Python looks like."""


@pytest.mark.parametrize(
    "told",
    [
        "rule ElasticRule(strength=1.0)",
        "<RuleKind.ELASTIC: 'elastic'>",
        "by RuleKind.ELASTIC",
        "<_io.BufferedReader name=3>",
        "at np.float64(3.0)",
        "jump None",
    ],
)
def test_reprs_are_recognised(told: str) -> None:
    assert PYTHONS.search(told)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def robot(storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    with active_node(tmp_path_factory.mktemp("words"), {"storage_dir": str(storage)}) as robot:
        yield robot


def texts(message: object) -> Iterator[str]:
    """All that a message says in words."""
    if isinstance(message, str):
        yield message
    elif isinstance(message, list):
        for each in message:
            yield from texts(each)
    elif hasattr(message, "get_fields_and_field_types"):
        for name in message.get_fields_and_field_types():
            yield from texts(getattr(message, name))


def lines(robot: Robot, words: str) -> list[str]:
    """What the log says with these words, without level, time and name; there may be more of it than was asked for."""
    robot.wait_until(lambda: words in robot.process.log, f"{words} in the log")
    return [line.split("]: ", 1)[1] for line in robot.process.log.splitlines() if words in line]


def test_a_session_is_told_in_lines_and_in_words(robot: Robot, storage: Path) -> None:
    camera = Camera(robot)
    answers = [robot.render(pose_in("map")), robot.save("nothing"), robot.load("no/such"), robot.load("../out")]
    answers += camera.stream(3)
    answers += [robot.pause(True), robot.pause(False), robot.save("room"), robot.reset(), robot.load("room")]
    answers += robot.set_parameters({"memory.rule": "elastic", "elastic.strength": -1.0, "memory.width": 32})
    answers += robot.set_parameters({"memory.rule": "steps"})
    spoiled = camera.frame()
    spoiled.image.encoding = "no_such_encoding"
    camera.publish(spoiled)
    answers += [robot.render(pose) for pose in (pose_in("nowhere"), pose_in("map", (float("nan"), 0.0, 0.0)))]
    answers += [robot.render(pose_in("map"), method="magic")]
    robot.status("input")
    answers += robot.heard.diagnostics[-1:]
    size_mb = (storage / "room.safetensors").stat().st_size / 1e6
    once = {
        "reset: ": "reset: 3 chunks and ",
        "paused: ": "paused: frames are refused until resumed",
        "resumed: ": "resumed: frames are taken",
        "] [fsm]: saved ": f"saved {storage.resolve()}/room.safetensors: {size_mb:.1f} MB, 3 chunks and ",
        "] [fsm]: loaded ": f"loaded {storage.resolve()}/room.safetensors: ",
        "chunks are written by elastic": "chunks are written by elastic (",
        "configured: ": "configured: shipped (",
        "active: ": "active: listening to ",
    }
    for words, begin in once.items():
        (line,) = lines(robot, words)
        assert line.startswith(begin)

    assert not robot.change_state(Transition.TRANSITION_CLEANUP), "active"
    for name in ("DEACTIVATE", "CLEANUP", "UNCONFIGURED_SHUTDOWN"):
        assert robot.change_state(getattr(Transition, f"TRANSITION_{name}"))
    for words, begin in {
        "was refused: ": "transition number 2 was refused: from active there is deactivate, shutdown",
        "deactivated: ": "deactivated: listens no more and keeps a memory of 3 chunks",
        "cleaned up: ": "cleaned up: a memory of 3 chunks",
        "shut down ": "shut down with a memory of 0 chunks, from unconfigured",
    }.items():
        (line,) = lines(robot, words)
        assert line.startswith(begin)

    found = [line for line in [*texts(answers), *robot.process.log.splitlines()] if PYTHONS.search(line)]
    assert not found, "\n".join(found)


def test_a_warning_that_would_be_repeated_is_told_now_and_then(robot: Robot, tmp_path: Path) -> None:
    with active_node(tmp_path, {"memory.horizon": 0.1}) as robot:
        Camera(robot, now_ns=iter(range(10**18, 10**19, 10**9)).__next__).stream(8)
        robot.wait_until(lambda: robot.heard.memory[-1].epoch >= 5, "many epochs")
        told = lines(robot, "the stream left the memory's frame")
        assert len(told) < robot.heard.memory[-1].epoch
        assert "raise memory.extent or memory.horizon" in told[0]
