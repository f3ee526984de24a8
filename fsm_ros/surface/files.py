# SPDX-License-Identifier: Apache-2.0
"""Surfaces as files: coloured points as PLY, meshes as GLB, written by trimesh."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fsm_ros.surface.cloud import Cloud, Told, cloud_of
from fsm_ros.surface.mesh import Mesh, SurfaceLibraryError, mesh_of

POINTS, MESH = ".ply", ".glb"
SUFFIXES = (POINTS, MESH)
_GLTF_FROM_WORLD = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""glTF's y is up, z of the world is (REP-103)."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        path: the file.
        points: of the cloud, or vertices of the mesh.
        triangles: of a mesh.
        size: bytes.
    """

    path: Path
    points: int
    triangles: int
    size: int


def check_suffix(path: Path) -> None:
    """Refuse what is neither of the two kinds of files.

    Raises:
        ValueError: another suffix.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path.name} names no kind of surface: end it in {POINTS} (points) or {MESH} (a mesh)")


def write_surface(path: Path, views: Sequence[Told], min_confidence: float, resolution_m: float = 0.0) -> Written:
    """Write what views agree on, as a whole or not at all: points or a mesh, by the suffix.

    Args:
        path: a ``.ply`` or ``.glb`` file; folders are made.
        views: each with its agreed points.
        min_confidence: points whose confidence is less are left out.
        resolution_m: edge of the cells of which each holds one point, or one corner of the mesh; 0: as fine as it is
            known.

    Raises:
        ValueError: another suffix, or there is no point to write.
        SurfaceLibraryError: a library that writes it is not installed.
        OSError: it cannot be written.
    """
    check_suffix(path)
    if path.suffix == POINTS:
        cloud = cloud_of(views, min_confidence, resolution_m)
        points, triangles = len(cloud), 0
        content = points_as_ply(cloud) if points else b""
    else:
        mesh = mesh_of(views, min_confidence, resolution_m)
        points, triangles = len(mesh.vertices), len(mesh.triangles)
        content = mesh_as_glb(mesh) if triangles else b""
    if not content:
        raise ValueError(
            "there is no surface to write: too little was seen alike from two places with a confidence of "
            f"{min_confidence:g}; observe more from other places, or ask for less or finer"
        )
    return Written(path, points, triangles, _write(path, content))


def points_as_ply(cloud: Cloud) -> bytes:
    """Binary PLY: x, y, z float32 in metres, red, green, blue, alpha uint8, confidence float32.

    Raises:
        SurfaceLibraryError: trimesh is not installed.
    """
    try:
        from trimesh import PointCloud
    except ImportError as error:
        raise _without_trimesh(error) from error
    points = PointCloud(cloud.points, cloud.colours)
    points.vertex_attributes = {"confidence": cloud.confidence}
    return bytes(points.export(file_type="ply"))


def mesh_as_glb(mesh: Mesh) -> bytes:
    """Binary glTF 2.0: y is up, as viewers expect it.

    Raises:
        SurfaceLibraryError: trimesh is not installed.
    """
    try:
        from trimesh import Trimesh
    except ImportError as error:
        raise _without_trimesh(error) from error
    vertices = mesh.vertices @ _GLTF_FROM_WORLD.T
    return bytes(Trimesh(vertices, mesh.triangles, vertex_colors=mesh.colours, process=False).export(file_type="glb"))


def _without_trimesh(error: ImportError) -> SurfaceLibraryError:
    return SurfaceLibraryError(
        f"files of surfaces are written by trimesh: pip install 'fsm_ros[surface]', or trimesh ({error})"
    )


def _write(path: Path, content: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return len(content)
