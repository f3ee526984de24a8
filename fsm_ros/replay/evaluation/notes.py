# SPDX-License-Identifier: Apache-2.0
"""What a reader should know of a run beside its figures: what was not as it should be, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fsm_ros.replay.evaluation.replaying import Replay
from fsm_ros.replay.evaluation.results import ChunkResult
from fsm_ros.sources.rig import Rig
from fsm_ros.stream.ledger import Refusal
from fsm_ros.stream.optical import FrameWatch
from fsm_ros.stream.world import FrameExit

_CAUSES_TOLD = 3
_FEW_CHUNKS = 4
_MARGIN = 1.2
"""How much larger than the drive an extent or a horizon is suggested."""

Position = tuple[float, float, float]


def notes(
    rig: Rig, replay: Replay, chunks: Sequence[ChunkResult], positions: Sequence[Position], broken: Sequence[str]
) -> list[str]:
    """Sentences about one run, each with its cause and the remedy.

    Args:
        rig: the recording.
        replay: its one pass, done.
        chunks: what was observed.
        positions: of all keyframes, metres, in the order they were observed.
        broken: why withheld images could not be used.
    """
    told = [
        f"{gap.count} images of {gap.camera} from {gap.first_s:.1f} to {gap.last_s:.1f} s have no pose: {gap.cause}"
        for gap in rig.gaps()
    ]
    watch = FrameWatch()
    for frame in rig.frames:
        if frame.world_from_camera is not None and frame.frame_id:
            watch.note(frame.frame_id, frame.world_from_camera)
    told += watch.hints
    causes = [*replay.taker.unreadable, *broken]
    if causes:
        listed = "; ".join(list(dict.fromkeys(causes))[:_CAUSES_TOLD])
        told.append(f"{len(causes)} images could not be used: {listed}")
    depths = [camera.depth for camera in rig.recorded.values() if camera.depth is not None]
    if depths and replay.taker.uses_depth:
        why = f"; {replay.taker.depth_unreadable[0]}" if replay.taker.depth_unreadable else ""
        listed = ", ".join(depth.told for depth in depths)
        told.append(f"{replay.taker.with_depth} of {len(positions)} keyframes have measured depth ({listed}){why}")
    if replay.jumps:
        told.append(f"the camera's pose jumped {replay.jumps} times: poses from odom may serve better (--frame odom)")
    if replay.taker.restarts:
        told.append(
            f"stamps were set back {replay.taker.restarts} times: each round has its own TF, but the report's time and "
            "path do not tell the rounds apart; to see them by themselves, cut the recording there"
        )
    told += _began_anew(chunks, positions)
    failed = [chunk for chunk in chunks if chunk.failure]
    if failed:
        told.append(f"{len(failed)} chunks could not be observed: {failed[0].failure}")
    standing = replay.taker.ledger.snapshot().refused[Refusal.NOT_MOVED]
    if len(chunks) < _FEW_CHUNKS and standing > len(positions):
        told.append(
            f"only {len(positions)} keyframes in {len(chunks)} chunks: {standing} images were less than "
            "keyframes.translation and keyframes.rotation away from the last keyframe; lower these where that is not "
            "meant, as with poses that are not in metres"
        )
    return told


def _began_anew(chunks: Sequence[ChunkResult], positions: Sequence[Position]) -> list[str]:
    began = [chunk for chunk in chunks if chunk.epoch_began]
    if not began:
        return []
    places = np.array(positions)
    reach_m = float(np.linalg.norm(places - places[: chunks[0].views].mean(axis=0), axis=1).max())
    lasted_s = chunks[-1].last_s - chunks[0].first_s
    remedies = []
    if any(chunk.epoch_began == FrameExit.EXTENT.value for chunk in began):
        remedies.append(f"memory.extent={_MARGIN * reach_m:.2g} would hold all places")
    if any(chunk.epoch_began != FrameExit.EXTENT.value for chunk in began):
        remedies.append(f"memory.horizon={_MARGIN * lasted_s:.2g} all moments")
    return [
        f"the memory began anew {len(began)} times, first at {began[0].first_s:.1f} s, as the camera left its "
        f"{began[0].epoch_began.replace('_', ' ')}: {', '.join(remedies)}; views of before are rendered by what remains"
    ]
