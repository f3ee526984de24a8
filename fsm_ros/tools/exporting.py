# SPDX-License-Identifier: Apache-2.0
"""What `export_surface` does: a saved memory's keyframes are looked at, and what they agree on is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tqdm import tqdm

from fsm_ros.configuration.files import read_changes
from fsm_ros.configuration.model import load_model
from fsm_ros.configuration.table import settings_from
from fsm_ros.errors import FsmError
from fsm_ros.spatial.surfaces import Surfaces
from fsm_ros.surface.files import check_suffix, write_surface

if TYPE_CHECKING:
    from fsm_ros.tools.export_surface import Options


class ExportError(FsmError, RuntimeError):
    """There is nothing to export; the message says why."""


def export(options: Options) -> str:
    """Write the file; returns what was written, in a line.

    Raises:
        ExportError: the memory has no surfaces.
        RequestFailedError: it cannot be loaded, or looked at.
        ValueError: options that make no sense, or parameters that the memory was not observed with.
        OSError: the file cannot be written.
    """
    check_suffix(options.out)
    if options.resolution_m < 0.0:
        raise ValueError(
            f"--resolution is an edge in metres, got {options.resolution_m:g}: use 0 for as fine as it is known"
        )
    settings = settings_from(read_changes(options.parameter_files, options.assignments))
    loaded = load_model(settings)
    memory = loaded.new_memory(settings.memory)
    scene = memory.load(options.memory)
    if not len(scene.keyframes):
        raise ExportError(
            f"{options.memory} keeps no photographs, which surfaces are seen in: set recall.keyframes above 0"
        )
    surfaces = Surfaces()
    with tqdm(desc="looking at keyframes", unit="step", total=2 * len(scene.keyframes), disable=None) as bar:
        while memory.survey(surfaces):
            bar.update()
    least = settings.serving.surfaces.min_confidence if options.min_confidence is None else options.min_confidence
    written = write_surface(options.out, surfaces.views(), least, options.resolution_m)
    triangles = f", {written.triangles} triangles" if written.triangles else ""
    return f"wrote {written.path}: {written.points} points{triangles}, {written.size} bytes"
