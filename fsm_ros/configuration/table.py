"""Every parameter of the node, declared once: name, default, range, unit, description.

The table makes the declarations, the settings of the parts, ``config/fsm.yaml`` and the reference in the README.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from fsm_ros.configuration.spec import Spec, words
from fsm_ros.memory.consolidation import ChunkShare, Consolidation
from fsm_ros.memory.elastic import (
    AnchorPolicy,
    AnchorSharing,
    ElasticRule,
    Importance,
    ImportanceScale,
    ImportanceTiming,
)
from fsm_ros.memory.model import MuonPrecision, Precision
from fsm_ros.memory.rules import RuleKind
from fsm_ros.spatial.settings import PLASTIC, MemoryMode, MemorySettings, RenderMethod, RenderResolution, rule_name
from fsm_ros.stream.keyframes import KeyframePolicy
from fsm_ros.stream.world import LEAST_EXTENT_M


class RuleChoice(Enum):
    """How chunks are written, as it is asked for."""

    CONSOLIDATION = RuleKind.CONSOLIDATION.value
    ELASTIC = RuleKind.ELASTIC.value
    PLASTIC = PLASTIC
    """Plain LaCT."""


class Transport(Enum):
    """Which image topic of a camera is subscribed to."""

    AUTO = "auto"
    """Both, until one delivers; then that one."""
    RAW = "raw"
    COMPRESSED = "compressed"


class Reliability(Enum):
    """What is asked of the image publishers."""

    BEST_EFFORT = "best_effort"
    """Sensor-data QoS: receives from best-effort and from reliable publishers, and may lose frames."""
    RELIABLE = "reliable"
    """Loses none, but hears reliable publishers only: for replaying bags."""


_DAY_S = 86_400.0
_MEMORY = MemorySettings()
_ELASTIC = ElasticRule()
_CONSOLIDATION = Consolidation()
_KEYFRAMES = KeyframePolicy()

PARAMETERS: tuple[Spec, ...] = (
    Spec(
        "autostart",
        True,
        "Configure and activate at start. Set to false where a lifecycle manager does it.",
    ),
    Spec("storage_dir", "~/.ros/fsm", "Folder that save_memory writes to and load_memory reads from."),
    Spec(
        "model.checkpoint",
        "shipped",
        "Weights: 'shipped', a .safetensors file, a checkpoint of the FSM release (.pt), or "
        "hf://owner/repository/file[@revision].",
    ),
    Spec("model.device", "auto", "'auto' (CUDA where there is one), 'cpu', 'cuda' or 'cuda:N'."),
    Spec(
        "model.precision",
        "bf16",
        "Arithmetic of the model on CUDA; a CPU computes in fp32.",
        choices=words(Precision),
    ),
    Spec(
        "model.muon_precision",
        "fp32",
        "Arithmetic of the Newton-Schulz iteration; the release trains and runs it in bf16.",
        choices=words(MuonPrecision),
    ),
    Spec("model.threads", 0, "CPU threads of the model; 0: PyTorch's own choice.", low=0, high=256),
    Spec(
        "memory.frame_id",
        "map",
        "TF frame the memory lives in. Use odom where map jumps at loop closures (REP-105).",
    ),
    Spec(
        "memory.mode",
        _MEMORY.mode.value,
        "streaming carries the fast weights on from chunk to chunk; windowed encodes the last memory.window_chunks "
        "chunks again, in the order of the release.",
        choices=words(MemoryMode),
    ),
    Spec("memory.window_chunks", _MEMORY.window_chunks, "Chunks that the windowed mode encodes again.", low=1, high=64),
    Spec("memory.width", _MEMORY.width, "Columns of the observed views; a multiple of the patch.", "px", 8, 1024),
    Spec("memory.height", _MEMORY.height, "Rows of the observed views; a multiple of the patch.", "px", 8, 1024),
    Spec(
        "memory.extent",
        _MEMORY.extent_m,
        "Metres per unit of the model's frame, in which cameras should stay within about one unit of the first chunk. "
        f"0: memory.extent_margin times the spread of the first chunk, {LEAST_EXTENT_M:g} m at least, and doubled when "
        "a camera leaves it.",
        "m",
        0.0,
        10_000.0,
    ),
    Spec(
        "memory.extent_margin",
        _MEMORY.extent_margin,
        "Automatic extent over the spread of the first chunk.",
        "",
        1.0,
        1000.0,
    ),
    Spec(
        "memory.horizon",
        _MEMORY.horizon_s,
        "Seconds that the model's time axis spans. When it ends, a new epoch begins from the remembered keyframes.",
        "s",
        0.1,
        _DAY_S,
    ),
    Spec(
        "memory.reservoir",
        _MEMORY.reservoir,
        "Old keyframes that are remembered as images, sampled uniformly.",
        "",
        1,
        4096,
    ),
    Spec(
        "memory.retention_views",
        _MEMORY.retention_views,
        "How many of them are rendered after each chunk; 0: none.",
        "",
        0,
        256,
    ),
    Spec(
        "memory.measure_prediction",
        _MEMORY.measure_prediction,
        "Render each chunk's own views before it is observed, and publish the PSNR.",
    ),
    Spec("memory.seed", _MEMORY.seed, "Seed of the reservoir.", "", 0, 2**31 - 1),
    Spec(
        "memory.rule",
        rule_name(_MEMORY.rule),
        "How a chunk is written: consolidation together with all that came before it (ours), elastic under the elastic "
        "prior (published), plastic as LaCT does. Weights of the FSM release want elastic, and memory.places 1.",
        choices=words(RuleChoice),
        at_run_time=True,
    ),
    Spec(
        "memory.places",
        _MEMORY.atlas.places,
        "Streaming mode: at most so many memories, each for where the camera was (ours). 1: one for everywhere "
        "(published).",
        "",
        1,
        64,
    ),
    Spec(
        "memory.place_distance",
        _MEMORY.atlas.apart,
        "A chunk nearer to a place than this is written there: units of the model's frame for the position and radians "
        "for the direction, root of the sum of squares.",
        "",
        0.0,
        10.0,
    ),
    Spec(
        "consolidation.share",
        _CONSOLIDATION.share.value,
        "With memory.rule consolidation (ours): what a chunk counts. equal: as much as any other; by_tokens: what its "
        "tokens ask for.",
        choices=words(ChunkShare),
        at_run_time=True,
    ),
    Spec(
        "consolidation.retention",
        _CONSOLIDATION.retention,
        "With memory.rule consolidation (ours): share of what earlier chunks count that a chunk keeps; 1: none fades.",
        "",
        0.0,
        1.0,
        at_run_time=True,
    ),
    Spec(
        "elastic.importance",
        _ELASTIC.importance.value,
        "With memory.rule elastic: Fisher importance estimate; uniform: every weight the same (ours, the others are "
        "published).",
        choices=words(Importance),
        at_run_time=True,
    ),
    Spec(
        "elastic.anchor",
        _ELASTIC.anchor.value,
        "With memory.rule elastic: what the fast weights are pulled towards.",
        choices=words(AnchorPolicy),
        at_run_time=True,
    ),
    Spec(
        "elastic.strength",
        _ELASTIC.strength,
        "With memory.rule elastic: strength of the pull (lambda).",
        "",
        0.0,
        1000.0,
        at_run_time=True,
    ),
    Spec(
        "elastic.importance_decay",
        _ELASTIC.importance_decay,
        "With memory.rule elastic: share of the old importance that a chunk keeps (alpha).",
        "",
        0.0,
        1.0,
        at_run_time=True,
    ),
    Spec(
        "elastic.anchor_decay",
        _ELASTIC.anchor_decay,
        "With memory.rule elastic: share of the old anchor that a chunk keeps (beta), with streaming_ema.",
        "",
        0.0,
        1.0,
        at_run_time=True,
    ),
    Spec(
        "elastic.timing",
        _ELASTIC.timing.value,
        "With memory.rule elastic: which importance weighs the pull, after this chunk's update has gone into it "
        "(published) or from before (ours).",
        choices=words(ImportanceTiming),
        at_run_time=True,
    ),
    Spec(
        "elastic.scale",
        _ELASTIC.scale.value,
        "With memory.rule elastic: importance as it is (raw: published), or over its mean in each matrix of each head "
        "(per_head: ours).",
        choices=words(ImportanceScale),
        at_run_time=True,
    ),
    Spec(
        "memory.anchor_sharing",
        _MEMORY.sharing.value,
        "shared hands one anchor from layer to layer as the release does; windowed mode and memory.rule elastic only.",
        choices=words(AnchorSharing),
    ),
    Spec(
        "recall.checkpoint",
        "shipped",
        "Weights of recall: 'shipped', or a .safetensors file.",
    ),
    Spec(
        "recall.keyframes",
        _MEMORY.keyframes.count,
        "Photographs that are kept, those that together cover most of what was seen; 0: none, views come from the fast "
        "weights alone.",
        "",
        0,
        4096,
    ),
    Spec("recall.bytes", _MEMORY.keyframes.size_bytes, "Bytes that they may take together.", "B", 0, 2**40),
    Spec("recall.width", 320, "Columns of a kept photograph at most; none is enlarged.", "px", 8, 4096),
    Spec("recall.height", 240, "Rows of a kept photograph at most.", "px", 8, 4096),
    Spec(
        "recall.photographs",
        _MEMORY.photographs,
        "Kept photographs that one view is recalled from, at most; the shipped weights were trained on 4.",
        "",
        1,
        5,
    ),
    Spec(
        "cameras",
        [""],
        "Cameras by name: each subscribes below NAME/ (NAME/image_raw, NAME/camera_info); the empty name is image_raw.",
    ),
    Spec("input.transport", Transport.AUTO.value, "Which image topic to use.", choices=words(Transport)),
    Spec(
        "input.reliability",
        Reliability.BEST_EFFORT.value,
        "QoS of the camera subscriptions; reliable loses no frame of a replayed bag, but hears no best-effort camera.",
        choices=words(Reliability),
    ),
    Spec(
        "input.queue_size",
        30,
        "Frames that may wait for camera_info and TF; the oldest is dropped.",
        "frames",
        1,
        10_000,
    ),
    Spec(
        "input.info_timeout",
        0.5,
        "How long a frame waits for the camera_info of its stamp, before the latest there is holds on.",
        "s",
        0.0,
        60.0,
    ),
    Spec(
        "input.max_future",
        1.0,
        "Frames stamped further ahead of the node's clock are refused.",
        "s",
        0.0,
        _DAY_S,
    ),
    Spec(
        "input.rectified",
        False,
        "The images are rectified already: use P of camera_info, without distortion.",
    ),
    Spec("tf.timeout", 0.5, "How long a frame waits for the transform at its stamp.", "s", 0.0, 60.0),
    Spec("tf.cache", 10.0, "How long transforms are kept.", "s", 0.1, 3600.0),
    Spec(
        "keyframes.translation",
        _KEYFRAMES.translation_m,
        "A camera that moved this far is worth a keyframe.",
        "m",
        0.0,
        1000.0,
    ),
    Spec(
        "keyframes.rotation",
        _KEYFRAMES.rotation_rad,
        "A camera that turned this far is worth a keyframe.",
        "rad",
        0.0,
        3.2,
    ),
    Spec(
        "keyframes.interval", _KEYFRAMES.interval_s, "A moving camera is worth a keyframe this often.", "s", 0.0, _DAY_S
    ),
    Spec(
        "keyframes.min_interval", _KEYFRAMES.min_interval_s, "Keyframes never come faster than this.", "s", 0.0, _DAY_S
    ),
    Spec(
        "keyframes.static_interval",
        _KEYFRAMES.static_interval_s,
        "A standing camera is worth a keyframe this often, so that moving things are seen; 0: never.",
        "s",
        0.0,
        _DAY_S,
    ),
    Spec(
        "keyframes.max_speed",
        20.0,
        "A pose that moves faster between two frames has jumped (a map correction): it is reported.",
        "m/s",
        0.01,
        1000.0,
    ),
    Spec(
        "keyframes.max_turn",
        12.6,
        "A pose that turns faster between two frames has jumped.",
        "rad/s",
        0.01,
        1000.0,
    ),
    Spec(
        "chunk.views",
        _MEMORY.chunk_views,
        "Keyframes of a chunk; the shipped weights were trained on 4.",
        "frames",
        1,
        256,
    ),
    Spec("chunk.timeout", 5.0, "A partial chunk is written after this long; 0: never.", "s", 0.0, _DAY_S),
    Spec(
        "chunk.queue_size",
        4,
        "Chunks that may wait for the device; the oldest is dropped.",
        "chunks",
        1,
        1000,
    ),
    Spec("render.max_pixels", _MEMORY.max_pixels, "The largest view that is rendered.", "px", 64, 67_108_864),
    Spec(
        "render.timeout",
        5.0,
        "A request that waits longer for the device is answered with a failure.",
        "s",
        0.01,
        3600.0,
    ),
    Spec(
        "render.method",
        _MEMORY.method.value,
        "recall: from kept photographs, placed by what the fast weights know, and from the fast weights where no "
        "photograph saw anything; memory: from the fast weights alone. A request may ask for either.",
        choices=words(RenderMethod),
    ),
    Spec(
        "render.resolution",
        _MEMORY.render_resolution.value,
        "memory renders large views at about the observed size and resamples them; request renders at the wanted size.",
        choices=words(RenderResolution),
    ),
    Spec(
        "render.frame_id",
        "fsm_rendered_optical_frame",
        "TF frame of rendered images; its transform is published with each.",
    ),
    Spec("diagnostics.period", 1.0, "Seconds between messages on /diagnostics.", "s", 0.05, 3600.0),
)
BY_NAME: Mapping[str, Spec] = {spec.name: spec for spec in PARAMETERS}
