# SPDX-License-Identifier: Apache-2.0
"""What scores are of, in words."""

from __future__ import annotations

from fsm_ros.memory.rules.base import WriteRule
from fsm_ros.memory.rules.naming import rule_as_plain
from fsm_ros.training.evaluation_settings import EvaluationSettings
from fsm_ros.training.scene_settings import DepthInput


def conditions(settings: EvaluationSettings, rule: WriteRule) -> str:
    """What the scores are of, in a line."""
    written = ", ".join(str(value) for value in rule_as_plain(rule).values())
    submaps = settings.atlas.submaps
    extent = f"{settings.extent_m:g} m" if settings.extent_m else "automatic"
    total = sum(weight for _, weight in settings.scenes.families)
    shares = [(family.value, weight / total) for family, weight in settings.scenes.families if weight > 0]
    families = ", ".join(f"{share:.0%} {name}" for name, share in shares)
    low, high = settings.scenes.difficulty
    depth = "" if settings.depth is DepthInput.NONE else f"; a depth camera ({settings.depth.value})"
    return (
        f"{settings.count} scenes of the split {settings.split.value} ({families}; difficulty {low:g} to {high:g}; "
        f"seed {settings.seed}), {settings.size}x{settings.size} pixels, chunks of {settings.chunk_views} views, "
        f"extent {extent}; streaming order, {submaps} submap{'s' * (submaps > 1)}, rule: {written}{depth}"
    )
