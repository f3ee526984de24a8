# SPDX-License-Identifier: Apache-2.0
"""Chunks of a small scene, and small spatial memories that observe them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_memory import assert_untouched, snapshot, tiny_model

from fsm_ros.memory.camera import Cameras
from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.memory.model import FsmModel
from fsm_ros.memory.views import Views
from fsm_ros.replay.demo.bag import DemoRobot, find_demo_world
from fsm_ros.spatial.results import FailureKind, ObserveReport, RequestFailedError
from fsm_ros.spatial.scene import Scene
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import Camera, PosedImage
from fsm_ros.stream.world import MemoryFrame

START_NS = 1_700_000_000_000_000_000
S = 10**9
SIZE = 16
CAMERA = Camera(SIZE, SIZE, 14.0, 14.0, 8.25, 7.75)
SMALL = MemorySettings(
    width=SIZE,
    height=SIZE,
    chunk_views=2,
    extent_m=2.0,
    horizon_s=100.0,
    reservoir=6,
    retention_views=2,
    window_chunks=2,
)


def at(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> NDArray[np.float64]:
    """A pose that looks along the world's z axis."""
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def looking(yaw_rad: float) -> NDArray[np.float64]:
    """A pose at the origin that looks to the right of the world's z axis by an angle."""
    pose = np.eye(4)
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    pose[:3, :3] = [[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]
    return pose


def a_frame(index: int, *, x: float | None = None, time_s: float | None = None, camera: Camera = CAMERA) -> PosedImage:
    """Frame of a camera that moves by a centimetre a second; every index has another image."""
    image = np.random.default_rng(index).integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
    stamp_ns = START_NS + round((0.5 * index if time_s is None else time_s) * S)
    return PosedImage(image, camera, at(0.005 * index if x is None else x), stamp_ns)


def a_chunk(
    index: int, *, views: int = 2, x: float | None = None, time_s: float | None = None, camera: Camera = CAMERA
) -> Chunk:
    """The index-th chunk of a stream; ``x`` and ``time_s`` put it elsewhere."""
    return Chunk(tuple(a_frame(views * index + i, x=x, time_s=time_s, camera=camera) for i in range(views)))


def a_turned_chunk(index: int, yaw_rad: float, *, time_s: float | None = None) -> Chunk:
    """The index-th chunk of a stream, seen from the origin in another direction."""
    frames = a_chunk(index, time_s=time_s).frames
    return Chunk(tuple(replace(frame, world_from_camera=looking(yaw_rad)) for frame in frames))


def small_memory(model: FsmModel | None = None, **changes: Any) -> SpatialMemory:  # noqa: ANN401
    """An empty memory of small views; ``changes`` are of its settings."""
    return SpatialMemory(tiny_model() if model is None else model, replace(SMALL, **changes))


def observe_all(memory: SpatialMemory, chunks: Sequence[Chunk]) -> list[ObserveReport]:
    """Observe chunk after chunk."""
    return [memory.observe(chunk) for chunk in chunks]


@contextmanager
def refused(kind: FailureKind) -> Iterator[pytest.ExceptionInfo[RequestFailedError]]:
    """What a memory is asked for in here is refused, and that is the reason."""
    with pytest.raises(RequestFailedError) as told:
        yield told
    assert told.value.failure.kind is kind, told.value


def scene_of(memory: SpatialMemory) -> Scene:
    """The scene of a memory that has observed something."""
    assert memory.scene is not None
    return memory.scene


def image_of(memory: SpatialMemory, **request: Any) -> NDArray[np.uint8]:  # noqa: ANN401
    """The image of a render."""
    return memory.render(**({"world_from_camera": at(0.01)} | request)).image


def views_of(frames: Sequence[PosedImage], frame: MemoryFrame) -> Views:
    """Frames as the model takes them."""
    camera = frames[0].camera
    images = torch.stack([torch.tensor(posed.image).permute(2, 0, 1) for posed in frames]).float() / 255
    return Views(
        images[None],
        Cameras(
            torch.tensor([[posed.camera.fxfycxcy.tolist() for posed in frames]]),
            torch.tensor([[frame.normalise_poses(posed.world_from_camera).tolist() for posed in frames]]),
            camera.height,
            camera.width,
        ),
        torch.tensor([[frame.normalise_time(posed.stamp_ns) for posed in frames]]),
    )


def saved(memory: SpatialMemory, path: Path) -> Path:
    """Saves; returns the path."""
    assert memory.save(path) == path.stat().st_size
    return path


def loaded(memory: SpatialMemory, path: Path) -> Scene:
    """Loads; returns the scene."""
    scene = memory.load(path)
    assert memory.scene is scene
    return scene


def refusal(memory: SpatialMemory, path: Path) -> str:
    """Loading fails, says so, and leaves the memory alone; returns the message."""
    before = memory.scene
    weights = [] if before is None else [snapshot(submap.state) for submap in before.atlas.submaps]
    with refused(FailureKind.FILE) as told:
        memory.load(path)
    assert memory.scene is before
    if before is not None:
        for submap, kept in zip(before.atlas.submaps, weights, strict=True):
            assert_untouched(submap.state, kept)
    return str(told.value)


def report_values(report: ObserveReport) -> dict[str, Any]:
    """A report without what no two runs share: its duration, and the identity of its frames."""
    values = {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}
    return {name: value for name, value in values.items() if name not in ("observe_s", "chunk", "keyframes")}


@cache
def shipped_model() -> FsmModel:
    """The shipped weights."""
    return load_checkpoint("shipped").build()


@cache
def room_views(count: int, duration_s: float = 10.0) -> tuple[PosedImage, ...]:
    """Pinhole views of the demo's room, 64x64, evenly over the drive."""
    robot = DemoRobot(duration_s)
    room = find_demo_world(0, robot, duration_s)
    camera = Camera(64, 64, 50.0, 50.0, 32.0, 32.0)
    times_s = np.linspace(0.0, duration_s, count)
    poses = np.stack([robot.map_from_camera(time_s) for time_s in times_s])
    seen = zip(room.render(camera, poses, times_s), poses, times_s, strict=True)
    return tuple(PosedImage(image, camera, pose, START_NS + round(time_s * S)) for image, pose, time_s in seen)
