# SPDX-License-Identifier: Apache-2.0
"""Surfaces of a scene, kept up to date with its keyframes, and what the memory shows where a camera is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from spatial_scenes import loaded, observe_all, refused, room_views, saved, scene_of, shipped_model

from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.recall.keyframes import KeyframeLimits
from fsm_ros.spatial.preview import difference_of, previewed
from fsm_ros.spatial.results import FailureKind
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.spatial.surfaces import Surfaces
from fsm_ros.stream.chunker import Chunk
from fsm_ros.surface.cloud import cloud_of

pytestmark = pytest.mark.slow


def a_memory(*, recall: bool = True, **changes: object) -> SpatialMemory:
    settings = MemorySettings(**({"extent_m": 2.0} | changes))  # type: ignore[arg-type]
    return SpatialMemory(shipped_model(), settings, None, load_recall("shipped") if recall else None)


def chunks(count: int) -> list[Chunk]:
    views = room_views(4 * count)
    return [Chunk(tuple(views[4 * i : 4 * i + 4])) for i in range(count)]


def surveyed(memory: SpatialMemory, surfaces: Surfaces) -> int:
    """Steps until there is nothing left to do."""
    steps = 0
    while memory.survey(surfaces):
        steps += 1
        assert steps < 200
    return steps


def observed(count: int) -> SpatialMemory:
    memory = a_memory()
    observe_all(memory, chunks(count))
    return memory


def numbers(surfaces: Surfaces) -> set[int]:
    return {view.number for view, _ in surfaces.views()}


def kept(memory: SpatialMemory) -> set[int]:
    return {keyframe.number for keyframe in scene_of(memory).keyframes.keyframes}


def test_every_kept_photograph_tells_of_surfaces_and_then_there_is_nothing_to_do() -> None:
    memory, surfaces = observed(3), Surfaces()
    surveyed(memory, surfaces)
    assert numbers(surfaces) == kept(memory)
    version = surfaces.version
    assert memory.survey(surfaces) is False and surfaces.version == version
    cloud = cloud_of(surfaces.views(), 0.0)
    assert len(cloud) > 1000 and np.isfinite(cloud.points).all()


def test_equal_memories_have_equal_surfaces() -> None:
    memory = observed(2)
    one, other = Surfaces(), Surfaces()
    surveyed(memory, one)
    surveyed(memory, other)
    assert np.array_equal(cloud_of(one.views(), 0.0).points, cloud_of(other.views(), 0.0).points)


def test_what_is_known_is_not_worked_out_again() -> None:
    memory, surfaces = a_memory(), Surfaces()
    *before, last = chunks(4)
    observe_all(memory, before)
    surveyed(memory, surfaces)
    depths = {view.number: view.depth_m for view, _ in surfaces.views()}
    observe_all(memory, [last])
    surveyed(memory, surfaces)
    assert numbers(surfaces) == kept(memory)
    same = [depths[view.number] is view.depth_m for view, _ in surfaces.views() if view.number in depths]
    assert np.mean(same) >= 0.5


def reset(memory: SpatialMemory, folder: Path) -> None:
    memory.reset()


def load_another(memory: SpatialMemory, folder: Path) -> None:
    loaded(memory, saved(observed(1), folder / "other"))


@pytest.mark.parametrize("change", [reset, load_another])
def test_surfaces_follow_the_memory(change: Callable[[SpatialMemory, Path], None], tmp_path: Path) -> None:
    memory, surfaces = observed(2), Surfaces()
    surveyed(memory, surfaces)
    before, pictures = surfaces.version, [view.colour for view, _ in surfaces.views()]
    change(memory, tmp_path)
    surveyed(memory, surfaces)
    assert surfaces.version > before
    assert numbers(surfaces) == (kept(memory) if memory.scene is not None else set())
    assert not any(view.colour is picture for view, _ in surfaces.views() for picture in pictures)


@pytest.mark.parametrize(("kept", "observed"), [(64, 0), (0, 1)], ids=["nothing observed", "no photographs"])
def test_where_no_photograph_is_kept_there_is_nothing_to_do(kept: int, observed: int) -> None:
    memory = a_memory(recall=kept > 0, keyframes=KeyframeLimits(kept))
    if observed:
        observe_all(memory, chunks(observed))
    surfaces = Surfaces()
    assert memory.survey(surfaces) is False and surfaces.views() == []


# --- what the memory shows where a camera is -------------------------------------------------------------------------


def test_a_remembered_place_looks_as_it_did_and_another_picture_does_not() -> None:
    memory = observed(2)
    live, other = room_views(8)[3], room_views(8)[7].image[::-1].copy()
    same = previewed(memory, live)
    assert same.difference.shape == live.image.shape[:2] and same.difference.dtype == np.float32
    assert np.array_equal(same.rendered.image.shape, live.image.shape)
    assert same.mean_difference < 0.5 * difference_of(other, same.rendered.image).mean()


def test_exposure_is_no_difference_and_what_is_there_is() -> None:
    shown = np.random.default_rng(0).integers(40, 200, (30, 40, 3), dtype=np.uint8)
    darker = (shown * 0.6).round().astype(np.uint8)
    assert difference_of(darker, shown).max() < 0.01
    changed = shown.copy()
    changed[10:20, 10:20] = 255 - changed[10:20, 10:20]
    found = difference_of(changed, shown)
    assert found[10:20, 10:20].mean() > 5 * found[:8].mean()
    assert 0 <= found.min() and found.max() <= 1


@pytest.mark.parametrize(("seen", "shown"), [(0, 0), (255, 0), (0, 255)])
def test_black_and_white_pictures_have_a_difference_too(seen: int, shown: int) -> None:
    pictures = (np.full((4, 4, 3), value, dtype=np.uint8) for value in (seen, shown))
    found = difference_of(*pictures)
    assert np.isfinite(found).all() and (found.mean() > 0.2) == (seen != shown)


def test_a_memory_that_knows_nothing_has_no_preview() -> None:
    with refused(FailureKind.NOTHING_OBSERVED):
        previewed(a_memory(), room_views(8)[0])
