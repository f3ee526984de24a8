# SPDX-License-Identifier: Apache-2.0
"""Live over DDS, or in process: the same frames make the same chunks, the same memory, and the same views."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from deadline import DEADLINE_S
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

pytest.importorskip("rclpy", reason="needs ROS")
from geometry_msgs.msg import PoseStamped  # noqa: E402
from node_harness import QUICK, Robot, active_node  # noqa: E402
from safetensors import safe_open  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402

from fsm_ros.configuration.model import load_model  # noqa: E402
from fsm_ros.configuration.table import settings_from  # noqa: E402
from fsm_ros.engine import MemoryEngine  # noqa: E402
from fsm_ros.node.conversions import ns_to_stamp, pose_to_matrix  # noqa: E402
from fsm_ros.replay.demo.bag import write_demo_bag  # noqa: E402
from fsm_ros.replay.evaluation.hold_out import choose  # noqa: E402
from fsm_ros.replay.evaluation.replaying import Replay, Step  # noqa: E402
from fsm_ros.replay.recording.bag_writer import BagWriter  # noqa: E402
from fsm_ros.sources.opening import open_rig  # noqa: E402
from fsm_ros.spatial.results import Rendered  # noqa: E402
from fsm_ros.stream.frame import Camera, Distortion  # noqa: E402

pytestmark = pytest.mark.slow

N = 8
SMALL = Camera(96, 72, 61.0, 61.2, 48.3, 35.8, Distortion.PLUMB_BOB, (-0.11, 0.025, 0.0009, -0.0007, 0.0))
PARAMETERS = {
    **QUICK,
    "chunk.views": 4,
    "chunk.timeout": 12.0,  # writes the last chunk, which is not full; a busy machine may well stand still for 4 s
    "memory.extent": 1.0,
    "memory.horizon": 20.0,
    "memory.retention_views": 2,
    "keyframes.rotation": 0.2,
    "keyframes.translation": 0.07,
}
REMAPS = ["-r", "image_raw:=/camera/image_raw", "-r", "camera_info:=/camera/camera_info"]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drive of 40 images, with a lens, odometry that drifts, and TF at its own rates."""
    return write_demo_bag(tmp_path_factory.mktemp("bag") / "drive", duration_s=7.6, rate_hz=5.0, camera=SMALL)


@contextmanager
def replayed(bag: Path) -> Iterator[tuple[list[Step], MemoryEngine]]:
    """The recording in process."""
    settings = settings_from(PARAMETERS)
    loaded = load_model(settings)
    engine = MemoryEngine(loaded.new_memory(settings.memory), queue_capacity=1)
    engine.start()
    rig = open_rig(bag)
    try:
        withheld = choose(f"every:{N}", rig.frames, rig.cameras)
        yield list(Replay(rig, withheld, settings, engine).steps()), engine
    finally:
        rig.close()
        engine.stop()


@pytest.fixture(scope="module")
def reference(bag: Path) -> Iterator[tuple[list[Step], MemoryEngine]]:
    """The recording in process, and the memory that it leaves."""
    with replayed(bag) as found:
        yield found


def play(bag: Path, robot: Robot) -> None:
    """The recording over DDS, faster than it was."""
    command = [sys.executable, "-m", "fsm_ros.tools.play_bag", str(bag), "--rate", "2", "--hold-out", str(N)]
    command += ["--wait-for-subscribers", str(DEADLINE_S), "--no-progress"]
    environment = os.environ | {"ROS_DOMAIN_ID": str(robot.domain_id)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr


def wanted_view(time_s: float) -> PoseStamped:
    """A pose beside the drive."""
    pose = PoseStamped()
    pose.header.frame_id = "map"
    turn = Rotation.from_euler("z", 0.4 * time_s) * Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    position, quaternion = pose.pose.position, pose.pose.orientation
    position.x, position.y, position.z = 0.1 * time_s, -0.05, 1.02
    quaternion.x, quaternion.y, quaternion.z, quaternion.w = (float(value) for value in turn.as_quat())
    return pose


def pinhole() -> CameraInfo:
    info = CameraInfo(width=64, height=48)
    info.k = [40.0, 0.0, 31.5, 0.0, 40.0, 23.5, 0.0, 0.0, 1.0]
    return info


def pixels(image: Image) -> NDArray[np.uint8]:
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)


def tensors(path: Path) -> dict[str, NDArray[np.generic]]:
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def test_live_replay_and_evaluation_give_the_same_chunks_and_the_same_views(
    bag: Path, reference: tuple[list[Step], MemoryEngine], tmp_path: Path
) -> None:
    steps, engine = reference
    chunks = [(step.report.chunk.newest_stamp_ns, len(step.keyframes)) for step in steps]
    assert len(chunks) >= 4
    assert chunks[-1][1] < PARAMETERS["chunk.views"], "the last chunk is one that waited long enough"
    size = engine.ask(lambda memory: memory.save(tmp_path / "replayed.safetensors")).result()
    assert isinstance(size, int)
    moments = [steps[0].report.chunk.oldest_stamp_ns, steps[-1].report.chunk.newest_stamp_ns]
    views = []
    for moment, pose in zip(moments, map(wanted_view, (0.5, 3.0)), strict=True):
        camera = Camera(64, 48, 40.0, 40.0, 32.0, 24.0)
        wanted = pose_to_matrix(pose.pose)
        answer = engine.ask(lambda memory, p=wanted, m=moment, c=camera: memory.render(p, m, c)).result()
        assert isinstance(answer, Rendered), answer
        views.append(answer.image)

    with active_node(tmp_path / "node", PARAMETERS | {"storage_dir": str(tmp_path)}, arguments=REMAPS) as robot:
        play(bag, robot)
        robot.wait_until(lambda: len(robot.heard.memory) >= len(chunks), "every chunk")
        live = [(m.header.stamp.sec * 10**9 + m.header.stamp.nanosec, m) for m in robot.heard.memory]
        assert [stamp for stamp, _ in live] == [stamp for stamp, _ in chunks]
        saved = robot.save("live.safetensors")
        assert saved.success, saved.message
        for (stamp, message), step in zip(live, steps, strict=True):
            report = step.report
            assert message.views_observed == report.views_observed, stamp
            assert np.array_equal(message.prediction_psnr, report.prediction_psnr, equal_nan=True)
            assert np.array_equal(message.retention_psnr, report.retention_psnr, equal_nan=True)
        for moment, pose, image in zip(moments, map(wanted_view, (0.5, 3.0)), views, strict=True):
            answer = robot.render(pose, camera_info=pinhole(), scene_time=ns_to_stamp(moment))
            assert answer.success, answer.message
            assert np.array_equal(pixels(answer.image), image)

    replay, alive = tensors(tmp_path / "replayed.safetensors"), tensors(tmp_path / "live.safetensors")
    assert replay.keys() == alive.keys()
    assert [name for name in replay if not np.array_equal(replay[name], alive[name])] == []


def with_calibrations(bag: Path, manner: str, path: Path) -> Path:
    """The recording, its calibration said in another manner."""
    info_topic = "/camera/camera_info"
    with AnyReader([bag]) as reader, BagWriter(path) as writer:
        latched = {"/tf_static", *([info_topic] if manner == "latched" else ())}
        for connection in reader.connections:
            writer.declare(connection.topic, connection.msgtype, depth=100, latched=connection.topic in latched)
        said_s = -np.inf
        for connection, arrival_ns, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            if connection.topic == info_topic:
                due_s = {"latched": np.inf, "at 1 Hz": 1.0}.get(manner, 0.0)
                if arrival_ns / 1e9 - said_s < due_s and np.isfinite(said_s):
                    continue
                said_s = arrival_ns / 1e9
                if manner == "without stamps":
                    message.header.stamp.sec = message.header.stamp.nanosec = 0
                if manner == "half a second late":
                    late_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec + 500_000_000
                    message.header.stamp.sec, message.header.stamp.nanosec = divmod(late_ns, 10**9)
            writer.write(connection.topic, arrival_ns, message)
    return path


@pytest.mark.parametrize("manner", ["latched", "at 1 Hz", "without stamps", "half a second late"])
def test_a_calibration_may_be_said_in_any_manner_live_and_recorded(
    bag: Path, reference: tuple[list[Step], MemoryEngine], tmp_path: Path, manner: str
) -> None:
    """The same frames, in the same chunks, as where every image comes with a calibration of its own."""
    other = with_calibrations(bag, manner, tmp_path / "bag")
    chunks = [(step.report.chunk.newest_stamp_ns, step.report.prediction_psnr) for step in reference[0]]
    with replayed(other) as (steps, _):
        found = [(step.report.chunk.newest_stamp_ns, step.report.prediction_psnr) for step in steps]
    np.testing.assert_array_equal(found, chunks)
    full = chunks[:-1]
    changes = {"input.info_timeout": 0.5, "chunk.timeout": 600.0}
    with active_node(tmp_path / "node", PARAMETERS | changes, arguments=REMAPS) as robot:
        play(other, robot)
        robot.wait_until(lambda: len(robot.heard.memory) >= len(full), "every full chunk")
        live = [
            (m.header.stamp.sec * 10**9 + m.header.stamp.nanosec, float(m.prediction_psnr)) for m in robot.heard.memory
        ]
        values = {entry.key: entry.value for entry in robot.status("input").values}
    np.testing.assert_array_equal(live, full)
    assert int(values["calibrations_carried_on"]) > 0
    assert not [key for key in values if key.startswith("refused.") and key != "refused.not_moved"]


def test_equal_replays_give_equal_memories(
    bag: Path, reference: tuple[list[Step], MemoryEngine], tmp_path: Path
) -> None:
    saved = []
    with replayed(bag) as (_, again):
        for number, engine in enumerate((reference[1], again)):
            path = tmp_path / f"{number}.safetensors"
            engine.ask(lambda memory, p=path: memory.save(p)).result()
            saved.append(tensors(path))
    assert all(np.array_equal(saved[0][name], saved[1][name]) for name in saved[0])
