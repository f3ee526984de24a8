# SPDX-License-Identifier: Apache-2.0
"""What moves in a clip, and what has changed between two of its moments: told by the tracer, to the pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsm_ros.training.episodes import Clip
from fsm_ros.training.evaluation.held_out import traced
from fsm_ros.training.scenes import SceneSource
from fsm_ros.training.scenes.spec import SceneSpec, Thing

CHANGED = 0.02
"""Mean difference over the channels from which on a pixel counts as changed; colours lie in [0, 1]."""
_NEARER = 1e-3
"""Share of the depth by which what moves is nearer than what stands behind it."""


def moving_pixels(source: SceneSource, number: int, clip: Clip, frames: NDArray[np.int64]) -> Tensor:
    """Where frames of a clip show a thing that moves, turns, comes or goes while the clip lasts.

    The scene is traced again without such things: where it is farther away then, one of them was seen. Their shadows
    do not count.

    Args:
        source: of the clip, whose ``sensor`` changes no depth.
        number: of the clip there.
        clip: the clip, with depth.
        frames: ``[V]`` of it.

    Returns:
        ``[V, H, W]`` bool.

    Raises:
        ValueError: the clip has no depth.
    """
    if clip.depth_m is None:
        raise ValueError("where nothing is known of depth, nothing is known of what stands behind a thing that moves")
    [drawn] = source.draw([number])
    standing = source.worlds_of([without_moving(drawn.spec, drawn.way.times_s[0], drawn.way.times_s[-1])])
    height, width = clip.images.shape[-2:]
    poses, lenses, stamps_ns = clip.world_from_camera[frames], clip.fxfycxcy[frames], clip.stamps_ns[frames]
    _, behind_m = traced(standing, poses, lenses, stamps_ns, (height, width))
    return clip.depth_m[torch.from_numpy(frames).to(clip.depth_m.device)] < behind_m * (1.0 - _NEARER)


def without_moving(spec: SceneSpec, first_s: float, last_s: float) -> SceneSpec:
    """The scene without the things that move, come or go between two moments, seconds."""

    def stands(thing: Thing) -> bool:
        return not thing.moves and thing.visible_s[0] <= first_s and last_s < thing.visible_s[1]

    return replace(spec, things=[thing for thing in spec.things if stands(thing)])


def changed_pixels(images: Tensor, others: Tensor) -> Tensor:
    """Where two images ``[..., 3, H, W]`` of one camera, traced at two moments, differ: ``[..., H, W]`` bool."""
    return (images - others).abs().mean(dim=-3) > CHANGED
