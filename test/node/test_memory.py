# SPDX-License-Identifier: Apache-2.0
"""What the running node tells of its memory, and what can be done to it: topics, services, parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from node_camera import ALONG_X, Camera, Frame, pose_in, transform
from node_harness import CHUNK_VIEWS, Robot, active_node
from safetensors.torch import save_file

from fsm_ros_msgs.msg import MemoryDiagnostics

pytestmark = pytest.mark.slow

EXTENT_M = 5.0  # of the node's memory
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def shared(storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    parameters = {"storage_dir": str(storage), "memory.extent": EXTENT_M}
    with active_node(tmp_path_factory.mktemp("memory"), parameters) as robot:
        yield robot


@pytest.fixture(scope="module")
def shared_camera(shared: Robot) -> Camera:
    return Camera(shared)


@pytest.fixture
def robot(shared: Robot) -> Robot:
    """The node with an empty memory."""
    answer = shared.reset()
    assert answer.success, answer.message
    return shared


@pytest.fixture
def camera(robot: Robot, shared_camera: Camera) -> Camera:
    return shared_camera


def ledger_holds(report: MemoryDiagnostics) -> bool:
    refused = sum(entry.count for entry in report.refused)
    return bool(report.frames_received == report.frames_keyframed + report.frames_pending + refused)


# --- /diagnostics and ~/memory ---------------------------------------------------------------------------------------


def value(status: DiagnosticStatus, key: str) -> str:
    return next(entry.value for entry in status.values if entry.key == key)


def test_diagnostics_say_what_is_missing_what_goes_wrong_and_that_all_is_well(
    shared: Robot, shared_camera: Camera
) -> None:
    robot, camera = shared, shared_camera  # just started, with nothing heard yet
    robot.status("input")
    names = [status.name for status in robot.heard.diagnostics[-1].status]
    assert names == ["fsm: input", "fsm: tf", "fsm: memory", "fsm: device", "fsm: name"]
    for name, level, words in (
        ("input", ERROR, "no image yet"),
        ("tf", ERROR, "no transform yet"),
        ("memory", WARN, "nothing observed yet"),
        ("device", OK, "cpu"),
    ):
        status = robot.status(name)
        assert (status.level, words in status.message) == (level, True), status
    camera.stream(2)
    for name in ("tf", "memory", "device"):
        assert robot.status(name).level == OK, robot.status(name)
    camera.shoot()
    assert robot.status("input").level == OK
    # What went wrong is told, and no longer when it has not gone wrong for a while.
    bad = camera.frame()
    bad.image.encoding = "no_such_encoding"
    camera.publish(bad)
    robot.wait_until(lambda: robot.status("input").level == WARN, "a warning")
    assert "unsupported_encoding" in robot.status("input").message
    robot.wait_until(lambda: camera.shoot() and robot.status("input").level == OK, "the end of the warning")
    assert robot.refused() == {"unsupported_encoding": 1}


def test_transforms_that_are_no_poses_are_counted(robot: Robot, camera: Camera) -> None:
    before = int(value(robot.status("tf"), "transforms_refused"))
    for position, quaternion in (((math.nan, 0.0, 0.0), ALONG_X), ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))):
        camera.publish(Frame(0, None, None, transform("map", "lamp", 0, position, quaternion)))
    robot.wait_until(
        lambda: int(value(robot.status("tf"), "transforms_refused")) == before + 2, "the two of them counted"
    )


def test_after_a_reset_the_diagnostics_forget_too(robot: Robot, camera: Camera) -> None:
    camera.stream(1)
    assert robot.status("memory").message == "1 chunks observed"
    assert robot.reset().success
    assert robot.status("memory").level == WARN
    assert "nothing observed yet" in robot.status("memory").message


def test_one_message_for_every_chunk_with_all_frames_accounted_for(robot: Robot, camera: Camera) -> None:
    before = robot.counts()
    reports = camera.stream(4)
    assert [report.chunks_observed for report in reports] == [1, 2, 3, 4]
    assert [report.views_observed for report in reports] == [2, 4, 6, 8]
    assert all(map(ledger_holds, reports))
    last = reports[-1]
    assert last.frames_received == before["received"] + 4 * CHUNK_VIEWS
    assert last.frames_keyframed == before["keyframed"] + 4 * CHUNK_VIEWS
    assert last.frames_pending == 0
    assert (last.header.frame_id, last.mode, last.epoch) == ("map", "streaming", 0)
    assert last.observe_time > 0
    assert last.state_size > 0
    assert last.chunks_dropped == 0
    assert (last.rule, last.importance, last.anchor, last.strength) == ("consolidation", "", "", 0.0)
    assert 1 <= last.submaps <= 8
    again = reports[1]  # came to the place of the first: there was something to pull back
    assert (again.submaps, len(again.layers)) == (1, len(last.layers))
    for layer in again.layers:
        assert layer.weight_rms > 0
        assert layer.update_rms > 0
        assert layer.pull_rms > 0
        assert layer.elastic_ratio == pytest.approx(layer.pull_rms / layer.update_rms, rel=1e-3)
        assert layer.importance_max == pytest.approx(layer.importance_mean) != 0, "of no meaning, and never updated"


def test_prediction_needs_a_memory_and_retention_something_to_remember(robot: Robot, camera: Camera) -> None:
    first, *later = camera.stream(4)
    assert math.isnan(first.prediction_psnr)
    assert math.isnan(first.retention_psnr)
    assert first.retention_views == 0
    for report in later:
        assert math.isfinite(report.prediction_psnr)
        assert math.isfinite(report.retention_psnr)
        assert report.retention_views == 1


def test_keyframes_are_latched(robot: Robot, camera: Camera) -> None:
    camera.stream(3)
    remembered, just_seen = robot.latched_markers().markers
    assert (remembered.ns, just_seen.ns) == ("remembered", "just_seen")
    assert remembered.header.frame_id == "map"
    # Eight edges of two points for each frustum; the newest chunk is not among the remembered ones yet.
    assert len(remembered.points) == 16 * 2 * CHUNK_VIEWS
    assert len(just_seen.points) == 16 * CHUNK_VIEWS


def test_a_camera_that_moves_away_within_the_extent_opens_a_place(robot: Robot, camera: Camera) -> None:
    first, second = camera.stream(2)
    assert (first.submaps, second.submaps) == (1, 1)
    before = len(robot.heard.memory)
    for _ in range(CHUNK_VIEWS):
        frame = camera.frame()
        frame.transform.transform.translation.x += 0.4 * EXTENT_M
        camera.publish(frame)
    robot.wait_until(lambda: len(robot.heard.memory) > before, "the chunk from over there")
    report = robot.heard.memory[-1]
    assert (report.submaps, report.epoch, report.chunks_observed) == (2, 0, 3)
    assert report.state_size > second.state_size
    robot.wait_until(lambda: value(robot.status("memory"), "submaps") == "2", "two submaps in the diagnostics")


def test_leaving_the_extent_begins_a_new_epoch(robot: Robot, camera: Camera) -> None:
    assert [report.epoch for report in camera.stream(2)] == [0, 0]
    before = len(robot.heard.memory)
    for _ in range(CHUNK_VIEWS):
        frame = camera.frame()
        x, y, z = camera.position
        frame.transform.transform.translation.x = x + 3 * EXTENT_M
        camera.publish(frame)
    robot.wait_until(lambda: len(robot.heard.memory) > before, "the chunk from elsewhere")
    report = robot.heard.memory[-1]
    assert report.epoch == 1
    assert report.chunks_observed == 3
    assert "epoch 1 begins" in robot.process.log
    assert robot.render(pose_in("map", (3 * EXTENT_M, 0.0, 1.0))).message == ""
    assert "outside" in robot.render(pose_in("map")).message


# --- pause and reset -------------------------------------------------------------------------------------------------


def test_while_paused_frames_are_refused_and_counted(robot: Robot, camera: Camera) -> None:
    before = robot.counts()
    assert robot.pause(True).success
    camera.shoot(4)
    counts = robot.wait_for_counts(received=before["received"] + 4)
    assert counts["refused.paused"] == before.get("refused.paused", 0) + 4
    assert counts["keyframed"] == before["keyframed"]
    assert robot.status("input").message == "paused"
    assert robot.status("input").level == OK
    assert robot.pause(False).success
    assert [report.chunks_observed for report in camera.stream(1)] == [1]


def test_reset_empties_the_memory_and_throws_waiting_frames_away(robot: Robot, camera: Camera) -> None:
    camera.stream(2)
    before = robot.counts()
    camera.shoot(1)  # half a chunk
    robot.wait_for_counts(keyframed=before["keyframed"] + 1)
    assert robot.reset().success
    assert "nothing has been observed" in robot.render(pose_in("map")).message
    counts = robot.counts()
    assert counts["keyframed"] == before["keyframed"]
    assert counts["refused.discarded"] == before.get("refused.discarded", 0) + 1
    report = camera.stream(1)[0]
    assert (report.chunks_observed, report.views_observed) == (1, 2)
    assert math.isnan(report.prediction_psnr)


# --- memory files ----------------------------------------------------------------------------------------------------


def test_a_memory_that_was_saved_and_loaded_renders_the_same_bits(robot: Robot, camera: Camera, storage: Path) -> None:
    camera.stream(3)
    poses = [pose_in("map"), pose_in("map", (0.3, 0.2, 1.1))]
    before = [robot.render(pose) for pose in poses]
    saved = robot.save("rooms/kitchen")
    assert saved.success, saved.message
    assert Path(saved.path) == (storage / "rooms" / "kitchen.safetensors").resolve()
    assert saved.size == Path(saved.path).stat().st_size > 0
    assert robot.reset().success
    assert not robot.render(poses[0]).success
    loaded = robot.load("rooms/kitchen")
    assert loaded.success, loaded.message
    assert loaded.chunks_observed == 3
    after = [robot.render(pose) for pose in poses]
    assert [view.image.data for view in after] == [view.image.data for view in before]
    assert [view.chunks_observed for view in after] == [3, 3]
    assert [report.chunks_observed for report in camera.stream(1)] == [4]


def test_nothing_is_saved_of_an_empty_memory(robot: Robot, storage: Path) -> None:
    answer = robot.save("empty")
    assert not answer.success
    assert "nothing has been observed" in answer.message
    assert not (storage / "empty.safetensors").exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "rooms/../../outside", "link", "way/out", "", ".", ".."])
def test_a_path_outside_of_the_storage_folder_is_refused(
    robot: Robot, camera: Camera, storage: Path, tmp_path: Path, path: str
) -> None:
    camera.stream(1)
    (storage / "link.safetensors").unlink(missing_ok=True)
    (storage / "link.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    (storage / "way").unlink(missing_ok=True)
    (storage / "way").symlink_to(tmp_path)
    for answer in (robot.save(path), robot.load(path)):
        assert not answer.success
        assert "storage_dir" in answer.message
    assert list(tmp_path.iterdir()) == []
    assert robot.render(pose_in("map")).chunks_observed == 1


def test_links_that_lead_in_a_circle_are_refused(robot: Robot, storage: Path) -> None:
    for name, target in (("one", "two"), ("two", "one")):
        link = storage / f"{name}.safetensors"
        link.unlink(missing_ok=True)
        link.symlink_to(storage / f"{target}.safetensors")
    assert not robot.load("one").success
    assert robot.process.is_alive


def test_a_file_that_is_no_sound_memory_is_refused_and_the_memory_stays(
    robot: Robot, camera: Camera, storage: Path
) -> None:
    camera.stream(2)
    sound = Path(robot.save("sound").path).read_bytes()
    before = robot.render(pose_in("map"))
    flipped = bytearray(sound)
    flipped[-100] ^= 0x40
    (storage / "flipped.safetensors").write_bytes(flipped)
    (storage / "cut.safetensors").write_bytes(sound[: len(sound) // 2])
    (storage / "nothing.safetensors").write_bytes(b"")
    (storage / "text.safetensors").write_text("not a memory at all")
    (storage / "folder.safetensors").mkdir()
    save_file({"w0": torch.zeros(3)}, storage / "foreign.safetensors")
    for name in ("flipped", "cut", "nothing", "text", "folder", "foreign", "no_such_file"):
        answer = robot.load(name)
        assert not answer.success
        assert f"{name}.safetensors" in answer.message
        after = robot.render(pose_in("map"))
        assert (after.image.data, after.chunks_observed) == (before.image.data, 2), name
    assert robot.load("sound").success


def test_a_file_in_the_place_of_a_folder_is_told(robot: Robot, camera: Camera, storage: Path) -> None:
    camera.stream(1)
    (storage / "file").write_text("")
    answer = robot.save("file/memory")
    assert not answer.success
    assert "could not be written" in answer.message


# --- parameters ------------------------------------------------------------------------------------------------------


def test_the_rule_can_be_changed_while_it_runs(robot: Robot, camera: Camera) -> None:
    elastic = {
        "memory.rule": "elastic",
        "elastic.strength": 2.0,
        "elastic.importance": "mas",
        "elastic.anchor": "global",
    }
    try:
        assert camera.stream(1)[0].rule == "consolidation"
        before = robot.render(pose_in("map"))
        assert all(result.successful for result in robot.set_parameters(elastic))
        assert robot.render(pose_in("map")).image.data == before.image.data, "nothing is forgotten"
        report = camera.stream(1)[0]
        assert (report.rule, report.importance, report.anchor, report.strength) == ("elastic", "mas", "global", 2.0)
        for layer in report.layers:
            assert layer.pull_rms > 0
            assert layer.importance_max >= layer.importance_mean > 0
        assert all(result.successful for result in robot.set_parameters({"memory.rule": "plastic"}))
        report = camera.stream(1)[0]
        assert (report.rule, report.importance, report.anchor, report.strength) == ("plastic", "", "", 0.0)
        assert {layer.pull_rms for layer in report.layers} == {0.0}
        assert {layer.elastic_ratio for layer in report.layers} == {0.0}
    finally:
        robot.set_parameters({"memory.rule": "consolidation"})
        robot.set_parameters({"elastic.strength": 0.5, "elastic.importance": "si", "elastic.anchor": "streaming_ema"})
    report = camera.stream(1)[0]
    assert (report.rule, report.importance, report.chunks_observed) == ("consolidation", "", 4)


REFUSED: dict[str, tuple[str, object, str]] = {
    "frozen": ("memory.width", 128, "clean it up"),
    "frozen word": ("memory.mode", "windowed", "clean it up"),
    "frozen submaps": ("memory.submaps", 2, "clean it up"),
    "too small": ("elastic.strength", -1.0, "range"),
    "too large": ("elastic.importance_decay", 1.5, "range"),
    "not a number": ("elastic.strength", math.nan, "elastic"),
    "unknown word": ("elastic.anchor", "somewhere", "one of"),
    "the word of before": ("elastic.importance", "off", "one of"),
    "unknown rule": ("memory.rule", "off", "one of"),
    "wrong type": ("elastic.strength", "strong", "type"),
    "unknown name": ("elastic.no_such", 1.0, "there is no parameter elastic.no_such"),
}


@pytest.mark.parametrize("problem", REFUSED)
def test_a_change_that_makes_no_sense_is_refused_with_a_reason(robot: Robot, camera: Camera, problem: str) -> None:
    name, value, reason = REFUSED[problem]
    (result,) = robot.set_parameters({name: value})
    assert not result.successful
    assert reason in result.reason
    report = camera.stream(1)[0]
    assert (report.rule, report.submaps) == ("consolidation", 1)
    try:
        assert robot.set_parameters({"memory.rule": "elastic"})[0].successful
        report = camera.stream(1)[0]
        assert (report.importance, report.anchor, report.strength) == ("si", "streaming_ema", 0.5)
    finally:
        robot.set_parameters({"memory.rule": "consolidation"})
