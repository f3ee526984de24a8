# SPDX-License-Identifier: Apache-2.0
"""What the command `evaluate` of training does: it scores weights, and writes scores and pictures."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from fsm_ros.memory.checkpoint import load_checkpoint
from fsm_ros.memory.configuration import AtlasSettings
from fsm_ros.memory.rules.naming import kind_of, rule_from
from fsm_ros.recall.checkpoint import load_recall
from fsm_ros.spatial.settings import MemorySettings
from fsm_ros.training.evaluation import conditions, evaluate, table
from fsm_ros.training.evaluation_settings import EvaluationSettings
from fsm_ros.training.reporting import contact_sheet, write_png
from fsm_ros.training.scene_settings import DEFAULT_FAMILIES, SceneSettings

if TYPE_CHECKING:
    from fsm_ros.training.evaluate import Options


def score(options: Options) -> str:
    """Score, and write the files that are asked for; returns the table and what it is of.

    Raises:
        FsmError: weights that cannot be used.
        ValueError: options that make no sense.
        ImportError: a library that draws is not installed.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device is cuda, but PyTorch sees no CUDA device: use cpu")
    for path in (options.sheet, options.json):
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"there is no folder {path.parent} to write {path.name} to: make it first")
    memory = load_checkpoint(options.weights).build().to(torch.device(options.device))
    of_a_node = MemorySettings()
    settings = EvaluationSettings(
        seed=options.seed,
        split=options.split,
        scenes=SceneSettings(
            families=tuple((family, 1.0) for family in options.families) or DEFAULT_FAMILIES,
            difficulty=options.difficulty,
        ),
        count=options.count,
        size=options.size,
        chunk_counts=options.chunks,
        extent_m=options.extent_m,
        atlas=AtlasSettings(of_a_node.atlas.submaps if options.submaps is None else options.submaps),
        memory_size=options.memory_size,
        photographs=options.photographs,
        depth=options.depth,
    )
    entries = {name: value for name, _, value in (entry.partition("=") for entry in options.rule_entries)}
    if "kind" in entries:
        raise ValueError("--rule-entry is for the entries of the rule that --rule names")
    rule = rule_from({"kind": (options.rule or kind_of(of_a_node.rule)).value, **entries})
    weights = options.recall_weights
    recall = None if weights is None else load_recall(weights).to(memory.device)
    evaluation = evaluate(memory, settings, rule, shown=6, recall=recall)
    if options.sheet is not None:
        write_png(options.sheet, contact_sheet(evaluation.shown))
    if options.json is not None:
        # JSON knows no NaN: what was not measured is null.
        scores = [
            {name: None if math.isnan(value) else value for name, value in asdict(each).items()}
            for each in evaluation.scores
        ]
        options.json.write_text(json.dumps(scores, indent=1) + "\n")
    return f"{table(evaluation)}\n\n{conditions(settings, rule)}"
