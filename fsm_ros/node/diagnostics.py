# SPDX-License-Identifier: Apache-2.0
"""The health of the node: MemoryDiagnostics per chunk, and a few statuses on /diagnostics (REP-107)."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from fsm_ros.engine import EngineStatus
from fsm_ros.memory.rules.elastic import ElasticRule
from fsm_ros.memory.rules.naming import kind_of
from fsm_ros.node.ingest_status import IngestStatus
from fsm_ros.node.namespaces import scoped
from fsm_ros.spatial.results import ObserveReport
from fsm_ros.spatial.scene import Scene
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.stream.ledger import LedgerSnapshot, Refusal
from fsm_ros_msgs.msg import LayerDiagnostics, MemoryDiagnostics, RefusalCount

INPUT_SILENT_S = 2.0
WORKER_STUCK_S = 30.0
RECENT_S = 5.0
_UNREMARKABLE = {Refusal.NOT_MOVED, Refusal.TOO_SOON, Refusal.PAUSED, Refusal.DISCARDED}


@dataclass(frozen=True)
class Troubles:
    """How often things have gone wrong until a moment.

    Attributes:
        refused: frames, by reason.
        chunks_dropped: chunks that a full queue lost.
        jumps: jumps of the pose.
        lost: camera messages that the middleware lost.
    """

    refused: Mapping[Refusal, int] = field(default_factory=dict)
    chunks_dropped: int = 0
    jumps: int = 0
    lost: int = 0


class RecentTroubles:
    """Remembers the last seconds: a status warns of what goes wrong, not for ever of what once did."""

    def __init__(self) -> None:
        """Nothing has gone wrong yet."""
        self._seen: deque[tuple[float, Troubles]] = deque([(-math.inf, Troubles())])

    def before(self, now: Troubles, now_s: float) -> Troubles:
        """Note how it stands now, and say how it stood a while ago.

        Args:
            now: all until now.
            now_s: a monotonic clock, seconds.

        Returns:
            As of ``RECENT_S`` seconds ago, or of the last call where that is longer ago.
        """
        self._seen.append((now_s, now))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - RECENT_S:
            self._seen.popleft()
        return self._seen[0][1]


@dataclass(frozen=True)
class Health:
    """All that the statuses are made of.

    Attributes:
        ledger: frame counts.
        input: how the input does.
        engine: how the worker does.
        last_report: the latest observed chunk, ``None`` before the first.
        paused: whether frames are refused on request.
        transforms: how many arrived, and how many were no pose.
        lost: camera messages that were lost on the way here.
        device: where the memory is.
        checkpoint: where the weights came from.
        before: the troubles that are long past; levels are those of what came since.
        scene: what the memory holds now; it may have been loaded, with no chunk observed since.
        unheard: camera topics whose QoS does not fit, and the remedy; empty where all do.
        tf_unheard: likewise of /tf and /tf_static.
        name_taken: that another node has the node's full name, and the remedy; empty where none has.
        preview_difference: how far what the memory shows is from what the camera sees, of 1; NaN where it is not known.
    """

    ledger: LedgerSnapshot
    input: IngestStatus
    engine: EngineStatus
    last_report: ObserveReport | None
    paused: bool
    transforms: tuple[int, int]
    lost: int
    device: torch.device
    checkpoint: str
    before: Troubles = field(default_factory=Troubles)
    scene: Scene | None = None
    unheard: str = ""
    tf_unheard: str = ""
    name_taken: str = ""
    preview_difference: float = math.nan

    def refused_lately(self, reason: Refusal) -> int:
        """Frames that were refused for a reason in the last seconds."""
        return self.ledger.refused.get(reason, 0) - self.before.refused.get(reason, 0)


def memory_message(
    known: ObserveReport | Scene | None,
    ledger: LedgerSnapshot,
    engine: EngineStatus,
    settings: MemorySettings,
    *,
    frame_id: str,
    stamp: Time,
    render_s: float,
    device: torch.device,
) -> MemoryDiagnostics:
    """The message on an observed chunk, or on a memory that was put in the place of another; ``None``: an empty one."""
    elastic = settings.rule if isinstance(settings.rule, ElasticRule) else None
    message = MemoryDiagnostics(
        mode=settings.mode.value,
        rule=kind_of(settings.rule).value,
        frames_received=ledger.received,
        frames_keyframed=ledger.keyframes,
        frames_pending=ledger.pending,
        refused=[RefusalCount(reason=reason.value, count=count) for reason, count in ledger.refused.items() if count],
        importance="" if elastic is None else elastic.importance.value,
        anchor="" if elastic is None else elastic.anchor.value,
        strength=0.0 if elastic is None else elastic.strength,
        prediction_psnr=math.nan,
        retention_psnr=math.nan,
        observe_time=math.nan,
        render_time=render_s,
        chunks_waiting=engine.chunks_waiting,
        chunks_dropped=engine.chunks_dropped,
        device_memory=torch.cuda.memory_allocated(device) if device.type == "cuda" else 0,
    )
    message.header.frame_id = frame_id
    message.header.stamp = stamp
    if known is not None:
        message.epoch = known.epoch
        message.chunks_observed, message.views_observed = known.chunks_observed, known.views_observed
        message.submaps = _submaps(known)
    if isinstance(known, ObserveReport):
        _tell_chunk(message, known)
    elif known is not None:
        message.state_size = known.size_bytes
        message.kept, message.kept_size = len(known.keyframes), known.keyframes.size_bytes
    return message


def _tell_chunk(message: MemoryDiagnostics, report: ObserveReport) -> None:
    message.layers = [
        LayerDiagnostics(
            weight_rms=layer.weight_rms,
            anchor_distance=layer.anchor_distance,
            update_rms=layer.update_rms,
            pull_rms=layer.pull_rms,
            elastic_ratio=layer.elastic_ratio,
            importance_mean=layer.importance_mean,
            importance_max=layer.importance_max,
        )
        for layer in report.layers
    ]
    message.prediction_psnr, message.retention_psnr = report.prediction_psnr, report.retention_psnr
    message.retention_views = report.retention_views
    message.observe_time = report.observe_s
    message.state_size = report.state_bytes
    message.kept, message.kept_size = report.kept, report.kept_bytes


def _submaps(known: ObserveReport | Scene) -> int:
    return known.submaps if isinstance(known, ObserveReport) else len(known.atlas.submaps)


def diagnostic_array(health: Health, node_name: str, namespace: str, stamp: Time) -> DiagnosticArray:
    """The statuses of the node: input, tf, memory, device, name; its namespace in their names and hardware."""
    array = DiagnosticArray(
        status=[_input(health), _tf(health), _memory(health), _device(health), _name(health)],
    )
    array.header.stamp = stamp
    for status in array.status:
        status.name = f"{scoped(node_name, namespace)}: {status.name}"
        status.hardware_id = scoped(str(health.device), namespace)
    return array


def _status(name: str, level: bytes, message: str, values: dict[str, object]) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=level,
        name=name,
        message=message,
        values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
    )


def _input(health: Health) -> DiagnosticStatus:
    ledger, status = health.ledger, health.input
    silent_s = math.inf if status.last_frame_s is None else time.monotonic() - status.last_frame_s
    worrying = [reason for reason in Refusal if health.refused_lately(reason) and reason not in _UNREMARKABLE]
    if not status.alive:
        level, message = DiagnosticStatus.ERROR, "the thread that judges frames has ended: deactivate and activate"
    elif health.paused:
        level, message = DiagnosticStatus.OK, "paused"
    elif status.last_frame_s is None:
        cause = health.unheard or "check the topic names and remaps, and the QoS"
        level, message = DiagnosticStatus.ERROR, f"no image yet: {cause}"
    elif health.unheard:
        level, message = DiagnosticStatus.WARN, health.unheard
    elif silent_s > INPUT_SILENT_S:
        level, message = DiagnosticStatus.WARN, f"no image for {silent_s:.0f} s"
    elif worrying:
        worst = max(worrying, key=health.refused_lately)
        level, message = DiagnosticStatus.WARN, f"{worst.value}: {worst.remedy}"
    elif status.depth.keyframes_without and not status.depth.keyframes:
        level, message = DiagnosticStatus.WARN, f"no depth could be used: {status.depth.last_miss}"
    elif health.lost > health.before.lost:
        level, message = (
            DiagnosticStatus.WARN,
            f"the middleware lost {health.lost - health.before.lost} camera messages lately: images may be larger than "
            "its shared memory holds, or the queue too short; start the camera's driver from the launch file that "
            "includes fsm.launch.py, after it, or with FASTRTPS_DEFAULT_PROFILES_FILE set to "
            "config/fastdds_large_images.xml, or publish reliably (docs/middleware.md)",
        )
    else:
        level, message = DiagnosticStatus.OK, "frames arrive"
    return _status(
        "input",
        level,
        message,
        {
            "frames_received": ledger.received,
            "frames_keyframed": ledger.keyframes,
            "frames_pending": ledger.pending,
            "frames_waiting": status.frames_waiting,
            "views_pending": status.views_pending,
            "seconds_since_frame": silent_s,
            "messages_lost": health.lost,
            "clock_jumps": status.clock_jumps,
            "calibrations_carried_on": status.calibrations_carried_on,
            "keyframes_with_depth": status.depth.keyframes,
            "keyframes_without_depth": status.depth.keyframes_without,
            "last_depth_miss": status.depth.last_miss,
            "last_refusal": status.last_refusal,
            **{f"refused.{reason.value}": count for reason, count in ledger.refused.items() if count},
        },
    )


def _tf(health: Health) -> DiagnosticStatus:
    received, refused = health.transforms
    status = health.input
    reasons = (Refusal.NO_TRANSFORM, Refusal.BAD_TRANSFORM)
    if received == 0:
        level, message = (
            DiagnosticStatus.ERROR,
            f"no transform yet: {health.tf_unheard or 'check that /tf and /tf_static are published'}",
        )
    elif health.tf_unheard:
        level, message = DiagnosticStatus.WARN, health.tf_unheard
    elif any(map(health.refused_lately, reasons)):
        level, message = DiagnosticStatus.WARN, status.last_tf_error
    elif status.jumps > health.before.jumps:
        level, message = DiagnosticStatus.WARN, f"the pose jumped: {status.last_jump}"
    else:
        level, message = DiagnosticStatus.OK, status.frame_hint or "poses are known"
    return _status(
        "tf",
        level,
        message,
        {
            "transforms_received": received,
            "transforms_refused": refused,
            "frames_without_transform": sum(health.ledger.refused.get(reason, 0) for reason in reasons),
            "pose_jumps": status.jumps,
            "last_jump": "" if status.last_jump is None else str(status.last_jump),
            "last_error": status.last_tf_error,
            "frame_hint": status.frame_hint,
        },
    )


def _memory(health: Health) -> DiagnosticStatus:
    report, engine = health.last_report, health.engine
    known = report if health.scene is None else health.scene
    if report is not None and report.failure is not None:
        level, message = DiagnosticStatus.ERROR, f"the last chunk was not observed: {report.failure.message}"
    elif known is None:
        level, message = DiagnosticStatus.WARN, "nothing observed yet"
    elif engine.chunks_dropped > health.before.chunks_dropped:
        level, message = (
            DiagnosticStatus.WARN,
            "chunks come faster than they are observed, the oldest are dropped",
        )
    else:
        level, message = DiagnosticStatus.OK, f"{known.chunks_observed} chunks observed"
    values: dict[str, object] = {
        "chunks_waiting": engine.chunks_waiting,
        "chunks_dropped": engine.chunks_dropped,
        "preview_difference": health.preview_difference,
    }
    if known is not None:
        values |= {
            "chunks_observed": known.chunks_observed,
            "views_observed": known.views_observed,
            "epoch": known.epoch,
            "submaps": _submaps(known),
        }
    if report is not None:
        values |= {
            "prediction_psnr": report.prediction_psnr,
            "retention_psnr": report.retention_psnr,
            "observe_time": report.observe_s,
            "state_size": report.state_bytes,
            "kept": report.kept,
        }
    return _status("memory", level, message, values)


def _device(health: Health) -> DiagnosticStatus:
    engine, device = health.engine, health.device
    if not engine.alive:
        level, message = DiagnosticStatus.ERROR, "the memory worker has ended"
    elif engine.busy_s > WORKER_STUCK_S:
        level, message = (
            DiagnosticStatus.WARN,
            f"the worker has been busy with one job for {engine.busy_s:.0f} s",
        )
    else:
        level, message = DiagnosticStatus.OK, str(device)
    values: dict[str, object] = {
        "device": str(device),
        "checkpoint": health.checkpoint,
        "busy_s": engine.busy_s,
    }
    if device.type == "cuda":
        values |= {
            "device_name": torch.cuda.get_device_name(device),
            "memory_allocated": torch.cuda.memory_allocated(device),
            "memory_reserved": torch.cuda.memory_reserved(device),
        }
    return _status("device", level, message, values)


def _name(health: Health) -> DiagnosticStatus:
    level = DiagnosticStatus.WARN if health.name_taken else DiagnosticStatus.OK
    return _status("name", level, health.name_taken or "no other node has this name", {})


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
