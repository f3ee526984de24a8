# SPDX-License-Identifier: Apache-2.0
"""What the managed node is made of, from one transition to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rclpy.timer import Timer

from fsm_ros.configuration.settings import Settings
from fsm_ros.engine import MemoryEngine
from fsm_ros.node.cameras import CameraSubscriptions
from fsm_ros.node.delivery import Delivery
from fsm_ros.node.diagnostics import RecentTroubles
from fsm_ros.node.gate import ViewGate
from fsm_ros.node.ingest import Ingest
from fsm_ros.node.memory_services import MemoryServices
from fsm_ros.node.outputs import Outputs
from fsm_ros.node.poses import PoseSource
from fsm_ros.node.preview import PreviewServer
from fsm_ros.node.recall import RecallServer
from fsm_ros.node.requests import Bridge
from fsm_ros.node.surfaces import SurfaceServer
from fsm_ros.node.viewing import NodeSubject
from fsm_ros.node.views import ViewServer
from fsm_ros.stream.ledger import FrameLedger

if TYPE_CHECKING:
    from fsm_ros.viewer.viewer import Viewer


@dataclass(frozen=True)
class Configured:
    """What lives from configure to cleanup."""

    settings: Settings
    engine: MemoryEngine
    ledger: FrameLedger
    out: Outputs
    view_frame: str
    bridge: Bridge
    gate: ViewGate
    views: ViewServer
    recall: RecallServer
    services: MemoryServices
    surfaces: SurfaceServer
    preview: PreviewServer
    subject: NodeSubject
    viewer: Viewer | None


@dataclass(frozen=True)
class Active:
    """What lives from activate to deactivate."""

    poses: PoseSource
    ingest: Ingest
    cameras: CameraSubscriptions
    delivery: Delivery
    tf_delivery: Delivery
    troubles: RecentTroubles
    timers: tuple[Timer, ...]
