"""The demo's world: closed, moving, the same every time, and seen through the lens exactly as calibrated."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fsm_ros.replay.demo_scene import DemoScene, SceneObject, Shape, camera_rays, make_demo_scene
from fsm_ros.stream.frame import Camera, Distortion
from fsm_ros.stream.lens import undistortion_maps

SMALL = Camera(width=32, height=24, fx=20.4, fy=20.4, cx=16.0, cy=12.0)
LENS = Camera(160, 120, 102.0, 102.3, 80.9, 59.5, Distortion.PLUMB_BOB, (-0.11, 0.025, 0.0009, -0.0007, 0.0))


def level_camera(x: float, y: float, yaw_rad: float, z: float = 1.0) -> NDArray[np.float64]:
    """World from a level optical frame that looks along `yaw_rad`."""
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[sin, 0.0, cos], [-cos, 0.0, sin], [0.0, -1.0, 0.0]])
    pose[:3, 3] = (x, y, z)
    return pose


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    error = float(np.mean((a.astype(float) - b.astype(float)) ** 2))
    return 10.0 * float(np.log10(255.0**2 / error))


def scene_with_only(thing: SceneObject, scene: DemoScene) -> DemoScene:
    return replace(scene, objects=(thing,))


def test_an_image_is_uint8_rgb_of_the_cameras_size() -> None:
    image = make_demo_scene(0).render(SMALL, level_camera(0.0, 0.0, 0.3), 0.0)
    assert image.shape == (24, 32, 3)
    assert image.dtype == np.uint8


def test_equal_seeds_give_equal_images_and_other_seeds_other_ones() -> None:
    pose = level_camera(0.1, -0.2, 1.0)
    first, again, other = (make_demo_scene(seed).render(SMALL, pose, 2.5) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(-0.5, 0.5),
    st.floats(-0.5, 0.5),
    st.floats(-4.0, 4.0),
    st.floats(-20.0, 20.0),
    st.integers(0, 50),
)
def test_the_room_is_closed(x: float, y: float, yaw_rad: float, time_s: float, seed: int) -> None:
    """No ray escapes: every pixel has met a lit surface."""
    image = make_demo_scene(seed).render(SMALL, level_camera(x, y, yaw_rad), time_s)
    assert image.max(axis=2).min() > 0


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 500), st.floats(-100.0, 100.0))
def test_objects_stay_in_the_room_and_leave_its_middle_to_the_camera(seed: int, time_s: float) -> None:
    scene = make_demo_scene(seed)
    for thing in scene.objects:
        centre, _ = thing.pose_at(time_s)
        reach = thing.half_extents[0] if thing.shape is Shape.SPHERE else np.hypot(*thing.half_extents[:2])
        assert np.hypot(*centre[:2]) - reach > 0.5
        assert np.all(np.abs(centre[:2]) + reach < scene.half_extents[0])
        assert centre[2] - thing.half_extents[2] >= -1e-9
        assert centre[2] + thing.half_extents[2] < 2.0 * scene.half_extents[2]


def test_half_of_the_objects_move_and_the_rest_of_the_world_stands_still() -> None:
    scene = make_demo_scene(0)
    moved = [
        not np.allclose(thing.pose_at(0.0)[0], thing.pose_at(2.0)[0]) or thing.pose_at(0.0)[1] != thing.pose_at(2.0)[1]
        for thing in scene.objects
    ]
    assert sum(moved) == len(moved) // 2
    still = replace(scene, objects=tuple(thing for thing, moves in zip(scene.objects, moved, strict=True) if not moves))
    changed = 0
    for yaw_rad in np.linspace(0.0, 2.0 * np.pi, 6, endpoint=False):
        pose = level_camera(0.0, 0.0, yaw_rad)
        assert np.array_equal(still.render(SMALL, pose, 0.0), still.render(SMALL, pose, 2.0))
        changed += int(np.any(scene.render(SMALL, pose, 0.0) != scene.render(SMALL, pose, 2.0), axis=2).sum())
    assert 0 < changed < 6 * 32 * 24 // 2


@pytest.mark.parametrize("place", range(6))
def test_an_object_appears_where_its_centre_projects(place: int) -> None:
    scene = make_demo_scene(1)
    thing = scene.objects[place]
    centre, _ = thing.pose_at(0.0)
    camera = replace(LENS, distortion=Distortion.NONE, coefficients=())
    pose = level_camera(0.1, 0.05, float(np.arctan2(centre[1], centre[0])) + 0.1)
    empty = replace(scene, objects=())
    seen = np.any(scene_with_only(thing, scene).render(camera, pose, 0.0) != empty.render(camera, pose, 0.0), axis=2)
    x, y, z = pose[:3, :3].T @ (centre - pose[:3, 3])
    column, row = camera.cx + camera.fx * x / z, camera.cy + camera.fy * y / z
    columns = np.flatnonzero(seen.any(axis=0)) + 0.5
    assert abs(float((columns.min() + columns.max()) / 2) - column) < 4.0
    assert row > camera.height or seen[int(row), int(column)]


def test_pixel_centres_lie_at_half_integers() -> None:
    """A camera on its head sees the image on its head, if and only if the principal point is the middle."""
    scene, pose = make_demo_scene(0), level_camera(0.0, 0.1, 0.7)
    turned = pose.copy()
    turned[:3, :2] *= -1.0
    upright, upside_down = scene.render(SMALL, pose, 1.0), scene.render(SMALL, turned, 1.0)
    assert np.abs(upright.astype(int) - upside_down[::-1, ::-1]).max() <= 1
    shifted = replace(SMALL, cx=15.5, cy=11.5)
    assert np.abs(upright.astype(int) - scene.render(shifted, turned, 1.0)[::-1, ::-1]).max() > 1


def test_the_lens_is_the_one_of_the_calibration() -> None:
    """Undistorting the image by its calibration gives what a pinhole would have seen."""
    scene, pose = make_demo_scene(0), level_camera(-0.1, 0.1, 2.0)
    pinhole = replace(LENS.undistorted(), fx=120.0, fy=120.0, cx=80.0, cy=60.0)
    columns, rows = undistortion_maps(LENS, pinhole)
    distorted = scene.render(LENS, pose, 0.0)
    straightened = np.asarray(cv2.remap(distorted, columns, rows, cv2.INTER_LINEAR), dtype=np.uint8)
    expected = scene.render(pinhole, pose, 0.0)
    assert psnr(straightened, expected) > 35.0
    straight = scene.render(replace(LENS, distortion=Distortion.NONE, coefficients=()), pose, 0.0)
    wrong = np.asarray(cv2.remap(straight, columns, rows, cv2.INTER_LINEAR), dtype=np.uint8)
    assert psnr(wrong, expected) < psnr(straightened, expected) - 5.0


def test_rays_of_a_pinhole_follow_its_intrinsics() -> None:
    rays = camera_rays(SMALL).reshape(24, 32, 4, 3)
    assert np.allclose(rays.mean(axis=2)[0, 0], [(0.5 - 16.0) / 20.4, (0.5 - 12.0) / 20.4, 1.0], atol=1e-6)
    assert np.allclose(rays[..., 2], 1.0)


def test_a_camera_outside_the_room_is_refused() -> None:
    with pytest.raises(ValueError, match="inside the room"):
        make_demo_scene(0).render(SMALL, level_camera(1.7, 0.0, 0.0), 0.0)


def test_a_pose_that_is_not_rigid_is_refused() -> None:
    with pytest.raises(ValueError, match="orthonormal"):
        make_demo_scene(0).render(SMALL, np.diag([2.0, 1.0, 1.0, 1.0]), 0.0)


def test_a_lens_that_folds_the_image_is_refused() -> None:
    folding = replace(SMALL, distortion=Distortion.PLUMB_BOB, coefficients=(-3.0, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="no ray"):
        make_demo_scene(0).render(folding, level_camera(0.0, 0.0, 0.0), 0.0)
