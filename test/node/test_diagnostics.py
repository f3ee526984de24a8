# SPDX-License-Identifier: Apache-2.0
"""Health in messages: what /diagnostics says of hand-made situations, and that ~/memory leaves nothing out."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
import torch

pytest.importorskip("rclpy", reason="needs ROS")
from builtin_interfaces.msg import Time  # noqa: E402
from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from spatial_scenes import a_chunk, a_turned_chunk, observe_all, small_memory  # noqa: E402

from fsm_ros.engine import EngineStatus  # noqa: E402
from fsm_ros.memory.rules.consolidation import Consolidation  # noqa: E402
from fsm_ros.memory.rules.elastic import AnchorPolicy, ElasticRule, Importance  # noqa: E402
from fsm_ros.memory.rules.naming import NamedRule  # noqa: E402
from fsm_ros.memory.rules.plastic import Plastic  # noqa: E402
from fsm_ros.node.diagnostics import (  # noqa: E402
    INPUT_SILENT_S,
    WORKER_STUCK_S,
    Health,
    Troubles,
    diagnostic_array,
    memory_message,
)
from fsm_ros.node.ingest_status import IngestStatus  # noqa: E402
from fsm_ros.spatial.results import Failure, FailureKind, LayerReport, ObserveReport  # noqa: E402
from fsm_ros.spatial.scene import failed_report  # noqa: E402
from fsm_ros.spatial.settings import MemoryMode, MemorySettings  # noqa: E402
from fsm_ros.stream.jumps import PoseJump  # noqa: E402
from fsm_ros.stream.ledger import FrameLedger, LedgerSnapshot, Refusal  # noqa: E402

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
CPU = torch.device("cpu")
LAYER = LayerReport(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
REPORT = ObserveReport(
    chunk=a_chunk(0),
    failure=None,
    epoch=2,
    epoch_began=None,
    chunks_observed=11,
    views_observed=44,
    layers=(LAYER, replace(LAYER, weight_rms=10.0)),
    prediction_psnr=21.5,
    retention_psnr=19.25,
    retention_views=4,
    observe_s=0.125,
    state_bytes=4096,
    submaps=3,
)
FAILED = failed_report(a_chunk(1), None, Failure(FailureKind.NON_FINITE, "weights would not be finite"))
IDLE = EngineStatus(alive=True, chunks_waiting=0, chunks_dropped=0, busy_s=0.0)


def a_ledger(received: int = 10, keyframes: int = 4, **refused: int) -> LedgerSnapshot:
    ledger = FrameLedger()
    ledger.receive(received)
    ledger.keyframe(keyframes)
    for reason, count in refused.items():
        ledger.refuse(Refusal(reason), count)
    return ledger.snapshot()


def input_status(**changes: object) -> IngestStatus:
    healthy = IngestStatus(
        last_frame_s=time.monotonic(),
        last_refusal="",
        last_tf_error="",
        last_jump=None,
        jumps=0,
        clock_jumps=0,
        frames_waiting=0,
        views_pending=0,
    )
    return replace(healthy, **changes)


def statuses(**changes: object) -> dict[str, DiagnosticStatus]:
    """The statuses of a healthy node with some of its health replaced, by their part's name."""
    healthy = Health(
        ledger=a_ledger(not_moved=6),
        input=input_status(),
        engine=IDLE,
        last_report=REPORT,
        paused=False,
        transforms=(100, 0),
        lost=0,
        device=CPU,
        checkpoint="shipped",
    )
    array = diagnostic_array(replace(healthy, **changes), "fsm", "/", Time(sec=5))
    assert array.header.stamp.sec == 5
    found = {}
    for status in array.status:
        node, _, part = status.name.partition(": ")
        assert node == "fsm" and status.hardware_id == "cpu"
        found[part] = status
    assert list(found) == ["input", "tf", "memory", "device", "name"]
    return found


def values_of(status: DiagnosticStatus) -> dict[str, str]:
    return {value.key: value.value for value in status.values}


# --- /diagnostics -----------------------------------------------------------------------------------------------------


def test_an_intake_that_has_ended_is_an_error_and_not_frames_that_come_too_fast() -> None:
    status = statuses(input=input_status(alive=False))["input"]
    assert status.level == ERROR and "has ended" in status.message


def test_a_topic_whose_qos_does_not_fit_is_a_status_and_not_only_a_line_in_the_log() -> None:
    told = "published with a QoS that this subscription cannot receive: image_raw (reliability)"
    assert told in statuses(unheard=told, input=input_status(last_frame_s=None))["input"].message
    status = statuses(unheard=told)["input"]
    assert status.level == WARN and status.message == told
    status = statuses(tf_unheard="/tf (reliability)", transforms=(0, 0))["tf"]
    assert status.level == ERROR and "/tf (reliability)" in status.message
    assert statuses(tf_unheard="/tf_static (durability)")["tf"].level == WARN


def test_what_the_middleware_loses_is_a_warning_with_the_remedy_for_as_long_as_it_happens() -> None:
    status = statuses(lost=9, before=Troubles(lost=4))["input"]
    assert (
        status.level == WARN and "lost 5 camera messages" in status.message and "docs/middleware.md" in status.message
    )
    assert statuses(lost=9, before=Troubles(lost=9))["input"].level == OK


def test_calibrations_that_are_carried_on_are_told() -> None:
    status = statuses(input=input_status(calibrations_carried_on=7))["input"]
    assert {"calibrations_carried_on": "7"}.items() <= {entry.key: entry.value for entry in status.values}.items()


def test_a_healthy_node_is_ok_in_every_part() -> None:
    found = statuses()
    assert {name: status.level for name, status in found.items()} == dict.fromkeys(found, OK)
    assert found["input"].message == "frames arrive"
    assert found["memory"].message == "11 chunks observed"
    assert found["device"].message == "cpu"


def test_the_input_tells_its_counts_and_every_reason_that_occurred() -> None:
    ledger = a_ledger(received=20, keyframes=4, not_moved=6, unreadable_image=2, no_transform=3)
    values = values_of(statuses(ledger=ledger, lost=9, input=input_status(frames_waiting=2, views_pending=3))["input"])
    assert values["frames_received"] == "20" and values["frames_keyframed"] == "4" and values["frames_pending"] == "5"
    assert values["frames_waiting"] == "2" and values["views_pending"] == "3" and values["messages_lost"] == "9"
    refused = {key: value for key, value in values.items() if key.startswith("refused.")}
    assert refused == {"refused.not_moved": "6", "refused.unreadable_image": "2", "refused.no_transform": "3"}


@pytest.mark.parametrize(
    ("changes", "part", "level", "words"),
    [
        ({"input": input_status(last_frame_s=None)}, "input", ERROR, "no image yet"),
        (
            {"input": input_status(last_frame_s=time.monotonic() - INPUT_SILENT_S - 60)},
            "input",
            WARN,
            "no image for",
        ),
        ({"paused": True, "input": input_status(last_frame_s=None)}, "input", OK, "paused"),
        ({"ledger": a_ledger(unreadable_image=1)}, "input", WARN, "unreadable_image"),
        ({"ledger": a_ledger(bad_calibration=1)}, "input", WARN, Refusal.BAD_CALIBRATION.remedy),
        ({"ledger": a_ledger(not_moved=2, too_soon=2, paused=1, discarded=1)}, "input", OK, "frames arrive"),
        ({"transforms": (0, 0)}, "tf", ERROR, "no transform yet"),
        (
            {"ledger": a_ledger(no_transform=1), "input": input_status(last_tf_error="no link from map")},
            "tf",
            WARN,
            "no link from map",
        ),
        (
            {"ledger": a_ledger(bad_transform=1), "input": input_status(last_tf_error="zero quaternion")},
            "tf",
            WARN,
            "zero quaternion",
        ),
        ({"input": input_status(jumps=1, last_jump=PoseJump(3.0, 0.5, 0.1))}, "tf", WARN, "jumped: 3.000 m"),
        ({"last_report": None}, "memory", WARN, "nothing observed yet"),
        ({"last_report": FAILED}, "memory", ERROR, "weights would not be finite"),
        ({"engine": replace(IDLE, chunks_dropped=3)}, "memory", WARN, "dropped"),
        ({"engine": replace(IDLE, alive=False)}, "device", ERROR, "worker has ended"),
        ({"engine": replace(IDLE, busy_s=WORKER_STUCK_S + 12)}, "device", WARN, "42 s"),
        ({"engine": replace(IDLE, busy_s=WORKER_STUCK_S - 1)}, "device", OK, "cpu"),
        ({"name_taken": "another node is called /fsm too"}, "name", WARN, "/fsm too"),
    ],
)
def test_what_is_wrong_is_told_by_the_part_that_it_is_wrong_with(
    changes: dict[str, object], part: str, level: bytes, words: str
) -> None:
    status = statuses(**changes)[part]
    assert (status.level, words in status.message) == (level, True), status.message


def test_a_hint_about_the_frame_of_images_is_told_and_is_no_warning() -> None:
    status = statuses(input=input_status(frame_hint="'camera_link' seems to be a body"))["tf"]
    assert (status.level, status.message) == (OK, "'camera_link' seems to be a body")
    assert values_of(status)["frame_hint"] == "'camera_link' seems to be a body"


def test_a_part_that_is_well_stays_ok_while_another_is_not() -> None:
    found = statuses(input=input_status(last_frame_s=None), engine=replace(IDLE, alive=False))
    assert (found["tf"].level, found["memory"].level) == (OK, OK)


def test_tf_memory_and_device_tell_their_figures() -> None:
    found = statuses(
        transforms=(100, 7),
        ledger=a_ledger(no_transform=1, bad_transform=2),
        engine=EngineStatus(alive=True, chunks_waiting=2, chunks_dropped=5, busy_s=0.25),
    )
    tf, memory, device = (values_of(found[part]) for part in ("tf", "memory", "device"))
    assert (tf["transforms_received"], tf["transforms_refused"], tf["frames_without_transform"]) == ("100", "7", "3")
    assert (memory["chunks_waiting"], memory["chunks_dropped"]) == ("2", "5")
    assert (memory["chunks_observed"], memory["views_observed"], memory["epoch"]) == ("11", "44", "2")
    assert memory["submaps"] == "3"
    assert (memory["prediction_psnr"], memory["retention_psnr"], memory["state_size"]) == ("21.5", "19.25", "4096")
    assert (device["device"], device["checkpoint"], device["busy_s"]) == ("cpu", "shipped", "0.25")


def test_a_memory_that_was_loaded_tells_what_it_holds_before_any_chunk() -> None:
    loaded = small_memory()
    observe_all(loaded, [a_turned_chunk(0, 0.0), a_turned_chunk(1, 1.5)])
    memory = statuses(last_report=None, scene=loaded.scene)["memory"]
    values = values_of(memory)
    assert (memory.level, memory.message) == (OK, "2 chunks observed")
    assert (values["chunks_observed"], values["views_observed"], values["submaps"]) == ("2", "4", "2")


def test_before_anything_came_figures_are_words_and_not_an_error() -> None:
    found = statuses(ledger=a_ledger(0, 0), input=input_status(last_frame_s=None), last_report=None, transforms=(0, 0))
    assert values_of(found["input"])["seconds_since_frame"] == "inf"
    assert values_of(found["tf"])["last_jump"] == ""
    assert "chunks_observed" not in values_of(found["memory"])


# --- ~/memory ---------------------------------------------------------------------------------------------------------


def message_of(report: ObserveReport = REPORT, settings: MemorySettings | None = None, **changes: object) -> object:
    arguments = {
        "frame_id": "odom",
        "stamp": Time(sec=7, nanosec=8),
        "render_s": 0.5,
        "device": CPU,
        "ledger": a_ledger(received=20, keyframes=4, not_moved=6, unreadable_image=2),
        "engine": EngineStatus(alive=True, chunks_waiting=2, chunks_dropped=5, busy_s=0.0),
    } | changes
    return memory_message(report, settings=settings or MemorySettings(), **arguments)


def test_the_message_on_a_chunk_copies_every_figure() -> None:
    rule = ElasticRule(Importance.EWC, AnchorPolicy.GLOBAL, strength=2.5)
    message = message_of(settings=MemorySettings(mode=MemoryMode.WINDOWED, rule=rule))
    assert (message.header.frame_id, message.header.stamp.sec, message.header.stamp.nanosec) == ("odom", 7, 8)
    assert (message.mode, message.epoch, message.chunks_observed, message.views_observed) == ("windowed", 2, 11, 44)
    assert (message.frames_received, message.frames_keyframed, message.frames_pending) == (20, 4, 8)
    assert {item.reason: item.count for item in message.refused} == {"not_moved": 6, "unreadable_image": 2}
    assert (message.rule, message.submaps) == ("elastic", 3)
    assert (message.importance, message.anchor, message.strength) == ("ewc", "global", 2.5)
    assert (message.prediction_psnr, message.retention_psnr, message.retention_views) == (21.5, 19.25, 4)
    assert (message.observe_time, message.render_time) == (0.125, 0.5)
    assert (message.chunks_waiting, message.chunks_dropped, message.state_size) == (2, 5, 4096)
    assert message.device_memory == 0


def test_every_layer_is_copied_field_by_field() -> None:
    layers = message_of().layers
    names = list(LayerReport.__dataclass_fields__)
    assert [[getattr(layer, name) for name in names] for layer in layers] == [
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        [10.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
    ]
    assert set(layers[0].get_fields_and_field_types()) == set(names)


def test_the_ledger_in_the_message_adds_up() -> None:
    message = message_of()
    refused = sum(item.count for item in message.refused)
    assert message.frames_received == message.frames_keyframed + message.frames_pending + refused


@pytest.mark.parametrize(("rule", "name"), [(Consolidation(), "consolidation"), (Plastic(), "plastic")])
def test_without_the_elastic_prior_the_rule_is_named_and_there_is_nothing_to_say_of_a_prior(
    rule: NamedRule, name: str
) -> None:
    message = message_of(settings=MemorySettings(rule=rule))
    assert message.rule == name
    assert (message.importance, message.anchor, message.strength) == ("", "", 0.0)


def test_a_chunk_that_failed_has_a_message_too() -> None:
    message = message_of(FAILED, render_s=math.nan)
    assert (message.chunks_observed, list(message.layers), message.state_size) == (0, [], 0)
    for figure in (message.prediction_psnr, message.retention_psnr, message.observe_time, message.render_time):
        assert math.isnan(figure)
