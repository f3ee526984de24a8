# SPDX-License-Identifier: Apache-2.0
"""Which points of several views are believed, and what becomes of them."""

from __future__ import annotations

import numpy as np
import pytest
from surface_walls import WALL_M, three_views, told, wall_map

from fsm_ros.surface.cloud import cloud_of, finest_m
from fsm_ros.surface.mesh import mesh_of


def test_what_is_seen_alike_from_two_places_is_believed() -> None:
    for view, points in three_views(noise=0.01):
        share = np.isfinite(points.depth_m).mean()
        assert share > 0.6, view.number
        assert np.abs(points.depth_m[points.confidence > 0] / WALL_M - 1).max() < 0.05
        assert ((points.confidence > 0) == np.isfinite(points.depth_m)).all() and points.confidence.max() <= 1


def test_views_together_are_less_wrong_than_each() -> None:
    (view, points), *_ = told([wall_map(i, 0.25 * i, noise=0.02) for i in range(8)])
    believed = points.confidence > 0
    alone = np.abs(view.depth_m / WALL_M - 1)[believed].mean()
    assert np.abs(points.depth_m / WALL_M - 1)[believed].mean() < 0.6 * alone


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([], id="nobody else"),
        pytest.param([wall_map(1, 0.02)], id="somebody in the same place"),
        pytest.param([wall_map(1, 0.5, times=1.3)], id="somebody who sees another depth"),
        pytest.param([wall_map(1, 50.0)], id="somebody who looks elsewhere"),
    ],
)
def test_a_point_needs_a_second_view_that_agrees(others: list) -> None:  # type: ignore[type-arg]
    _, points = told([wall_map(0, 0.0), *others])[0]
    assert not points.confidence.any() and np.isnan(points.depth_m).all()


def test_a_point_that_more_views_look_through_than_agree_on_is_not_believed() -> None:
    in_front = {"times": 0.6}
    views = told(
        [wall_map(0, 0.0, **in_front), wall_map(1, 0.4, **in_front), *(wall_map(i, 0.3 * i) for i in (2, 3, 4))]
    )
    for view, points in views[:2]:
        near = points.depth_m < 0.8 * WALL_M
        assert near.mean() < 0.25, view.number  # at the edges, which the others do not see
    assert all((points.confidence > 0).mean() > 0.5 for _, points in views[2:])


def test_what_is_surer_is_more_to_be_trusted() -> None:
    sure, unsure = (np.median(three_views(error=error)[1][1].confidence) for error in (0.03, 0.3))
    assert sure > unsure > 0


def test_a_cell_holds_one_point() -> None:
    views = three_views(noise=0.01)
    cloud = cloud_of(views, 0.0, 0.1)
    cells = np.floor(cloud.points / 0.1).astype(int)
    assert len(np.unique(cells, axis=0)) == len(cloud) > 300
    assert cloud.points.dtype == np.float32 and cloud.colours.dtype == np.uint8 and cloud.resolution_m == 0.1
    assert (cloud.colours == (200, 100, 50)).all()
    assert np.abs(cloud.points[:, 2] - WALL_M).max() < 0.15


def test_without_a_resolution_a_cell_is_what_a_pixel_covers() -> None:
    views = three_views()
    assert finest_m(views) == pytest.approx(WALL_M / 35.0, rel=1e-3)
    assert cloud_of(views, 0.0).resolution_m == finest_m(views)


def test_the_surest_points_are_some_of_all() -> None:
    views = three_views(noise=0.02)
    counts = [len(cloud_of(views, least, 0.1)) for least in (0.0, 0.6, 0.75, 1.0)]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1] == 0


@pytest.mark.parametrize("views", [[], told([wall_map(0, 0.0)])], ids=["no view", "a view that nobody confirms"])
def test_where_nothing_is_known_there_are_no_points_and_no_triangles(views: list) -> None:  # type: ignore[type-arg]
    cloud, mesh = cloud_of(views, 0.0), mesh_of(views, 0.0)
    assert cloud.points.shape == cloud.colours.shape == (0, 3) and cloud.confidence.shape == (0,)
    assert mesh.vertices.shape == mesh.triangles.shape == mesh.colours.shape == (0, 3)


def test_a_mesh_lies_on_the_wall_and_faces_the_cameras() -> None:
    mesh = mesh_of(three_views(noise=0.01), 0.0)
    assert np.abs(mesh.vertices[:, 2] - WALL_M).mean() < 0.02 * WALL_M
    one, two, three = (mesh.vertices[mesh.triangles[:, i]] for i in range(3))
    normals = np.cross(two - one, three - one)
    assert (normals[:, 2] < 0).mean() > 0.95
    assert (mesh.colours == (200, 100, 50)).all()


def test_a_grid_that_would_be_too_large_is_made_coarser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsm_ros.surface.mesh.MOST_CELLS", 40_000)
    mesh = mesh_of(three_views(), 0.0, 0.02)
    assert mesh.resolution_m > 0.02 and len(mesh.triangles)
