# SPDX-License-Identifier: Apache-2.0
"""Kept photographs as tensors of a scene's file, and back, with everything checked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from fsm_ros.recall.choose import COLUMNS, ROWS
from fsm_ros.recall.keyframes import Keyframe, KeyframeStore
from fsm_ros.stream.frame import validate_rigid

PREFIX = "keyframes"


def pack_keyframes(store: KeyframeStore) -> tuple[dict[str, object], dict[str, Tensor]]:
    """A note and the tensors that hold a store."""
    note = {"next_number": store.next_number, "sources": [keyframe.source for keyframe in store.keyframes]}
    tensors = {
        f"{PREFIX}.{i}.image": torch.from_numpy(keyframe.image.copy()) for i, keyframe in enumerate(store.keyframes)
    }
    if not store.keyframes:
        return note, tensors
    unknown = np.full((ROWS, COLUMNS), np.nan, dtype=np.float32)
    depths = [unknown if keyframe.depth_m is None else keyframe.depth_m for keyframe in store.keyframes]
    tensors |= {
        f"{PREFIX}.numbers": torch.tensor([keyframe.number for keyframe in store.keyframes]),
        f"{PREFIX}.fxfycxcy": torch.from_numpy(np.stack([keyframe.fxfycxcy for keyframe in store.keyframes])),
        f"{PREFIX}.poses": torch.from_numpy(np.stack([keyframe.world_from_camera for keyframe in store.keyframes])),
        f"{PREFIX}.stamps_ns": torch.tensor([keyframe.stamp_ns for keyframe in store.keyframes], dtype=torch.int64),
        f"{PREFIX}.depths_m": torch.from_numpy(np.stack(depths)),
        **{
            f"{PREFIX}.{i}.sensed": torch.from_numpy(keyframe.sensed.copy())
            for i, keyframe in enumerate(store.keyframes)
            if keyframe.sensed is not None
        },
        f"{PREFIX}.doubts": torch.from_numpy(np.stack([keyframe.doubts for keyframe in store.keyframes])),
    }
    return note, tensors


def unpack_keyframes(note: Mapping[str, object], tensors: Mapping[str, Tensor]) -> KeyframeStore:
    """The store that :func:`pack_keyframes` packed.

    Raises:
        KeyError: a part is missing.
        TypeError: a note of another kind.
        ValueError: parts that do not make keyframes.
    """
    sources, next_number = note["sources"], note["next_number"]
    if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
        raise TypeError("the sources of kept photographs must be a list of names")
    if not isinstance(next_number, int):
        raise TypeError("the number of the next kept photograph must be a whole number")
    if not sources:
        return KeyframeStore((), next_number)
    numbers, stamps = (tensors[f"{PREFIX}.{name}"].tolist() for name in ("numbers", "stamps_ns"))
    lenses, poses, depths = (tensors[f"{PREFIX}.{name}"].numpy() for name in ("fxfycxcy", "poses", "depths_m"))
    # Files of before doubted nothing.
    doubts = tensors.get(f"{PREFIX}.doubts", torch.zeros(len(depths), ROWS, COLUMNS, dtype=torch.uint8)).numpy()
    if doubts.shape != (len(depths), ROWS, COLUMNS) or doubts.dtype != np.uint8:
        raise ValueError(f"doubts about kept photographs must be uint8 {ROWS}x{COLUMNS}, found {doubts.shape}")
    if len(set(numbers)) != len(numbers) or max(numbers) >= next_number:
        raise ValueError("kept photographs have numbers of their own, below the next one")
    keyframes = []
    for i, (number, lens, pose, stamp, depth, doubt, source) in enumerate(
        zip(numbers, lenses, poses, stamps, depths, doubts, sources, strict=True)
    ):
        image = tensors[f"{PREFIX}.{i}.image"].numpy()
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape) < 1:
            raise ValueError(f"kept photograph {i} must be uint8 [height, width, 3], found {image.dtype} {image.shape}")
        if lens.shape != (4,) or not np.isfinite(lens).all() or lens[:2].min() <= 0:
            raise ValueError(f"kept photograph {i} has intrinsics that are none: {lens}")
        if depth.shape != (ROWS, COLUMNS):
            raise ValueError(f"the depths of kept photograph {i} must be {ROWS}x{COLUMNS}, found {depth.shape}")
        validate_rigid(pose)
        known = bool(np.isfinite(depth).all())
        # Files of before know no depth camera.
        measured = tensors.get(f"{PREFIX}.{i}.sensed")
        sensed = None if measured is None else measured.numpy()
        if sensed is not None and (sensed.ndim != 2 or sensed.dtype != np.float16 or min(sensed.shape) < 1):
            raise ValueError(
                f"measured depth of kept photograph {i} must be float16 [rows, columns], found {sensed.dtype} "
                f"{sensed.shape}"
            )
        coarse = depth if known else None
        keyframes.append(Keyframe(number, image, lens, pose, stamp, source, coarse, doubt, sensed))
    return KeyframeStore(tuple(keyframes), next_number)
