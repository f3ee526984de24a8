# SPDX-License-Identifier: Apache-2.0
"""Images of a block of frames, from its rays to its pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from fsm_ros.training.scenes.background import background_hits, surroundings
from fsm_ros.training.scenes.lighting import shade
from fsm_ros.training.scenes.objects import object_frames, trace_objects, write_object_hits
from fsm_ros.training.scenes.rays import FrameBlock, Rays
from fsm_ros.training.scenes.tiles import TILE, find_pairs


def render_block(block: FrameBlock, height: int, width: int, samples: int) -> tuple[Tensor, Tensor]:
    """Images ``[F, 3, height, width]`` float32 in [0, 1], and ``[F, height, width]`` metres along the optical axis.

    Args:
        block: what is to be seen; its intrinsics are those of an image `samples` times as large.
        height: of the images, pixels.
        width: of the images, pixels.
        samples: rays along each side of a pixel.
    """
    frames = len(block.pose)
    high, wide = -(-height * samples // TILE), -(-width * samples // TILE)
    rays = Rays(block, high, wide)
    centre, axes, unit, origin = object_frames(block)
    depth, face = surroundings(block, rays)
    pairs = find_pairs(centre, axes, block.there, rays.column_edges, rays.row_edges)
    reached = trace_objects(block, rays, pairs, unit, origin, depth)
    x, y, z = (torch.addcmul(o, depth, d) for o, d in zip(rays.origin, rays.direction, strict=True))
    hits = background_hits(block, rays, face, (x, y, z))
    write_object_hits(block, reached, hits)
    sky = face == 5
    sky.view(-1).index_fill_(0, reached.ray, False)
    colour = shade(block, rays, hits, (x, y, z), depth, sky, centre)
    image = torch.stack(colour).view(3, TILE, TILE, frames, high, wide).permute(3, 0, 4, 1, 5, 2)
    image = image.reshape(frames, 3, high * TILE, wide * TILE)[:, :, : height * samples, : width * samples]
    metres = depth.view(TILE, TILE, frames, high, wide).permute(2, 3, 0, 4, 1)
    metres = metres.reshape(frames, high * TILE, wide * TILE)[:, : height * samples, : width * samples]
    if samples > 1:
        image = image.reshape(frames, 3, height, samples, width, samples).mean(dim=(3, 5))
        metres = metres.reshape(frames, height, samples, width, samples).transpose(2, 3).flatten(3)
        # A pixel on an edge shows both sides; its depth is that of one of them, never something in between.
        metres = metres.sort(dim=3).values[..., (samples * samples - 1) // 2]
    return image.clamp(0.0, 1.0), metres
