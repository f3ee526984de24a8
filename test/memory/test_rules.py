# SPDX-License-Identifier: Apache-2.0
"""Rules by name: there and back, and every wrong word refused with the words that are right."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_memory import EVERY_WRITE_RULE, rule_name

from fsm_ros.memory.fast_weights import FastWeights, WriteTokens
from fsm_ros.memory.rules.base import LayerMemory, LayerStatistics, Muon, WriteRule
from fsm_ros.memory.rules.consolidation import ChunkShare, Consolidation
from fsm_ros.memory.rules.elastic import AnchorPolicy, ElasticRule, Importance, ImportanceScale, ImportanceTiming
from fsm_ros.memory.rules.kinds import RuleKind
from fsm_ros.memory.rules.naming import NamedRule, keep_alike, kind_of, rule_as_plain, rule_from
from fsm_ros.memory.rules.plastic import Plastic
from fsm_ros.memory.rules.steps import StepRule

shares = st.floats(0.0, 1.0)
any_rule = st.one_of(
    st.just(Plastic()),
    st.builds(
        ElasticRule,
        st.sampled_from(Importance),
        st.sampled_from(AnchorPolicy),
        st.floats(0.0, 1e3),
        shares,
        shares,
        st.sampled_from(ImportanceTiming),
        st.sampled_from(ImportanceScale),
    ),
    st.builds(Consolidation, st.sampled_from(ChunkShare), shares),
    st.builds(StepRule, st.floats(0.0, 1.0, exclude_min=True), st.floats(0.0, 1e6), st.floats(0, 1, exclude_max=True)),
)


# --- there and back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", EVERY_WRITE_RULE, ids=rule_name)
def test_every_rule_comes_back(rule: WriteRule) -> None:
    assert rule_from(rule_as_plain(rule)) == rule


@given(rule=any_rule)
def test_every_rule_comes_back_from_a_file(rule: NamedRule) -> None:
    written = json.loads(json.dumps(rule_as_plain(rule)))
    assert all(isinstance(value, (str, float, int)) for value in written.values())
    assert rule_from(written) == rule
    assert type(rule_from(written)) is type(rule)


def test_a_rule_says_everything_by_name() -> None:
    assert rule_as_plain(ElasticRule()) == {
        "kind": "elastic",
        "importance": "si",
        "anchor": "streaming_ema",
        "strength": 0.5,
        "importance_decay": 0.5,
        "anchor_decay": 0.5,
        "timing": "after",
        "scale": "raw",
    }
    assert rule_as_plain(Consolidation(ChunkShare.BY_TOKENS, 0.9)) == {
        "kind": "consolidation",
        "share": "by_tokens",
        "retention": 0.9,
    }
    assert rule_as_plain(Plastic()) == {"kind": "plastic"}
    assert rule_as_plain(StepRule(0.7, 1.0, 0.5)) == {"kind": "steps", "size": 0.7, "decline": 1.0, "momentum": 0.5}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, ElasticRule()),
        ({"importance": "mas", "strength": 2}, ElasticRule(Importance.MAS, strength=2.0)),
        ({"kind": "elastic", "importance": "uniform", "timing": "before", "scale": "per_head"}, None),
        (None, Plastic()),  # as files said it before plain LaCT was a rule
        ({"kind": "plastic"}, Plastic()),
        ({"kind": "consolidation"}, Consolidation()),
        ({"kind": "consolidation", "share": "by_tokens"}, Consolidation(ChunkShare.BY_TOKENS)),
        ({"kind": "steps", "size": "0.7"}, StepRule(0.7)),
        ({"kind": "steps", "decline": "1e-1"}, StepRule(decline=0.1)),  # YAML 1.1 takes 1e-1 for a word
    ],
)
def test_what_is_not_said_is_as_it_is_by_default(
    content: Mapping[str, object] | None, expected: NamedRule | None
) -> None:
    uniform = ElasticRule(Importance.UNIFORM, timing=ImportanceTiming.BEFORE, scale=ImportanceScale.PER_HEAD)
    assert rule_from(content) == (uniform if expected is None else expected)


def test_reading_leaves_what_is_read() -> None:
    content = {"kind": "steps", "size": "0.7"}
    rule_from(content)
    assert content == {"kind": "steps", "size": "0.7"}


def test_every_kind_has_a_rule_and_every_rule_a_kind() -> None:
    assert {kind_of(rule) for rule in EVERY_WRITE_RULE} == set(RuleKind)
    for kind in RuleKind:
        assert kind_of(rule_from({"kind": kind.value})) is kind


# --- what is wrong -----------------------------------------------------------------------------------------


class _Nameless:
    def write(
        self, memory: LayerMemory, tokens: WriteTokens, norms: FastWeights, muon: Muon
    ) -> tuple[LayerMemory, LayerStatistics]:
        raise AssertionError("not to be used")

    def __repr__(self) -> str:
        return "Nameless()"


def test_a_rule_without_a_name() -> None:
    for use in (kind_of, rule_as_plain):
        with pytest.raises(ValueError, match=r"Nameless\(\) is not one of the rules that have a name"):
            use(_Nameless())


@pytest.mark.parametrize("kind", ["Plastic", "Elastic", "", None, 3, ["elastic"], ElasticRule()])
def test_an_unknown_kind(kind: object) -> None:
    with pytest.raises(
        ValueError, match="kind of a rule must be one of plastic, elastic, consolidation, steps, got"
    ) as no:
        rule_from({"kind": kind})
    assert repr(kind) in str(no.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"strenght": 0.5, "importence": "si"},
            "a rule of kind elastic has no importence, strenght: it has importance, anchor, strength, "
            "importance_decay, anchor_decay, timing, scale$",
        ),
        ({"kind": "consolidation", "strength": 1}, "kind consolidation has no strength: it has share, retention$"),
        ({"kind": "steps", "share": "equal"}, "kind steps has no share: it has size, decline, momentum$"),
        ({"kind": "plastic", "size": 1}, "kind plastic has no size: it has no entries$"),
        ({"write": 1}, "a rule of kind elastic has no write: it has"),
    ],
)
def test_an_unknown_name(content: Mapping[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rule_from(content)


@pytest.mark.parametrize("wrong", ["nonsense", "MAS", "", None, 1, ["si"], True])
@pytest.mark.parametrize(
    ("kind", "name", "known"),
    [
        ("elastic", "importance", "mas, ewc, si, uniform"),
        ("elastic", "anchor", "global, streaming, streaming_ema"),
        ("elastic", "timing", "after, before"),
        ("elastic", "scale", "raw, per_head"),
        ("consolidation", "share", "by_tokens, equal"),
    ],
)
def test_an_unknown_policy(kind: str, name: str, known: str, wrong: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be one of {known}, got ") as no:
        rule_from({"kind": kind, name: wrong})
    assert repr(wrong) in str(no.value)


NUMBERS = [
    ("elastic", "strength"),
    ("elastic", "importance_decay"),
    ("elastic", "anchor_decay"),
    ("consolidation", "retention"),
    ("steps", "size"),
    ("steps", "decline"),
    ("steps", "momentum"),
]


@pytest.mark.parametrize("wrong", ["half", "", "0,5", None, True, False, [0.5], {"a": 1}, 1j])
@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_what_is_not_a_number(kind: str, name: str, wrong: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a number, got ") as no:
        rule_from({"kind": kind, name: wrong})
    assert repr(wrong) in str(no.value)


@pytest.mark.parametrize("wrong", [-1, "-0.5", float("nan"), "nan", "inf", float("-inf")])
@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_a_number_out_of_its_range(kind: str, name: str, wrong: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must .*, got {float(str(wrong))}"):
        rule_from({"kind": kind, name: wrong})


@pytest.mark.parametrize("huge", [10**400, "1e"])
def test_what_is_no_number_is_refused(huge: object) -> None:
    with pytest.raises(ValueError, match="strength must be a number"):
        rule_from({"strength": huge})


def test_an_entry_that_is_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="has no 3"):
        rule_from({3: 1.0})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (Plastic(), Plastic(), True),
        (Plastic(), ElasticRule(), False),
        (Consolidation(), Plastic(), False),
        (Consolidation(), Consolidation(retention=0.5), True),
        (Consolidation(), Consolidation(ChunkShare.BY_TOKENS), False),
        (ElasticRule(), ElasticRule(anchor=AnchorPolicy.GLOBAL, strength=3.0), True),
        (ElasticRule(), ElasticRule(Importance.UNIFORM), False),
        (StepRule(), StepRule(size=0.5), True),
        (StepRule(), Consolidation(), False),
    ],
)
def test_rules_keep_alike_where_their_numbers_differ_and_not_where_their_units_do(
    one: WriteRule, other: WriteRule, alike: bool
) -> None:
    assert keep_alike(one, other) is keep_alike(other, one) is alike
