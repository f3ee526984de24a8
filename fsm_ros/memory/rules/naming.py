# SPDX-License-Identifier: Apache-2.0
"""Write rules by name: how files and settings say which one is meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum

from fsm_ros.memory.rules.base import WriteRule
from fsm_ros.memory.rules.consolidation import ChunkShare, Consolidation
from fsm_ros.memory.rules.elastic import AnchorPolicy, ElasticRule, Importance, ImportanceScale, ImportanceTiming
from fsm_ros.memory.rules.kinds import RuleKind
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.rules.steps import StepRule

NamedRule = Plastic | ElasticRule | Consolidation | StepRule
_KINDS: Mapping[RuleKind, type[NamedRule]] = {
    RuleKind.PLASTIC: Plastic,
    RuleKind.ELASTIC: ElasticRule,
    RuleKind.CONSOLIDATION: Consolidation,
    RuleKind.STEPS: StepRule,
}
_POLICIES: Mapping[str, type[Enum]] = {
    kind.__name__: kind for kind in (Importance, AnchorPolicy, ImportanceTiming, ImportanceScale, ChunkShare)
}


def kind_of(rule: WriteRule) -> RuleKind:
    """The kind of a rule.

    Raises:
        ValueError: it has no name.
    """
    for kind, rule_type in _KINDS.items():
        if isinstance(rule, rule_type):
            return kind
    raise ValueError(f"{rule!r} is not one of the rules that have a name")


def keep_alike(one: WriteRule, other: WriteRule) -> bool:
    """Whether what one rule keeps in importance and evidence means the same to another.

    Where it does not, a memory that goes on under the other has to be reanchored
    (:meth:`fsm_ros.memory.state.MemoryState.reanchored`).
    """
    if isinstance(one, Consolidation) and isinstance(other, Consolidation):
        return one.share is other.share
    if isinstance(one, ElasticRule) and isinstance(other, ElasticRule):
        return one.importance is other.importance
    return type(one) is type(other)


def rule_from(content: Mapping[str, object] | None) -> NamedRule:
    """A rule from its ``kind`` (``elastic`` where there is none) and its numbers and policies by name.

    ``None`` is plain LaCT, as files said before it had a kind.

    Raises:
        ValueError: an unknown kind, name or policy, or a number out of its range.
    """
    if content is None:
        return Plastic()
    try:
        kind = RuleKind(content.get("kind", RuleKind.ELASTIC.value))
    except ValueError:
        known = ", ".join(each.value for each in RuleKind)
        raise ValueError(f"the kind of a rule must be one of {known}, got {content['kind']!r}") from None
    rule_type = _KINDS[kind]
    types = {field.name: str(field.type) for field in fields(rule_type)}
    given = {name: value for name, value in content.items() if name != "kind"}
    unknown = sorted(str(name) for name in given.keys() - types.keys())
    if unknown:
        known = ", ".join(types) or "no entries"
        raise ValueError(f"a rule of kind {kind.value} has no {', '.join(unknown)}: it has {known}")
    values = {name: _value(types[name], name, value) for name, value in given.items()}
    return rule_type(**values)  # type: ignore[arg-type]  # read by the fields' own types


def rule_as_plain(rule: WriteRule) -> dict[str, str | float]:
    """The inverse of :func:`rule_from`: names and plain values."""
    kind = kind_of(rule)
    plain: dict[str, str | float] = {"kind": kind.value}
    for field in fields(_KINDS[kind]):
        value = getattr(rule, field.name)
        plain[field.name] = value.value if isinstance(value, Enum) else value
    return plain


def in_words(rule: WriteRule) -> str:
    """A rule for people: its kind, and its numbers and policies by name."""
    kind, *rest = rule_as_plain(rule).items()
    told = ", ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in rest)
    return f"{kind[1]} ({told})" if told else str(kind[1])


def _value(type_name: str, name: str, value: object) -> object:
    policy = _POLICIES.get(type_name)
    if policy is not None:
        try:
            return policy(value)
        except ValueError:
            known = ", ".join(str(each.value) for each in policy)
            raise ValueError(f"{name} must be one of {known}, got {value!r}") from None
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None
