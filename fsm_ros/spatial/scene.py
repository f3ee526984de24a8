"""Scene: all that has been observed, as a value; and how it is kept in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from fsm_ros.memory.state import MemoryFileError, MemoryState, SavedMemory, load_memory, save_memory
from fsm_ros.spatial.results import Failure, FailureKind, ObserveReport
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import Camera, PosedImage
from fsm_ros.stream.world import MemoryFrame

T = TypeVar("T")


@dataclass(frozen=True)
class Scene:
    """All that has been observed, as a value.

    Attributes:
        state: the fast weights.
        frame: where and when they live.
        newest_ns: newest observed moment.
        camera: intrinsics of the newest observed view: the live camera at the memory's resolution.
        epoch: how often the frame was laid anew since the last reset.
        chunks_observed: since the last reset.
        views_observed: since the last reset.
        window: the last chunks (windowed mode).
    """

    state: MemoryState
    frame: MemoryFrame
    newest_ns: int
    camera: Camera
    epoch: int = 0
    chunks_observed: int = 0
    views_observed: int = 0
    window: tuple[Chunk, ...] = ()


def failed_report(chunk: Chunk, scene: Scene | None, failure: Failure) -> ObserveReport:
    """The report on a chunk that could not be observed into a scene."""
    return ObserveReport(
        chunk=chunk,
        failure=failure,
        epoch=scene.epoch if scene else 0,
        epoch_began=None,
        chunks_observed=scene.chunks_observed if scene else 0,
        views_observed=scene.views_observed if scene else 0,
    )


def save_scene(
    path: Path, scene: Scene, reservoir: Sequence[PosedImage], settings: MemorySettings, fingerprint: str
) -> int | Failure:
    """Write a scene and its remembered keyframes into a file, atomically.

    Args:
        path: where; missing folders are made.
        scene: what to write.
        reservoir: the remembered old keyframes.
        settings: what it was observed with.
        fingerprint: of the model.

    Returns:
        Bytes written, or why it could not be.
    """
    window = [frame for chunk in scene.window for frame in chunk.frames]
    notes = {
        "frame": scene.frame.to_dict(),
        "newest_ns": scene.newest_ns,
        "epoch": scene.epoch,
        "chunks_observed": scene.chunks_observed,
        "views_observed": scene.views_observed,
        "camera": {name: getattr(scene.camera, name) for name in ("width", "height", "fx", "fy", "cx", "cy")},
        "mode": settings.mode.value,
        "elastic": settings.rule is not None,
        "window_chunks": [len(chunk.frames) for chunk in scene.window],
    }
    attachments = _pack("reservoir", reservoir) | _pack("window", window)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return save_memory(path, SavedMemory(scene.state, notes, attachments), fingerprint)
    except OSError as error:
        return Failure(FailureKind.FILE, f"{path} could not be written: {error}")


def load_scene(
    path: Path, like: MemoryState, settings: MemorySettings, fingerprint: str
) -> tuple[Scene, tuple[PosedImage, ...]] | Failure:
    """Read what :func:`save_scene` wrote.

    Args:
        path: the file.
        like: any state of the model.
        settings: what the scene is to go on with. Where it was written without an elastic prior and is to go on with
            one, it is anchored where its weights are.
        fingerprint: of the model.

    Returns:
        The scene and its remembered keyframes, or why they could not be read.
    """
    try:
        saved = load_memory(path, like, fingerprint)
        notes = dict(saved.notes)
        if notes["mode"] != settings.mode.value:
            return Failure(
                FailureKind.FILE,
                f"{path} was saved in the {notes['mode']} memory mode, this memory runs {settings.mode.value}: set "
                "memory.mode accordingly",
            )
        camera = Camera(**_as(dict, notes["camera"]))
        if (camera.width, camera.height) != (settings.width, settings.height):
            return Failure(
                FailureKind.FILE,
                f"{path} holds views of {camera.width}x{camera.height} pixels, this memory observes "
                f"{settings.width}x{settings.height}: set memory.width and memory.height accordingly",
            )
        anchored = _as(bool, notes["elastic"]) or settings.rule is None
        frames = list(_unpack("window", saved.attachments))
        window = []
        for length in _as(list, notes["window_chunks"]):
            window.append(Chunk(tuple(frames[:length])))
            del frames[:length]
        scene = Scene(
            state=saved.state if anchored else saved.state.reanchored(),
            frame=MemoryFrame.from_dict(_as(dict, notes["frame"])),
            newest_ns=_as(int, notes["newest_ns"]),
            camera=camera,
            epoch=_as(int, notes["epoch"]),
            chunks_observed=_as(int, notes["chunks_observed"]),
            views_observed=_as(int, notes["views_observed"]),
            window=tuple(window),
        )
        return scene, _unpack("reservoir", saved.attachments)
    except MemoryFileError as error:
        return Failure(FailureKind.FILE, str(error))
    except (KeyError, TypeError, ValueError) as error:
        return Failure(FailureKind.FILE, f"{path} is not a memory of this version: {error}")


def _pack(prefix: str, frames: Sequence[PosedImage]) -> dict[str, Tensor]:
    """Tensors that hold frames of one size, undistorted; the sources' names are not kept. No frames, no tensors."""
    if not frames:
        return {}
    return {
        f"{prefix}.images": torch.stack([torch.from_numpy(frame.image.copy()) for frame in frames]),
        f"{prefix}.fxfycxcy": torch.stack([torch.from_numpy(frame.camera.fxfycxcy) for frame in frames]),
        f"{prefix}.poses": torch.stack([torch.from_numpy(frame.world_from_camera.copy()) for frame in frames]),
        f"{prefix}.stamps_ns": torch.tensor([frame.stamp_ns for frame in frames], dtype=torch.int64),
    }


def _unpack(prefix: str, tensors: Mapping[str, Tensor]) -> tuple[PosedImage, ...]:
    """The frames that :func:`_pack` packed.

    Raises:
        KeyError: a part is missing.
        ValueError: parts that do not make a frame.
    """
    if f"{prefix}.images" not in tensors:
        return ()
    images = tensors[f"{prefix}.images"].numpy()
    intrinsics = tensors[f"{prefix}.fxfycxcy"].tolist()
    poses = tensors[f"{prefix}.poses"].numpy()
    stamps = tensors[f"{prefix}.stamps_ns"].tolist()
    height, width = images.shape[1:3]
    return tuple(
        PosedImage(image, Camera(width, height, *numbers), pose, stamp)
        for image, numbers, pose, stamp in zip(images, intrinsics, poses, stamps, strict=True)
    )


def _as(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, found {type(value).__name__}")
    return value
