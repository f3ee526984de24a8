# SPDX-License-Identifier: Apache-2.0
"""Rays meet what they should, where they should."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_scenes import SIZE, look_from, patterned, pixel_rays, plain, room, view, worlds

from fsm_ros.training.scenes.intersect import hit_unit_box, hit_unit_cylinder, hit_unit_sphere
from fsm_ros.training.scenes.spec import Kind, Thing
from fsm_ros.training.scenes.terrain import Terrain

# Negative inside, zero on the surface, positive outside.
IMPLICIT = {
    Kind.BOX: lambda p: np.abs(p).max(axis=-1) - 1.0,
    Kind.SPHERE: lambda p: np.linalg.norm(p, axis=-1) - 1.0,
    Kind.CYLINDER: lambda p: np.maximum(np.hypot(p[..., 0], p[..., 1]), np.abs(p[..., 2])) - 1.0,
}
HITS = {Kind.BOX: hit_unit_box, Kind.SPHERE: hit_unit_sphere, Kind.CYLINDER: hit_unit_cylinder}
KINDS = pytest.mark.parametrize("kind", list(HITS), ids=lambda kind: kind.name.lower())
LENS = np.array([24.0, 24.0, 16.3, 15.6])


def first_entry(
    inside: Callable[[np.ndarray], np.ndarray], start: np.ndarray, along: np.ndarray, longest: float
) -> np.ndarray:
    """t of the first place where `inside` is negative: a fine march refined by bisection; infinity for none."""
    steps = np.linspace(0.0, longest, 3001)
    values = inside(start + steps[:, None, None] * along)
    entered = values < 0.0
    first = entered.argmax(axis=0)
    low, high = steps[np.maximum(first - 1, 0)], steps[first]
    for _ in range(50):
        middle = 0.5 * (low + high)
        within = inside(start + middle[:, None] * along) < 0.0
        low, high = np.where(within, low, middle), np.where(within, middle, high)
    return np.where(entered.any(axis=0), high, np.inf)


def components(vectors: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, y, z = torch.tensor(vectors, dtype=torch.float32).T.contiguous()
    return x, y, z


@KINDS
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_a_ray_enters_a_shape_where_it_first_is_inside(kind: Kind, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(60, 3))
    start *= rng.uniform(1.8, 4.0, (60, 1)) / np.linalg.norm(start, axis=1, keepdims=True)
    along = rng.uniform(-0.9, 0.9, (60, 3)) - start
    along *= rng.uniform(0.3, 2.0, (60, 1))
    met = HITS[kind](components(start), components(along)).numpy()
    truth = first_entry(IMPLICIT[kind], start, along, 8.0)
    grazing = np.abs(IMPLICIT[kind](start + np.linspace(0, 8, 2001)[:, None, None] * along)).min(axis=0) < 2e-3
    both = np.isfinite(met) & np.isfinite(truth)
    np.testing.assert_allclose(met[both], truth[both], atol=2e-3, rtol=1e-4)
    np.testing.assert_array_equal(np.isfinite(met)[~grazing], np.isfinite(truth)[~grazing])
    assert both.any()


@KINDS
def test_what_lies_behind_or_beside_a_ray_is_not_met(kind: Kind) -> None:
    start = np.array([[3.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    along = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert torch.isinf(HITS[kind](components(start), components(along))).all()


@KINDS
def test_a_ray_along_an_axis_meets_a_shape_exactly(kind: Kind) -> None:
    start = np.array([[-3.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 5.0]])
    along = np.array([[1.0, 0.0, 0.0], [0.0, -2.0, 0.0], [0.0, 0.0, -0.5]])
    met = HITS[kind](components(start), components(along))
    torch.testing.assert_close(met, torch.tensor([2.0, 1.5, 8.0]))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_a_ray_meets_rolling_ground_on_the_ground(seed: int) -> None:
    rng = np.random.default_rng(seed)
    waves = torch.tensor(np.stack([rng.uniform(0.02, 0.1, 4), *rng.uniform(-1.5, 1.5, (3, 4))], axis=1))
    ground = Terrain(waves.float().expand(64, 4, 4))
    origin = components(np.stack([*rng.uniform(-3, 3, (2, 64)), rng.uniform(0.8, 1.6, 64)], axis=1))
    down = rng.uniform(-1.0, -0.2, 64)
    direction = tuple(d[None] for d in components(np.stack([*rng.uniform(-1, 1, (2, 64)), down], axis=1)))
    t = ground.hit(origin, direction)
    assert torch.isfinite(t).all()
    x, y, z = (o + t * d for o, d in zip(origin, direction, strict=True))
    torch.testing.assert_close(z, ground.height(x, y), atol=0.02, rtol=0.0)


@pytest.mark.slow
def test_a_whole_view_shows_what_geometry_in_float64_says() -> None:
    things = [
        Thing(Kind.BOX, np.array([0.4, 0.3, 0.5]), np.array([1.2, 0.9, 0.7]), plain(0, 0.3, 0), yaw=0.5, tilt=0.4),
        Thing(Kind.SPHERE, np.full(3, 0.45), np.array([1.0, -0.6, 0.6]), plain(0, 0.6, 0)),
        Thing(
            Kind.CYLINDER, np.array([0.3, 0.3, 0.6]), np.array([1.3, 0.1, 1.6]), plain(0, 0.9, 0), yaw=1.0, tilt=-0.5
        ),
    ]
    for thing in things:
        thing.occludes = 0.0
    pose = look_from((-1.3, 0.2, 1.2), 0.05, -0.05)
    image = view(worlds(room(things)), pose, LENS)

    rays = pixel_rays(pose, LENS, SIZE, SIZE).reshape(-1, 3)
    depth = np.full(len(rays), np.inf)
    red, green = np.zeros(len(rays)), np.zeros(len(rays))
    planes = [(0, -2.0), (0, 2.0), (1, -3.0), (1, 3.0), (2, 0.0), (2, 3.0)]
    for face, (axis, place) in enumerate(planes):
        t = (place - pose[axis, 3]) / rays[:, axis]
        nearer = (t > 0) & (t < depth)
        depth[nearer], red[nearer] = t[nearer], 0.1 * (face + 1)
    for index, thing in enumerate(things):
        cy, sy, ct, st_ = np.cos(thing.yaw), np.sin(thing.yaw), np.cos(thing.tilt), np.sin(thing.tilt)
        turn = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, ct, -st_], [0, st_, ct]])
        start, along = (pose[:3, 3] - thing.centre) @ turn / thing.half, rays @ turn / thing.half
        t = first_entry(IMPLICIT[thing.kind], start, along, 6.0)
        nearer = t < depth
        depth[nearer], red[nearer], green[nearer] = t[nearer], 0.0, 0.3 * (index + 1)
    expected = np.stack([red, green], axis=-1).reshape(SIZE, SIZE, 2)
    agree = np.abs(image[..., :2] - expected).max(axis=-1) < 1e-3
    assert agree.mean() > 0.99, "only pixels whose ray grazes an edge may differ"
    assert all((expected[..., 1] == 0.3 * (index + 1)).sum() > 10 for index in range(3)), "the test sees all three"


def test_a_point_of_a_standing_scene_has_the_same_colour_from_two_places() -> None:
    spec = room([], faces=[patterned(texture) for texture in range(6)], ambient=0.6)
    first, second = look_from((-1.0, -0.5, 1.2), 0.3), look_from((-0.6, 0.4, 1.5), 0.15, -0.05)
    world = worlds(spec)
    size = (64, 64)
    lens = np.array([48.0, 48.0, 32.0, 32.0])
    one, other = view(world, first, lens, size=size), view(world, second, lens, size=size)
    rays = pixel_rays(first, lens, *size)
    bound = np.where(rays > 0, spec.high, spec.low)
    depth = ((bound - first[:3, 3]) / rays).min(axis=-1)
    points = first[:3, 3] + depth[..., None] * rays
    local = (points - second[:3, 3]) @ second[:3, :3]
    u, v = (
        lens[0] * local[..., 0] / local[..., 2] + lens[2] - 0.5,
        lens[1] * local[..., 1] / local[..., 2] + lens[3] - 0.5,
    )
    seen = (local[..., 2] > 0) & (u > 0) & (v > 0) & (u < size[1] - 1) & (v < size[0] - 1)
    left, top = np.floor(u[seen]).astype(int), np.floor(v[seen]).astype(int)
    a, b = (u[seen] - left)[:, None], (v[seen] - top)[:, None]
    colour = (1 - a) * (1 - b) * other[top, left] + a * (1 - b) * other[top, left + 1]
    colour += (1 - a) * b * other[top + 1, left] + a * b * other[top + 1, left + 1]
    difference = np.abs(colour - one[seen])
    assert seen.sum() > 1000
    assert np.median(difference) < 0.01
    assert np.quantile(difference, 0.95) < 0.06
    assert one.std() > 0.05, "the walls are not all one colour"


def test_the_same_pose_and_time_give_the_same_image_in_any_company() -> None:
    world = worlds(room([Thing(Kind.BOX, np.full(3, 0.3), np.array([1.0, 0.0, 0.5]), patterned(9), spin=1.0)]))
    poses = torch.from_numpy(np.stack([look_from((-1.0, 0.1 * i, 1.0), 0.1 * i) for i in range(40)]))
    lens = torch.from_numpy(LENS).expand(40, 4)
    times = torch.arange(40, dtype=torch.float64)
    scene = torch.zeros(40, dtype=torch.long)
    together = world.render(scene, poses, lens, times, SIZE, SIZE)
    for i in (0, 17, 39):
        alone = world.render(scene[:1], poses[i : i + 1], lens[:1], times[i : i + 1], SIZE, SIZE)
        torch.testing.assert_close(alone[0], together[i], atol=1e-6, rtol=0.0)


def test_more_samples_a_pixel_only_smooth_edges() -> None:
    world = worlds(room([Thing(Kind.SPHERE, np.full(3, 0.4), np.array([1.0, 0.0, 1.0]), plain(0, 1, 0))]))
    pose, lens = torch.from_numpy(look_from((-1.0, 0.0, 1.0), 0.0))[None], torch.from_numpy(LENS)[None]
    zero = torch.zeros(1, dtype=torch.long)
    coarse = world.render(zero, pose, lens, torch.zeros(1), 30, 37)
    fine = world.render(zero, pose, lens, torch.zeros(1), 30, 37, 3)
    assert fine.shape == coarse.shape == (1, 3, 30, 37)
    changed = ((fine - coarse).abs().amax(dim=1) > 0.02).float().mean()
    assert 0.0 < changed < 0.15


@pytest.mark.parametrize(
    ("scene", "poses", "message"),
    [
        (torch.tensor([1]), torch.eye(4)[None], "scenes 0 to 0"),
        (torch.tensor([0, 0]), torch.eye(4)[None], "2 views need"),
    ],
)
def test_views_that_cannot_be_are_refused(scene: torch.Tensor, poses: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        worlds(room([])).render(scene, poses, torch.ones(1, 4), torch.zeros(1), 8, 8)
