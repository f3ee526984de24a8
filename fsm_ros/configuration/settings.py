# SPDX-License-Identifier: Apache-2.0
"""All settings of a node: those of its parts, and those that are its own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fsm_ros.configuration.viewer import ViewerSettings
from fsm_ros.memory.precision import MuonPrecision, Precision
from fsm_ros.parameter import Checked, parameter
from fsm_ros.sources.taking import FrameTaker
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.stream.intake import Intake, IntakeSettings
from fsm_ros.surface.settings import SurfaceSettings


class Transport(Enum):
    """Which image topic of a camera is subscribed to."""

    AUTO = "auto"
    """Both, until one delivers; then that one."""
    RAW = "raw"
    COMPRESSED = "compressed"


class DepthUse(Enum):
    """Whether depth cameras are listened to."""

    AUTO = "auto"
    """Where there is one."""
    OFF = "off"


class Reliability(Enum):
    """What is asked of the image publishers."""

    BEST_EFFORT = "best_effort"
    """Sensor-data QoS: receives from best-effort and from reliable publishers, and may lose frames."""
    RELIABLE = "reliable"
    """Loses none, but hears reliable publishers only: for replaying bags."""


@dataclass(frozen=True)
class NodeSettings(Checked):
    """How a node starts, and what it calls its world."""

    autostart: bool = parameter(
        True, "autostart", "Configure and activate at start. Set to false where a lifecycle manager does it."
    )
    storage_dir: str = parameter(
        "~/.ros/fsm",
        "storage_dir",
        "Folder that save_memory writes to and load_memory reads from; where the node has a namespace, that below it.",
    )
    memory_frame: str = parameter(
        "map",
        "memory.frame_id",
        "TF frame the memory lives in. Use odom where map jumps at loop closures (REP-105).",
    )


@dataclass(frozen=True)
class ModelSettings(Checked):
    """Which weights, on what they run, and in which arithmetic."""

    checkpoint: str = parameter(
        "shipped",
        "model.checkpoint",
        "Weights: 'shipped', a .safetensors file, a checkpoint of the FSM release (.pt), or "
        "hf://owner/repository/file[@revision].",
    )
    device: str = parameter("auto", "model.device", "'auto' (CUDA where there is one), 'cpu', 'cuda' or 'cuda:N'.")
    precision: Precision = parameter(
        Precision.BF16, "model.precision", "Arithmetic of the model on CUDA; a CPU computes in fp32."
    )
    muon_precision: MuonPrecision = parameter(
        MuonPrecision.FP32,
        "model.muon_precision",
        "Arithmetic of the Newton-Schulz iteration; the release trains and runs it in bf16.",
    )
    threads: int = parameter(0, "model.threads", "CPU threads of the model; 0: PyTorch's own choice.", low=0, high=256)
    recall_checkpoint: str = parameter(
        "shipped", "recall.checkpoint", "Weights of recall: 'shipped', or a .safetensors file."
    )


@dataclass(frozen=True)
class InputSettings(Checked):
    """What is listened to, how long it is waited for, and what becomes of it."""

    cameras: tuple[str, ...] = parameter(
        ("",),
        "cameras",
        "Cameras by name: each subscribes below NAME/ (NAME/image_raw, NAME/camera_info); the empty name is image_raw.",
    )
    transport: Transport = parameter(Transport.AUTO, "input.transport", "Which image topic to use.")
    reliability: Reliability = parameter(
        Reliability.BEST_EFFORT,
        "input.reliability",
        "QoS of the camera subscriptions; reliable loses no frame of a replayed bag, but hears no best-effort camera.",
    )
    queue_size: int = parameter(
        30,
        "input.queue_size",
        "Frames that may wait for camera_info and TF; the oldest is dropped.",
        "frames",
        1,
        10_000,
    )
    info_timeout_s: float = parameter(
        0.5,
        "input.info_timeout",
        "How long a frame waits for the camera_info of its stamp, before the latest there is holds on, and for depth.",
        "s",
        0.0,
        60.0,
    )
    depth: DepthUse = parameter(
        DepthUse.AUTO,
        "input.depth",
        "auto keeps what a camera's depth camera measures with its photographs, where somebody publishes "
        "NAME/depth/image_rect_raw (REP-118) and its camera_info; off listens to none.",
    )
    depth_tolerance_s: float = parameter(
        0.05, "input.depth_tolerance", "A depth image is of the frame that is no further away in time.", "s", 0.0, 10.0
    )
    intake: IntakeSettings = IntakeSettings()
    rectified: bool = parameter(
        False, "input.rectified", "The images are rectified already: use P of camera_info, without distortion."
    )
    tf_timeout_s: float = parameter(
        0.5, "tf.timeout", "How long a frame waits for the transform at its stamp.", "s", 0.0, 60.0
    )
    tf_cache_s: float = parameter(10.0, "tf.cache", "How long transforms are kept.", "s", 0.1, 3600.0)


@dataclass(frozen=True)
class ServingSettings(Checked):
    """How much waits for the device and how long, and what is published."""

    chunk_queue_size: int = parameter(
        4, "chunk.queue_size", "Chunks that may wait for the device; the oldest is dropped.", "chunks", 1, 1000
    )
    render_timeout_s: float = parameter(
        5.0,
        "render.timeout",
        "A request that waits longer for the device is answered with a failure.",
        "s",
        0.01,
        3600.0,
    )
    render_frame: str = parameter(
        "fsm_rendered_optical_frame",
        "render.frame_id",
        "TF frame of rendered images, below the node's namespace unless it begins with a slash.",
    )
    publish_tf: bool = parameter(
        True, "render.publish_tf", "Publish where a view was rendered from on /tf, as its frame."
    )
    preview_rate_hz: float = parameter(
        0.0,
        "preview.rate",
        "Views a second at most of what the memory shows where the camera is now, and of its difference to what the "
        "camera sees; 0: none.",
        "Hz",
        0.0,
        100.0,
    )
    surfaces: SurfaceSettings = SurfaceSettings()
    viewer: ViewerSettings = ViewerSettings()
    diagnostics_period_s: float = parameter(
        1.0, "diagnostics.period", "Seconds between messages on /diagnostics.", "s", 0.05, 3600.0
    )


@dataclass(frozen=True)
class Settings(Checked):
    """All settings of a node, and through their fields all its parameters.

    Attributes:
        node: its start, its folder and its frame.
        model: the weights.
        memory: how it is kept.
        input: the cameras and their stream.
        serving: queues, views and diagnostics.
    """

    node: NodeSettings = NodeSettings()
    model: ModelSettings = ModelSettings()
    memory: MemorySettings = MemorySettings()
    input: InputSettings = InputSettings()
    serving: ServingSettings = ServingSettings()

    def new_intake(self) -> Intake:
        """What cuts the stream into the chunks that the memory takes."""
        memory = self.memory
        return Intake(
            self.input.intake, memory.width, memory.height, memory.chunk_views, memory.keyframes.photograph_size
        )

    def new_taker(self) -> FrameTaker:
        """What takes frames that are at hand: those of a recording, or arrays."""
        uses_depth = self.input.depth is DepthUse.AUTO
        return FrameTaker(self.new_intake(), self.input.depth_tolerance_s if uses_depth else None)
