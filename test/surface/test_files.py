# SPDX-License-Identifier: Apache-2.0
"""Surfaces as files that others read."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from surface_walls import WALL_M, three_views, told, wall_map

from fsm_ros.surface.cloud import cloud_of
from fsm_ros.surface.files import write_surface
from fsm_ros.surface.mesh import SurfaceLibraryError


def test_points_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    written = write_surface(tmp_path / "new" / "wall.ply", three_views(), 0.0, 0.1)
    cloud = cloud_of(three_views(), 0.0, 0.1)
    assert (written.points, written.triangles, written.size) == (len(cloud), 0, written.path.stat().st_size)
    read = trimesh.load(written.path)
    assert np.array_equal(read.vertices, cloud.points)
    assert np.array_equal(read.colors[:, :3], cloud.colours)
    assert b"property float confidence" in written.path.read_bytes()[:400]
    assert [each.name for each in written.path.parent.iterdir()] == ["wall.ply"]


def test_a_mesh_is_upright_where_it_is_read(tmp_path: Path) -> None:
    written = write_surface(tmp_path / "wall.glb", three_views(), 0.0)
    mesh = trimesh.load(written.path, force="mesh")
    assert len(mesh.faces) == written.triangles > 0
    # y is up in glTF, as z is in the world, where the wall stands.
    assert np.abs(mesh.vertices[:, 1] - WALL_M).mean() < 0.05


@pytest.mark.parametrize("name", ["wall", "wall.obj", "wall.ply.txt", "wall.PLY"])
def test_other_kinds_of_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"\.ply .*\.glb"):
        write_surface(tmp_path / name, three_views(), 0.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["wall.ply", "wall.glb"])
def test_nothing_is_written_where_nothing_is_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no surface to write"):
        write_surface(tmp_path / name, told([wall_map(0, 0.0)]), 0.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "absent"), [("wall.ply", "trimesh"), ("wall.glb", "trimesh"), ("wall.glb", "skimage.measure")]
)
def test_a_library_that_is_absent_is_named_with_its_remedy(
    tmp_path: Path, name: str, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(SurfaceLibraryError, match=r"pip install 'fsm_ros\[surface\]'"):
        write_surface(tmp_path / name, three_views(), 0.0)
    assert not list(tmp_path.iterdir())
