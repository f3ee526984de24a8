# SPDX-License-Identifier: Apache-2.0
"""A recording with a depth camera, live over DDS or in process: the same photographs with the same depth."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from deadline import DEADLINE_S
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

pytest.importorskip("rclpy", reason="needs ROS")
from node_harness import QUICK, Robot, active_node  # noqa: E402
from safetensors import safe_open  # noqa: E402

from fsm_ros.configuration.model import load_model  # noqa: E402
from fsm_ros.configuration.table import settings_from  # noqa: E402
from fsm_ros.engine import MemoryEngine  # noqa: E402
from fsm_ros.replay.evaluation.replaying import Replay  # noqa: E402
from fsm_ros.replay.recording.bag_writer import BagWriter  # noqa: E402
from fsm_ros.replay.recording.scene_bag import record_scene  # noqa: E402
from fsm_ros.replay.recording.settings import SceneBagSettings  # noqa: E402
from fsm_ros.sources.opening import open_rig  # noqa: E402
from fsm_ros.training.scene_settings import DepthInput  # noqa: E402

pytestmark = pytest.mark.slow

CHUNKS, VIEWS = 3, 4
PARAMETERS = {**QUICK, "chunk.views": VIEWS, "keyframes.translation": 0.001, "keyframes.rotation": 0.001}
NAMES = ("image_raw", "camera_info", "depth/image_rect_raw", "depth/camera_info")
REMAPS = [word for name in NAMES for word in ("-r", f"{name}:=/camera/{name}")]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of a room, each with the depth that a sensor 5 cm beside the camera measured."""
    settings = SceneBagSettings(duration_s=2.4, rate_hz=5.0, width=80, height=60, depth=DepthInput.SENSOR)
    return record_scene(tmp_path_factory.mktemp("bag") / "drive", settings).path


def delayed(bag: Path, path: Path, by_ns: int) -> Path:
    """The recording with a depth camera that takes its images so much later."""
    with AnyReader([bag]) as reader, BagWriter(path) as writer:
        for connection in reader.connections:
            writer.declare(connection.topic, connection.msgtype, depth=100, latched=connection.topic == "/tf_static")
        for connection, arrival_ns, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            if "/depth/" in connection.topic:
                stamp = message.header.stamp
                stamp.sec, stamp.nanosec = divmod(stamp.sec * 10**9 + stamp.nanosec + by_ns, 10**9)
            writer.write(connection.topic, arrival_ns, message)
    return path


def tensors(path: Path) -> dict[str, NDArray[np.generic]]:
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def replayed(bag: Path, path: Path, **changes: object) -> tuple[Replay, dict[str, NDArray[np.generic]]]:
    """What a memory holds after the recording in process."""
    settings = settings_from({**PARAMETERS, **changes})
    loaded = load_model(settings)
    engine = MemoryEngine(loaded.new_memory(settings.memory), queue_capacity=1)
    engine.start()
    rig = open_rig(bag)
    try:
        replay = Replay(rig, (), settings, engine)
        assert [len(step.keyframes) for step in replay.steps()] == [VIEWS] * CHUNKS
        assert isinstance(engine.ask(lambda memory: memory.save(path)).result(), int)
    finally:
        rig.close()
        engine.stop()
    return replay, tensors(path)


def play(bag: Path, robot: Robot) -> None:
    command = [sys.executable, "-m", "fsm_ros.tools.play_bag", str(bag), "--no-progress"]
    command += ["--wait-for-subscribers", str(DEADLINE_S)]
    environment = os.environ | {"ROS_DOMAIN_ID": str(robot.domain_id)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr


def sensed(held: dict[str, NDArray[np.generic]]) -> list[str]:
    return [name for name in held if name.endswith(".sensed")]


@pytest.mark.parametrize("late_ns", [0, 12_000_000], ids=["synchronised", "12 ms later"])
def test_live_and_recorded_keep_the_same_depth(bag: Path, tmp_path: Path, late_ns: int) -> None:
    recorded = delayed(bag, tmp_path / "bag", late_ns)
    replay, held = replayed(recorded, tmp_path / "replayed.safetensors")
    assert replay.taker.with_depth == len(sensed(held)) == CHUNKS * VIEWS and not replay.taker.depth_unreadable
    with active_node(tmp_path / "node", PARAMETERS | {"storage_dir": str(tmp_path)}, arguments=REMAPS) as robot:
        play(recorded, robot)
        robot.wait_until(lambda: len(robot.heard.memory) >= CHUNKS, "every chunk")
        values = {entry.key: entry.value for entry in robot.status("input").values}
        saved = robot.save("live.safetensors")
        assert saved.success, saved.message
    assert (values["keyframes_with_depth"], values["keyframes_without_depth"]) == (str(CHUNKS * VIEWS), "0")
    alive = tensors(tmp_path / "live.safetensors")
    assert held.keys() == alive.keys()
    assert [name for name in held if not np.array_equal(held[name], alive[name], equal_nan=True)] == []


def test_depth_that_comes_too_late_is_missed_and_refuses_no_frame(bag: Path, tmp_path: Path) -> None:
    late = delayed(bag, tmp_path / "bag", 90_000_000)
    replay, held = replayed(late, tmp_path / "replayed.safetensors")
    assert replay.taker.with_depth == 0 and not sensed(held)


def test_depth_that_is_switched_off_is_not_kept(bag: Path, tmp_path: Path) -> None:
    replay, held = replayed(bag, tmp_path / "replayed.safetensors", **{"input.depth": "off"})
    assert replay.taker.with_depth == 0 and not sensed(held)


def test_a_node_with_depth_that_fits_no_frame_tells_so_and_takes_the_frames(bag: Path, tmp_path: Path) -> None:
    late = delayed(bag, tmp_path / "bag", 90_000_000)
    with active_node(tmp_path / "node", PARAMETERS | {"input.info_timeout": 0.5}, arguments=REMAPS) as robot:
        play(late, robot)
        robot.wait_until(lambda: len(robot.heard.memory) >= CHUNKS, "every chunk")
        status = robot.status("input")
    values = {entry.key: entry.value for entry in status.values}
    assert values["frames_keyframed"] == values["keyframes_without_depth"] == str(CHUNKS * VIEWS)
    assert "input.depth_tolerance" in values["last_depth_miss"]
