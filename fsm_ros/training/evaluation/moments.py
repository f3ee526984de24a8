# SPDX-License-Identifier: Apache-2.0
"""Views from where a camera was observed, at a moment when it was elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from fsm_ros.training.episodes import Clip, Picks
from fsm_ros.training.evaluation.held_out import asked_at_the_end, spread, traced
from fsm_ros.training.scenes import SceneSource


@dataclass(frozen=True, eq=False)
class OtherMoments:
    """A clip with further frames, asked for and never observed.

    Attributes:
        clip: the clip, and behind its frames the further ones.
        pick: what is observed, as before, and the further frames to ask for.
        seen: ``[V]`` the observed frame whose pose each of them has.
        seconds_apart: ``[V]`` from its moment.
    """

    clip: Clip
    pick: Picks
    seen: NDArray[np.int64]
    seconds_apart: NDArray[np.float64]


def at_other_moments(source: SceneSource, number: int, clip: Clip, pick: Picks, count: int) -> OtherMoments:
    """Ask for views from observed poses, half of the observed views earlier or later than they were seen.

    Each wanted moment is that of another observed view, so that the memory has seen what was then, from elsewhere.

    Args:
        source: of the clip.
        number: of the clip there.
        clip: the clip, with depth.
        pick: what is observed of it.
        count: so many views at most, spread over the stream.

    Raises:
        ValueError: the clip has no depth.
    """
    if clip.depth_m is None:
        raise ValueError("a clip with frames of which depth is known has depth in all of them")
    views = len(pick.observed)
    chosen = spread(np.arange(views), count)
    seen, then = pick.observed[chosen], pick.observed[(chosen + views // 2) % views]
    poses, lenses, stamps_ns = clip.world_from_camera[seen], clip.fxfycxcy[seen], clip.stamps_ns[then]
    height, width = clip.images.shape[-2:]
    images, depth_m = traced(source.worlds([number]), poses, lenses, stamps_ns, (height, width))
    longer = replace(
        clip,
        images=torch.cat([clip.images, images]),
        world_from_camera=np.concatenate([clip.world_from_camera, poses]),
        fxfycxcy=np.concatenate([clip.fxfycxcy, lenses]),
        stamps_ns=np.concatenate([clip.stamps_ns, stamps_ns]),
        depth_m=torch.cat([clip.depth_m, depth_m]),
        beside=clip.beside + len(seen),
    )
    further = len(clip.stamps_ns) + np.arange(len(seen))
    apart_s = np.abs(stamps_ns - clip.stamps_ns[seen]) * 1e-9
    return OtherMoments(longer, Picks(pick.observed, asked_at_the_end(further, len(pick.wanted))), seen, apart_s)
