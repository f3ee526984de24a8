# SPDX-License-Identifier: Apache-2.0
"""How good a memory is on scenes that training never saw, beside what simple answers score."""

from fsm_ros.training.evaluation.comparing import psnr
from fsm_ros.training.evaluation.conditions import conditions
from fsm_ros.training.evaluation.held_out import (
    STRIDE,
    HeldOut,
    clip_frames,
    episodes_of,
    evaluation_picks,
    held_out_clips,
    scene_source,
    trace_held_out,
)
from fsm_ros.training.evaluation.remembering import Remembered, remembered
from fsm_ros.training.evaluation.run import evaluate
from fsm_ros.training.evaluation.scores import Evaluation, Score, Shown, table
from fsm_ros.training.evaluation_settings import EvaluationSettings

__all__ = [
    "STRIDE",
    "Evaluation",
    "EvaluationSettings",
    "HeldOut",
    "Remembered",
    "Score",
    "Shown",
    "clip_frames",
    "conditions",
    "episodes_of",
    "evaluate",
    "evaluation_picks",
    "held_out_clips",
    "psnr",
    "remembered",
    "scene_source",
    "table",
    "trace_held_out",
]
