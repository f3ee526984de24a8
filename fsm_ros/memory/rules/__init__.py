"""Write rules: how one chunk goes into the fast weights of a layer.

A rule is a value behind :class:`WriteRule`; :mod:`.base` has what all of them share, :mod:`.naming` how files and
settings say which one is meant.
"""

from fsm_ros.memory.rules.base import INITIAL_IMPORTANCE, LayerMemory, LayerStatistics, Muon, WriteRule
from fsm_ros.memory.rules.consolidation import ChunkShare, Consolidation
from fsm_ros.memory.rules.elastic import (
    AnchorPolicy,
    AnchorSharing,
    ElasticRule,
    Importance,
    ImportanceScale,
    ImportanceTiming,
)
from fsm_ros.memory.rules.naming import NamedRule, RuleKind, keep_alike, kind_of, rule_as_plain, rule_from
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.rules.steps import StepRule

__all__ = [
    "INITIAL_IMPORTANCE",
    "AnchorPolicy",
    "AnchorSharing",
    "ChunkShare",
    "Consolidation",
    "ElasticRule",
    "Importance",
    "ImportanceScale",
    "ImportanceTiming",
    "LayerMemory",
    "LayerStatistics",
    "Muon",
    "NamedRule",
    "Plastic",
    "RuleKind",
    "StepRule",
    "WriteRule",
    "keep_alike",
    "kind_of",
    "rule_as_plain",
    "rule_from",
]
