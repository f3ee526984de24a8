# SPDX-License-Identifier: Apache-2.0
"""Exported surfaces beside the tracer's true ones: a short drive, and a looser bound than the report's."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fsm_ros.configuration.settings import Settings
from fsm_ros.replay.recording.settings import SceneBagSettings
from fsm_ros.surface.cloud import cloud_of
from fsm_ros.surface.mesh import mesh_of

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        return importlib.import_module("surface")


def test_exported_points_and_meshes_lie_on_the_true_surfaces(benchmark: ModuleType) -> None:
    drive = SceneBagSettings(seed=1, duration_s=8.0, rate_hz=5.0, width=80, height=60, difficulty=0.2)
    surveyed = benchmark.survey(drive, Settings())
    assert surveyed.keyframes >= len(surveyed.views) > 4
    points = cloud_of(surveyed.views, 0.3).points
    mesh = mesh_of(surveyed.views, 0.3)
    for found in (points, mesh.vertices):
        fit = benchmark.fit_of(found, surveyed)
        assert fit.count > 500
        assert fit.mean < 0.05
        within, closer = fit.covered
        assert within > 0.25 and within > closer
    # The measure itself: the truth fits the truth, and what is moved does not.
    assert benchmark.fit_of(surveyed.truth.astype(np.float32), surveyed).mean < 0.005
    assert benchmark.fit_of((surveyed.truth + surveyed.size_m).astype(np.float32), surveyed).covered[0] < 0.1
