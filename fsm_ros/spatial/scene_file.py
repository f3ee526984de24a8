# SPDX-License-Identifier: Apache-2.0
"""A scene in a file: written whole or not at all, and read with everything checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from fsm_ros.memory.atlas import ADDRESS, Atlas, Submap
from fsm_ros.memory.fast_weights import FastWeights
from fsm_ros.memory.rules.naming import keep_alike, rule_as_plain, rule_from
from fsm_ros.memory.state import (
    MemoryFileError,
    MemoryState,
    SavedMemory,
    load_memory,
    save_memory,
    state_from_tensors,
)
from fsm_ros.recall.keyframes import KeyframeStore
from fsm_ros.spatial.keyframe_file import pack_keyframes, unpack_keyframes
from fsm_ros.spatial.results import FailureKind, RequestFailedError
from fsm_ros.spatial.scene import Scene
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.stream.chunker import Chunk
from fsm_ros.stream.frame import Camera, PosedImage
from fsm_ros.stream.world import MemoryFrame

NOTES_VERSION = 3
"""Of what is kept beside the weights. 1, which had no number yet, knew one submap only; 2 kept no photographs."""
READABLE_VERSIONS = (2, 3)
_SHARED_PARTS = (".anchor.", ".importance.")
T = TypeVar("T")


def save_scene(
    path: Path, scene: Scene, reservoir: Sequence[PosedImage], settings: MemorySettings, fingerprint: str
) -> int:
    """Write a scene and its remembered keyframes into a file, atomically.

    Args:
        path: where; missing folders are made.
        scene: what to write.
        reservoir: the remembered old keyframes.
        settings: what it was observed with.
        fingerprint: of the model.

    Returns:
        Bytes written.

    Raises:
        RequestFailedError: it could not be written.
    """
    window = [frame for chunk in scene.window for frame in chunk.frames]
    keyframes, photographs = pack_keyframes(scene.keyframes)
    notes = {
        "version": NOTES_VERSION,
        "frame": scene.frame.to_dict(),
        "newest_ns": scene.newest_ns,
        "epoch": scene.epoch,
        "chunks_observed": scene.chunks_observed,
        "views_observed": scene.views_observed,
        "camera": {name: getattr(scene.camera, name) for name in ("width", "height", "fx", "fy", "cx", "cy")},
        "mode": settings.mode.value,
        "rule": rule_as_plain(settings.rule),
        "places": [_note_on(submap) for submap in scene.atlas.submaps],
        "newest_place": scene.atlas.newest,
        "window_chunks": [len(chunk.frames) for chunk in scene.window],
        "keyframes": keyframes,
    }
    attachments = photographs | _pack_submaps(scene.atlas) | _pack("reservoir", reservoir) | _pack("window", window)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return save_memory(path, SavedMemory(scene.state, notes, attachments), fingerprint)
    except OSError as error:
        raise RequestFailedError(FailureKind.FILE, f"{path} could not be written: {error}") from error


def load_scene(
    path: Path, blank: MemoryState, settings: MemorySettings, fingerprint: str
) -> tuple[Scene, tuple[PosedImage, ...]]:
    """Read what :func:`save_scene` wrote.

    Args:
        path: the file.
        blank: what submaps of this memory begin as.
        settings: what the scene is to go on with. Where it was written under a rule that keeps something else in
            it, every submap is anchored where its weights are.
        fingerprint: of the model.

    Returns:
        The scene and its remembered keyframes.

    Raises:
        RequestFailedError: they could not be read, or do not go with the settings or the model.
    """
    try:
        saved = load_memory(path, blank, fingerprint)
        notes = dict(saved.notes)
        if notes.get("version", 1) not in READABLE_VERSIONS:
            raise MemoryFileError(
                f"{path} is not a memory of this version: its notes are of version {notes.get('version', 1)}, expected "
                f"{' or '.join(map(str, READABLE_VERSIONS))}: load it with the fsm_ros that saved it, or observe the "
                "scene anew"
            )
        camera = Camera(**_as(dict, notes["camera"]))
        _check_settings(path, notes, camera, settings)
        frames = list(_unpack("window", saved.attachments))
        window = []
        for length in _as(list, notes["window_chunks"]):
            window.append(Chunk(tuple(frames[:length])))
            del frames[:length]
        atlas = _unpack_submaps(saved, blank)
        rule = notes["rule"]
        written_under = rule_from(None if rule is None else _as(dict, rule))
        scene = Scene(
            atlas=atlas if keep_alike(written_under, settings.rule) else atlas.reanchored(),
            frame=MemoryFrame.from_dict(_as(dict, notes["frame"])),
            newest_ns=_as(int, notes["newest_ns"]),
            camera=camera,
            epoch=_as(int, notes["epoch"]),
            chunks_observed=_as(int, notes["chunks_observed"]),
            views_observed=_as(int, notes["views_observed"]),
            window=tuple(window),
            keyframes=unpack_keyframes(_as(dict, notes["keyframes"]), saved.attachments)
            if "keyframes" in notes
            else KeyframeStore(),
        )
        return scene, _unpack("reservoir", saved.attachments)
    except MemoryFileError as error:
        raise RequestFailedError(FailureKind.FILE, str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        message = f"{path} is not a memory of this version: {error}"
        raise RequestFailedError(FailureKind.FILE, message) from error


def _check_settings(path: Path, notes: Mapping[str, object], camera: Camera, settings: MemorySettings) -> None:
    """Whether a memory can go on with these settings.

    Raises:
        MemoryFileError: it cannot, and which parameter says so.
    """
    mode, submaps = notes["mode"], len(_as(list, notes["places"]))
    if mode != settings.mode.value:
        raise MemoryFileError(
            f"{path} was saved in the {mode} memory mode, this memory runs {settings.mode.value}: set mode accordingly"
        )
    if (camera.width, camera.height) != (settings.width, settings.height):
        raise MemoryFileError(
            f"{path} holds views of {camera.width}x{camera.height} pixels, this memory observes "
            f"{settings.width}x{settings.height}: set width and height accordingly"
        )
    if submaps > settings.atlas.submaps:
        raise MemoryFileError(
            f"{path} holds {submaps} submaps, this memory keeps {settings.atlas.submaps} at most: set submaps to "
            f"{submaps} or more"
        )


def _pack_submaps(atlas: Atlas) -> dict[str, Tensor]:
    """The tensors of all submaps but the newest, which is the file's own state.

    Anchors and importance that a submap shares with the newest one are left out.
    """
    newest = atlas.state.tensors()
    return {
        f"places.{i}.{name}": tensor
        for i, submap in enumerate(atlas.submaps)
        if i != atlas.newest
        for name, tensor in submap.state.tensors().items()
        if not (_may_be_shared(name) and tensor is newest[name])
    }


def _note_on(submap: Submap) -> dict[str, object]:
    return {
        "address": submap.address.tolist(),
        "views": submap.views,
        "chunks_observed": submap.state.chunks_observed,
        "views_observed": submap.state.views_observed,
    }


def _unpack_submaps(saved: SavedMemory, blank: MemoryState) -> Atlas:
    """The atlas that :func:`_pack_submaps` packed.

    Raises:
        KeyError: a note is missing.
        TypeError: a note of another kind.
        ValueError: tensors that do not make the noted submaps, or submaps that make no atlas.
    """
    notes, newest = _as(list, saved.notes["places"]), _as(int, saved.notes["newest_place"])
    if not 0 <= newest < len(notes):
        raise ValueError(f"there is no newest submap {newest} among {len(notes)}")
    shared = {name: tensor for name, tensor in saved.state.tensors().items() if _may_be_shared(name)}
    found = {str(i): dict(shared) for i in range(len(notes)) if i != newest}
    device = blank.layers[0].weights.w0.device
    for key, tensor in saved.attachments.items():
        kind, _, rest = key.partition(".")
        if kind == "places":
            number, _, name = rest.partition(".")
            if number not in found:
                raise ValueError(f"there is no submap that {key} belongs to")
            found[number][name] = tensor.to(device)
    submaps = []
    for i, note in enumerate(notes):
        try:
            state = saved.state if i == newest else state_from_tensors(found[str(i)], blank)
        except ValueError as error:
            raise ValueError(f"submap {i} {error}") from error
        submaps.append(_noted_submap(_as(dict, note), _as_before_saving(state, blank)))
    return Atlas(blank, tuple(submaps), newest)


def _noted_submap(note: Mapping[str, object], state: MemoryState) -> Submap:
    address = torch.tensor(_as(list, note["address"]), dtype=torch.float64)
    if address.shape != (ADDRESS,) or not address.isfinite().all():
        raise ValueError(f"the address of a submap must be {ADDRESS} finite numbers, found {note['address']}")
    views, chunks_observed, views_observed = (
        _as(int, note[name]) for name in ("views", "chunks_observed", "views_observed")
    )
    if min(views, chunks_observed, views_observed) < 1:
        raise ValueError("a submap was written at least once, with at least one view")
    return Submap(replace(state, chunks_observed=chunks_observed, views_observed=views_observed), address, views)


def _as_before_saving(state: MemoryState, blank: MemoryState) -> MemoryState:
    """The same state, sharing the tensors that it shared before it was saved: a file holds copies."""

    def shared(mine: FastWeights, *others: FastWeights) -> FastWeights:
        return next((other for other in others if all(map(torch.equal, mine, other))), mine)

    layers = (
        replace(
            layer,
            anchor=shared(layer.anchor, layer.weights, first.weights, first.anchor),
            importance=shared(layer.importance, first.importance),
        )
        for layer, first in zip(state.layers, blank.layers, strict=True)
    )
    return replace(state, layers=tuple(layers))


def _may_be_shared(name: str) -> bool:
    return any(part in name for part in _SHARED_PARTS)


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
