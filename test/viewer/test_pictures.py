# SPDX-License-Identifier: Apache-2.0
"""What a wish looks like: modes, depth behind which things hide, and the nearest keyframe beside it."""

import cv2
import numpy as np
import pytest
from spatial_scenes import a_chunk, at, observe_all, room_views, shipped_model, small_memory

from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.recall.keyframes import KeyframeLimits
from fsm_ros.spatial.results import FailureKind, RequestFailedError
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.chunker import Chunk
from fsm_ros.viewer.pictures import BEYOND_M, UNKNOWN_GREY, Picture, picture
from fsm_ros.viewer.wish import Look, Mode, Wish

PIXELS = 64 * 48


@pytest.fixture(scope="module")
def memory() -> SpatialMemory:
    views = room_views(16)
    memory = SpatialMemory(shipped_model(), MemorySettings(extent_m=2.0), None, load_recall("shipped"))
    observe_all(memory, [Chunk(tuple(views[i : i + 4])) for i in range(0, 16, 4)])
    return memory


def wish(mode: Mode = Mode.BOTH, *, beside: bool = False) -> Wish:
    view = room_views(16)[6]
    return Wish(Look.of(view.world_from_camera, 1.1, 4 / 3), None, mode, beside)


def shown(memory: SpatialMemory, wanted: Wish) -> Picture:
    return picture(memory, wanted, PIXELS)


@pytest.mark.slow
def test_every_mode_shows_something_else(memory: SpatialMemory) -> None:
    images = {mode: shown(memory, wish(mode)).image.astype(float) for mode in Mode}
    assert {image.shape for image in images.values()} == {(48, 64, 3)}
    for mode, image in images.items():
        others = [np.abs(image - other).mean() for name, other in images.items() if name is not mode]
        assert image.std() > 5 and min(others) > 0.5, mode


@pytest.mark.slow
def test_it_tells_what_hides_things_behind_it_and_which_photographs_it_comes_from(memory: SpatialMemory) -> None:
    found = shown(memory, wish())
    assert found.depth_m is not None and found.depth_m.shape == (48, 64)
    assert 0.2 < np.median(found.depth_m) < 20.0 and found.depth_m.max() <= BEYOND_M
    scene = memory.scene
    assert scene is not None
    assert found.used and found.used <= {keyframe.number for keyframe in scene.keyframes.keyframes}
    assert 0.5 < found.recalled <= 1.0 and found.render_s > 0
    assert shown(memory, wish(Mode.MEMORY)).used == frozenset()


@pytest.mark.slow
def test_beside_it_stands_the_nearest_keyframe_as_large_as_things_look(memory: SpatialMemory) -> None:
    view = room_views(16)[6]
    found = shown(memory, wish(beside=True))
    assert found.depth_m is None
    right = found.image[:, -31:].astype(float)
    # A camera of the wish's lens where that keyframe was taken: the middle of its photograph, scaled.
    focal = 24 / np.tan(0.55)
    scale = focal / view.camera.fy
    scaled = cv2.resize(view.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR).astype(float)
    top, left = (scaled.shape[0] - 48) // 2, (scaled.shape[1] - 31) // 2
    crop = scaled[max(top, 0) : max(top, 0) + 48, max(left, 0) : max(left, 0) + 31]
    rows = slice(max(-top, 0), max(-top, 0) + crop.shape[0])
    assert np.abs(right[rows] - crop).mean() < 12.0


def test_before_anything_was_observed_there_is_no_picture() -> None:
    with pytest.raises(RequestFailedError) as refused:
        picture(small_memory(), Wish(Look.of(at(), 1.0, 1.0)), PIXELS)
    assert refused.value.failure.kind is FailureKind.NOTHING_OBSERVED


def test_beside_a_memory_that_keeps_no_photographs_there_is_nothing() -> None:
    memory = small_memory(keyframes=KeyframeLimits(0, 0))
    observe_all(memory, [a_chunk(0)])
    found = shown(memory, Wish(Look.of(at(), 1.0, 4 / 3), is_beside=True))
    assert (found.image[:, -31:] == UNKNOWN_GREY).all() and found.image[:, :30].std() > 0
