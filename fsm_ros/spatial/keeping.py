# SPDX-License-Identifier: Apache-2.0
"""Which photographs of a chunk are kept, and about how far away what they show is."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from fsm_ros.memory.model import FsmModel
from fsm_ros.recall.choose import COLUMNS, ROWS
from fsm_ros.recall.keyframes import Keyframe, KeyframeStore
from fsm_ros.recall.measuring import measured
from fsm_ros.spatial.scene import Scene
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.spatial.tensors import cameras_of, times_of
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import Photograph


def kept_after(model: FsmModel, settings: MemorySettings, scene: Scene, chunk: Chunk) -> KeyframeStore:
    """The kept photographs after a chunk that the scene has observed."""
    new = []
    for frame, depth_m in zip(chunk.frames, _depths(model, settings, scene, chunk), strict=True):
        photograph = frame.photograph or Photograph(frame.image, frame.camera)
        lens, pose = photograph.camera.fxfycxcy, frame.world_from_camera
        keyframe = Keyframe(0, photograph.image, lens, pose, frame.stamp_ns, frame.source, depth_m)
        new.append(keyframe if photograph.depth_m is None else measured(keyframe, photograph.depth_m))
    return scene.keyframes.offered(new, settings.keyframes)


def _depths(model: FsmModel, settings: MemorySettings, scene: Scene, chunk: Chunk) -> list[NDArray[np.float32] | None]:
    """About how far away each frame's surroundings are, at the points of a keyframe; as far as anything tells."""
    if not (model.config.geometry and settings.keyframes.count):
        return [None] * len(chunk.frames)
    first = chunk.frames[0].photograph or chunk.frames[0]
    # The shape of the photographs, at the number of tokens that the weights know.
    patch, area = model.config.patch_size, settings.width * settings.height
    shrink = math.sqrt(area / (first.camera.width * first.camera.height))
    width, height = (max(1, round(side * shrink / patch)) * patch for side in (first.camera.width, first.camera.height))
    lenses = []
    for frame in chunk.frames:
        camera = (frame.photograph or frame).camera
        lenses.append(camera.fxfycxcy * np.array([width / camera.width, height / camera.height] * 2))
    cameras = cameras_of(
        scene.frame,
        np.stack([frame.world_from_camera for frame in chunk.frames]),
        np.stack(lenses),
        height=height,
        width=width,
        device=model.device,
    )
    times = times_of(scene.frame, [frame.stamp_ns for frame in chunk.frames], model.device)
    # Of the submap that has just observed them, whichever is nearest.
    geometry = model.render_all(scene.atlas.state, cameras, times).geometry
    if geometry is None:
        return [None] * len(chunk.frames)
    grid = torch.nn.functional.interpolate(geometry.log_inverse_depth, (ROWS, COLUMNS), mode="bilinear")[0]
    return list((scene.frame.extent_m * (-grid).exp()).float().cpu().numpy())
