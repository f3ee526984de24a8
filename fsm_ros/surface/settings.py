# SPDX-License-Identifier: Apache-2.0
"""What is told of surfaces, and how often."""

from __future__ import annotations

from dataclasses import dataclass

from fsm_ros.parameter import DAY_S, Checked, parameter


@dataclass(frozen=True)
class SurfaceSettings(Checked):
    """Points of surfaces, from the depth of kept keyframes."""

    period_s: float = parameter(
        5.0,
        "points.period",
        "Seconds between clouds on ~/points, while somebody listens and something has changed; 0: none.",
        "s",
        0.0,
        DAY_S,
    )
    min_confidence: float = parameter(
        0.4,
        "points.min_confidence",
        "Points of surfaces whose confidence is less are left out; it is exp(-e / 0.1) of the relative error e that is "
        "expected of their distance.",
        "",
        0.0,
        1.0,
    )
    resolution_m: float = parameter(
        0.05,
        "points.resolution",
        "Edge of the cells of which each holds one point of ~/points; 0: about what a pixel covers.",
        "m",
        0.0,
        100.0,
    )
