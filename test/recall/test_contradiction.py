# SPDX-License-Identifier: Apache-2.0
"""What newer photographs say of older ones: in an unchanged scene nothing, whatever is measured wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from recall_scenes import keyframe, posed, rotated

from fsm_ros.recall.choose import COLUMNS, ROWS
from fsm_ros.recall.keyframes import MOST_DOUBTS, Keyframe, KeyframeLimits, KeyframeStore

MANY = KeyframeLimits(64, 2**30)
WIDTH, HEIGHT, FOCAL = 160, 120, 100.0
WALL_M, BOX_M = 4.0, 2.5
S = 10**9


@dataclass(frozen=True)
class Room:
    """A painted wall at ``z = WALL_M``, and a box in front of it.

    Attributes:
        paint: RGB that the wall's pattern is mixed with.
        box: from where to where along x the box stands, metres; ``None``: it is gone.
        texture: how strong the wall's pattern is.
    """

    paint: tuple[float, float, float] = (0.7, 0.5, 0.3)
    box: tuple[float, float] | None = None
    texture: float = 0.15

    def seen(self, pose: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Colours ``[H, W, 3]`` in [0, 1] and depth ``[H, W]`` along the optical axis, metres."""
        columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
        ray = (
            np.stack([(columns - WIDTH / 2) / FOCAL, (rows - HEIGHT / 2) / FOCAL, np.ones_like(rows)], -1)
            @ pose[:3, :3].T
        )
        depth, (x, y) = self._hit(ray, pose[:3, 3], WALL_M)
        pattern = np.sin(5 * x) * np.cos(4 * y) + 0.5 * np.sin(23 * x + 17 * y)
        colour = np.array(self.paint) * (1 + self.texture * pattern[..., None])
        if self.box is not None:
            nearer, (x, y) = self._hit(ray, pose[:3, 3], BOX_M)
            there = (self.box[0] < x) & (x < self.box[1]) & (np.abs(y) < 1.0)
            colour = np.where(there[..., None], (0.1, 0.25, 0.6), colour)
            depth = np.where(there, nearer, depth)
        return colour, depth

    @staticmethod
    def _hit(
        ray: NDArray[np.float64], origin: NDArray[np.float64], z: float
    ) -> tuple[NDArray[np.float64], tuple[NDArray[np.float64], NDArray[np.float64]]]:
        depth = (z - origin[2]) / ray[..., 2]
        return depth, (origin[0] + depth * ray[..., 0], origin[1] + depth * ray[..., 1])


@dataclass(frozen=True)
class Errors:
    """How wrongly it is measured: noise of colours, of exposure, of poses (metres, radians), of log depth."""

    noise: float = 0.0
    exposure: float = 0.0
    position_m: float = 0.0
    turn_rad: float = 0.0
    depth: float = 0.0


def taken(room: Room, x: float, second: int, errors: Errors = Errors()) -> Keyframe:
    """A photograph of a room."""
    rng = np.random.default_rng(second)
    colour, depth = room.seen(posed((x, 0, 0)))
    colour = colour * (1 + rng.uniform(-1, 1) * errors.exposure) + rng.normal(0, errors.noise, colour.shape)
    believed = rotated(*rng.normal(0, errors.turn_rad, 3), (x, 0, 0) + rng.normal(0, errors.position_m, 3))
    grid = np.median(depth.reshape(ROWS, HEIGHT // ROWS, COLUMNS, WIDTH // COLUMNS), axis=(1, 3))
    grid = grid * np.exp(rng.normal(0, errors.depth, grid.shape))
    image = (255 * colour.clip(0, 1)).round().astype(np.uint8)
    lens = np.array([FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2])
    return Keyframe(0, image, lens, believed, second * S, "camera", grid.astype(np.float32))


def drive(room: Room, start_s: int, errors: Errors = Errors(), shift: float = 0.0) -> list[Keyframe]:
    """Eight photographs along the wall, a hand's breadth apart."""
    return [taken(room, 0.2 * i + shift, start_s + i, errors) for i in range(8)]


def after(drives: Sequence[Sequence[Keyframe]], limits: KeyframeLimits = MANY) -> KeyframeStore:
    """The store after drives, in chunks of four."""
    store = KeyframeStore()
    for photographs in drives:
        for i in range(0, len(photographs), 4):
            store = store.offered(photographs[i : i + 4], limits)
    return store


def seconds(store: KeyframeStore) -> list[int]:
    return [each.stamp_ns // S for each in store.keyframes]


def outdated(store: KeyframeStore) -> dict[int, int]:
    """How many points of each photograph, by its second, are out of date; those without any left out."""
    return {each.stamp_ns // S: int(n) for each in store.keyframes if (n := each.outdated.sum())}


BOX = Room(box=(0.0, 1.2))
ALL_AT_ONCE = Errors(noise=0.02, exposure=0.3, position_m=0.006, turn_rad=0.01, depth=0.2)
UNCHANGED: dict[str, tuple[Room, Errors]] = {
    "measured well": (BOX, Errors()),
    "noise": (BOX, Errors(noise=0.03)),
    "exposure changes by 30 %": (BOX, Errors(exposure=0.3)),
    "poses are wrong by 1 cm and 1 degree": (BOX, Errors(position_m=0.006, turn_rad=0.01)),
    "depths are wrong by 20 %": (BOX, Errors(depth=0.2)),
    "all at once": (BOX, ALL_AT_ONCE),
    "all at once, a strong pattern": (replace(BOX, texture=0.4), ALL_AT_ONCE),
    "all at once, a bare wall": (replace(BOX, texture=0.0), ALL_AT_ONCE),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", UNCHANGED)
def test_in_an_unchanged_scene_nothing_is_out_of_date(case: str) -> None:
    room, errors = UNCHANGED[case]
    store = after([drive(room, 10 * lap, errors, 0.03 * lap) for lap in range(4)])
    assert len(store) == 32
    assert sum(outdated(store).values()) <= 0.005 * 32 * ROWS * COLUMNS


CHANGED: dict[str, Errors] = {"measured well": Errors(), "measured badly": ALL_AT_ONCE}


@pytest.mark.parametrize("case", CHANGED)
def test_photographs_of_a_wall_that_is_painted_anew_go_at_once(case: str) -> None:
    errors = CHANGED[case]
    before, painted = Room(), Room(paint=(0.25, 0.6, 0.65))
    store = after([drive(before, 0, errors), *(drive(painted, 10 * lap, errors, 0.03 * lap) for lap in (1, 2))])
    assert not [second for second in seconds(store) if second < 10]
    assert [second for second in seconds(store) if second >= 10] == [*range(10, 18), *range(20, 28)]


@pytest.mark.parametrize("case", CHANGED)
def test_of_a_thing_that_was_taken_away_the_points_are_out_of_date_and_the_wall_beside_it_is_not(case: str) -> None:
    errors = CHANGED[case]
    store = after([drive(BOX, 0, errors), *(drive(Room(), 10 * lap, errors, 0.03 * lap) for lap in (1, 2))])
    found, of_box = 0, 0
    for each in store.keyframes:
        if each.stamp_ns >= 10 * S:
            assert not each.outdated.any()
            continue
        _, depth = BOX.seen(each.world_from_camera)
        cells = (depth < WALL_M - 0.1).reshape(ROWS, HEIGHT // ROWS, COLUMNS, WIDTH // COLUMNS).mean(axis=(1, 3))
        assert not each.outdated[cells == 0].any()
        found, of_box = found + int(each.outdated[cells == 1].sum()), of_box + int((cells == 1).sum())
    assert len(store) == 24 and found > 0.5 * of_box


def test_where_there_is_no_room_the_photographs_go_that_show_what_is_no_longer_so() -> None:
    """A box that is gone was seen from the one half of the way; the store is too small for all."""
    limits = KeyframeLimits(16, 2**30)
    before, now = [taken(Room(box=(-3.0, 0.3)), 0.2 * i, i) for i in range(8)], Room()
    store = after([before, drive(now, 10, shift=0.02), drive(now, 20, shift=0.04)], limits)
    left = [second for second in seconds(store) if second < 10]
    assert len(store) == 16 and not set(left) & {0, 1}


def test_turned_away_and_come_back_everything_is_as_it_was() -> None:
    """What nobody looked at meanwhile is doubted by nobody; another wall painted otherwise says nothing of it."""
    room = Room()
    other = drive(Room(paint=(0.2, 0.3, 0.7)), 10)
    away = [replace(each, world_from_camera=each.world_from_camera @ np.diag([-1.0, 1.0, -1.0, 1.0])) for each in other]
    store = after([drive(room, 0), away, drive(room, 20, shift=0.03)])
    assert len(store) == 24 and not outdated(store)


def test_a_change_that_was_undone_is_believed_again() -> None:
    """A thing that stood in the way for a while: the wall behind it is right again when it is gone."""
    wall, covered = drive(Room(), 0), [drive(BOX, 10 * lap, shift=0.01 * lap) for lap in (1, 2)]
    doubted = after([wall, *covered])
    again = doubted
    for lap in (3, 4, 5):
        for half in (slice(0, 4), slice(4, 8)):
            again = again.offered(drive(Room(), 10 * lap, shift=0.01 * lap)[half], MANY)
    assert sum(n for second, n in outdated(doubted).items() if second < 10) > 0
    assert not [second for second in outdated(again) if second < 10]
    assert max(int(each.doubts.max()) for each in again.keyframes) <= MOST_DOUBTS


def test_one_chunk_alone_makes_nothing_out_of_date() -> None:
    store = after([drive(Room(), 0)]).offered(drive(Room(paint=(0.25, 0.6, 0.65)), 10)[:4], MANY)
    assert not outdated(store) and any(each.doubts.any() for each in store.keyframes)


def test_a_covered_lens_says_nothing() -> None:
    dark = [replace(each, image=np.full_like(each.image, 8)) for each in drive(Room(), 10, shift=0.03)]
    store = after([drive(Room(), 0), dark, [replace(each, stamp_ns=each.stamp_ns + 10 * S) for each in dark]])
    assert not outdated(store) and set(range(8)) <= set(seconds(store))


@pytest.mark.parametrize("who", ["older", "newer"])
def test_where_depth_is_not_known_nothing_is_judged(who: str) -> None:
    before, now = drive(Room(), 0), [drive(Room(paint=(0.25, 0.6, 0.65)), 10 * lap, shift=0.03 * lap) for lap in (1, 2)]
    if who == "older":
        before = [replace(each, depth_m=None) for each in before]
    else:
        now = [[replace(each, depth_m=None) for each in lap] for lap in now]
    store = after([before, *now])
    assert len(store) == 24 and not outdated(store)


def test_photographs_that_came_late_do_not_contradict_newer_ones() -> None:
    now = drive(Room(), 50)
    late = [drive(Room(paint=(0.25, 0.6, 0.65)), 10 * lap, shift=0.03 * lap) for lap in (1, 2)]
    assert not outdated(after([now, *late]))


def test_far_from_the_origin_of_the_world_the_verdict_is_the_same() -> None:
    laps = [drive(BOX, 0), drive(Room(), 10, shift=0.03), drive(Room(), 20, shift=0.06)]
    far = []
    for lap in laps:
        moved = [each.world_from_camera + np.pad([[4.5e6], [5.3e6], [0.0]], ((0, 1), (3, 0))) for each in lap]
        far.append([replace(each, world_from_camera=pose) for each, pose in zip(lap, moved, strict=True)])
    assert outdated(after(far)) == outdated(after(laps)) != {}


def test_photographs_of_one_pixel_or_without_overlap_are_kept() -> None:
    tiny = [keyframe(posed((0.1 * i, 0, 0)), stamp_ns=i, size=(1, 1)) for i in range(4)]
    store = KeyframeStore().offered(tiny[:2], MANY).offered(tiny[2:], MANY)
    apart = KeyframeStore().offered([tiny[0]], MANY).offered([keyframe(posed((900, 0, 0)), stamp_ns=9)], MANY)
    assert len(store) == 4 and len(apart) == 2 and not outdated(store) and not outdated(apart)
