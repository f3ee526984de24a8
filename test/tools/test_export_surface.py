# SPDX-License-Identifier: Apache-2.0
"""The command that makes points and meshes of a saved memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from spatial_scenes import observe_all, room_views, saved, shipped_model

from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.recall.keyframes import KeyframeLimits
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.spatial.spatial_memory import SpatialMemory
from fsm_ros.stream.chunker import Chunk
from fsm_ros.tools.export_surface import main

pytestmark = pytest.mark.slow

FINE = ["--resolution", "0.05", "--min-confidence", "0.1"]


def a_file(folder: Path, photographs: int) -> Path:
    settings = MemorySettings(extent_m=5.0, keyframes=KeyframeLimits(photographs))
    memory = SpatialMemory(shipped_model(), settings, None, load_recall("shipped") if photographs else None)
    views = room_views(12)
    observe_all(memory, [Chunk(tuple(views[i : i + 4])) for i in (0, 4, 8)])
    return saved(memory, folder / "room.safetensors")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_file(tmp_path_factory.mktemp("room"), 64)


def test_a_saved_memory_becomes_points_and_a_mesh(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("room.ply", b"ply\n"), ("room.glb", b"glTF")):
        path = tmp_path / name
        assert main([str(room), str(path), *FINE]) == 0
        assert path.read_bytes().startswith(content)
        told = capsys.readouterr().out
        assert str(path) in told and " points" in told and ("triangles" in told) == (name == "room.glb")


def test_what_cannot_be_exported_is_told(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "room.ply")
    for arguments, told in (
        ([str(room), str(tmp_path / "room.obj")], ".ply (points) or .glb"),
        ([str(tmp_path / "nowhere.safetensors"), out], "nowhere.safetensors"),
        ([str(room), out, "--resolution", "-1"], "--resolution"),
        ([str(room), out, "--set", "memory.width=128"], "128"),
        ([str(room), out, "--set", "memory.widht=128"], "memory.width"),
        ([str(room), out, "--min-confidence", "1"], "no surface to write"),
    ):
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert said.startswith("export_surface: ") and told in said, said
    assert not list(tmp_path.iterdir())


def test_a_memory_without_photographs_has_no_surfaces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(a_file(tmp_path, 0)), str(tmp_path / "room.ply")]) == 1
    assert "keeps no photographs" in capsys.readouterr().err
