# SPDX-License-Identifier: Apache-2.0
"""The names that write rules have. Standard library only."""

from enum import Enum


class RuleKind(Enum):
    """The kinds of rules."""

    PLASTIC = "plastic"
    """Plain LaCT."""
    ELASTIC = "elastic"
    """The elastic prior of the paper, and its variations."""
    CONSOLIDATION = "consolidation"
    """Every chunk is written together with all that came before."""
    STEPS = "steps"
    """Plain steps of another size."""
